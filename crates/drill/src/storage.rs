//! Bots of ours: what they are sent, and whether every acknowledged message is in their
//! database afterwards.
//!
//! Each client is a user of its own and each message has a number of its own, so a state
//! with a field `count` (as the counter bot's) tells a lost message from a doubled one.
//! Of other states it is only checked that the user is there.

use std::collections::HashMap;

use serde::{Deserialize, Serialize};

use super::plan::Plan;
use super::recorder::OfClients;
use super::template::Request;
use turnkey_storage::Address;

/// A database to check.
pub(super) struct Place {
    address: Address,
}

/// What was found in the database.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct StorageCheck {
    /// Where it is, without a password.
    pub storage: String,
    /// Messages whose sender was told 200.
    pub acknowledged: u64,
    /// Acknowledged messages that are not there.
    pub lost: u64,
    /// Messages that took effect more than once.
    pub twice: u64,
    /// Messages that were sent and cut: they may be there or not.
    pub uncertain: u64,
    /// Whether states were counted; else only users were looked for.
    pub counted: bool,
}

/// Whether a bot of ours says that it runs.
pub(super) fn is_bot(printed: &str) -> bool {
    printed.lines().any(|line| announced(line).is_some())
}

/// What stands in parentheses in `Started webhooks updater on http://… (…). Press`, or https.
fn announced(line: &str) -> Option<&str> {
    let rest = line.strip_prefix("Started ")?;
    let (_, rest) = rest.split_once(" updater on http")?;
    let (_, rest) = rest.split_once(" (")?;
    Some(rest.split_once("). Press")?.0)
}

/// A new message of a user for each client.
pub(super) fn message(plan: &Plan) -> Request {
    let body = r#"{"user_id":"drill-{run}-{round}-{client}","text":"hi","id":"drill-{run}-{round}-{client}-{n}"}"#;
    let request = Request::post("/http", body);
    match variable(plan, "TURNKEY_HTTP_TOKEN") {
        Some(token) => request.header("Authorization", format!("Bearer {token}")),
        None => request,
    }
}

fn variable(plan: &Plan, name: &str) -> Option<String> {
    let own = plan.envs.iter().find(|(known, _)| known == name);
    match own {
        Some((_, value)) => value.to_str().map(str::to_owned),
        None => std::env::var(name).ok(),
    }
}

/// Where a bot keeps its dialogs: as told, as its command says, or as it says itself.
pub(super) fn find(plan: &Plan, printed: &str) -> Option<Place> {
    let words: Vec<&str> = plan
        .command
        .iter()
        .filter_map(|word| word.to_str())
        .collect();
    let in_command = words.iter().enumerate().find_map(|(at, word)| match *word {
        "--storage" => words.get(at + 1).copied(),
        word => word.strip_prefix("--storage="),
    });
    let said = || {
        let inside = printed.lines().find_map(announced)?;
        let (_, path) = inside.split_once("sqlite:")?;
        Some(format!("sqlite:{path}"))
    };
    let url = plan
        .storage
        .clone()
        .or_else(|| in_command.map(str::to_owned))
        .or_else(|| variable(plan, "TURNKEY_STORAGE"))
        .or_else(said)?;
    let address = url.parse().ok()?;
    Some(Place {
        address: match (address, &plan.directory) {
            (Address::Sqlite(path), Some(directory)) => Address::Sqlite(directory.join(path)),
            (address, _) => address,
        },
    })
}

#[derive(Deserialize)]
struct Counter {
    count: Option<u64>,
}

/// Compares the database with what the clients were told.
///
/// # Errors
/// When the database cannot be read.
pub(super) fn check(
    place: &Place,
    run: &str,
    round: usize,
    told: &OfClients,
) -> turnkey_report::Result<StorageCheck> {
    let prefix = format!("drill-{run}-{round}-");
    let mut found: HashMap<usize, Option<u64>> = HashMap::new();
    turnkey_storage::tools::dump(
        &place.address,
        false,
        |line| -> turnkey_report::Result<()> {
            if let Some(client) = line.dialog.user_id.strip_prefix(&prefix)
                && let Ok(client) = client.parse()
            {
                let counter = serde_json::from_str::<Counter>(&line.state);
                found.insert(client, counter.ok().and_then(|counter| counter.count));
            }
            Ok(())
        },
    )?;
    let mut check = compare(told, &found);
    check.storage = match place.address.file() {
        Some(path) => format!("sqlite:{}", path.display()),
        None => place.address.to_string(),
    };
    Ok(check)
}

fn compare(told: &OfClients, found: &HashMap<usize, Option<u64>>) -> StorageCheck {
    let mut check = StorageCheck {
        counted: true,
        ..StorageCheck::default()
    };
    for (client, told) in told {
        check.acknowledged += told.acknowledged;
        check.uncertain += told.uncertain;
        let most = told.acknowledged + told.uncertain;
        match found.get(client) {
            Some(Some(count)) => {
                check.lost += told.acknowledged.saturating_sub(*count);
                check.twice += count.saturating_sub(most);
            }
            Some(None) => check.counted = false,
            None => check.lost += told.acknowledged,
        }
    }
    check
}

#[cfg(test)]
mod tests {
    use super::super::recorder::Told;
    use super::*;

    #[test]
    fn lost_and_doubled_messages_are_counted() {
        let told = |acknowledged, uncertain| Told {
            acknowledged,
            uncertain,
        };
        let clients = OfClients::from([
            (0, told(5, 0)),
            (1, told(5, 2)),
            (2, told(3, 0)),
            (3, told(0, 1)),
        ]);
        let found = HashMap::from([(0, Some(6)), (1, Some(7)), (3, None)]);
        let check = compare(&clients, &found);
        assert_eq!((check.lost, check.twice, check.counted), (3, 1, false));
        assert_eq!((check.acknowledged, check.uncertain), (13, 3));
    }

    #[test]
    fn a_bot_is_known_by_what_it_says() {
        let line = "Started webhooks updater on http://localhost:8080 (2 workers, sqlite:/tmp/a b.db). Press Ctrl-C to exit.";
        assert_eq!(announced(line), Some("2 workers, sqlite:/tmp/a b.db"));
        assert!(is_bot(&format!("Serving http.\n{line}\n")));
        assert!(!is_bot("[INFO] Started server process [1]"));
    }
}
