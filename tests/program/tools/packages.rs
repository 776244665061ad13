//! The wheel and the npm package, installed from their files without a network: the command
//! writes a project, runs its bot, and the project's tests find the installed module.
//!
//! They hold the program that these tests have, not the static one of scripts/dist, which
//! takes minutes to build. What is said of a static one is tested with a file that is only
//! the head of one.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::LazyLock;
use std::time::Duration;

use crate::harness::bot::{Ended, Setup, finish, skipped};
use crate::harness::programs::copy_program;
use crate::tools::new_handlers::{JS, Language, PYTHON};

/// Packing and installing.
const PACKED: Duration = Duration::from_secs(300);

/// Whether all commands end well; if not, that is said.
fn can(commands: &[&[&str]]) -> bool {
    for command in commands {
        let mut shell = Command::new("sh");
        shell.args(["-c", "\"$@\"", "sh"]).args(*command);
        if finish(shell, PACKED).code != Some(0) {
            skipped(&format!("the packages tests: this fails here: {command:?}"));
            return false;
        }
    }
    true
}

const HAS_PYTHON: &[&str] = &["python3", "-c", "import ensurepip, tomllib, venv"];

fn pack(program: &Path, out: &Path) -> Ended {
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/../../scripts/packages.py");
    let mut pack = Command::new("python3");
    pack.args([script, "--fast", "--program"]).arg(program);
    pack.arg("--out").arg(out);
    finish(pack, PACKED)
}

/// The paths that were printed: the wheel and the tarball.
fn packed(ended: &Ended) -> [PathBuf; 2] {
    assert_eq!(ended.code, Some(0), "{ended:?}");
    let paths: Vec<PathBuf> = ended.stdout.lines().map(PathBuf::from).collect();
    paths.try_into().unwrap()
}

/// Made once for all tests of this file.
static PACKAGES: LazyLock<[PathBuf; 2]> = LazyLock::new(|| {
    // The same place each time, so that it is one copy.
    let out = Path::new(env!("CARGO_TARGET_TMPDIR")).join("packages");
    fs::create_dir_all(&out).unwrap();
    let program = out.join("turnkey");
    // Without what a debugger wants, which is most of it.
    let mut strip = Command::new("strip");
    strip
        .arg("-o")
        .arg(&program)
        .arg(env!("CARGO_BIN_EXE_turnkey"));
    if !can(&[&["sh", "-c", "command -v strip"]]) || finish(strip, PACKED).code != Some(0) {
        copy_program(Path::new(env!("CARGO_BIN_EXE_turnkey")), &program);
    }
    packed(&pack(&program, &out))
});

/// A command in the directory of a test, which must end well.
fn run(setup: &Setup, words: &[&str]) -> Ended {
    let mut command = setup.command_of(words[0]);
    command.args(&words[1..]);
    let ended = finish(command, PACKED);
    assert_eq!(ended.code, Some(0), "{words:?}: {ended:?}");
    ended
}

/// The installed command does all that an author does on the first day. `where_is` prints
/// where the module is that the project's code gets.
fn assert_serves_an_author(setup: &Setup, language: &Language, bin: &str, where_is: &[&str]) {
    let bin = setup.path(bin);
    let program = bin.join("turnkey");
    let project = language.project(setup, &program);
    let path = std::env::var_os("PATH").unwrap();
    let first = std::iter::once(bin.clone()).chain(std::env::split_paths(&path));
    let path = std::env::join_paths(first).unwrap();
    let in_project = |words: &[&str]| {
        let mut command = setup.command_of(words[0]);
        command.args(&words[1..]).current_dir(&project);
        command.env("PATH", &path);
        finish(command, PACKED)
    };
    let inside = fs::canonicalize(setup.dir.path()).unwrap();
    let inside = inside.to_str().unwrap();
    // Also where the program offers the one that it carries.
    let exec = [&["turnkey", "handler", "exec", "--"], where_is].concat();
    for words in [where_is, &exec] {
        let found = in_project(words);
        assert!(found.stdout.contains(inside), "{words:?}: {found:?}");
    }
    language.assert_passed(&in_project(language.test));
    language.assert_lives(&project, program.to_str().unwrap());
}

#[test]
fn a_wheel_brings_the_command_and_the_module() {
    if !can(&[HAS_PYTHON]) {
        return;
    }
    let setup = Setup::counter();
    let wheel = PACKAGES[0].to_str().unwrap();
    run(&setup, &["python3", "-m", "venv", "venv"]);
    let pip = ["venv/bin/pip", "--disable-pip-version-check", "--no-input"];
    let pip = |words: &[&str]| run(&setup, &[&pip[..], words].concat());
    pip(&["install", "--no-index", wheel]);
    pip(&["check"]);
    let where_is = ["python", "-c", "import turnkey; print(turnkey.__file__)"];
    assert_serves_an_author(&setup, &PYTHON, "venv/bin", &where_is);
    // What it has installed is what it says it has.
    pip(&["uninstall", "--yes", "turnkey"]);
    assert!(!setup.path("venv/bin/turnkey").exists());
}

#[test]
fn an_npm_package_brings_the_command_and_the_module() {
    if !can(&[HAS_PYTHON, &["node", "--version"], &["npm", "--version"]]) {
        return;
    }
    let setup = Setup::counter();
    let setup = setup.clone().env(
        "npm_config_cache",
        setup.path("cache").display().to_string(),
    );
    let tarball = PACKAGES[1].to_str().unwrap();
    let prefix = setup.dir.path().to_str().unwrap().to_owned();
    run(
        &setup,
        &[
            "npm",
            "install",
            "--offline",
            "--no-audit",
            "--no-fund",
            "--prefix",
            &prefix,
            tarball,
        ],
    );
    let types = setup.path("node_modules/turnkey/index.d.ts");
    assert!(types.exists(), "{}", types.display());
    let where_is = ["node", "-p", "require.resolve('turnkey')"];
    assert_serves_an_author(&setup, &JS, "node_modules/.bin", &where_is);
}

/// The head of a program without an interpreter: a static one.
fn head_of_a_static_program() -> Vec<u8> {
    let mut head = vec![0; 64];
    head[..6].copy_from_slice(b"\x7fELF\x02\x01");
    head[18] = 62;
    head
}

#[test]
fn a_static_program_is_for_every_linux_and_packed_the_same_each_time() {
    if !can(&[HAS_PYTHON]) {
        return;
    }
    let setup = Setup::counter();
    let program = setup.path("program");
    fs::write(&program, head_of_a_static_program()).unwrap();
    let first = packed(&pack(&program, &setup.path("first")));
    let second = packed(&pack(&program, &setup.path("second")));
    for (a, b) in first.iter().zip(&second) {
        assert!(
            fs::read(a).unwrap() == fs::read(b).unwrap(),
            "{}",
            a.display()
        );
    }
    let wheel = first[0].file_name().unwrap().to_str().unwrap();
    let tags = "-py3-none-manylinux_2_17_x86_64.musllinux_1_1_x86_64.whl";
    assert!(wheel.ends_with(tags), "{wheel}");
    if cfg!(target_arch = "x86_64") && can(&[&["python3", "-m", "pip", "--version"]]) {
        // pip takes it here, whatever the C library.
        run(
            &setup,
            &[
                "python3",
                "-m",
                "pip",
                "install",
                "--no-index",
                "--target",
                "there",
                first[0].to_str().unwrap(),
            ],
        );
    }
    fs::write(&program, "#!/bin/sh\n").unwrap();
    let refused = pack(&program, &setup.path("third"));
    assert_eq!(refused.code, Some(1), "{refused:?}");
    assert!(refused.stderr.contains("scripts/dist"), "{refused:?}");
}
