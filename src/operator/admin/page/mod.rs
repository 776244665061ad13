//! The pages for people, rendered on the server: they work without JavaScript. With it
//! (`live.js`) `/status` fetches itself again every two seconds and replaces its figures; so
//! only the server formats figures.
//!
//! Called by `routes.rs`. Invariant: every text that is not a constant goes through
//! [`escape`]. The look is that of the reports (`crates/report/src/page.rs`).

mod bubble;
mod chart;
mod dead;
mod dialogs;
pub(crate) mod figures;
mod overview;
mod talk;
mod texts;
mod whose;
mod wrong;

use hyper::StatusCode;
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use turnkey_text::is_noncharacter;

pub(super) use self::dead::dead;
pub(super) use self::dialogs::{dialog, dialogs, field};
use super::content::Content;
use super::status::Status;

pub(super) const STYLE: &str = include_str!("style.css");
pub(super) const SCRIPT: &str = include_str!("live.js");

/// `/status`.
pub(super) fn overview(status: &Status) -> Content {
    let body = overview::body(status);
    Content::html(StatusCode::OK, frame("Status", Tab::Overview, true, &body))
}

/// Which page is open.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Tab {
    Overview,
    Dialogs,
    Dead,
}

/// A whole page; `body` is HTML.
pub(super) fn frame(title: &str, tab: Tab, is_live: bool, body: &str) -> String {
    let links = [
        (Tab::Overview, "/status", "Overview"),
        (Tab::Dialogs, "/status/dialogs", "Dialogs"),
        (Tab::Dead, "/status/dead", "Dead letters"),
    ];
    let links: String = links
        .iter()
        .map(|(of, href, name)| {
            let here = if *of == tab {
                " aria-current=\"page\""
            } else {
                ""
            };
            format!("<a href=\"{href}\"{here}>{name}</a>")
        })
        .collect();
    let script = if is_live {
        "<script src=\"/status/live.js\" defer></script>"
    } else {
        ""
    };
    format!(
        "<!doctype html>\n<html lang=\"en\"><head><meta charset=\"utf-8\">\
         <meta name=\"viewport\" content=\"width=device-width,initial-scale=1\">\
         <meta name=\"color-scheme\" content=\"light dark\"><link rel=\"icon\" href=\"data:,\">\
         <title>{} - Turnkey</title><link rel=\"stylesheet\" href=\"/status/style.css\">{script}</head>\n\
         <body><header><a class=\"name\" href=\"/status\">Turnkey</a><nav aria-label=\"Pages\">{links}</nav></header>\n\
         <main>{body}</main></body></html>\n",
        escape(title)
    )
}

/// A page that says why there is none: a sentence, which may lack its full stop.
pub(super) fn sorry(status: StatusCode, title: &str, tab: Tab, sentence: &str) -> Content {
    let mut letters = sentence.trim_end_matches('.').chars();
    let first = letters.next().map(|letter| letter.to_ascii_uppercase());
    let sentence: String = first.into_iter().chain(letters).collect();
    let body = format!(
        "<h1>{}</h1><p class=\"note bad\">{}.</p>",
        escape(title),
        escape(&sentence)
    );
    Content::html(status, frame(title, tab, false, &body))
}

/// The start of a `div` that may have to be scrolled, which a keyboard has to reach.
fn region(class: &str, name: &str) -> String {
    format!(
        "<div class=\"{class}\" tabindex=\"0\" role=\"region\" aria-label=\"{}\">",
        escape(name)
    )
}

/// A dialog's page.
fn link_to(channel: &str, user: &str) -> String {
    let part = |text| utf8_percent_encode(text, NON_ALPHANUMERIC);
    format!("/status/dialogs/{}/{}", part(channel), part(user))
}

/// A text for HTML, also within quotes. What cannot be seen or turns the direction of
/// writing is shown as a box: a name shall not look like another.
pub(super) fn escape(text: &str) -> String {
    text.chars()
        .fold(String::with_capacity(text.len()), |mut out, c| {
            match c {
                '&' => out.push_str("&amp;"),
                '<' => out.push_str("&lt;"),
                '>' => out.push_str("&gt;"),
                '"' => out.push_str("&quot;"),
                '\'' => out.push_str("&#39;"),
                '\n' | '\t' => out.push(c),
                '\u{200b}'..='\u{200f}'
                | '\u{202a}'..='\u{202e}'
                | '\u{2060}'..='\u{2069}'
                | '\u{feff}' => {
                    out.push('\u{fffd}');
                }
                c if c.is_control() || is_noncharacter(c) => out.push('\u{fffd}'),
                c => out.push(c),
            }
            out
        })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hostile_text_stays_text() {
        assert_eq!(
            escape("<script>alert('1')</script>&\"\u{202e}\0"),
            "&lt;script&gt;alert(&#39;1&#39;)&lt;/script&gt;&amp;&quot;\u{fffd}\u{fffd}"
        );
        assert_eq!(escape("a\u{ffff}\u{fdd0}"), "a\u{fffd}\u{fffd}");
        assert_eq!(
            link_to("http", "a/../b?<x>"),
            "/status/dialogs/http/a%2F%2E%2E%2Fb%3F%3Cx%3E"
        );
    }
}
