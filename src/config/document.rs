//! Documents the table of settings: docs/SETTINGS.md, and the end of `run --help`.
//!
//! Called by `cli/run.rs`; a test checks the page, and writes it with
//! `UPDATE=1 cargo test --lib settings_page`.

use super::secrets::variable;
use super::settings::described;

/// A line for each setting that has no flag: its variable, its name in the file, what it is.
pub(crate) fn secrets_help() -> String {
    let rows = described();
    let rows = rows.iter().filter(|row| row.flag.is_none());
    let lines = rows.map(|row| {
        let (variable, name) = (variable(&row.name), &row.name);
        format!("  {variable:<29}  {name:<21}  {}\n", row.help)
    });
    lines.collect()
}

#[cfg(test)]
mod tests {
    use std::fmt::Write;
    use std::path::Path;

    use super::super::table::{Change, Described};
    use super::*;

    /// What stands above the tables.
    const HEAD: &str = "\
# Settings

Every setting of `run`; `--config`, `-v` and `-q` are flags alone. This page is made from
`src/config/settings.rs`.

A value is taken from the flag (`--workers 2`), else from the variable (`TURNKEY_WORKERS=2`:
the flag's name in capitals), else from the file that `--config` names (`workers = 2`; words
and times in quotes), else it is the default. Times are written `500ms`, `8s`, `2m`, `1h`;
how long something is kept also `90d`. A switch (`[<BOOL>]`) is `true` or `false`; as a flag
without a value it is on.

**New values** are in force after a *reload* (SIGHUP), after an *upgrade* (SIGUSR2) or only
after a *restart*; each of these does what those before it do. HTTPS is switched on and off
by a restart; its certificates change with a reload. See [OPERATING.md](OPERATING.md).
";

    /// What stands above the table of the secrets.
    const ABOVE_SECRETS: &str = "\
They have no flag: a command line can be read by every user of a machine. With `_FILE` at its
end the variable names a file; systemd's `LoadCredential=` goes by the name in the file
([SECURITY.md](../SECURITY.md)).

| variable | in the file | what | new value |
";

    fn page() -> String {
        let mut page = HEAD.to_owned();
        let mut section = "";
        for row in described() {
            if row.section != section {
                section = row.section;
                let columns = match row.flag {
                    Some(_) => "| setting | what | default | new value |\n",
                    None => ABOVE_SECRETS,
                };
                let _ = write!(
                    page,
                    "\n## {section}\n\n{columns}| --- | --- | --- | --- |\n"
                );
            }
            line(&mut page, &row);
        }
        page
    }

    fn line(page: &mut String, row: &Described) {
        let changed_by = match row.changed_by {
            Change::Reload => "reload",
            Change::Upgrade => "upgrade",
            Change::Restart => "restart",
        };
        let help = row.help.replace('|', "\\|");
        let _ = match &row.flag {
            Some(flag) => writeln!(
                page,
                "| `{flag}` | {help} | {} | {changed_by} |",
                row.default
            ),
            None => writeln!(
                page,
                "| `{}` | `{}` | {help} | {changed_by} |",
                variable(&row.name),
                row.name
            ),
        };
    }

    #[test]
    fn the_settings_page_is_what_the_table_says() {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/SETTINGS.md");
        if std::env::var_os("UPDATE").is_some() {
            std::fs::write(&path, page()).unwrap();
        }
        let written = std::fs::read_to_string(&path).unwrap_or_default();
        assert!(
            written == page(),
            "docs/SETTINGS.md is not what src/config/settings.rs says: UPDATE=1 cargo test --lib settings_page writes it"
        );
    }

    /// What OPERATING.md says of a reload in one line is what the table says.
    #[test]
    fn operating_knows_what_a_reload_does_not_change() {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/OPERATING.md");
        let text = std::fs::read_to_string(path).unwrap();
        let mut lines = text.lines();
        let line = lines.find_map(|line| line.strip_prefix("| a restart changes |"));
        let (restart, upgrade) = line.unwrap().split_once("; an upgrade, too:").unwrap();
        for row in described() {
            let name = format!("`--{}`", row.name);
            let is_in = (restart.contains(&name), upgrade.contains(&name));
            let wanted = match row.changed_by {
                Change::Reload => (false, false),
                Change::Upgrade => (false, true),
                Change::Restart => (true, false),
            };
            assert_eq!(
                is_in, wanted,
                "{name} in docs/OPERATING.md, a restart changes"
            );
        }
    }

    /// Lines that do not break where they should not, and no row without words.
    #[test]
    fn rows_are_complete() {
        for row in described() {
            assert!(
                !row.help.is_empty() && !row.help.ends_with('.'),
                "{}",
                row.name
            );
            assert!(!row.help.contains("[default"), "{}: is a column", row.name);
            assert!(
                row.flag.is_some() || variable(&row.name).len() <= 29,
                "{}: the columns of --help",
                row.name
            );
        }
    }
}
