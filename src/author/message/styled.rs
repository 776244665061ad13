//! Text with formatting, in one form for all platforms: a plain text and the spans of it that
//! are bold, a link and so on.
//!
//! Written by authors as markup (`markup.rs`) or HTML (`html.rs`), made by the channels of what
//! users send, rendered by each channel in its platform's way. Invariant: the spans of a
//! [`Styled`] that this module made begin and end at characters of its text and are not empty.

use serde::{Deserialize, Serialize};

/// How a part of a text looks.
///
/// ```
/// use turnkey::{Style, Turn};
///
/// /// The links in what the user wrote.
/// fn links(turn: &Turn<()>) -> Vec<&str> {
///     let styles = turn.update().spans.iter().map(|span| &span.style);
///     let link = |style| match style {
///         &Style::Link(ref address) => Some(address.as_str()),
///         _ => None,
///     };
///     styles.filter_map(link).collect()
/// }
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Style {
    /// Heavier.
    Bold,
    /// Slanted.
    Italic,
    /// With a line under it.
    Underline,
    /// With a line through it.
    Strike,
    /// Hidden until it is touched.
    Spoiler,
    /// A few characters of a program.
    Code,
    /// Lines of a program, in this language; empty if it is not said.
    Pre(String),
    /// A link to this address.
    Link(String),
    /// What somebody else said.
    Quote,
}

/// A part of a text, by its bytes, and how it looks.
///
/// ```
/// use turnkey::{Span, Style};
///
/// let text = "Tea, please";
/// let span = Span { start: 0, end: 3, style: Style::Bold };
/// assert_eq!(&text[span.start..span.end], "Tea");
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Span {
    /// Where it begins.
    pub start: usize,
    /// Where it ends: the first byte behind it.
    pub end: usize,
    /// How it looks.
    pub style: Style,
}

/// A text and its formatting: how the text looks that a user has sent is
/// [`Update::spans`](crate::Update::spans).
///
/// ```
/// use turnkey::{Span, Style, Styled};
///
/// let tea = Span { start: 0, end: 3, style: Style::Bold };
/// let styled = Styled::new("Tea or coffee?", vec![tea]);
/// assert_eq!(&styled.text[..styled.spans[0].end], "Tea");
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Styled {
    /// The text, without any marks.
    pub text: String,
    /// Its formatting. Spans may lie within each other.
    pub spans: Vec<Span>,
}

impl Styled {
    /// A text and spans from elsewhere. What does not fit the text is left out.
    pub fn new(text: impl Into<String>, spans: Vec<Span>) -> Self {
        let text = text.into();
        let mut spans = spans;
        spans.retain(|span| {
            span.start < span.end
                && text.is_char_boundary(span.start)
                && text.is_char_boundary(span.end)
        });
        Styled { text, spans }
    }

    /// The parts before and from a byte on. A span over it is in both.
    pub(crate) fn split_at(mut self, at: usize) -> (Styled, Styled) {
        let rest = self.text.split_off(at);
        let mut behind = Vec::new();
        self.spans.retain_mut(|span| {
            if span.end > at {
                behind.push(Span {
                    start: span.start.saturating_sub(at),
                    end: span.end - at,
                    style: span.style.clone(),
                });
                span.end = at;
            }
            span.start < span.end
        });
        let rest = Styled::new(rest, behind);
        (self, rest)
    }

    /// Without so many bytes at its start.
    pub(crate) fn without_start(self, bytes: usize) -> Styled {
        self.split_at(bytes).1
    }

    /// For platforms without formatting: an address stands behind what links to it.
    pub(crate) fn to_plain(&self) -> String {
        let mut links: Vec<(usize, String)> = Vec::new();
        for span in &self.spans {
            if let Style::Link(address) = &span.style
                && self.text[span.start..span.end] != **address
            {
                links.push((span.end, format!(" ({address})")));
            }
        }
        links.sort();
        let mut plain = self.text.clone();
        for (at, address) in links.iter().rev() {
            plain.insert_str(*at, address);
        }
        plain
    }

    /// Where a span of a style begins or ends, in the order of the text, so that what was
    /// begun last ends first: a span that crosses another's end is ended there and begun
    /// again. `write` is given the text between, and each mark.
    pub(crate) fn walk<'a>(&'a self, mut write: impl FnMut(Piece<'a>)) {
        let mut places: Vec<usize> = self
            .spans
            .iter()
            .flat_map(|span| [span.start, span.end])
            .collect();
        places.sort_unstable();
        places.dedup();
        let mut open: Vec<&Span> = Vec::new();
        let mut at = 0;
        for place in places {
            if place > at {
                write(Piece::Text(&self.text[at..place]));
                at = place;
            }
            // What ends here, and whatever lies within it.
            let keep = open.iter().position(|span| span.end <= place);
            let mut again = Vec::new();
            if let Some(keep) = keep {
                while open.len() > keep {
                    if let Some(span) = open.pop() {
                        write(Piece::End(&span.style));
                        if span.end > place {
                            again.push(span);
                        }
                    }
                }
            }
            again.reverse();
            let mut begin: Vec<&Span> = again;
            let mut new: Vec<&Span> = self
                .spans
                .iter()
                .filter(|span| span.start == place)
                .collect();
            // The longest is outside.
            new.sort_by_key(|span| std::cmp::Reverse(span.end));
            begin.extend(new);
            for span in begin {
                write(Piece::Start(&span.style));
                open.push(span);
            }
        }
        if at < self.text.len() {
            write(Piece::Text(&self.text[at..]));
        }
    }
}

/// See [`Styled::walk`].
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Piece<'a> {
    /// Text of one look.
    Text(&'a str),
    /// From here on it also looks like this.
    Start(&'a Style),
    /// It does no more.
    End(&'a Style),
}

/// A text with its formatting in the markup that `markup.rs` reads.
pub(crate) fn to_markup(text: &str, spans: &[Span]) -> String {
    let styled = Styled::new(text, spans.to_vec());
    let mut markup = String::with_capacity(text.len() + 8 * spans.len());
    let mut code = 0_usize;
    styled.walk(|piece| match piece {
        Piece::Text(text) if code > 0 => markup.push_str(text),
        Piece::Text(text) => escape_into(&mut markup, text),
        Piece::Start(style) => {
            code += usize::from(is_code(style));
            match style {
                Style::Bold => markup.push_str("**"),
                Style::Italic => markup.push('*'),
                Style::Strike => markup.push_str("~~"),
                Style::Code => markup.push('`'),
                Style::Pre(language) => {
                    markup.push_str("```");
                    markup.push_str(language);
                    markup.push('\n');
                }
                Style::Link(_) => markup.push('['),
                Style::Quote => markup.push_str("> "),
                Style::Underline | Style::Spoiler => {}
            }
        }
        Piece::End(style) => {
            code = code.saturating_sub(usize::from(is_code(style)));
            match style {
                Style::Bold => markup.push_str("**"),
                Style::Italic => markup.push('*'),
                Style::Strike => markup.push_str("~~"),
                Style::Code => markup.push('`'),
                Style::Pre(_) => markup.push_str("\n```\n"),
                Style::Link(address) => {
                    markup.push_str("](<");
                    markup.push_str(address);
                    markup.push_str(">)");
                }
                Style::Quote => markup.push_str("\n\n"),
                Style::Underline | Style::Spoiler => {}
            }
        }
    });
    markup
}

fn is_code(style: &Style) -> bool {
    matches!(style, Style::Code | Style::Pre(_))
}

/// A backslash before each character that may mean something in markup.
fn escape_into(markup: &mut String, text: &str) {
    for character in text.chars() {
        if character.is_ascii_punctuation()
            && !matches!(
                character,
                ',' | ';' | '?' | '"' | '\'' | '/' | '%' | '@' | '$'
            )
        {
            markup.push('\\');
        }
        markup.push(character);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn span(start: usize, end: usize, style: Style) -> Span {
        Span { start, end, style }
    }

    #[test]
    fn spans_that_do_not_fit_are_left_out() {
        let spans = vec![
            span(0, 1, Style::Bold),
            span(0, 2, Style::Bold),
            span(2, 2, Style::Bold),
            span(2, 9, Style::Bold),
        ];
        assert_eq!(Styled::new("ä!", spans).spans, [span(0, 2, Style::Bold)]);
    }

    #[test]
    fn a_cut_text_keeps_its_looks_on_both_sides() {
        let styled = Styled::new(
            "one two three",
            vec![span(4, 13, Style::Bold), span(0, 3, Style::Italic)],
        );
        let (first, rest) = styled.split_at(7);
        assert_eq!(first.text, "one two");
        assert_eq!(
            first.spans,
            [span(4, 7, Style::Bold), span(0, 3, Style::Italic)]
        );
        let rest = rest.without_start(1);
        assert_eq!(
            (rest.text.as_str(), &rest.spans[..]),
            ("three", &[span(0, 5, Style::Bold)][..])
        );
    }

    #[test]
    fn what_was_begun_last_ends_first() {
        let styled = Styled::new(
            "abcdef",
            vec![span(0, 4, Style::Bold), span(2, 6, Style::Italic)],
        );
        let mut text = String::new();
        styled.walk(|piece| match piece {
            Piece::Text(part) => text += part,
            Piece::Start(Style::Bold) => text += "<b>",
            Piece::End(Style::Bold) => text += "</b>",
            Piece::Start(_) => text += "<i>",
            Piece::End(_) => text += "</i>",
        });
        assert_eq!(text, "<b>ab<i>cd</i></b><i>ef</i>");
    }

    #[test]
    fn without_formatting_addresses_are_shown() {
        let link = |to: &str| Style::Link(to.to_owned());
        let styled = Styled::new(
            "see here, or u",
            vec![span(4, 8, link("u")), span(13, 14, link("u"))],
        );
        assert_eq!(styled.to_plain(), "see here (u), or u");
    }
}
