//! Who runs a file: the interpreter that its author expects.
//!
//! Called by `cli/run.rs` with what stands on the command line. Python, the first that is
//! there: beside this program (a wheel brings both), `$VIRTUAL_ENV`, `.venv` beside the
//! bot or further up to its `pyproject.toml`, the file's first line, `python3`. JavaScript:
//! the first line, `node`. Anything else runs itself. Nothing is started here, but for
//! TypeScript: whether this Node.js runs it.

use std::ffi::OsString;
use std::io::{BufRead, BufReader, Read};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;

/// A command, and why that one.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Found {
    pub(crate) program: PathBuf,
    pub(crate) arguments: Vec<OsString>,
    /// `bot.py`
    pub(crate) name: String,
}

/// Bytes of a first line that are looked at.
const SHEBANG: u64 = 256;

/// Node.js from this version on, and of its older line from that one, runs TypeScript.
const TYPES: [(u32, u32); 2] = [(22, 18), (23, 6)];

/// What surrounds the program.
pub(crate) struct Surroundings {
    /// Where this program is.
    pub(crate) program: Option<PathBuf>,
    /// `$VIRTUAL_ENV`
    pub(crate) virtual_env: Option<PathBuf>,
    /// `$PATH`
    pub(crate) path: OsString,
}

impl Surroundings {
    fn here() -> Self {
        Surroundings {
            program: std::env::current_exe().ok(),
            virtual_env: std::env::var_os("VIRTUAL_ENV").map(PathBuf::from),
            path: std::env::var_os("PATH").unwrap_or_default(),
        }
    }

    /// A program by its name.
    fn named(&self, name: &str) -> Option<PathBuf> {
        let mut all = std::env::split_paths(&self.path).map(|directory| directory.join(name));
        all.find(|path| is_program(path))
    }
}

/// How a file is run.
///
/// # Errors
/// There is no such file, or nobody to run it: with the remedy.
pub(crate) fn find(file: &Path) -> Result<Found, String> {
    find_in(&Surroundings::here(), file)
}

fn find_in(place: &Surroundings, file: &Path) -> Result<Found, String> {
    let shown = file.display();
    match std::fs::metadata(file) {
        Ok(about) if about.is_file() => {}
        Ok(_) => {
            return Err(format!(
                "{shown} is no file; give the file of a bot, such as bot.py"
            ));
        }
        Err(error) => return Err(format!("cannot read the handler {shown}: {error}")),
    }
    let name = file
        .file_name()
        .unwrap_or_default()
        .to_string_lossy()
        .into_owned();
    let extension = file
        .extension()
        .unwrap_or_default()
        .to_string_lossy()
        .to_lowercase();
    let first_line =
        first_line(file).map_err(|e| format!("cannot read the handler {shown}: {e}"))?;
    let with = |mut command: Vec<OsString>| {
        let program = PathBuf::from(command.remove(0));
        command.push(file.into());
        Ok(Found {
            program,
            arguments: command,
            name: name.clone(),
        })
    };
    match extension.as_str() {
        "py" => match python(place, file, first_line.as_deref()) {
            Some(command) => with(command),
            None => Err(format!(
                "there is no python3 to run {shown}; install it (apt install python3), or name another: turnkey run -- /path/to/python {shown}"
            )),
        },
        "js" | "mjs" | "cjs" | "ts" | "mts" | "cts" => {
            let own = first_line.as_deref().and_then(|line| shebang(place, line));
            let Some(command) = own.or_else(|| Some(vec![place.named("node")?.into()])) else {
                return Err(format!(
                    "there is no node to run {shown}; install Node.js (apt install nodejs), or name another: turnkey run -- /path/to/node {shown}"
                ));
            };
            if extension.contains("ts") && command[0].to_string_lossy().ends_with("node") {
                runs_types(Path::new(&command[0]), file)?;
            }
            with(command)
        }
        _ if is_program(file) => Ok(Found {
            program: std::path::absolute(file).unwrap_or_else(|_| file.to_owned()),
            arguments: Vec::new(),
            name,
        }),
        _ => Err(format!(
            "it is not known what runs {shown}: turnkey runs .py, .js, .mjs, .cjs and .ts files and programs; for anything else name the command: turnkey run -- ruby {shown}"
        )),
    }
}

fn python(place: &Surroundings, file: &Path, first_line: Option<&str>) -> Option<Vec<OsString>> {
    let in_directory = |bin: &Path| {
        let both = ["python3", "python"].map(|name| bin.join(name));
        both.into_iter().find(|path| is_program(path))
    };
    let beside = || in_directory(place.program.as_ref()?.parent()?);
    let active = || in_directory(&place.virtual_env.as_ref()?.join("bin"));
    let of_project = || {
        let file = std::path::absolute(file).ok()?;
        let directory = file.parent()?;
        let project = directory
            .ancestors()
            .find(|up| up.join("pyproject.toml").is_file());
        let top = project.unwrap_or(directory);
        let mut all = directory.ancestors().take_while(|up| up.starts_with(top));
        all.find_map(|up| in_directory(&up.join(".venv/bin")))
    };
    let found = beside().or_else(active).or_else(of_project);
    let found = found.map(|path| vec![path.into()]);
    let found = found.or_else(|| shebang(place, first_line?));
    found.or_else(|| {
        Some(vec![
            place
                .named("python3")
                .or_else(|| place.named("python"))?
                .into(),
        ])
    })
}

/// The command of a first line such as `#!/usr/bin/env python3`, if it is there.
fn shebang(place: &Surroundings, line: &str) -> Option<Vec<OsString>> {
    let mut words = line.strip_prefix("#!")?.split_whitespace().peekable();
    let program = PathBuf::from(words.next()?);
    let program = match program.file_name()?.to_str()? {
        "env" => {
            words.next_if_eq(&"-S");
            place.named(words.next()?)?
        }
        _ => program,
    };
    let rest = words.map(OsString::from);
    is_program(&program).then(|| std::iter::once(program.into()).chain(rest).collect())
}

fn first_line(file: &Path) -> std::io::Result<Option<String>> {
    let mut line = Vec::new();
    let start = std::fs::File::open(file)?.take(SHEBANG);
    BufReader::new(start).read_until(b'\n', &mut line)?;
    Ok(String::from_utf8(line).ok())
}

fn is_program(path: &Path) -> bool {
    let about = std::fs::metadata(path);
    about.is_ok_and(|about| about.is_file() && about.permissions().mode() & 0o111 != 0)
}

/// Refuses TypeScript where Node.js does not run it.
fn runs_types(node: &Path, file: &Path) -> Result<(), String> {
    let version = Command::new(node).arg("--version").output();
    let version = version.map_err(|e| format!("cannot run {}: {e}", node.display()))?;
    let version = String::from_utf8_lossy(&version.stdout).trim().to_owned();
    match has_types(&version) {
        true => Ok(()),
        false => Err(format!(
            "Node.js {version} does not run TypeScript, 22.18 and newer do; or, with the package tsx: turnkey run -- node --import tsx {}",
            file.display()
        )),
    }
}

fn has_types(version: &str) -> bool {
    let mut numbers = version
        .trim_start_matches('v')
        .split('.')
        .map(str::parse::<u32>);
    let (Some(Ok(major)), Some(Ok(minor))) = (numbers.next(), numbers.next()) else {
        return false;
    };
    let [older, newer] = TYPES;
    (major, minor) >= newer || major == older.0 && minor >= older.1
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Box {
        directory: tempfile::TempDir,
        place: Surroundings,
    }

    impl Box {
        fn new() -> Self {
            let directory = tempfile::tempdir().unwrap();
            let at = |name: &str| directory.path().join(name);
            let place = Surroundings {
                program: Some(at("opt/turnkey")),
                virtual_env: None,
                path: at("usr").into(),
            };
            Box { directory, place }
        }

        fn file(&self, name: &str, text: &str) -> PathBuf {
            let path = self.directory.path().join(name);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(&path, text).unwrap();
            path
        }

        fn program(&self, name: &str) -> PathBuf {
            let path = self.file(name, "");
            std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755)).unwrap();
            path
        }

        fn finds(&self, file: &Path) -> PathBuf {
            find_in(&self.place, file).unwrap().program
        }
    }

    #[test]
    fn the_python_that_an_author_expects_is_found() {
        let mut b = Box::new();
        let bot = b.file("project/sub/bot.py", "print()\n");
        let refusal = find_in(&b.place, &bot).unwrap_err();
        assert!(
            refusal.contains("no python3") && refusal.contains("turnkey run -- "),
            "{refusal}"
        );
        let plain = b.program("usr/python3");
        assert_eq!(b.finds(&bot), plain);
        let other = b.program("usr/python3.9");
        b.file("project/sub/bot.py", "#!/usr/bin/env python3.9\n");
        assert_eq!(b.finds(&bot), other);
        // Not beyond the bot's directory, but for a project.
        let up = b.program("project/.venv/bin/python");
        assert_eq!(b.finds(&bot), other);
        b.file("project/pyproject.toml", "");
        assert_eq!(b.finds(&bot), up);
        let near = b.program("project/sub/.venv/bin/python");
        assert_eq!(b.finds(&bot), near);
        let active = b.program("active/bin/python");
        b.place.virtual_env = Some(b.directory.path().join("active"));
        assert_eq!(b.finds(&bot), active);
        let beside = b.program("opt/python3");
        assert_eq!(b.finds(&bot), beside);
        let found = find_in(&b.place, &bot).unwrap();
        assert_eq!(
            (found.arguments, found.name.as_str()),
            (vec![bot.into()], "bot.py")
        );
    }

    #[test]
    fn others_are_run_by_node_or_by_themselves() {
        let b = Box::new();
        let bot = b.file("bot.mjs", "");
        assert!(find_in(&b.place, &bot).unwrap_err().contains("no node"));
        let node = b.program("usr/node");
        assert_eq!(b.finds(&bot), node);
        let bun = b.program("usr/bun");
        assert_eq!(b.finds(&b.file("b.js", "#!/usr/bin/env -S bun run\n")), bun);
        let own = b.program("bot.sh");
        assert_eq!(b.finds(&own), own);
        let unknown = b.file("bot.rb", "");
        assert!(
            find_in(&b.place, &unknown)
                .unwrap_err()
                .contains("turnkey run -- ruby")
        );
        let none = find_in(&b.place, &b.directory.path().join("none.py")).unwrap_err();
        assert!(none.contains("No such file"), "{none}");
        assert!(
            find_in(&b.place, b.directory.path())
                .unwrap_err()
                .contains("is no file")
        );
    }

    #[test]
    fn which_versions_run_typescript() {
        for (version, has) in [
            ("v18.20.8", false),
            ("v20.20.2", false),
            ("v22.17.9", false),
            ("v22.18.0", true),
            ("v23.5.0", false),
            ("v23.6.1", true),
            ("v24.0.0", true),
            ("", false),
        ] {
            assert_eq!(has_types(version), has, "{version}");
        }
    }
}
