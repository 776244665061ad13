//! The languages of a project, and what each of its files is made of.
//!
//! Called by `new.rs`. A template of `common/` has places between `{{` and `}}` for what
//! differs; the files of a language's own directory stand in them, or are files of the
//! project. Invariant, which a test holds: nothing is left to fill in.

use std::path::Path;

use clap::ValueEnum;

use turnkey::tool;

/// Where the settings are.
pub(super) const SETTINGS: &str = "turnkey.toml";

/// What the bot is written in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(super) enum Lang {
    /// A program of its own
    Rust,
    /// bot.py, which `turnkey run` runs
    #[value(alias = "py")]
    Python,
    /// bot.mjs, which `turnkey run` runs in Node.js
    #[value(alias = "javascript")]
    Js,
}

/// A file's name, or a place's, and its text.
type Text = (&'static str, &'static str);

/// What a language has of its own.
struct Own {
    /// Files of the project.
    files: &'static [Text],
    /// What stands in common files, in the order in which it is filled in.
    parts: &'static [Text],
}

macro_rules! template {
    ($name:literal) => {
        include_str!(concat!(
            env!("CARGO_MANIFEST_DIR"),
            "/src/new/",
            $name,
            ".in"
        ))
    };
}

const COMMON: &[Text] = &[
    (".dockerignore", template!("common/dockerignore")),
    (".gitignore", template!("common/gitignore")),
    ("README.md", template!("common/README.md")),
    (SETTINGS, template!("common/turnkey.toml")),
];

/// What stands in places of more than one language.
const SHARED: &[Text] = &[
    ("update", template!("common/update.md")),
    ("image", template!("common/image")),
];

const RUST: Own = Own {
    files: &[
        (".cargo/config.toml", template!("rust/config.toml")),
        ("Cargo.toml", template!("rust/Cargo.toml")),
        ("src/main.rs", template!("rust/main.rs")),
        ("tests/bot.rs", template!("rust/bot.rs")),
    ],
    parts: &[
        ("about", template!("rust/about.md")),
        ("test", template!("rust/test.md")),
        ("install", template!("rust/install")),
        ("update", template!("rust/update.md")),
        ("built", template!("rust/built")),
        ("left_out", template!("rust/left_out")),
    ],
};

const MIGRATION: Text = (
    "migrations/0001_notes.sql",
    template!("common/0001_notes.sql"),
);

const PYTHON: Own = Own {
    files: &[
        MIGRATION,
        ("Dockerfile", template!("python/Dockerfile")),
        ("bot.py", template!("python/bot.py")),
        ("requirements.txt", template!("python/requirements.txt")),
        ("test_bot.py", template!("python/test_bot.py")),
    ],
    parts: &[
        ("about", template!("python/about.md")),
        ("test", template!("python/test.md")),
        ("install", template!("python/install")),
        ("built", template!("python/built")),
        ("left_out", template!("python/left_out")),
    ],
};

const JS: Own = Own {
    files: &[
        MIGRATION,
        ("Dockerfile", template!("js/Dockerfile")),
        ("bot.mjs", template!("js/bot.mjs")),
        ("bot.test.mjs", template!("js/bot.test.mjs")),
        ("package.json", template!("js/package.json")),
    ],
    parts: &[
        ("about", template!("js/about.md")),
        ("test", template!("js/test.md")),
        ("install", template!("js/install")),
        ("built", template!("js/built")),
        ("left_out", template!("js/left_out")),
    ],
};

impl Lang {
    /// The files of a project but its unit, and their texts. `source` is where Cargo finds
    /// the framework.
    pub(super) fn files(self, name: &str, source: &str) -> Vec<(&'static str, String)> {
        let own = self.own();
        // Docker sees nothing outside of the project.
        let dockerfile = match (self, source.starts_with("path")) {
            (Lang::Rust, true) => Some(("Dockerfile", template!("rust/Dockerfile_here"))),
            (Lang::Rust, false) => Some(("Dockerfile", template!("rust/Dockerfile"))),
            (Lang::Python | Lang::Js, _) => None,
        };
        let files = COMMON.iter().chain(own.files).chain(&dockerfile);
        files
            .map(|(file, template)| (*file, self.fill(template, name, source)))
            .collect()
    }

    /// What it is, and what to do with it once it is written.
    pub(super) fn told(self) -> (&'static str, &'static [&'static str]) {
        match self {
            Lang::Rust => ("a bot that counts", &["cargo test", "cargo run -- run"]),
            Lang::Python => (
                "a bot that keeps notes",
                &[
                    "turnkey handler exec -- python3 -m unittest",
                    "turnkey run bot.py",
                ],
            ),
            Lang::Js => (
                "a bot that keeps notes",
                &["npm test", "turnkey run bot.mjs"],
            ),
        }
    }

    /// Its unit, as the command `systemd` prints it where it is installed.
    pub(super) fn unit(self, name: &str) -> anyhow::Result<String> {
        let bin = Path::new("/usr/local/bin");
        let (program, file) = match self.handler() {
            None => (bin.join(name), None),
            Some(handler) => (bin.join("turnkey"), Some(format!("/opt/{name}/{handler}"))),
        };
        let workers = ["--workers".to_owned(), "2".to_owned()];
        let arguments: Vec<String> = file.into_iter().chain(workers).collect();
        tool::unit(name, &program, &arguments)
    }

    fn own(self) -> &'static Own {
        match self {
            Lang::Rust => &RUST,
            Lang::Python => &PYTHON,
            Lang::Js => &JS,
        }
    }

    /// The file that `turnkey run` runs.
    fn handler(self) -> Option<&'static str> {
        match self {
            Lang::Rust => None,
            Lang::Python => Some("bot.py"),
            Lang::Js => Some("bot.mjs"),
        }
    }

    fn fill(self, template: &str, name: &str, source: &str) -> String {
        let packages = match self {
            Lang::Rust => "",
            Lang::Python => template!("python/packages"),
            Lang::Js => template!("js/packages"),
        };
        let handler = self.handler().unwrap_or_default();
        let (run, installed, entry, command) = match self {
            Lang::Rust => (
                "cargo run -- run".to_owned(),
                format!("{name} run"),
                r#"["/bot"]"#.to_owned(),
                r#"["run", "--workers", "2"]"#,
            ),
            Lang::Python | Lang::Js => {
                let run = format!("turnkey run {handler}");
                let entry = format!(r#"["turnkey", "run", "/opt/{name}/{handler}"]"#);
                (run.clone(), run, entry, r#"["--workers", "2"]"#)
            }
        };
        // Texts that have places themselves come first.
        let texts = self.own().parts.iter().chain(SHARED).copied();
        let words = [
            ("packages", packages),
            ("run", &run),
            ("installed", &installed),
            ("entry", &entry),
            ("command", command),
            ("bot", handler),
            ("name", name),
            ("source", source),
            ("rust", env!("CARGO_PKG_RUST_VERSION")),
            ("version", env!("CARGO_PKG_VERSION")),
        ];
        texts
            .chain(words)
            .fold(template.to_owned(), |text, (place, by)| {
                text.replace(&format!("{{{{{place}}}}}"), by)
            })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SOURCE: &str = "version = \"1\"";

    #[test]
    fn nothing_is_left_to_fill_in() {
        let of_checkout = |lang: &Lang| lang.files("mybot", "path = \"/turnkey\"");
        for lang in Lang::value_variants() {
            let both = lang
                .files("mybot", SOURCE)
                .into_iter()
                .chain(of_checkout(lang));
            for (file, text) in both {
                assert!(!text.contains("{{"), "{lang:?}: {file}: {text}");
                assert!(
                    text.ends_with('\n') && !text.ends_with("\n\n"),
                    "{lang:?}: {file}"
                );
                assert!(!text.contains("\n\n\n\n"), "{lang:?}: {file}: {text}");
            }
        }
    }

    /// Each setting that the file shows is one, with a value that it takes.
    #[test]
    fn the_settings_in_the_file_exist() {
        for lang in Lang::value_variants() {
            let files = lang.files("mybot", SOURCE);
            let (_, text) = files.iter().find(|(file, _)| *file == SETTINGS).unwrap();
            let is_setting = |line: &&str| line.starts_with('#') && !line.starts_with("# ");
            let settings: Vec<&str> = text.lines().filter(is_setting).map(|l| &l[1..]).collect();
            assert!(settings.len() > 10, "{settings:?}");
            for line in settings.iter().filter(|line| !line.is_empty()) {
                tool::check_settings(line).unwrap_or_else(|e| panic!("{line}: {e}"));
            }
            tool::check_settings(&settings.join("\n")).unwrap();
            tool::check_settings(text).unwrap();
        }
    }
}
