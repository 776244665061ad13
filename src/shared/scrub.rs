//! Removes every configured secret from all text that leaves the program, whoever wrote the
//! text.
//!
//! `config/` calls [`learn`] with the secrets, in each process before it serves. Every output
//! calls [`scrub`]: the log, lines for the terminal, panics, stored errors, answers, replies,
//! pages. An author's own client may put the token into its error text, in a URL say; so each
//! secret is searched as it is and as encoded in URLs, JSON and HTML. Bounds: [`SHORTEST`] for
//! what is looked for (a shorter word is no secret, and would be found in our own sentences),
//! [`MOST`] texts. A secret stays one: after a reload the old token may still be valid.

use std::borrow::Cow;
use std::sync::{PoisonError, RwLock};

use aho_corasick::{AhoCorasick, MatchKind};
use percent_encoding::{
    AsciiSet, CONTROLS, NON_ALPHANUMERIC, percent_decode_str, utf8_percent_encode,
};

/// Bytes of a text that is looked for.
const SHORTEST: usize = 8;

/// Bytes, when it is made of small letters only: below that it may be a word.
const SHORTEST_WORD: usize = 12;

/// Texts that are looked for; the first ones stay.
const MOST: usize = 1024;

/// What stands before the token in a callback's address, between two slashes.
const CALLBACK: &[u8] = b"callback";

/// How these are written in an address, and in one that is part of another.
const SLASHES: [&[u8]; 3] = [b"/", b"%2F", b"%2f"];

/// Characters of such a token.
const SHORTEST_TOKEN: usize = 16;

/// What stands in place of a secret.
const INSTEAD: &str = "(secret)";

/// What clients escape in a query, in a path, and in a user's name or password
/// (<https://url.spec.whatwg.org/#percent-encoded-bytes>).
const QUERY: &AsciiSet = &CONTROLS.add(b' ').add(b'"').add(b'#').add(b'<').add(b'>');
const PATH: &AsciiSet = &QUERY.add(b'?').add(b'`').add(b'{').add(b'}');
const USER: &AsciiSet = &PATH
    .add(b'/')
    .add(b':')
    .add(b';')
    .add(b'=')
    .add(b'@')
    .add(b'[')
    .add(b'\\')
    .add(b']')
    .add(b'^')
    .add(b'|');
/// All but what RFC 3986 calls unreserved.
const ALL: &AsciiSet = &NON_ALPHANUMERIC
    .remove(b'-')
    .remove(b'.')
    .remove(b'_')
    .remove(b'~');

static KNOWN: RwLock<Option<Known>> = RwLock::new(None);

struct Known {
    texts: Vec<String>,
    all: AhoCorasick,
}

impl Known {
    fn new(texts: Vec<String>) -> Option<Self> {
        // Fails with more than 2^31 bytes.
        let all = AhoCorasick::builder()
            .match_kind(MatchKind::LeftmostLongest)
            .build(&texts)
            .ok()?;
        Some(Known { texts, all })
    }

    fn scrub<'a>(&self, bytes: &'a [u8]) -> Cow<'a, [u8]> {
        let mut found = self.all.find_iter(bytes).peekable();
        if found.peek().is_none() {
            return Cow::Borrowed(bytes);
        }
        let mut clean = Vec::with_capacity(bytes.len());
        let mut from = 0;
        for secret in found {
            clean.extend_from_slice(&bytes[from..secret.start()]);
            clean.extend_from_slice(INSTEAD.as_bytes());
            from = secret.end();
        }
        clean.extend_from_slice(&bytes[from..]);
        Cow::Owned(clean)
    }
}

/// From now on these are secrets.
pub(crate) fn learn<'a>(secrets: impl IntoIterator<Item = &'a str>) {
    let mut known = KNOWN.write().unwrap_or_else(PoisonError::into_inner);
    let mut texts = known
        .as_ref()
        .map_or(Vec::new(), |known| known.texts.clone());
    let before = texts.len();
    for secret in secrets {
        for form in forms(secret) {
            if texts.len() < MOST && is_telling(&form) && !texts.contains(&form) {
                texts.push(form);
            }
        }
    }
    if texts.len() > before
        && let Some(new) = Known::new(texts)
    {
        *known = Some(new);
    }
}

/// As [`learn`], for the password in a database's address, if there is one.
pub(crate) fn learn_address(address: &str) {
    let Some((_, rest)) = address.split_once("://") else {
        return;
    };
    let rest = rest.split(['?', '#']).next().unwrap_or_default();
    // An `@` or `/` that should have been escaped belongs to the password.
    let Some((user, _)) = rest.rsplit_once('@') else {
        return;
    };
    if let Some((_, password)) = user.split_once(':') {
        let decoded = percent_decode_str(password).decode_utf8_lossy();
        learn([password, &decoded]);
    }
}

/// How a secret may stand in a text.
fn forms(secret: &str) -> Vec<String> {
    let mut forms = vec![secret.to_owned()];
    for set in [QUERY, PATH, USER, ALL] {
        let escaped = utf8_percent_encode(secret, set).to_string();
        forms.push(in_small_letters(&escaped));
        forms.push(escaped);
    }
    // As a form has it: a space is a plus.
    let form: String = form_urlencoded::byte_serialize(secret.as_bytes()).collect();
    forms.push(in_small_letters(&form));
    forms.push(form);
    if let Ok(json) = serde_json::to_string(secret) {
        forms.push(json[1..json.len() - 1].to_owned());
    }
    let html = secret
        .replace('&', "&amp;")
        .replace('<', "&lt;")
        .replace('>', "&gt;")
        .replace('"', "&quot;")
        .replace('\'', "&#39;");
    forms.push(html);
    forms
}

/// `%2F` as some write it: `%2f`.
fn in_small_letters(escaped: &str) -> String {
    let mut parts = escaped.split('%');
    let mut text = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        let (code, rest) = part.split_at_checked(2).unwrap_or((part, ""));
        text.push('%');
        text.push_str(&code.to_ascii_lowercase());
        text.push_str(rest);
    }
    text
}

fn is_telling(text: &str) -> bool {
    let is_word = text.bytes().all(|b| b.is_ascii_lowercase());
    text.len() >= if is_word { SHORTEST_WORD } else { SHORTEST }
}

/// The text without secrets.
pub(crate) fn scrub(text: &str) -> Cow<'_, str> {
    match bytes(text.as_bytes()) {
        Cow::Borrowed(_) => Cow::Borrowed(text),
        // Whole texts were replaced by one: it is UTF-8 as it was before.
        Cow::Owned(clean) => Cow::Owned(String::from_utf8_lossy(&clean).into_owned()),
    }
}

/// The same, of bytes that may be text.
pub(crate) fn bytes(bytes: &[u8]) -> Cow<'_, [u8]> {
    match &*KNOWN.read().unwrap_or_else(PoisonError::into_inner) {
        None => Cow::Borrowed(bytes),
        Some(known) => known.scrub(bytes),
    }
}

/// The same, and without the tokens of callbacks' addresses: for all that operators read. Who is
/// replied to may be given such an address.
pub(crate) fn told(text: &str) -> Cow<'_, str> {
    match told_bytes(text.as_bytes()) {
        Cow::Borrowed(_) => Cow::Borrowed(text),
        Cow::Owned(clean) => Cow::Owned(String::from_utf8_lossy(&clean).into_owned()),
    }
}

/// The same, of bytes that may be text.
pub(crate) fn told_bytes(all: &[u8]) -> Cow<'_, [u8]> {
    let clean = bytes(all);
    match without_tokens(&clean) {
        Some(cleaner) => Cow::Owned(cleaner),
        None => clean,
    }
}

/// None: there was no token.
fn without_tokens(bytes: &[u8]) -> Option<Vec<u8>> {
    let mut clean = Vec::new();
    let mut rest = bytes;
    while let Some(at) = rest.windows(CALLBACK.len()).position(|w| w == CALLBACK) {
        let (before, after) = rest.split_at(at + CALLBACK.len());
        let stands_between = |s: &&&[u8]| rest[..at].ends_with(s) && after.starts_with(s);
        let slash = SLASHES.iter().find(stands_between);
        let (before, after) = rest.split_at(before.len() + slash.map_or(0, |slash| slash.len()));
        let is_token = |b: &u8| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_');
        let length = after.iter().take_while(|b| is_token(b)).count();
        clean.extend_from_slice(before);
        rest = &after[length..];
        match slash.is_some() && length >= SHORTEST_TOKEN {
            true => clean.extend_from_slice(INSTEAD.as_bytes()),
            false => clean.extend_from_slice(&after[..length]),
        }
    }
    (!clean.is_empty()).then(|| {
        clean.extend_from_slice(rest);
        clean
    })
}

/// The same, of bytes that are kept.
pub(crate) fn owned(all: Vec<u8>) -> Vec<u8> {
    match bytes(&all) {
        Cow::Borrowed(_) => all,
        Cow::Owned(clean) => clean,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn known(secret: &str) -> Known {
        let texts = forms(secret).into_iter().filter(|form| is_telling(form));
        Known::new(texts.collect()).unwrap()
    }

    fn without(secret: &str, text: &str) -> String {
        String::from_utf8(known(secret).scrub(text.as_bytes()).into_owned()).unwrap()
    }

    #[test]
    fn a_secret_is_found_however_it_is_written() {
        let secret = "12:a/b c+d\"é&<'%";
        let url = "https://api.example.org/";
        for written in [
            secret.to_owned(),
            format!("{url}bot{secret}/x"),
            // As curl's, reqwest's and a browser's query, path and form have it.
            format!("{url}?t=12:a/b%20c+d%22%C3%A9&%3C'%"),
            format!("{url}12:a/b%20c+d%22%C3%A9&%3C'%/x"),
            format!("{url}?t=12%3Aa%2Fb%20c%2Bd%22%C3%A9%26%3C%27%25"),
            format!("{url}?t=12%3aa%2fb%20c%2bd%22%c3%a9%26%3c%27%25"),
            format!("{url}?t=12%3Aa%2Fb+c%2Bd%22%C3%A9%26%3C%27%25"),
            serde_json::to_string(secret).unwrap(),
            format!("{secret:?}"),
            "<p>12:a/b c+d&quot;é&amp;&lt;&#39;%</p>".to_owned(),
        ] {
            let clean = without(secret, &written);
            assert!(clean.contains(INSTEAD), "{written}");
            assert!(!clean.contains("b c") && !clean.contains("%22"), "{clean}");
        }
        assert_eq!(without(secret, "nothing 12:a/b"), "nothing 12:a/b");
        assert_eq!(
            without("abcdefg7", "abcdefg7abcdefg7."),
            "(secret)(secret)."
        );
    }

    #[test]
    fn no_token_of_a_callback_is_told() {
        let token = "abcdefghij-_ABCDEFGHIJ0123456789";
        for (text, expected) in [
            (
                format!("POST /callback/{token} for 8 s"),
                "POST /callback/(secret) for 8 s",
            ),
            (
                format!("a/callback/{token},/callback/{token}"),
                "a/callback/(secret),/callback/(secret)",
            ),
            (
                format!("https://pay.example/?notify=https%3A%2F%2Fbot%2Fcallback%2F{token}&a=1"),
                "https://pay.example/?notify=https%3A%2F%2Fbot%2Fcallback%2F(secret)&a=1",
            ),
            (
                "callback callback/abcdefghij-_ABCDEFGHIJ".to_owned(),
                "callback callback/abcdefghij-_ABCDEFGHIJ",
            ),
            (
                "/callback/ and /callback/x".to_owned(),
                "/callback/ and /callback/x",
            ),
            ("nothing".to_owned(), "nothing"),
        ] {
            assert_eq!(told(&text), expected);
        }
        let reply = format!("https://bot.example/callback/{token}");
        assert_eq!(scrub(&reply), reply);
    }

    #[test]
    fn short_words_are_left_alone() {
        for short in ["", "s3cret", "password", "turnkey", "postgres"] {
            let text = format!("{short} postgres://turnkey");
            assert_eq!(without(short, &text), text);
        }
        assert_eq!(without("correcthorse", "correcthorse"), INSTEAD);
        assert_eq!(without("passw0rd", "passw0rd"), INSTEAD);
    }

    #[test]
    fn passwords_of_addresses_are_learned() {
        learn_address("postgres://bot:Zq9%40kl%2Fmn@db/bot?sslmode=require");
        learn_address("mysql://bot:Odd@One/Two3@db/bot");
        learn_address("sqlite:bot.db");
        learn_address("postgres://bot@db/bot");
        let said = scrub("no: Zq9@kl/mn, Zq9%40kl%2Fmn, Odd@One/Two3, bot@db/bot");
        assert_eq!(said, "no: (secret), (secret), (secret), bot@db/bot");
    }
}
