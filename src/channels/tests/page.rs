//! docs/CHANNELS.md: the limits that its table names are those at which something happens.

use super::*;
use crate::author::message::Button;

/// A row of the table "What goes out": its cells, by platform.
fn row(begins: &str) -> Vec<(&'static str, String)> {
    let page = include_str!("../../../docs/CHANNELS.md");
    let (_, page) = page.split_once("## What goes out").unwrap();
    let row = page
        .lines()
        .find(|line| line.starts_with(&format!("| {begins}")));
    let cells = row.unwrap().trim_matches('|').split(" | ").skip(1);
    let platforms = ["telegram", "viber", "facebook", "whatsapp", "vk"];
    platforms
        .into_iter()
        .zip(cells.map(str::to_owned))
        .collect()
}

/// The number that a cell begins with.
fn number(cell: &str) -> usize {
    let digits: String = cell
        .trim()
        .chars()
        .take_while(char::is_ascii_digit)
        .collect();
    digits.parse().unwrap_or_else(|_| panic!("{cell}"))
}

fn messages(platform: &str, reply: &Reply) -> usize {
    channel(platform).fit(reply).unwrap().len()
}

#[test]
fn the_pages_limits_of_texts_are_ours() {
    for (platform, cell) in row("text of a message") {
        let of = |units| messages(platform, &Reply::from("x".repeat(units)));
        let most = number(&cell);
        assert_eq!((of(most), of(most + 1)), (1, 2), "{platform}");
    }
    for (platform, cell) in row("text under a file") {
        let photo = Reply::photo("https://example.org/1.jpg");
        let of = |units| messages(platform, &photo.clone().caption("x".repeat(units)));
        let most = match cell.trim() {
            "it follows" => 0,
            cell => number(cell),
        };
        assert_eq!((of(most), of(most + 1)), (1, 2), "{platform}");
    }
}

#[test]
fn the_pages_limits_of_buttons_are_ours() {
    for (platform, cell) in row("buttons, at most") {
        let of = |count: usize| {
            let rows = (0..count).map(|n| [Button::new(format!("b{n}"), format!("d{n}"))]);
            channel(platform).fit(&rows.fold(Reply::from("?"), Reply::row))
        };
        let most = number(&cell);
        assert!(of(most).is_ok(), "{platform}: {:?}", of(most));
        assert!(of(most + 1).is_err(), "{platform}");
    }
    for (platform, cell) in row("a button's data") {
        let of =
            |bytes: usize| channel(platform).fit(&Reply::from("?").button("a", "x".repeat(bytes)));
        let most = number(&cell);
        assert!(of(most).is_ok(), "{platform}: {:?}", of(most));
        assert!(of(most + 1).is_err(), "{platform}");
    }
    for (platform, cell) in row("a button's label") {
        let most = number(&cell);
        // What WhatsApp shows of a label is cut where it is written.
        if platform == "whatsapp" {
            continue;
        }
        let fitting = channel(platform).fit(&Reply::from("?").button("x".repeat(most + 1), "d"));
        let label = &fitting.unwrap()[0].buttons[0][0].label;
        assert_eq!(label.encode_utf16().count(), most, "{platform}");
    }
}

/// No cell is empty: what a platform lacks has a word that says so.
#[test]
fn every_cell_of_the_pages_tables_says_something() {
    let page = include_str!("../../../docs/CHANNELS.md");
    let (_, page) = page.split_once("## What comes in").unwrap();
    for row in page.lines().filter(|line| line.starts_with("| ")) {
        // The first cell of a table's head has nothing to say.
        let cells = row.trim_matches('|').split('|').skip(1);
        assert!(
            cells.clone().count() > 0 && cells.clone().all(|cell| !cell.trim().is_empty()),
            "{row}"
        );
    }
}
