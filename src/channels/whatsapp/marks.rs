//! WhatsApp's marks: `*bold*`, `_italic_`, `~struck~`, `` `code` ``, three backticks around
//! lines of code, `> ` before a quote
//! (<https://faq.whatsapp.com/539178204879377>). Addresses stand behind what links to them.
//!
//! Called by `outgoing.rs`. There is no way to escape a mark: what a text has of itself is
//! shown as marks. Invariants: marks are only written where they are understood, so within a
//! line, next to no blank on their inner side and to no letter or digit on their outer side;
//! a text without spans stays as it is.

use crate::author::message::{Span, Style};

/// A text with its formatting as WhatsApp writes it.
pub(super) fn render(text: &str, spans: &[Span]) -> String {
    if spans.is_empty() {
        return text.to_owned();
    }
    let mut inserted = Vec::new();
    let code: Vec<&Span> = spans.iter().filter(|span| is_code(&span.style)).collect();
    for span in spans {
        let Some(part) = text.get(span.start..span.end) else {
            continue;
        };
        let is_within_code = code
            .iter()
            .any(|code| code.start <= span.start && span.end <= code.end && *code != span);
        match &span.style {
            Style::Link(address) if part != address => {
                inserted.push(Inserted::at(
                    span.end,
                    Order::Address,
                    format!(" ({address})"),
                ));
            }
            _ if is_within_code => {}
            Style::Bold => lines(&mut inserted, text, span, "*"),
            Style::Italic => lines(&mut inserted, text, span, "_"),
            Style::Strike => lines(&mut inserted, text, span, "~"),
            Style::Code => lines(&mut inserted, text, span, "`"),
            Style::Pre(_) if !part.contains("```") => {
                let length = span.end - span.start;
                inserted.push(Inserted::at(span.start, Order::Start(length), "```".into()));
                inserted.push(Inserted::at(span.end, Order::End(length), "```".into()));
            }
            Style::Quote => quote(&mut inserted, text, span),
            // WhatsApp has no such marks.
            Style::Link(_) | Style::Pre(_) | Style::Underline | Style::Spoiler => {}
        }
    }
    inserted.sort();
    let mut rendered = String::with_capacity(text.len() + 2 * inserted.len());
    let mut at = 0;
    for piece in inserted {
        rendered.push_str(&text[at..piece.at]);
        rendered.push_str(&piece.text);
        at = piece.at;
    }
    rendered.push_str(&text[at..]);
    rendered
}

/// What is written into the text, and where.
#[derive(PartialEq, Eq, PartialOrd, Ord)]
struct Inserted {
    at: usize,
    order: Order,
    text: String,
}

impl Inserted {
    fn at(at: usize, order: Order, text: String) -> Self {
        Inserted { at, order, text }
    }
}

/// What comes first at one place: what ends there, the innermost first; then what begins, the
/// outermost first. Numbers are the lengths of what is marked.
#[derive(PartialEq, Eq)]
enum Order {
    End(usize),
    Address,
    Quote,
    Start(usize),
}

impl Order {
    fn rank(&self) -> (u8, isize) {
        match self {
            Order::End(length) => (0, *length as isize),
            Order::Address => (1, 0),
            Order::Quote => (2, 0),
            Order::Start(length) => (3, -(*length as isize)),
        }
    }
}

impl PartialOrd for Order {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Order {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        self.rank().cmp(&other.rank())
    }
}

fn is_code(style: &Style) -> bool {
    matches!(style, Style::Code | Style::Pre(_))
}

/// The mark around each line of a span, where it is understood.
fn lines(inserted: &mut Vec<Inserted>, text: &str, span: &Span, mark: &str) {
    let mut start = span.start;
    for line in text[span.start..span.end].split_inclusive('\n') {
        let (from, to) = (start, start + line.len());
        start = to;
        let bare = line.trim();
        if bare.is_empty() || bare.contains(mark) {
            continue;
        }
        let from = from + (line.len() - line.trim_start().len());
        let to = from + bare.len();
        let before = text[..from].chars().next_back();
        let after = text[to..].chars().next();
        if [before, after]
            .into_iter()
            .flatten()
            .any(char::is_alphanumeric)
        {
            continue;
        }
        inserted.push(Inserted::at(from, Order::Start(to - from), mark.to_owned()));
        inserted.push(Inserted::at(to, Order::End(to - from), mark.to_owned()));
    }
}

/// `> ` at the start of each line that begins within the span.
fn quote(inserted: &mut Vec<Inserted>, text: &str, span: &Span) {
    let mut start = span.start;
    for line in text[span.start..span.end].split_inclusive('\n') {
        let is_start = start == 0 || text[..start].ends_with('\n');
        if is_start && !line.trim().is_empty() {
            inserted.push(Inserted::at(start, Order::Quote, "> ".to_owned()));
        }
        start += line.len();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::author::message::Reply;

    fn of_markup(text: &str) -> String {
        let styled = Reply::markup(text).styled().unwrap();
        render(&styled.text, &styled.spans)
    }

    #[test]
    fn marks_are_whatsapps() {
        for (markup, rendered) in [
            ("plain * text _", "plain * text _"),
            ("**bold** and *italic*", "*bold* and _italic_"),
            ("~~gone~~ `x = 1`", "~gone~ `x = 1`"),
            ("**bold *and italic***", "*bold _and italic_*"),
            ("[here](https://e.org/a)", "here (https://e.org/a)"),
            ("<https://e.org/a>", "https://e.org/a"),
        ] {
            assert_eq!(of_markup(markup), rendered, "{markup}");
        }
    }

    fn span(start: usize, end: usize, style: Style) -> Span {
        Span { start, end, style }
    }

    #[test]
    fn marks_stand_where_they_are_understood() {
        let bold = |text: &str, start, end| render(text, &[span(start, end, Style::Bold)]);
        assert_eq!(bold("a b c", 1, 4), "a *b* c", "blanks are outside");
        assert_eq!(bold("abc", 1, 2), "abc", "not within a word");
        assert_eq!(bold("a\nb", 0, 3), "*a*\n*b*", "each line has its own");
        assert_eq!(bold("2*3", 0, 3), "2*3", "not around the same mark");
        let code = [span(0, 5, Style::Code), span(0, 5, Style::Bold)];
        assert_eq!(render("a = 1", &code), "`a = 1`", "code is as it is");
        let quoted = [span(0, 7, Style::Quote), span(0, 3, Style::Bold)];
        assert_eq!(render("one\ntwo", &quoted), "> *one*\n> two");
        let lines = [span(0, 3, Style::Pre(String::new()))];
        assert_eq!(render("a\nb", &lines), "```a\nb```");
    }
}
