//! The Rust of docs/COMING_FROM.md, compiled: what stands in the page's table stands here, too.
//!
//! Only compiled with the tests, which also compare the two.

use serde_json::json;

use crate::{App, Attachment, Button, Keyboard, Kind, Overlap, Reply, Result, Turn};

#[derive(Default, serde::Serialize, serde::Deserialize)]
struct State {
    n: u32,
}

async fn handle(turn: &mut Turn<State>) -> Result<()> {
    let (id, limit) = ("4711", 1 << 20);
    let rows = vec![vec![Button::new("Yes", "y")]];
    turn.reply("hi");
    turn.reply(Reply::from("hi").quote());
    turn.reply(Reply::html("<b>hi</b>"));
    turn.reply(Reply::markup("**hi**"));
    turn.reply(Reply::from("Tea?").row([Button::new("Yes", "y"), Button::new("No", "n")]));
    turn.reply(Reply::from("Tea?").keyboard(Keyboard::Rows(rows)));
    _ = turn.button() == Some("y");
    turn.toast("ok");
    turn.edit_pressed("…");
    turn.reply(Reply::from("…").named("menu"));
    turn.edit("menu", "…");
    turn.delete("menu");
    turn.send_to("telegram", id, "…");
    turn.reply(Reply::photo("/srv/1.jpg").caption("caption"));
    turn.reply(Reply::file(Attachment::document(
        "https://example.org/1.pdf",
    )));
    turn.reply(Reply::files([
        Attachment::photo("/srv/1.jpg"),
        Attachment::photo("/srv/2.jpg"),
    ]));
    _ = turn.photos().count();
    _ = turn.files();
    if let Some(file) = turn.files().first().cloned() {
        turn.download(&file, limit).await?;
    }
    _ = turn.command() == Some("start");
    _ = turn.argument();
    _ = turn.sender();
    _ = turn.user_id();
    _ = turn.chat();
    turn.call("sendInvoice", json!({"title": "Tea"}));
    turn.ask("getChatMember", json!({"user_id": 7})).await?;
    turn.after("10m", "tea", json!({"sort": "green"}));
    _ = turn.timer();
    turn.every("0 9 * * MON", "Europe/Vienna", "digest", json!(null));
    turn.state.n = 1;
    _ = turn.kind() == Kind::Left;
    Ok(())
}

#[test]
fn what_the_page_says_is_what_is_compiled() {
    let dense = |text: &str| {
        text.split_whitespace()
            .collect::<String>()
            .replace(",)", ")")
            .replace(",]", "]")
    };
    let here = dense(include_str!("coming_from.rs"));
    let page = include_str!("../../docs/COMING_FROM.md");
    let (_, table) = page.split_once("## teloxide").unwrap();
    let last = table
        .split("\n## ")
        .next()
        .unwrap()
        .lines()
        .filter_map(|row| row.strip_suffix(" |")?.rsplit(" | ").next());
    let cells = last.flat_map(|cell| cell.split('`').skip(1).step_by(2));
    let mut count = 0;
    for cell in cells.filter(|cell| cell.starts_with("turn.")) {
        count += 1;
        assert!(here.contains(&dense(cell)), "{cell}");
    }
    assert!(count > 25, "{count}");
    drop(App::new(handle).hears([Kind::Message, Kind::Reaction]));
    drop(App::new(handle).overlap(Overlap::Albums));
}
