//! Who may ask: the bearer token, and which host names a browser may have used.
//!
//! Called by `routes.rs` for each request before anything else. With a token every request
//! carries it: `Authorization: Bearer TOKEN`, or, for browsers, which ask their user, `Basic`
//! with the token as the password. Without one the address is on this machine only, but a
//! foreign web page can reach it through a browser on this machine, if the page's host name is
//! made to resolve to 127.0.0.1 (DNS rebinding). So the request's host must be a name of this
//! machine. The token is compared in constant time.

use std::net::IpAddr;

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use hyper::header::{AUTHORIZATION, HOST};
use hyper::http::uri::Authority;
use hyper::{HeaderMap, StatusCode};

use crate::channels::same_secret;

/// Why a request is not answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Refused {
    pub(super) status: StatusCode,
    pub(super) reason: &'static str,
}

/// Lets a request in, or not.
pub(super) fn check(
    token: Option<&str>,
    is_unix: bool,
    headers: &HeaderMap,
) -> Result<(), Refused> {
    if let Some(token) = token {
        return match presented(headers) {
            Some(presented) if same_secret(&presented, token.as_bytes()) => Ok(()),
            _ => Err(Refused {
                status: StatusCode::UNAUTHORIZED,
                reason: "send the value of TURNKEY_ADMIN_TOKEN as a bearer token, or as the password of a browser",
            }),
        };
    }
    if is_unix || is_this_machine(headers) {
        return Ok(());
    }
    Err(Refused {
        status: StatusCode::MISDIRECTED_REQUEST,
        reason: "ask for localhost or an address such as 127.0.0.1; other names need TURNKEY_ADMIN_TOKEN",
    })
}

/// The token that a request carries.
fn presented(headers: &HeaderMap) -> Option<Vec<u8>> {
    let value = headers.get(AUTHORIZATION)?.to_str().ok()?;
    let (scheme, rest) = value.split_once(' ')?;
    if scheme.eq_ignore_ascii_case("bearer") {
        return Some(rest.trim().as_bytes().to_vec());
    }
    if scheme.eq_ignore_ascii_case("basic") {
        let pair = BASE64_STANDARD.decode(rest.trim()).ok()?;
        let colon = pair.iter().position(|byte| *byte == b':')?;
        return Some(pair[colon + 1..].to_vec());
    }
    None
}

/// The host is named as only this machine is. A program that names none is no browser.
fn is_this_machine(headers: &HeaderMap) -> bool {
    let mut hosts = headers.get_all(HOST).iter();
    let Some(host) = hosts.next() else {
        return true;
    };
    let authority = host
        .to_str()
        .ok()
        .and_then(|text| text.parse::<Authority>().ok());
    let Some(authority) = authority.filter(|_| hosts.next().is_none()) else {
        return false;
    };
    let host = authority.host().trim_matches(['[', ']']);
    host.eq_ignore_ascii_case("localhost")
        || host
            .parse::<IpAddr>()
            .is_ok_and(|address| address.is_loopback())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn with(name: &'static str, value: &str) -> HeaderMap {
        let mut headers = HeaderMap::new();
        headers.insert(name, value.parse().unwrap());
        headers
    }

    #[test]
    fn without_a_token_the_host_must_be_this_machine() {
        for host in [
            "localhost",
            "LOCALHOST:8081",
            "127.0.0.1:81",
            "127.8.8.8",
            "[::1]:8081",
        ] {
            assert_eq!(check(None, false, &with("host", host)), Ok(()), "{host}");
        }
        for host in [
            "evil.example",
            "localhost.evil.example:8081",
            "10.0.0.1",
            "127.0.0.1.evil.example",
            "[::2]",
            "a b",
        ] {
            let refused = check(None, false, &with("host", host)).unwrap_err();
            assert_eq!(refused.status.as_u16(), 421, "{host}");
            assert_eq!(check(None, true, &with("host", host)), Ok(()), "{host}");
        }
        let mut two = with("host", "localhost");
        two.append("host", "evil.example".parse().unwrap());
        assert!(check(None, false, &two).is_err());
    }

    #[test]
    fn with_a_token_it_is_asked_for() {
        let token = Some("s3cret");
        let ok = |value: &str| check(token, false, &with("authorization", value)).is_ok();
        assert!(ok("Bearer s3cret") && ok("bearer s3cret"));
        assert!(ok("Basic YW55Ym9keTpzM2NyZXQ="), "anybody:s3cret");
        for wrong in [
            "Bearer s3cre",
            "Bearer ",
            "Bearer s3cret2",
            "s3cret",
            "Basic !",
            "Basic czNjcmV0",
            "Digest s3cret",
        ] {
            assert!(!ok(wrong), "{wrong}");
        }
        assert!(
            check(token, true, &HeaderMap::new()).is_err(),
            "a Unix socket too"
        );
    }
}
