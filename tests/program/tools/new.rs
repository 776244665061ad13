//! `turnkey new`: the project that it writes builds, passes its tests and lives.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use crate::harness::bot::{Setup, finish};

/// A build of one crate and its tests; all else was built for these tests, mostly.
const BUILD: Duration = Duration::from_secs(900);

fn checkout() -> &'static str {
    concat!(env!("CARGO_MANIFEST_DIR"), "/../..")
}

#[test]
fn its_tests_pass_with_this_checkout() {
    let setup = Setup::counter();
    // The same place each time, so that what is built there is built over.
    let project = Path::new(env!("CARGO_TARGET_TMPDIR")).join("mybot");
    if project.exists() {
        fs::remove_dir_all(&project).unwrap();
    }
    let path = project.to_str().unwrap();
    let made = setup.bare(&["new", "mybot", "--path", path, "--turnkey", checkout()]);
    assert_eq!(made.code, Some(0), "{made:?}");
    assert!(made.stdout.contains("cargo test"), "{made:?}");
    // It is below this workspace and no part of it.
    let manifest = project.join("Cargo.toml");
    let text = fs::read_to_string(&manifest).unwrap();
    fs::write(&manifest, text + "\n[workspace]\n").unwrap();
    // The versions that are here already.
    let lock = Path::new(checkout()).join("Cargo.lock");
    fs::copy(lock, project.join("Cargo.lock")).unwrap();
    let mut cargo = Command::new(std::env::var_os("CARGO").unwrap_or("cargo".into()));
    cargo.args(["test", "--offline"]).current_dir(&project);
    let profile = Path::new(env!("CARGO_BIN_EXE_turnkey")).parent().unwrap();
    if profile.ends_with("release") {
        cargo.arg("--release");
    }
    // What cargo tells a test about itself would make build scripts run again.
    for (name, _) in std::env::vars_os() {
        let name = name.to_string_lossy().into_owned();
        if name.starts_with("CARGO_") && name != "CARGO_HOME" {
            cargo.env_remove(name);
        }
    }
    // As here, so that what both need is built once.
    cargo.env("CARGO_TARGET_DIR", profile.parent().unwrap());
    cargo.env("CARGO_PROFILE_DEV_DEBUG", "line-tables-only");
    let tested = finish(cargo, BUILD);
    assert_eq!(tested.code, Some(0), "{tested:?}");
    assert!(tested.stdout.contains("5 passed; 0 failed"), "{tested:?}");
}

#[test]
fn it_is_formatted_and_complete() {
    // Out of its checkout, as when it is installed.
    let setup = Setup::counter().copied();
    let made = setup.bare(&["new", "my-bot", "--path", "elsewhere"]);
    assert_eq!(made.code, Some(0), "{made:?}");
    let project = setup.path("elsewhere");
    for file in [
        ".cargo/config.toml",
        ".dockerignore",
        ".gitignore",
        "Cargo.toml",
        "Dockerfile",
        "README.md",
        "my-bot.service",
        "src/main.rs",
        "tests/bot.rs",
        "turnkey.toml",
    ] {
        let text = fs::read_to_string(project.join(file)).unwrap_or_else(|e| panic!("{file}: {e}"));
        assert!(text.ends_with('\n') && !text.contains("{{"), "{file}");
    }
    let read = |file: &str| fs::read_to_string(project.join(file)).unwrap();
    assert!(read("Cargo.toml").contains(concat!(
        "turnkey = { version = \"",
        env!("CARGO_PKG_VERSION"),
        "\""
    )));
    // The same options as here, or SQLite is slower than what the README measured.
    let options = |text: &str| {
        let line = text.lines().find(|l| l.starts_with("LIBSQLITE3_FLAGS"));
        line.unwrap().to_owned()
    };
    let ours = fs::read_to_string(Path::new(checkout()).join(".cargo/config.toml")).unwrap();
    assert_eq!(options(&read(".cargo/config.toml")), options(&ours));
    assert!(read("my-bot.service").contains("ExecStart=/usr/local/bin/my-bot run --workers 2\n"));
    let mut fmt = Command::new("rustfmt");
    fmt.args([
        "--check",
        "--edition",
        "2024",
        "src/main.rs",
        "tests/bot.rs",
    ]);
    fmt.current_dir(&project);
    let formatted = finish(fmt, Duration::from_secs(60));
    assert_eq!(formatted.code, Some(0), "{formatted:?}");
    // The settings that it shows are settings.
    let config = setup.bare(&[
        "systemd",
        "--name",
        "my-bot",
        "--",
        "--config",
        "elsewhere/turnkey.toml",
    ]);
    assert_eq!(config.code, Some(0), "{config:?}");
}

/// Runs lines of a Dockerfile in a project, where `cargo` only writes the program that it is
/// asked for.
fn build(project: &Path, lines: &str) {
    let bin = project.join("../bin");
    fs::create_dir_all(&bin).unwrap();
    let cargo = bin.join("cargo");
    fs::write(
        &cargo,
        "#!/bin/sh -e\ntest \"$1 $2 $3 $4\" = 'build --profile dist --target'\n\
         case $RUSTFLAGS in *+crt-static*) ;; *) exit 1 ;; esac\n\
         mkdir -p \"target/$5/dist\"\necho program > \"target/$5/dist/my-bot\"\n",
    )
    .unwrap();
    fs::set_permissions(&cargo, fs::Permissions::from_mode(0o755)).unwrap();
    let path = std::env::var_os("PATH").unwrap();
    let first = std::iter::once(bin).chain(std::env::split_paths(&path));
    let mut shell = Command::new("sh");
    shell.args(["-e", "-c", lines]).current_dir(project);
    shell.env("PATH", std::env::join_paths(first).unwrap());
    let built = finish(shell, Duration::from_secs(60));
    assert_eq!(built.code, Some(0), "{lines}: {built:?}");
}

/// Docker sees the project and nothing else: with each way to the framework, all that the image
/// is made of lies there, and is not left out.
#[test]
fn its_image_is_made_of_what_is_in_the_project() {
    let setup = Setup::counter().copied();
    let read = |project: &Path, file: &str| fs::read_to_string(project.join(file)).unwrap();

    // A released Turnkey: the first stage builds, the second takes what it made.
    let made = setup.bare(&["new", "my-bot"]);
    assert_eq!(made.code, Some(0), "{made:?}");
    let project = setup.path("my-bot");
    let dockerfile = read(&project, "Dockerfile");
    let (_, stage) = dockerfile.split_once("RUN target=").unwrap();
    let (stage, image) = stage.split_once("\n\n").unwrap();
    let out = setup.path("out");
    let stage = format!("target={stage}").replace("/out", out.to_str().unwrap());
    build(&project, &stage);
    assert!(
        image.contains("COPY --from=builder /out/bot /bot\n"),
        "{image}"
    );
    assert!(out.join("bot").is_file() && out.join("data").is_dir());
    assert!(read(&project, "Cargo.toml").contains("\n[profile.dist]\n"));

    // A checkout, which lies elsewhere: what is copied is made by the lines before.
    let args = ["new", "my-bot", "--path", "here", "--turnkey", checkout()];
    let made = setup.bare(&args);
    assert_eq!(made.code, Some(0), "{made:?}");
    let project = setup.path("here");
    let dockerfile = read(&project, "Dockerfile");
    let before: Vec<_> = dockerfile
        .lines()
        .filter_map(|line| line.strip_prefix("#   "))
        .take_while(|line| !line.starts_with("docker "))
        .collect();
    build(&project, &before.join("\n"));
    let ignored = read(&project, ".dockerignore");
    let copied: Vec<_> = dockerfile
        .lines()
        .filter(|line| line.starts_with("COPY "))
        .map(|line| line.rsplit(' ').nth(1).unwrap())
        .collect();
    assert_eq!(copied, ["image/bot", "image/data"]);
    for path in copied {
        assert!(project.join(path).exists(), "{path}");
        assert!(
            !ignored.lines().any(|line| path.starts_with(line)),
            "{path}"
        );
    }
    assert!(!dockerfile.contains(checkout()), "{dockerfile}");
}

#[test]
fn nothing_is_written_over() {
    let setup = Setup::counter();
    let refused = |args: &[&str], says: &str| {
        let ended = setup.bare(&[&["new"], args].concat());
        assert_eq!(ended.code, Some(2), "{args:?}: {ended:?}");
        assert!(ended.stderr.contains(says), "{args:?}: {ended:?}");
    };
    fs::create_dir(setup.path("mybot")).unwrap();
    fs::write(setup.path("mybot/notes"), "mine").unwrap();
    fs::write(setup.path("file"), "mine").unwrap();
    refused(&["mybot"], "not empty (it has notes)");
    refused(&["other", "--path", "file"], "is a file");
    refused(&["My Bot"], "my-bot");
    refused(&["test"], "test-bot");
    refused(&["other", "--turnkey", "mybot"], "is no checkout");
    refused(&["other", "--turnkey", "nowhere"], "there is no --turnkey");
    assert!(!setup.path("other").exists());
    assert_eq!(fs::read_dir(setup.path("mybot")).unwrap().count(), 1);
    // An empty directory will do; and a program in its checkout takes that one.
    fs::create_dir(setup.path("empty")).unwrap();
    let made = setup.bare(&["new", "other", "--path", "empty"]);
    assert_eq!(made.code, Some(0), "{made:?}");
    let manifest = fs::read_to_string(setup.path("empty/Cargo.toml")).unwrap();
    let line = format!(
        "turnkey = {{ path = {:?},",
        fs::canonicalize(checkout()).unwrap()
    );
    assert!(manifest.lines().any(|l| l.starts_with(&line)), "{manifest}");
}
