//! Why there is no certificate, in a sentence that says what to do.
//!
//! Made in all files of this folder, written to the log by `mod.rs`.

use std::fmt;
use std::time::Duration;

use instant_acme::Problem;

/// What the ACME server calls its problems (RFC 8555, 6.7).
const KIND: &str = "urn:ietf:params:acme:error:";

/// An attempt that failed.
#[derive(Debug)]
pub(super) struct Failure {
    reason: String,
    /// When the server wants to be asked again, at the earliest.
    pub(super) after: Option<Duration>,
    /// The server does not know the account.
    pub(super) is_stranger: bool,
}

impl Failure {
    pub(super) fn new(reason: impl Into<String>) -> Self {
        Failure {
            reason: reason.into(),
            after: None,
            is_stranger: false,
        }
    }

    /// The server wants to be left alone that long.
    pub(super) fn put_off(mut self, by: Option<Duration>) -> Self {
        self.after = self.after.max(by);
        self
    }

    /// What the library, or our client below it, says. `server` is the ACME server's
    /// directory.
    pub(super) fn of(error: instant_acme::Error, server: &str) -> Self {
        use instant_acme::Error;
        match error {
            Error::Api(problem) => Failure::of_problem(None, &problem),
            Error::Timeout(at) => Failure {
                after: at.map(|at| at.saturating_duration_since(std::time::Instant::now())),
                ..Failure::new(format!("{server} did not decide in time"))
            },
            Error::Json(error) => Failure::new(format!(
                "{server} does not answer as an ACME server does ({error}); is that the address of an ACME directory (--acme-url)?"
            )),
            other => Failure::new(chain(&other)),
        }
    }

    /// What the server says, about one of the names or all of them.
    pub(super) fn of_problem(name: Option<&str>, problem: &Problem) -> Self {
        let kind = problem.r#type.as_deref().unwrap_or_default();
        let kind = kind.strip_prefix(KIND).unwrap_or(kind);
        let mut reason = match name {
            Some(name) => format!("{name}: "),
            None => String::new(),
        };
        let detail = problem.detail.as_deref().unwrap_or("no reason is given");
        reason.push_str(&one_line(detail));
        for sub in &problem.subproblems {
            reason.push_str(&format!(", {}", one_line(&sub.to_string())));
        }
        reason.push_str(&format!(" ({kind})"));
        let advice = match name {
            Some(_) => advice_for_name(kind),
            None => advice(kind),
        };
        if let Some(advice) = advice {
            reason.push_str(&format!("; {advice}"));
        }
        Failure {
            is_stranger: kind == "accountDoesNotExist",
            ..Failure::new(reason)
        }
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.reason)
    }
}

/// What to do about a check of a name, where it is known. Servers do not agree on what
/// they call a port that nobody answers at.
fn advice_for_name(kind: &str) -> Option<&'static str> {
    Some(match kind {
        "connection" | "unauthorized" | "incorrectResponse" | "tls" => {
            "port 443 of that name must be open to the internet and lead to the port that this bot listens at, all its A and AAAA records to this machine, and nothing may end TLS before the bot"
        }
        _ => return advice(kind),
    })
}

/// What to do about other problems.
fn advice(kind: &str) -> Option<&'static str> {
    Some(match kind {
        "dns" => "the name must have an A or AAAA record, and it must lead to this machine",
        "caa" => "the name's CAA record must allow this ACME server",
        "rateLimited" => {
            "wait; for trials there is https://acme-staging-v02.api.letsencrypt.org/directory (--acme-url)"
        }
        "rejectedIdentifier" | "unsupportedIdentifier" => {
            "this ACME server gives no certificate for that name: correct --tls-domain"
        }
        "invalidContact" | "unsupportedContact" => "correct --acme-contact, or leave it out",
        "externalAccountRequired" => {
            "this ACME server wants an account that is bound to one of its own, which is not supported: choose another with --acme-url"
        }
        "unauthorized" => {
            "should the account have been closed: remove account.json in the ACME directory, and another is made"
        }
        "userActionRequired" => "visit the address that is named there",
        _ => return None,
    })
}

/// Everything that an error is caused by: the last is what helps.
pub(super) fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut next = error.source();
    while let Some(cause) = next {
        let cause_text = cause.to_string();
        if !text.ends_with(&cause_text) {
            text.push_str(&format!(": {cause_text}"));
        }
        next = cause.source();
    }
    one_line(&text)
}

/// What others wrote belongs on one line of the log, and not all of it.
fn one_line(text: &str) -> String {
    const MOST: usize = 500;
    let clean = text.chars().map(|c| if c.is_control() { ' ' } else { c });
    clean.take(MOST).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_problem_is_told_with_its_remedy() {
        let problem = |json: &str| serde_json::from_str::<Problem>(json).unwrap();
        let closed = problem(
            r#"{"type":"urn:ietf:params:acme:error:connection","detail":"refused\nby peer"}"#,
        );
        let told = Failure::of_problem(Some("bot.example.org"), &closed).to_string();
        assert!(told.starts_with("bot.example.org: refused by peer (connection); port 443"));
        let strange = problem(r#"{"type":"urn:ietf:params:acme:error:accountDoesNotExist"}"#);
        assert!(Failure::of_problem(None, &strange).is_stranger);
        let other = problem(r#"{"type":"about:blank","detail":"tea"}"#);
        assert_eq!(
            Failure::of_problem(None, &other).to_string(),
            "tea (about:blank)"
        );
    }
}
