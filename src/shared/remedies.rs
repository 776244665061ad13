//! Adds the command line's options to the storage's errors about databases that cannot be used.
//!
//! Called wherever such an error is shown: at a start, by each command, in the log. The storage
//! knows no options; only here do its remedies get their names.

use turnkey_storage::{About, Error, Remedy};

/// The option that names the database, unless a command has others.
pub(crate) const STORAGE: &str = "--storage";

/// An error of the storage in one sentence. `option` is the one that names the database.
pub(crate) fn words(error: &Error, option: &str) -> String {
    match error {
        Error::Open(why) | Error::NotYet(why) => why.worded(
            |about| subject(about, option),
            |remedy| advice(remedy, option),
        ),
        other => other.to_string(),
    }
}

fn subject(about: &About, option: &str) -> String {
    match about {
        About::Address => option.to_owned(),
        About::Table(name) => format!("--tables {name}:"),
        other => other.to_string(),
    }
}

fn advice(remedy: &Remedy, option: &str) -> String {
    match remedy {
        Remedy::AnotherFile => format!("name another file with {option}"),
        Remedy::NameFile => format!("name a file with {option}"),
        Remedy::NameDatabase => format!("name the bot's database with {option} sqlite:PATH"),
        Remedy::Address { before, after } => format!("{before} {option}{after}"),
        Remedy::Replace => {
            "add --replace to keep it beside the restored one under another name".to_owned()
        }
        Remedy::Tables(names) => match names.as_slice() {
            [name] => format!("copy {name} too: name it with --tables"),
            _ => "copy both: name them with --tables".to_owned(),
        },
        Remedy::SyncNormal => "start with --sync normal".to_owned(),
        Remedy::FewerConnections => "lower ?pool= or --workers".to_owned(),
        Remedy::Feature(name) => format!("build it with --features {name}"),
        other => other.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_refused_in_the_name_of_its_option() {
        let refused = "oracle:bot"
            .parse::<turnkey_storage::Address>()
            .unwrap_err();
        for option in [STORAGE, "--from", "--to"] {
            assert_eq!(
                words(&refused, option),
                format!("{option} takes an address such as sqlite:bot.db, not \"oracle\"")
            );
        }
        assert!(!refused.to_string().contains("--"));
    }
}
