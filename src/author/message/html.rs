//! HTML of replies, as far as chats can show it.
//!
//! `<b>`, `<strong>`, `<i>`, `<em>`, `<u>`, `<ins>`, `<s>`, `<strike>`, `<del>`, `<code>`,
//! `<pre>`, `<a href="…">`, `<blockquote>`, `<tg-spoiler>`, `<br>`; the entities `&lt;`, `&gt;`,
//! `&amp;`, `&quot;`, `&apos;`, `&nbsp;` and numbers. Line breaks are line breaks, as in
//! Telegram's HTML. Anything else is refused by name: shown as text it would look broken to
//! users, left out it would be missed by nobody until then.
//!
//! Called by `reply.rs`.

use super::styled::{Span, Style, Styled};

/// Bytes of an entity, zeros before its number included.
const LONGEST: usize = 16;

/// Reads HTML.
///
/// # Errors
/// What is wrong with it, in a sentence.
pub(crate) fn read(html: &str) -> Result<Styled, String> {
    let mut text = String::with_capacity(html.len());
    let mut spans = Vec::new();
    let mut open: Vec<(String, usize, Style)> = Vec::new();
    let mut rest = html;
    while let Some(at) = rest.find(['<', '&']) {
        text.push_str(&rest[..at]);
        rest = &rest[at..];
        if rest.starts_with('&') {
            let (character, behind) = entity(rest);
            text.push(character);
            rest = behind;
            continue;
        }
        let end = rest
            .find('>')
            .ok_or_else(|| format!("{:?} is no tag of HTML: write &lt; for <", start_of(rest)))?;
        let tag = rest[1..end].trim();
        rest = &rest[end + 1..];
        if let Some(name) = tag.strip_prefix('/') {
            let name = name.trim().to_ascii_lowercase();
            match open.pop() {
                Some((opened, start, style)) if opened == name => {
                    let end = text.len();
                    spans.push(Span { start, end, style });
                }
                Some((opened, ..)) => {
                    return Err(format!("</{name}> ends <{opened}> in HTML"));
                }
                None => return Err(format!("</{name}> ends nothing in HTML")),
            }
            continue;
        }
        let (name, attributes) = tag
            .split_once(char::is_whitespace)
            .unwrap_or((tag.trim_end_matches('/'), ""));
        let name = name.to_ascii_lowercase();
        if name == "br" {
            text.push('\n');
            continue;
        }
        let style = style(&name, attributes)?;
        open.push((name, text.len(), style));
    }
    text.push_str(rest);
    match open.pop() {
        Some((name, ..)) => Err(format!("<{name}> has no end in HTML")),
        None => Ok(Styled::new(text, spans)),
    }
}

fn style(name: &str, attributes: &str) -> Result<Style, String> {
    Ok(match name {
        "b" | "strong" => Style::Bold,
        "i" | "em" => Style::Italic,
        "u" | "ins" => Style::Underline,
        "s" | "strike" | "del" => Style::Strike,
        "tg-spoiler" => Style::Spoiler,
        "code" => Style::Code,
        "pre" => Style::Pre(String::new()),
        "blockquote" => Style::Quote,
        "a" => Style::Link(address(attributes).ok_or("<a> has no href=\"…\" in HTML")?),
        _ => {
            return Err(format!(
                "<{name}> is no tag that chats can show; there are b, i, u, s, code, pre, a, \
                 blockquote, tg-spoiler and br"
            ));
        }
    })
}

/// The value of `href`.
fn address(attributes: &str) -> Option<String> {
    let value = attributes.trim().strip_prefix("href")?.trim_start();
    let value = value.strip_prefix('=')?.trim_start();
    let quote = value.chars().next().filter(|c| matches!(c, '"' | '\''))?;
    let (value, _) = value[1..].split_once(quote)?;
    let mut address = String::new();
    let mut rest = value;
    while let Some(at) = rest.find('&') {
        address.push_str(&rest[..at]);
        let (character, behind) = entity(&rest[at..]);
        address.push(character);
        rest = behind;
    }
    address.push_str(rest);
    Some(address)
}

/// The character that an entity at the start of a text stands for, and what is behind it. An
/// `&` that begins none is itself.
fn entity(text: &str) -> (char, &str) {
    let itself = ('&', &text[1..]);
    // None is longer: a text of nothing but `&` is read in linear time.
    let Some(end) = text.bytes().take(LONGEST).position(|byte| byte == b';') else {
        return itself;
    };
    let (name, behind) = (&text[1..end], &text[end + 1..]);
    let number = |digits: &str, radix| {
        u32::from_str_radix(digits, radix)
            .ok()
            .and_then(char::from_u32)
    };
    let character = match name {
        "lt" => Some('<'),
        "gt" => Some('>'),
        "amp" => Some('&'),
        "quot" => Some('"'),
        "apos" => Some('\''),
        "nbsp" => Some('\u{a0}'),
        _ => name
            .strip_prefix('#')
            .and_then(|digits| match digits.strip_prefix(['x', 'X']) {
                Some(digits) => number(digits, 16),
                None => number(digits, 10),
            }),
    };
    character.map_or(itself, |character| (character, behind))
}

fn start_of(text: &str) -> String {
    text.chars().take(20).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tags_become_spans_and_entities_characters() {
        let styled = read(
            "<b>a <i>b</i></b>&lt;&amp;&#33;<br/><a href=\"https://e.org/?a=1&amp;b\">l</a>&x",
        )
        .unwrap();
        assert_eq!(styled.text, "a b<&!\nl&x");
        let styles: Vec<_> = styled
            .spans
            .iter()
            .map(|s| (s.start, s.end, &s.style))
            .collect();
        assert_eq!(
            styles,
            [
                (2, 3, &Style::Italic),
                (0, 3, &Style::Bold),
                (7, 8, &Style::Link("https://e.org/?a=1&b".to_owned())),
            ]
        );
    }

    #[test]
    fn what_chats_cannot_show_is_refused_by_name() {
        for (html, part) in [
            ("<div>x</div>", "<div>"),
            ("<b>x", "<b> has no end"),
            ("x</b>", "</b> ends nothing"),
            ("<b><i>x</b></i>", "</b> ends <i>"),
            ("<a>x</a>", "href"),
            ("1 < 2", "&lt;"),
        ] {
            let error = read(html).unwrap_err();
            assert!(error.contains(part), "{html}: {error}");
        }
    }

    proptest::proptest! {
        #[test]
        fn no_text_makes_it_panic(text in "[<>&;/a-b\"= é#x0-9]{0,40}") {
            drop(read(&text));
        }
    }
}
