//! [`Called`]: what a turn of [`Kind::Callback`](super::Kind::Callback) is about; [`Token`]: the
//! secret of a callback; [`NewCallback`]: what a turn opens.
//!
//! `turn/calling.rs` does it with the turn's commit. Invariant: a token is shown nowhere but in the
//! address that the author is given.

use std::fmt;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use ring::rand::{SecureRandom, SystemRandom};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use super::content::Sender;
use super::timer::Delay;

/// Somebody came with a callback's address, or pressed a button of a question.
///
/// ```
/// use turnkey::Turn;
///
/// async fn handle(turn: &mut Turn<()>) -> turnkey::Result<()> {
///     let Some(called) = turn.called() else { return Ok(()) };
///     match (called.name.as_str(), called.button.as_deref()) {
///         ("paid", _) => turn.reply(format!("{} euros are here.", called.body["eur"])),
///         ("let in", Some("yes")) => turn.reply("You are in."),
///         _ => turn.reply("Sorry, no."),
///     }
///     Ok(())
/// }
/// # turnkey::App::new(handle);
/// ```
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Called {
    /// The name that it was opened under.
    pub name: String,
    /// When: milliseconds since 1970.
    pub at: i64,
    /// What was posted: the JSON, if it is JSON; else the text; an object with its `base64`, if it
    /// is no text. Null if nothing was, or a button was pressed.
    #[serde(default)]
    pub body: serde_json::Value,
    /// Of what sort the body is, as whoever posted it says: its `Content-Type`; may be empty.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub media_type: String,
    /// The data of the button that was pressed; none if it was an address.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub button: Option<String>,
    /// Who pressed it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub by: Option<Presser>,
}

impl Called {
    pub(crate) fn new(name: impl Into<String>, at: i64) -> Self {
        Called {
            name: name.into(),
            at,
            body: serde_json::Value::Null,
            media_type: String::new(),
            button: None,
            by: None,
        }
    }
}

/// Who pressed a button of a question.
///
/// ```
/// use turnkey::Turn;
///
/// async fn handle(turn: &mut Turn<()>) -> turnkey::Result<()> {
///     if let Some(by) = turn.called().and_then(|called| called.by) {
///         let name = by.sender.map(|sender| sender.name).unwrap_or_default();
///         turn.reply(format!("{name} has agreed."));
///         turn.send_to(by.channel, by.dialog, "I have told them.");
///     }
///     Ok(())
/// }
/// # turnkey::App::new(handle);
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Presser {
    /// On which channel.
    pub channel: String,
    /// In which dialog: `Turn::send_to` takes it.
    pub dialog: String,
    /// The user, as the channel names them.
    pub user: String,
    /// Name and user name, as far as the platform tells.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sender: Option<Sender>,
}

impl Presser {
    pub(crate) fn of(update: &super::Update) -> Self {
        Presser {
            channel: update.dialog.channel.clone(),
            dialog: update.dialog.user_id.clone(),
            user: update.user_id().to_owned(),
            sender: update.sender.clone(),
        }
    }
}

/// The secret of a callback: whoever has it may start the turn.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct Token(String);

/// Who a token is for: one for an address is none for a button.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Use {
    /// It stands in an address, which others post to.
    Address,
    /// It stands in the data of buttons, which people press.
    Button,
}

/// Characters of a token.
const SHORTEST: usize = 22;
const LONGEST: usize = 64;

impl Token {
    /// A new one, which nobody can guess: `bytes` of the system's randomness.
    ///
    /// # Errors
    /// The system has none.
    fn random<const BYTES: usize>() -> Result<Self, String> {
        let mut bytes = [0; BYTES];
        let filled = SystemRandom::new().fill(&mut bytes);
        filled.map_err(|_| "the system gives no random numbers".to_owned())?;
        Ok(Token(URL_SAFE_NO_PAD.encode(bytes)))
    }

    /// One for an address: 192 bits.
    ///
    /// # Errors
    /// As [`Token::random`].
    pub(crate) fn for_address() -> Result<Self, String> {
        Token::random::<24>()
    }

    /// One for buttons: 128 bits, since the data of a button is short.
    ///
    /// # Errors
    /// As [`Token::random`].
    pub(crate) fn for_buttons() -> Result<Self, String> {
        Token::random::<16>()
    }

    /// One that somebody brings; none if it cannot be one.
    pub(crate) fn read(text: &str) -> Option<Self> {
        let is_one = |c: u8| c.is_ascii_alphanumeric() || c == b'-' || c == b'_';
        let fits = (SHORTEST..=LONGEST).contains(&text.len()) && text.bytes().all(is_one);
        fits.then(|| Token(text.to_owned()))
    }

    /// The secret itself, for whoever is given it.
    pub(crate) fn secret(&self) -> &str {
        &self.0
    }

    /// What the database has of it: from this nobody gets back to the token.
    pub(crate) fn hash(&self, of: Use) -> String {
        let of = match of {
            Use::Address => "address:",
            Use::Button => "button:",
        };
        hex::encode(Sha256::digest(format!("{of}{}", self.0)))
    }
}

impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Token(…)")
    }
}

/// What a turn opens.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct NewCallback {
    pub(crate) name: String,
    pub(crate) token: Token,
    /// For how long; the usual time if it is left out.
    pub(crate) valid: Option<Delay>,
}

/// The address that a callback is posted to. `base` ends in a slash.
pub(crate) fn address(base: &str, token: &Token) -> String {
    format!("{base}{}", token.secret())
}

/// Where the addresses of callbacks begin, under the bot's own address.
pub(crate) fn base(public_url: &str) -> String {
    format!("{}{PATH}", public_url.trim_end_matches('/'))
}

/// Where their paths begin.
pub(crate) const PATH: &str = "/callback/";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_two_tokens_are_the_same_and_none_is_shown() {
        let (a, b) = (Token::for_address().unwrap(), Token::for_address().unwrap());
        assert_ne!(a, b);
        assert_ne!(a.hash(Use::Address), b.hash(Use::Address));
        assert_ne!(a.hash(Use::Address), a.hash(Use::Button));
        assert_eq!(Token::read(a.secret()), Some(a.clone()));
        assert!(!format!("{a:?}").contains(a.secret()));
        assert!(!a.hash(Use::Address).contains(a.secret()));
        assert_eq!((a.secret().len(), a.hash(Use::Button).len()), (32, 64));
        assert_eq!(Token::for_buttons().unwrap().secret().len(), SHORTEST);
    }

    #[test]
    fn what_is_no_token_is_not_looked_up() {
        let long = "a".repeat(65);
        for text in [
            "",
            "short",
            "with/a/slash/in/it/somewhere",
            "ä234567890123456789012",
            &long,
        ] {
            assert_eq!(Token::read(text), None, "{text}");
        }
    }

    #[test]
    fn an_address_stands_under_the_bots_own() {
        let token = Token::for_address().unwrap();
        for url in ["https://bot.example", "https://bot.example/"] {
            let address = address(&base(url), &token);
            assert_eq!(
                address,
                format!("https://bot.example/callback/{}", token.secret())
            );
        }
    }
}
