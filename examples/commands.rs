//! A bot that does what the message says, for trying out how Turnkey treats slow
//! and failing handlers. The whole-program tests talk to it.
//!
//! | message | effect |
//! | --- | --- |
//! | `sleep 200` | takes 200 ms, then counts |
//! | `spin 200` | blocks its worker's only thread for 200 ms |
//! | `fail` | counts, then returns an error |
//! | `fail no network` | the same, and that is its cause |
//! | `panic` | counts, then panics; with what follows, if anything |
//! | `try 3` | fails until the third attempt, then counts |
//! | `die 200` | after 200 ms the whole process dies |
//! | `order tea` | a row in a table of its own, in the turn's transaction |
//! | `order` | breaks the table's rule: the statement fails |
//! | `orders` | how many orders there are |
//! | `many 3` | three replies |
//! | `silent` | no reply |
//! | `held` | what is in the file that `COMMANDS_HOLD` names, opened before there are workers |
//! | `ask Tea?` | a question with two buttons |
//! | a button | says which |
//! | a call of another system | says its method and params; `fail` fails |
//! | `picture https://…` | a picture, with a caption and a button |
//! | a picture | says how many, and what stands under it |
//! | `gate FILE many 3` | waits until FILE is there, and meanwhile says so in `FILE.CHANNEL.USER`; then the rest |
//! | an edited message, with `COMMANDS_EDITS=1` in the environment | says what it is now |
//! | anything else | counts |
//!
//! Run it: `cargo run --example commands -- run --workers 2`

use std::fs::File;
use std::os::unix::fs::FileExt;
use std::sync::OnceLock;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use turnkey::{DialogBy, Kind, Reply, Turn};

#[derive(Default, Serialize, Deserialize)]
struct State {
    count: u64,
}

// Every engine knows these words.
const MIGRATIONS: [&str; 1] = ["CREATE TABLE orders (
        user_id VARCHAR(256) NOT NULL,
        item VARCHAR(1000) NOT NULL CHECK (item <> '')
    )"];

/// An error that leaves it to its cause to say what happened, as those of many clients do.
#[derive(Debug)]
struct Failed(Box<dyn std::error::Error + Send + Sync>);

impl std::fmt::Display for Failed {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("told to fail")
    }
}

impl std::error::Error for Failed {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        Some(&*self.0)
    }
}

/// A file that all workers inherit.
static HELD: OnceLock<File> = OnceLock::new();

async fn obey(turn: &mut Turn<State>) -> turnkey::Result<()> {
    turn.state.count += 1;
    let mut text = turn.text().to_owned();
    if let Some(rest) = text.strip_prefix("gate ") {
        text = wait_at_gate(turn, rest).await?;
    }
    if let Some(said) = other_than_text(turn) {
        turn.reply(format!("{}: {said}", turn.state.count));
        return Ok(());
    }
    let (command, rest) = text.split_once(' ').unwrap_or((&text, ""));
    match command {
        "sleep" => tokio::time::sleep(Duration::from_millis(rest.parse()?)).await,
        "spin" => std::thread::sleep(Duration::from_millis(rest.parse()?)),
        "fail" if rest.is_empty() => return Err(turnkey::Error::msg("told to fail")),
        "fail" => return Err(Failed(rest.to_owned().into()).into()),
        "panic" => panic!("told to panic {rest}"),
        "try" => {
            if turn.attempt() < rest.parse()? {
                return Err(turnkey::Error::msg("told to fail at first"));
            }
            let said = format!("{}: {text} (attempt {})", turn.state.count, turn.attempt());
            turn.reply(said);
            return Ok(());
        }
        "die" => {
            tokio::time::sleep(Duration::from_millis(rest.parse()?)).await;
            std::process::abort();
        }
        "order" => {
            let user = turn.user_id().to_owned();
            turn.execute(
                "INSERT INTO orders (user_id, item) VALUES (?1, ?2)",
                (user, rest),
            );
        }
        "orders" => {
            let rows = turn
                .query(
                    "SELECT COUNT(*) AS n FROM orders WHERE user_id = ?1",
                    [turn.user_id()],
                )
                .await?;
            let n: i64 = match rows.first() {
                Some(row) => row.get("n")?,
                None => 0,
            };
            turn.reply(format!("{n} orders"));
            return Ok(());
        }
        "many" => {
            for i in 1..=rest.parse::<u32>()? {
                turn.reply(format!("{}.{i}", turn.state.count));
            }
            return Ok(());
        }
        "tell" => {
            let mut words = rest.splitn(3, ' ');
            let mut word = || words.next().unwrap_or_default().to_owned();
            let (channel, user, said) = (word(), word(), word());
            turn.send_to(channel, user, said);
            text = "told".to_owned();
        }
        "silent" => return Ok(()),
        "held" => {
            let mut bytes = [0; 64];
            let held = HELD.get().map(|held| held.read_at(&mut bytes, 0));
            let length = held.transpose()?.unwrap_or_default();
            turn.reply(String::from_utf8_lossy(&bytes[..length]));
            return Ok(());
        }
        "ask" => {
            turn.reply(Reply::from(rest).button("Yes", "yes:1").button("No", "no"));
            return Ok(());
        }
        "picture" => {
            let picture = Reply::photo(rest).caption("look");
            turn.reply(picture.button("More", "more"));
            return Ok(());
        }
        _ => {}
    }
    turn.reply(format!("{}: {text}", turn.state.count));
    Ok(())
}

/// Waits until a file is there; what is to be done then.
async fn wait_at_gate(turn: &Turn<State>, rest: &str) -> turnkey::Result<String> {
    let (file, rest) = rest.split_once(' ').unwrap_or((rest, ""));
    let here = format!("{file}.{}.{}", turn.channel(), turn.user_id());
    std::fs::write(&here, "")?;
    while !std::path::Path::new(file).exists() {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    // It may be gone: a turn that was cut off runs again.
    std::fs::remove_file(here).unwrap_or(());
    Ok(rest.to_owned())
}

fn other_than_text(turn: &Turn<State>) -> Option<String> {
    if let Some(rpc) = turn.rpc()
        && rpc.method != "fail"
    {
        return Some(format!("rpc {} {}", rpc.method, rpc.params));
    }
    if let Some(data) = turn.button() {
        return Some(format!("button {data}"));
    }
    match turn.update().kind {
        Kind::Opened => return Some(format!("opened {}", turn.text())),
        Kind::Edited => return Some(format!("edited {}", turn.text())),
        _ => {}
    }
    let pictures = turn.files();
    let first = pictures.first()?;
    let name = first.url.as_ref().or(first.id.as_ref())?;
    Some(format!(
        "{} pictures, {name}, {}",
        pictures.len(),
        turn.text()
    ))
}

fn main() -> std::process::ExitCode {
    if let Some(path) = std::env::var_os("COMMANDS_HOLD") {
        let held = File::open(path).expect("the file that COMMANDS_HOLD names");
        HELD.get_or_init(|| held);
    }
    let mut app = turnkey::App::new(obey).migrations(MIGRATIONS);
    if let Some(by) = std::env::var("COMMANDS_DIALOG_BY")
        .ok()
        .and_then(|by| DialogBy::named(&by))
    {
        app = app.dialog_by(by);
    }
    match std::env::var_os("COMMANDS_EDITS") {
        Some(_) => app
            .hears([Kind::Message, Kind::Button, Kind::Opened, Kind::Edited])
            .run(),
        None => app.run(),
    }
}
