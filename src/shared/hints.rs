//! Hints for the operator: which command of this program to type, ready to be pasted into a
//! shell.
//!
//! Called wherever the log or a page names another command. Invariant: text from users is
//! quoted, so that pasting a line is safe.

use turnkey_text::{program_name, quoted};

/// How an operator reaches this bot with another command of this program.
#[derive(Clone, Debug, Default)]
pub(crate) struct Commands {
    program: String,
    storage: String,
}

impl Commands {
    /// `storage` is the database's address, without a password.
    pub(crate) fn of(storage: &str) -> Self {
        Commands {
            program: program_name(),
            storage: match storage.strip_prefix("sqlite:") {
                // The operator stands somewhere else.
                Some(file) => match std::path::absolute(file) {
                    Ok(file) => format!("sqlite:{}", file.display()),
                    Err(_) => storage.to_owned(),
                },
                None => storage.to_owned(),
            },
        }
    }

    /// Such as `mybot dead show http 17 --storage sqlite:/srv/bot.db`, to be pasted into a
    /// shell: what a user wrote is quoted.
    pub(crate) fn line(&self, words: &[&str]) -> String {
        let words = std::iter::once(&*self.program).chain(words.iter().copied());
        let words: Vec<_> = words
            .chain(["--storage", &self.storage])
            .map(quoted)
            .collect();
        words.join(" ")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_command_can_be_pasted_whatever_a_user_wrote() {
        let commands = Commands {
            program: "mybot".to_owned(),
            storage: "sqlite:/srv/bot.db".to_owned(),
        };
        assert_eq!(
            commands.line(&["dead", "show", "http", "17"]),
            "mybot dead show http 17 --storage sqlite:/srv/bot.db"
        );
        assert_eq!(
            commands.line(&["dead", "show", "http", "$(reboot); it's"]),
            "mybot dead show http '$(reboot); it'\\''s' --storage sqlite:/srv/bot.db"
        );
        let relative = Commands::of("sqlite:bot.db");
        assert!(relative.storage.starts_with("sqlite:/"), "{relative:?}");
    }
}
