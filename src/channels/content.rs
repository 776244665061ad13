//! Makes replies fit a platform: a text that is too long is cut into several messages; what
//! cannot be cut is refused with a reason.
//!
//! Called by the channels' `fit`, so before the commit: each part has its own row in the
//! outbox. Lengths are in UTF-16 code units: no platform counts a text as longer, so what fits
//! here fits there. What comes out has plain texts with spans, whatever the author wrote.

use crate::author::message::{Attachment, FileKind, MAX_BYTES, Press, Reply, Source, Styled};
use crate::author::turn::MAX_REPLIES;

/// Bytes of an address. The strictest platform takes 2000.
const MAX_ADDRESS: usize = 2000;

/// What a platform shows of a text's formatting.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Formatting {
    /// Spans of the text.
    Spans,
    /// Nothing: addresses stand behind what links to them.
    None,
}

/// What a platform takes in one message.
pub(super) struct Limits {
    /// Its name, for the reason of a refusal.
    pub(super) platform: &'static str,
    /// Units of a text; a longer one becomes several messages.
    pub(super) text: usize,
    /// Units of a file's text; the rest follows in messages of its own. 0 where
    /// files have none.
    pub(super) caption: usize,
    /// Buttons of a message; more are refused.
    pub(super) buttons: usize,
    /// Units of a button's label; a longer one is cut short.
    pub(super) label: usize,
    /// Bytes of a button's data; more are refused.
    pub(super) data: usize,
    /// Files of one message: an album. 1 where there are none: then each is a message.
    pub(super) album: usize,
    /// Whether an album has buttons of its own. Else its text, in a message behind it, has.
    pub(super) album_buttons: bool,
    /// Whether a button under a message can say its label.
    pub(super) says: bool,
    /// What it shows of a text's formatting.
    pub(super) formatting: Formatting,
    /// Spans of one message; a text with more becomes several messages.
    pub(super) spans: usize,
    /// Whether two files can be in one album.
    pub(super) mixes: fn(FileKind, FileKind) -> bool,
    /// Whether a file of this kind can have a text. Else the text follows.
    pub(super) captions: fn(FileKind) -> bool,
}

/// Where all files are alike: [`Limits::mixes`] and [`Limits::captions`].
impl Limits {
    /// All kinds can be in one album.
    pub(super) fn mixes_all(_: FileKind, _: FileKind) -> bool {
        true
    }

    /// All kinds can have a text.
    pub(super) fn captions_all(_: FileKind) -> bool {
        true
    }
}

/// The messages that this reply becomes, in order.
///
/// # Errors
/// What the platform would never take, in a sentence for the bot's author.
pub(super) fn fit(reply: &Reply, limits: &Limits) -> Result<Vec<Reply>, String> {
    let mut styled = reply.styled()?;
    if limits.formatting == Formatting::None {
        styled = Styled::new(styled.to_plain(), Vec::new());
    }
    if is_blank(&styled.text) && !reply.has_content() {
        tracing::warn!("{}: an empty reply is not sent", limits.platform);
        return Ok(Vec::new());
    }
    check(reply, limits)?;
    split(reply, styled, limits)
}

fn check(reply: &Reply, limits: &Limits) -> Result<(), String> {
    let platform = limits.platform;
    for file in &reply.files {
        check_file(file)?;
    }
    let buttons: usize = reply.buttons.iter().map(Vec::len).sum();
    if buttons > limits.buttons {
        let most = limits.buttons;
        return Err(format!("{buttons} buttons; {platform} takes {most}"));
    }
    for button in reply.buttons.iter().flatten() {
        let (what, value) = match &button.press {
            Press::Data(data) => ("data", data.as_str()),
            Press::Link(url) | Press::WebApp(url) => ("an address", url.as_str()),
            Press::Phone(number) => ("a number", number.as_str()),
            Press::Request(_) => ("a request", "asked"),
            Press::Say if limits.says => ("a label", button.label.as_str()),
            Press::Say => ("data", ""),
        };
        if button.label.is_empty() || value.is_empty() {
            return Err(format!("a button needs a label and {what}"));
        }
        let (length, most) = (value.len(), limits.data);
        if let Press::Data(_) = button.press
            && length > most
        {
            return Err(format!(
                "the data of button {:?} has {length} bytes; {platform} takes {most}",
                button.label
            ));
        }
    }
    Ok(())
}

fn check_file(file: &Attachment) -> Result<(), String> {
    let kind = file.kind.name();
    match &file.source {
        Source::Url(from) | Source::Id(from) if from.is_empty() || from.len() > MAX_ADDRESS => {
            let length = from.len();
            Err(format!(
                "the address of a {kind} has 1 to {MAX_ADDRESS} bytes, not {length}"
            ))
        }
        Source::Path(path) if !path.starts_with('/') => Err(format!(
            "the path of a {kind} must be absolute, not {path:?}"
        )),
        Source::Base64(bytes) if bytes.len() > MAX_BYTES.div_ceil(3) * 4 => Err(format!(
            "a {kind} within a reply has at most {MAX_BYTES} bytes; give larger ones by their path"
        )),
        Source::Base64(_) if file.name.is_none() => {
            Err(format!("a {kind} within a reply needs a name"))
        }
        _ => Ok(()),
    }
}

/// Files, place and contact come first, the buttons and the name go with the last message.
fn split(reply: &Reply, styled: Styled, limits: &Limits) -> Result<Vec<Reply>, String> {
    // Each part is cut off what is left: too many are refused before.
    if styled.text.len() / 4 > limits.text.saturating_mul(MAX_REPLIES) {
        return Err(format!("a text of more than {MAX_REPLIES} messages"));
    }
    let mut messages = Vec::new();
    let mut rest = Some(styled).filter(|styled| !is_blank(&styled.text));
    let message = || Reply {
        silent: reply.silent,
        no_preview: reply.no_preview,
        protected: reply.protected,
        ..Reply::default()
    };
    let has_markup = !reply.buttons.is_empty() || reply.keyboard.is_some();
    for files in albums(&reply.files, limits) {
        let mut one = Reply {
            files: files.to_vec(),
            ..message()
        };
        // Buttons have no place under an album: its text carries them.
        let is_bare = files.len() > 1 && has_markup && !limits.album_buttons;
        let has_caption = limits.caption > 0
            && files
                .first()
                .is_some_and(|file| (limits.captions)(file.kind));
        if let Some(text) = rest.take_if(|_| has_caption && !is_bare) {
            let (part, left) = cut(text, limits.caption, limits.spans);
            one.text = part.text;
            one.spans = part.spans;
            rest = Some(left).filter(|left| !left.text.is_empty());
        }
        messages.push(one);
    }
    if reply.location.is_some() {
        messages.push(Reply {
            location: reply.location.clone(),
            ..message()
        });
    }
    if reply.contact.is_some() {
        messages.push(Reply {
            contact: reply.contact.clone(),
            ..message()
        });
    }
    while let Some(text) = rest {
        let (part, left) = cut(text, limits.text, limits.spans);
        // No platform takes a message of nothing but blanks.
        if !is_blank(&part.text) {
            messages.push(Reply {
                text: part.text,
                spans: part.spans,
                ..message()
            });
        }
        rest = Some(left).filter(|left| !left.text.is_empty());
    }
    if let Some(first) = messages.first_mut() {
        first.quote.clone_from(&reply.quote);
    }
    if let Some(last) = messages.last_mut() {
        if last.files.len() > 1 && has_markup && !limits.album_buttons {
            return Err("an album has no buttons; give it a text, which carries them".to_owned());
        }
        last.buttons.clone_from(&reply.buttons);
        for button in last.buttons.iter_mut().flatten() {
            button.label = shorten(&button.label, limits.label);
        }
        last.keyboard.clone_from(&reply.keyboard);
        last.name.clone_from(&reply.name);
    }
    Ok(messages)
}

/// Whether nobody would see anything of a text: platforms refuse it as empty.
pub(super) fn is_blank(text: &str) -> bool {
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

/// The files of each message: neighbours that can be in one album.
fn albums<'a>(files: &'a [Attachment], limits: &Limits) -> impl Iterator<Item = &'a [Attachment]> {
    let (most, mixes) = (limits.album.max(1), limits.mixes);
    let alike = files.chunk_by(move |one, other| mixes(one.kind, other.kind));
    alike.flat_map(move |files| files.chunks(most))
}

/// The first part of a text, and the rest: cut at the last line or word that ends in
/// the second half of what fits, else in a word, never in a character. The part has at most
/// so many units and, the last resort, so many spans.
fn cut(styled: Styled, limit: usize, spans: usize) -> (Styled, Styled) {
    let text = styled.text.as_str();
    let end = fitting(text, limit).min(fitting_spans(&styled, spans));
    if end == text.len() {
        return (styled, Styled::default());
    }
    let (fits, rest) = text.split_at(end);
    // A break right behind what fits is as good.
    let (at, skipped) = if rest.starts_with(['\n', ' ']) {
        (end, 1)
    } else {
        let good = |at: &usize| *at > end / 2;
        let newline = fits.rfind('\n').filter(good);
        match newline.or_else(|| fits.rfind(' ').filter(good)) {
            Some(at) => (at, 1),
            None => (end, 0),
        }
    };
    let (part, rest) = styled.split_at(at);
    (part, rest.without_start(skipped))
}

/// Bytes of a start of a text that has at most `limit` spans, and is not empty.
fn fitting_spans(styled: &Styled, limit: usize) -> usize {
    if styled.spans.len() <= limit {
        return styled.text.len();
    }
    let mut starts: Vec<usize> = styled.spans.iter().map(|span| span.start).collect();
    starts.sort_unstable();
    // More than that at its very start cannot be parted.
    match starts.get(limit) {
        Some(start) if *start > 0 => *start,
        _ => styled.text.len(),
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

pub(super) fn shorten(label: &str, limit: usize) -> String {
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
        album: 2,
        album_buttons: false,
        says: false,
        formatting: Formatting::Spans,
        spans: 3,
        mixes: |one, other| one == other,
        captions: |kind| kind != FileKind::Sticker,
    };

    fn texts(reply: Reply) -> Vec<String> {
        let messages = fit(&reply, &LIMITS).unwrap();
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
            &Reply::from("0123456789         ").button("a", "1"),
            &LIMITS,
        )
        .unwrap();
        assert_eq!(ends, [Reply::from("0123456789").button("a", "1")]);
        let photo = Reply::photo("u").caption("   ");
        assert_eq!(fit(&photo, &LIMITS).unwrap(), [Reply::photo("u")]);
    }

    #[test]
    fn the_picture_comes_first_and_the_buttons_last() {
        let reply = Reply::photo("u")
            .caption("abcdefgh")
            .button("yes indeed", "1");
        let messages = fit(&reply, &LIMITS).unwrap();
        assert_eq!(messages.len(), 2);
        assert_eq!(messages[0], Reply::photo("u").caption("abcd"));
        assert_eq!(messages[1], Reply::from("efgh").button("yes …", "1"));
        let no_caption = Limits {
            caption: 0,
            ..LIMITS
        };
        let bare = fit(&Reply::photo("u"), &no_caption).unwrap();
        assert_eq!(bare, [Reply::photo("u")]);
        let two = fit(&Reply::photo("u").caption("hi"), &no_caption).unwrap();
        assert_eq!(two, [Reply::photo("u"), "hi".into()]);
    }

    #[test]
    fn what_cannot_be_cut_is_refused_by_name() {
        let refused = |reply: Reply| fit(&reply, &LIMITS).unwrap_err();
        let many = Reply::from("x")
            .button("a", "1")
            .button("b", "2")
            .button("c", "3");
        assert_eq!(refused(many), "3 buttons; Test takes 2");
        let long = refused(Reply::from("x").button("a", "123456789"));
        assert!(long.contains("\"a\" has 9 bytes; Test takes 8"), "{long}");
        assert!(refused(Reply::from("x").button("", "1")).contains("label"));
        assert!(refused(Reply::photo("")).contains("address"));
    }
}
