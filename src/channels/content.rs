//! Makes replies fit a platform: a text that is too long is cut into several messages; what
//! cannot be cut is refused with a reason.
//!
//! Called by the channels' `plan`, so before the commit: each part has its own row in the
//! outbox. Lengths are in UTF-16 code units: no platform counts a text as longer, so what fits
//! here fits there.

use crate::author::message::Reply;

/// Bytes of a picture's address. The strictest platform takes 2000.
const MAX_ADDRESS: usize = 2000;

/// What a platform takes in one message.
pub(super) struct Limits {
    /// Its name, for the reason of a refusal.
    pub(super) platform: &'static str,
    /// Units of a text; a longer one becomes several messages.
    pub(super) text: usize,
    /// Units of a picture's text; the rest follows in messages of its own. 0 where
    /// pictures have none.
    pub(super) caption: usize,
    /// Buttons of a message; more are refused.
    pub(super) buttons: usize,
    /// Units of a button's label; a longer one is cut short.
    pub(super) label: usize,
    /// Bytes of a button's data; more are refused.
    pub(super) data: usize,
}

/// The messages that these replies become, in order.
///
/// # Errors
/// What the platform would never take, in a sentence for the bot's author.
pub(super) fn fit(replies: &[Reply], limits: &Limits) -> Result<Vec<Reply>, String> {
    let mut messages = Vec::with_capacity(replies.len());
    for (index, reply) in replies.iter().enumerate() {
        let refuse = |why: String| format!("reply {}: {why}", index + 1);
        if is_blank(&reply.text) && reply.picture.is_none() {
            tracing::warn!("{}: an empty reply is not sent", limits.platform);
            continue;
        }
        check(reply, limits).map_err(refuse)?;
        split(reply, limits, &mut messages);
    }
    Ok(messages)
}

fn check(reply: &Reply, limits: &Limits) -> Result<(), String> {
    let platform = limits.platform;
    if let Some(address) = &reply.picture
        && (address.is_empty() || address.len() > MAX_ADDRESS)
    {
        let length = address.len();
        return Err(format!(
            "a picture's address has 1 to {MAX_ADDRESS} bytes, not {length}"
        ));
    }
    if reply.buttons.len() > limits.buttons {
        let (given, most) = (reply.buttons.len(), limits.buttons);
        return Err(format!("{given} buttons; {platform} takes {most}"));
    }
    for button in &reply.buttons {
        let (length, most) = (button.data.len(), limits.data);
        if button.label.is_empty() || length == 0 {
            return Err("a button needs a label and data".to_owned());
        }
        if length > most {
            return Err(format!(
                "the data of button {:?} has {length} bytes; {platform} takes {most}",
                button.label
            ));
        }
    }
    Ok(())
}

/// The picture goes with the first part, the buttons with the last.
fn split(reply: &Reply, limits: &Limits, messages: &mut Vec<Reply>) {
    let mut rest = reply.text.as_str();
    let mut picture = reply.picture.clone();
    loop {
        let limit = if picture.is_some() {
            limits.caption
        } else {
            limits.text
        };
        let part;
        (part, rest) = cut(rest, limit);
        // No platform takes a message of nothing but blanks.
        if picture.is_some() || !is_blank(part) {
            messages.push(Reply {
                text: part.to_owned(),
                picture: picture.take(),
                buttons: Vec::new(),
            });
        }
        if rest.is_empty() {
            break;
        }
    }
    if let Some(last) = messages.last_mut() {
        last.buttons.clone_from(&reply.buttons);
        for button in &mut last.buttons {
            button.label = shorten(&button.label, limits.label);
        }
    }
}

/// Whether nobody would see anything of a text: platforms refuse it as empty.
fn is_blank(text: &str) -> bool {
    let is_unseen = |c: char| {
        c.is_whitespace()
            || c.is_control()
            // Marks that have no width, and signs that are drawn as nothing.
            || matches!(
                c,
                '\u{00ad}' | '\u{180e}' | '\u{200b}'..='\u{200f}' | '\u{202a}'..='\u{202e}'
                    | '\u{2060}'..='\u{206f}' | '\u{2800}' | '\u{3164}' | '\u{feff}'
                    | '\u{fffc}'
            )
    };
    text.chars().all(is_unseen)
}

/// The first part of a text, and the rest: cut at the last line or word that ends in
/// the second half of what fits, else in a word, never in a character.
fn cut(text: &str, limit: usize) -> (&str, &str) {
    let end = fitting(text, limit);
    if end == text.len() {
        return (text, "");
    }
    let (fits, rest) = text.split_at(end);
    // A break right behind what fits is as good.
    if rest.starts_with(['\n', ' ']) {
        return (fits, &rest[1..]);
    }
    let good = |at: &usize| *at > end / 2;
    let newline = fits.rfind('\n').filter(good);
    match newline.or_else(|| fits.rfind(' ').filter(good)) {
        Some(at) => (&text[..at], &text[at + 1..]),
        None => (fits, rest),
    }
}

/// Bytes of the longest start of a text that has at most `limit` units.
fn fitting(text: &str, limit: usize) -> usize {
    if text.len() <= limit {
        return text.len();
    }
    let mut units = 0;
    for (at, character) in text.char_indices() {
        units += character.len_utf16();
        if units > limit {
            return at;
        }
    }
    text.len()
}

fn shorten(label: &str, limit: usize) -> String {
    if fitting(label, limit) == label.len() {
        return label.to_owned();
    }
    format!("{}…", &label[..fitting(label, limit - 1)])
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMITS: Limits = Limits {
        platform: "Test",
        text: 10,
        caption: 4,
        buttons: 2,
        label: 5,
        data: 8,
    };

    fn texts(reply: Reply) -> Vec<String> {
        let messages = fit(&[reply], &LIMITS).unwrap();
        messages.into_iter().map(|message| message.text).collect()
    }

    #[test]
    fn texts_are_cut_where_it_hurts_least() {
        assert_eq!(texts("0123456789".into()), ["0123456789"]);
        assert_eq!(texts("0123456789a".into()), ["0123456789", "a"]);
        assert_eq!(texts("one two three".into()), ["one two", "three"]);
        assert_eq!(texts("one two 34 five".into()), ["one two 34", "five"]);
        assert_eq!(texts("a line\nmore text".into()), ["a line", "more text"]);
        assert_eq!(texts("a bcdefghijklm".into()), ["a bcdefghi", "jklm"]);
        // Two units each.
        assert_eq!(texts("😀😀😀😀😀😀".into()), ["😀😀😀😀😀", "😀"]);
        assert!(texts("".into()).is_empty());
    }

    #[test]
    fn what_nobody_would_see_is_not_sent() {
        for blank in [
            " ",
            "\n\t",
            "\u{a0}\u{2003}",
            "\u{200b}\u{feff}",
            "\u{2800}\u{3000}\0",
        ] {
            assert!(texts(blank.into()).is_empty(), "{blank:?}");
            assert!(texts(Reply::from(blank).button("a", "1")).is_empty());
        }
        assert_eq!(texts(" . ".into()), [" . "]);
        let many = format!("one{}two", " ".repeat(40));
        let sent = texts(many.as_str().into());
        assert!(sent.iter().all(|text| !text.trim().is_empty()), "{sent:?}");
        // The buttons are under what is sent last.
        let ends = fit(
            &[Reply::from("0123456789         ").button("a", "1")],
            &LIMITS,
        )
        .unwrap();
        assert_eq!(ends, [Reply::from("0123456789").button("a", "1")]);
        let picture = Reply::picture("u").caption("   ");
        assert_eq!(
            fit(std::slice::from_ref(&picture), &LIMITS).unwrap(),
            [picture]
        );
    }

    #[test]
    fn the_picture_comes_first_and_the_buttons_last() {
        let reply = Reply::picture("u")
            .caption("abcdefgh")
            .button("yes indeed", "1");
        let messages = fit(&[reply], &LIMITS).unwrap();
        assert_eq!(messages.len(), 2);
        assert_eq!(messages[0], Reply::picture("u").caption("abcd"));
        assert_eq!(messages[1], Reply::from("efgh").button("yes …", "1"));
        let no_caption = Limits {
            caption: 0,
            ..LIMITS
        };
        let bare = fit(&[Reply::picture("u")], &no_caption).unwrap();
        assert_eq!(bare, [Reply::picture("u")]);
        let two = fit(&[Reply::picture("u").caption("hi")], &no_caption).unwrap();
        assert_eq!(two, [Reply::picture("u"), "hi".into()]);
    }

    #[test]
    fn what_cannot_be_cut_is_refused_by_name() {
        let refused = |reply: Reply| fit(&["ok".into(), reply], &LIMITS).unwrap_err();
        let many = Reply::from("x")
            .button("a", "1")
            .button("b", "2")
            .button("c", "3");
        assert_eq!(refused(many), "reply 2: 3 buttons; Test takes 2");
        let long = refused(Reply::from("x").button("a", "123456789"));
        assert!(long.contains("\"a\" has 9 bytes; Test takes 8"), "{long}");
        assert!(refused(Reply::from("x").button("", "1")).contains("label"));
        assert!(refused(Reply::picture("")).contains("address"));
    }
}
