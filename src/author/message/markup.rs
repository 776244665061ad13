//! The markup of replies: CommonMark, as far as chats can show it.
//!
//! `**bold**`, `*italic*` or `_italic_`, `~~struck~~`, `` `code` ``, blocks between lines of
//! ```` ``` ````, `[text](https://…)`, lists of `- ` and `1. `, quotes of `> `. A heading is
//! bold, an image is a link. A line break is a line break, unlike in documents. What is no
//! markup is text, HTML included: no markup is ever an error. A backslash before a sign takes
//! its meaning away.
//!
//! Called by `reply.rs`. Parsed by pulldown-cmark, in time linear in the text.

use pulldown_cmark::{CodeBlockKind, Event, Options, Parser, Tag, TagEnd};

use super::styled::{Span, Style, Styled};

/// Reads markup.
pub(crate) fn read(markup: &str) -> Styled {
    let mut writer = Writer::default();
    for event in Parser::new_ext(markup, Options::ENABLE_STRIKETHROUGH) {
        writer.event(event);
    }
    writer.end()
}

#[derive(Default)]
struct Writer {
    text: String,
    spans: Vec<Span>,
    /// Spans that have begun: where, and how they look.
    open: Vec<(usize, Style)>,
    /// The next number of each list that we are in; none for bullets.
    lists: Vec<Option<u64>>,
    /// Line feeds that are due before the next text.
    due: usize,
    /// Where the innermost quote began.
    quote: usize,
}

impl Writer {
    fn event(&mut self, event: Event<'_>) {
        match event {
            Event::Start(tag) => self.start(tag),
            Event::End(tag) => self.finish(tag),
            Event::Text(text) => self.say(&text),
            Event::Html(text) | Event::InlineHtml(text) => self.say(&text),
            Event::Code(code) => {
                self.begin(Style::Code);
                self.say(&code);
                self.close();
            }
            Event::SoftBreak | Event::HardBreak => self.say("\n"),
            Event::Rule => {
                self.say("———");
                self.due = 2;
            }
            _ => {}
        }
    }

    fn start(&mut self, tag: Tag<'_>) {
        match tag {
            Tag::Heading { .. } => {
                self.apart();
                self.begin(Style::Bold);
            }
            Tag::Paragraph | Tag::HtmlBlock => self.apart(),
            Tag::BlockQuote(_) => {
                self.apart();
                self.begin(Style::Quote);
                self.quote = self.text.len();
            }
            Tag::CodeBlock(kind) => {
                self.apart();
                let language = match kind {
                    CodeBlockKind::Fenced(language) => language.to_string(),
                    CodeBlockKind::Indented => String::new(),
                };
                self.begin(Style::Pre(language));
            }
            Tag::List(first) => {
                if self.lists.is_empty() {
                    self.apart();
                } else {
                    self.due = self.due.max(1);
                }
                self.lists.push(first);
            }
            Tag::Item => {
                if !self.text.is_empty() {
                    self.due = self.due.max(1);
                }
                let depth = self.lists.len().saturating_sub(1);
                let sign = match self.lists.last_mut() {
                    Some(Some(number)) => {
                        let sign = format!("{number}. ");
                        *number += 1;
                        sign
                    }
                    _ => "• ".to_owned(),
                };
                self.say(&format!("{}{sign}", "  ".repeat(depth)));
            }
            Tag::Emphasis => self.begin(Style::Italic),
            Tag::Strong => self.begin(Style::Bold),
            Tag::Strikethrough => self.begin(Style::Strike),
            Tag::Link { dest_url, .. } | Tag::Image { dest_url, .. } => {
                self.begin(Style::Link(dest_url.to_string()));
            }
            _ => {}
        }
    }

    fn finish(&mut self, tag: TagEnd) {
        match tag {
            TagEnd::Heading(_) | TagEnd::BlockQuote(_) | TagEnd::CodeBlock => {
                // A code block ends with a line feed of its own.
                while self.text.ends_with('\n') {
                    self.text.pop();
                }
                self.close();
                self.due = 2;
            }
            TagEnd::Paragraph | TagEnd::HtmlBlock => self.due = 2,
            TagEnd::List(_) => {
                self.lists.pop();
                self.due = if self.lists.is_empty() { 2 } else { 1 };
            }
            TagEnd::Item => self.due = 1,
            TagEnd::Emphasis
            | TagEnd::Strong
            | TagEnd::Strikethrough
            | TagEnd::Link
            | TagEnd::Image => self.close(),
            _ => {}
        }
    }

    /// A block stands apart from what was before it; not from its list's sign, or from the
    /// start of its quote.
    fn apart(&mut self) {
        if self.lists.is_empty() && self.text.len() > self.quote {
            self.due = self.due.max(2);
        }
    }

    fn say(&mut self, text: &str) {
        self.break_lines();
        self.text.push_str(text);
    }

    fn break_lines(&mut self) {
        let due = std::mem::take(&mut self.due);
        if !self.text.is_empty() {
            self.text.extend(std::iter::repeat_n('\n', due));
        }
    }

    fn begin(&mut self, style: Style) {
        self.break_lines();
        self.open.push((self.text.len(), style));
    }

    fn close(&mut self) {
        if let Some((start, style)) = self.open.pop() {
            let end = self.text.len();
            self.spans.push(Span { start, end, style });
        }
    }

    fn end(self) -> Styled {
        Styled::new(self.text, self.spans)
    }
}

#[cfg(test)]
mod tests {
    use super::super::styled::to_markup;
    use super::*;

    fn looks(markup: &str) -> (String, Vec<(String, Style)>) {
        let Styled { text, spans } = read(markup);
        let part = |span: Span| (text[span.start..span.end].to_owned(), span.style);
        let looks = spans.into_iter().map(part).collect();
        (text, looks)
    }

    #[test]
    fn what_chats_can_show_is_read() {
        let (text, looks) = looks("**b** *i* _j_ ~~s~~ `c` [l](https://e.org/a_b)\nnext");
        assert_eq!(text, "b i j s c l\nnext");
        let expected = [
            ("b", Style::Bold),
            ("i", Style::Italic),
            ("j", Style::Italic),
            ("s", Style::Strike),
            ("c", Style::Code),
            ("l", Style::Link("https://e.org/a_b".to_owned())),
        ];
        assert_eq!(
            looks,
            expected.map(|(text, style)| (text.to_owned(), style))
        );
    }

    #[test]
    fn blocks_stand_apart() {
        let (text, looks) =
            looks("# Head\none\n\ntwo\n- a\n- b\n  1. c\n\n> said\n\n```rust\nfn x()\n```\nend");
        assert_eq!(
            text,
            "Head\n\none\n\ntwo\n\n• a\n• b\n  1. c\n\nsaid\n\nfn x()\n\nend"
        );
        let expected = [
            ("Head", Style::Bold),
            ("said", Style::Quote),
            ("fn x()", Style::Pre("rust".to_owned())),
        ];
        assert_eq!(
            looks,
            expected.map(|(text, style)| (text.to_owned(), style))
        );
    }

    #[test]
    fn what_is_no_markup_is_text() {
        for text in ["2 * 3 * 4", "a_b_c", "<b>x</b>", "[x]", "**", "`", "#tag"] {
            assert_eq!(looks(text), (text.to_owned(), Vec::new()));
        }
        assert_eq!(looks(r"\*not\* \[a](b)").0, "*not* [a](b)");
    }

    #[test]
    fn what_a_user_wrote_can_be_written_again() {
        for markup in [
            "**b** *i* ~~s~~ `c*d` [l](<https://e.org/a_b>)",
            "1\\. \\*x\\* \\<b\\>",
        ] {
            let styled = read(markup);
            assert_eq!(read(&to_markup(&styled.text, &styled.spans)), styled);
        }
    }

    proptest::proptest! {
        #[test]
        fn any_text_can_be_read_and_any_plain_line_escaped(text in "\\PC{0,80}") {
            read(&text);
            let plain = text.trim();
            proptest::prop_assert_eq!(read(&to_markup(plain, &[])).text, plain);
        }
    }
}
