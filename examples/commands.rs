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
//! | `photo https://…` | a photo, with a caption and a button |
//! | `rich **x**` | this as markup, with all that a message can have, named `menu` |
//! | `html <b>x</b>` | this as HTML |
//! | `keys`, `no keys` | a keyboard, which goes; and none |
//! | `album` | files of all sources |
//! | `where`, `who` | a place, a contact |
//! | `edit x` | that is in the place of the message `menu`; and of the one with the id 7 |
//! | `pressed x` | that is in the place of the message whose button was pressed |
//! | `delete` | the message `menu` is taken away, and the one with the id 7 |
//! | `toast x`, `alert x` | shows that over the chat |
//! | `call METHOD` | calls it, twice; the second message is named `dice` |
//! | `to CHANNEL USER x` | says that there |
//! | `verbs FILE USER named edited file bytes told` | those of these that are named, in this order: a message `menu`, an edit of it, FILE, bytes, and something to USER |
//! | `member 7` | asks `getChatMember`, and says the answer |
//! | `fetch`, `save PATH` under a file | downloads it, and says how many bytes it has |
//! | `draft x` | shows that while it grows, then says it |
//! | `after 1s tea x` | sets a timer `tea`, with `x`; `cancel tea` takes it away; no reply |
//! | `pay PORT a b` | steps `a` and `b`: each pays at this port of the box, and says the receipts |
//! | `every 0_9_*_*_MON Europe/Vienna tea x` | sets a schedule `tea`, likewise |
//! | a timer | says its name, and with what it was set |
//! | a schedule of `COMMANDS_EVERY`, such as `tea=0 9 * * MON=UTC;…` | tells `7` on Telegram its name, how often it came, and whether it was late; `sleep 200` as its name sleeps, `reply` replies |
//! | `dead` | says how many replies were given up |
//! | `about` | says all that came with it |
//! | photos | says how many, and what stands under them |
//! | other files, a place, a contact | says what it is |
//! | a button with one of these as its data | the same |
//! | `gate FILE many 3` | waits until FILE is there, and meanwhile says so in `FILE.CHANNEL.USER`; then the rest |
//! | an edited message, with `COMMANDS_EDITS=1` in the environment | says what it is now |
//! | any other event | says its kind |
//! | several messages as one turn, with `COMMANDS_OVERLAP` in the environment | says each, and how many files there are, after the gate of the last; fails if `fail` is among them |
//! | `overlap burst 2s` | that is this dialog's own from now on; `overlap` alone, none; no reply |
//! | `model ADDRESS` | asks a language model there, which is given all texts of the turn as they are |
//! | `newer FILE` | waits until there is something newer, which it says; in `FILE.CHANNEL.USER` that it waits |
//! | `look FILE` | the same, by looking again and again |
//! | anything else | counts |
//!
//! Run it: `cargo run --example commands -- run --workers 2`

use std::fs::File;
use std::os::unix::fs::FileExt;
use std::sync::OnceLock;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use turnkey::{
    Attachment, Button, Contact, DialogBy, FileKind, Keyboard, Kind, Location, Overlap, Press,
    Reply, Request, Target, Turn,
};

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

/// Stands for a payment: the receipt.
async fn pay(port: u16, user: &str, name: &str) -> turnkey::Result<String> {
    let mut server = TcpStream::connect(("127.0.0.1", port)).await?;
    server
        .write_all(format!("{user} {name}\n").as_bytes())
        .await?;
    let mut receipt = String::new();
    server.read_to_string(&mut receipt).await?;
    match receipt.as_str() {
        "" => Err(turnkey::Error::msg("it was not paid")),
        _ => Ok(receipt),
    }
}

/// A file that all workers inherit.
static HELD: OnceLock<File> = OnceLock::new();

async fn obey(turn: &mut Turn<State>) -> turnkey::Result<()> {
    turn.state.count += 1;
    let mut text = turn.text().to_owned();
    if let Some(said) = ask_the_model(turn).await? {
        turn.reply(said);
        return Ok(());
    }
    if turn.channel() == "cron" {
        return tick(turn).await;
    }
    if turn.updates().len() > 1 {
        let last = turn.updates().last().map(|last| last.text.clone());
        if let Some(rest) = last.unwrap_or_default().strip_prefix("gate ") {
            wait_at_gate(turn, rest).await?;
        }
        let said = together(turn)?;
        turn.reply(format!("{}: {said}", turn.state.count));
        return Ok(());
    }
    if let Some(rest) = text.strip_prefix("gate ") {
        text = wait_at_gate(turn, rest).await?;
    }
    let (command, rest) = text.split_once(' ').unwrap_or((&text, ""));
    if say_more(turn, command, rest).await? {
        return Ok(());
    }
    if let Some(said) = other_than_text(turn) {
        turn.reply(format!("{}: {said}", turn.state.count));
        return Ok(());
    }
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
        "photo" => {
            let photo = Reply::photo(rest).caption("look");
            turn.reply(photo.button("More", "more"));
            return Ok(());
        }
        _ => {}
    }
    turn.reply(format!("{}: {text}", turn.state.count));
    Ok(())
}

/// A schedule of the bot's own.
async fn tick(turn: &mut Turn<State>) -> turnkey::Result<()> {
    let Some(timer) = turn.timer() else {
        return Ok(());
    };
    if let Some(time) = timer.name.strip_prefix("sleep ") {
        tokio::time::sleep(Duration::from_millis(time.parse()?)).await;
    }
    if timer.name == "reply" {
        turn.reply("to nobody");
    }
    let late = match timer.late > Duration::from_secs(60) {
        true => ", late",
        false => "",
    };
    let said = format!("tick {} {}{late}", timer.name, turn.state.count);
    turn.send_to("telegram", "7", said);
    Ok(())
}

/// All that a turn can say but plain texts and questions; whether it was that.
async fn say_more(turn: &mut Turn<State>, command: &str, rest: &str) -> turnkey::Result<bool> {
    let by_id = || Target::Message("7".to_owned());
    match command {
        "rich" => {
            let link = Button::link("Menu", "https://example.org/menu");
            let rich = Reply::markup(rest).quoting(by_id()).silent().no_preview();
            let rich = rich.row([Button::new("Tea", "tea"), link]);
            turn.reply(rich.button("More", "more").protected().named("menu"));
        }
        "html" => turn.reply(Reply::html(rest)),
        "keys" => {
            let say = |label: &str| Button::that(label, Press::Say);
            let me = Button::that("Me", Press::Request(Request::Contact));
            let rows = vec![vec![say("One")], vec![say("Two"), me]];
            turn.reply(Reply::from("Pick").keyboard(Keyboard::Once(rows)));
        }
        "no" if rest == "keys" => turn.reply(Reply::from("Gone").keyboard(Keyboard::Remove)),
        "album" => turn.reply(
            Reply::files([
                Attachment::photo("https://example.org/1.jpg"),
                Attachment::document("/srv/2.pdf").named("two.pdf"),
                Attachment::new(FileKind::Voice, "three"),
                Attachment::bytes(FileKind::Audio, "4.mp3", [0, 255]),
            ])
            .caption("look"),
        ),
        "where" => {
            let mut place = Location::new(48.25, -16.5);
            place.title = Some("Café".to_owned());
            turn.reply(Reply::location(place));
        }
        "who" => turn.reply(Reply::contact(Contact::new("+43 1 234", "Ann"))),
        "edit" => {
            turn.edit("menu", Reply::from(rest).button("More", "more"));
            turn.edit(by_id(), rest);
        }
        "pressed" => turn.edit_pressed(rest),
        "delete" => {
            turn.delete("menu");
            turn.delete(by_id());
        }
        "after" => {
            let mut words = rest.splitn(3, ' ');
            let mut next = || words.next().unwrap_or_default();
            let (delay, name) = (next(), next());
            turn.after(delay, name, next().into());
        }
        "every" => {
            let mut words = rest.splitn(4, ' ');
            let mut next = || words.next().unwrap_or_default();
            let (cron, zone, name) = (next().replace('_', " "), next(), next());
            turn.every(cron, zone, name, next().into());
        }
        "cancel" => turn.cancel(rest),
        "pay" => {
            let mut words = rest.split(' ');
            let port = words.next().unwrap_or_default().parse()?;
            let mut receipts = Vec::new();
            for name in words {
                receipts.push(turn.step(name, pay(port, turn.user_id(), name)).await?);
            }
            turn.reply(format!("paid {}", receipts.join(" ")));
        }
        "toast" => turn.toast(rest),
        "alert" => turn.alert(rest),
        "call" => {
            let params = || serde_json::json!({ "list": [1, null] });
            turn.call(rest, params());
            turn.call_named("dice", rest, params());
        }
        "to" => {
            let mut words = rest.splitn(3, ' ').map(str::to_owned);
            if let (Some(channel), Some(user), Some(text)) =
                (words.next(), words.next(), words.next())
            {
                turn.send_to(channel, user, Reply::from(text).silent());
            }
        }
        "verbs" => say_verbs(turn, rest),
        "overlap" => turn.overlap(Overlap::named(rest)),
        "newer" => {
            say_that_it_waits(turn, rest)?;
            turn.newer().await;
            turn.reply("something newer came");
        }
        "look" => {
            say_that_it_waits(turn, rest)?;
            while !turn.has_newer().await? {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
            turn.reply("something newer came");
        }
        "member" => {
            let params = serde_json::json!({ "user_id": rest.parse::<u64>()? });
            match turn.ask("getChatMember", params).await {
                Ok(member) => turn.reply(member.to_string()),
                Err(error) => turn.reply(format!("no answer: {error}")),
            }
        }
        "fetch" | "save" => {
            let Some(file) = turn.files().first().cloned() else {
                return Ok(false);
            };
            let size = match command {
                "fetch" => turn
                    .download(&file, 1000)
                    .await
                    .map(|bytes| bytes.len() as u64),
                _ => turn.download_to(&file, rest, 1000).await,
            };
            match size {
                Ok(size) => turn.reply(format!("{size} bytes")),
                Err(error) => turn.reply(format!("no file: {error}")),
            }
        }
        "draft" => {
            turn.draft(rest);
            turn.reply(format!("{rest}."));
        }
        "dead" => {
            let dead = turn.dead_replies().await?.len();
            turn.reply(format!("{dead} dead"));
        }
        "about" => turn.reply(about(turn)),
        _ => return Ok(false),
    }
    Ok(true)
}

/// A file, a user, and what is to be done, each of it with its name and the count.
fn say_verbs(turn: &mut Turn<State>, rest: &str) {
    let mut words = rest.split(' ');
    let file = words.next().unwrap_or_default();
    let user = words.next().unwrap_or_default();
    for word in words {
        let said = format!("{}.{word}", turn.state.count);
        match word {
            "named" => turn.reply(Reply::from(said).named("menu")),
            "edited" => turn.edit("menu", said),
            "file" => {
                let file = Attachment::new(FileKind::Document, file);
                turn.reply(Reply::file(file).caption(said));
            }
            "bytes" => {
                let bytes = Attachment::bytes(FileKind::Document, "two.bin", [0, 255]);
                turn.reply(Reply::file(bytes).caption(said));
            }
            "told" => turn.send_to(turn.channel().to_owned(), user, Reply::from(said)),
            _ => {}
        }
    }
}

/// What came with a text.
fn about(turn: &Turn<State>) -> String {
    let update = turn.update();
    let sender = turn.sender().map_or("", |sender| &sender.name);
    let chat = turn.chat().map_or("", |chat| &chat.id);
    let quoted = update.quoted.as_ref().map_or("", |quoted| &quoted.text);
    let forwarded = update.forwarded.as_ref().map_or("", |from| &from.name);
    [
        turn.kind().name(),
        &update.event,
        &turn.markup(),
        sender,
        chat,
        quoted,
        forwarded,
        &update.message,
        &update.album,
    ]
    .join("|")
}

/// Waits until a file is there; what is to be done then.
async fn wait_at_gate(turn: &Turn<State>, rest: &str) -> turnkey::Result<String> {
    let (file, rest) = rest.split_once(' ').unwrap_or((rest, ""));
    let here = say_that_it_waits(turn, file)?;
    while !std::path::Path::new(file).exists() {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    // It may be gone: a turn that was cut off runs again.
    std::fs::remove_file(here).unwrap_or(());
    Ok(rest.to_owned())
}

/// A file with this name and the user's says it.
fn say_that_it_waits(turn: &Turn<State>, file: &str) -> turnkey::Result<String> {
    let here = format!("{file}.{}.{}", turn.channel(), turn.user_id());
    std::fs::write(&here, turn.updates().len().to_string())?;
    Ok(here)
}

/// What it answers; none if it is not to be asked.
async fn ask_the_model(turn: &Turn<State>) -> turnkey::Result<Option<String>> {
    let first = turn.text().lines().next().unwrap_or_default();
    let Some(address) = first.strip_prefix("model ") else {
        return Ok(None);
    };
    let mut model = tokio::net::TcpStream::connect(address).await?;
    let question = serde_json::to_string(turn.text())? + "\n";
    model.write_all(question.as_bytes()).await?;
    let mut answer = String::new();
    model.read_to_string(&mut answer).await?;
    Ok(Some(answer))
}

fn together(turn: &Turn<State>) -> turnkey::Result<String> {
    let texts: Vec<&str> = turn.updates().iter().map(|u| u.text.as_str()).collect();
    if texts.contains(&"fail") {
        return Err(turnkey::Error::msg("told to fail"));
    }
    let (texts, text) = (texts.join("|"), turn.text().replace('\n', "/"));
    Ok(format!("{texts} as {text}, {} files", turn.files().len()))
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
    if let Some(timer) = turn.timer() {
        return Some(format!("timer {} {}", timer.name, timer.data));
    }
    if !matches!(turn.kind(), Kind::Message | Kind::Rpc) {
        return Some(format!("{} {}", turn.kind().name(), turn.text()));
    }
    if let Some(place) = turn.location() {
        let title = place.title.as_deref().unwrap_or_default();
        return Some(format!("at {} {} {title}", place.latitude, place.longitude));
    }
    if let Some(contact) = turn.contact() {
        return Some(format!("contact {} {}", contact.phone, contact.name));
    }
    let files = turn.files();
    let first = files.first()?;
    let name = first.url.as_ref().or(first.id.as_ref())?;
    let (count, text) = (files.len(), turn.text());
    if turn.photos().count() == count {
        return Some(format!("{count} photos, {name}, {text}"));
    }
    let kinds: Vec<_> = files.iter().map(|file| file.kind.name()).collect();
    let called = first.name.as_deref().unwrap_or_default();
    Some(format!("{}, {name}, {called}, {text}", kinds.join(" ")))
}

fn main() -> std::process::ExitCode {
    if let Some(path) = std::env::var_os("COMMANDS_HOLD") {
        let held = File::open(path).expect("the file that COMMANDS_HOLD names");
        HELD.get_or_init(|| held);
    }
    let mut app = turnkey::App::new(obey).migrations(MIGRATIONS);
    let set = |name| std::env::var(name).ok();
    if let Some(by) = set("COMMANDS_DIALOG_BY").and_then(|by| DialogBy::named(&by)) {
        app = app.dialog_by(by);
    }
    if let Some(overlap) = set("COMMANDS_OVERLAP").and_then(|name| Overlap::named(&name)) {
        app = app.overlap(overlap);
    }
    let every = set("COMMANDS_EVERY").unwrap_or_default();
    for one in every.split(';').filter(|one| !one.is_empty()) {
        let mut parts = one.splitn(3, '=');
        let mut next = || parts.next().unwrap_or_default();
        let (name, cron, zone) = (next(), next(), next());
        app = app.every(cron, zone, name);
    }
    match std::env::var_os("COMMANDS_EDITS") {
        Some(_) => app
            .hears([Kind::Message, Kind::Button, Kind::Opened, Kind::Edited])
            .run(),
        None => app.run(),
    }
}
