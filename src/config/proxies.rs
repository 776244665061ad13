//! The proxies that calls to the platforms go through.
//!
//! Read by `validate/` from `--platform-proxy`, else from the variables that most
//! programs know: `HTTPS_PROXY` for `https://` addresses, `ALL_PROXY` for all; `NO_PROXY`
//! names those that are reached directly (lower case, too). Used by `outgoing/`. Invariant:
//! user and password are in no error and no log, and the password is taken
//! out of what others write (`shared/scrub.rs`).

use std::fmt;
use std::net::IpAddr;
use std::sync::Arc;

use hyper::Uri;
use percent_encoding::percent_decode_str;

use super::refuse;
use super::secrets::Environment;
use crate::config::network::{self, Network};
use crate::shared::scrub;

/// What a proxy speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ProxyKind {
    /// CONNECT (RFC 9110, 9.3.6).
    Http,
    /// RFC 1928; it resolves names.
    Socks5,
}

/// A proxy.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct Proxy {
    pub(crate) kind: ProxyKind,
    /// A name or an address, IPv6 without brackets.
    pub(crate) host: String,
    pub(crate) port: u16,
    /// User and password.
    pub(crate) user: Option<(String, String)>,
}

impl fmt::Display for Proxy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let scheme = match self.kind {
            ProxyKind::Http => "http",
            ProxyKind::Socks5 => "socks5",
        };
        match self.host.contains(':') {
            true => write!(f, "{scheme}://[{}]:{}", self.host, self.port),
            false => write!(f, "{scheme}://{}:{}", self.host, self.port),
        }
    }
}

impl fmt::Debug for Proxy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self}")
    }
}

/// Which proxy a call goes through. Cheap to clone.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Proxies(Arc<Rules>);

#[derive(Debug, Default, PartialEq, Eq)]
struct Rules {
    https: Option<Proxy>,
    others: Option<Proxy>,
    except: Vec<Except>,
}

/// What is reached directly.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Except {
    All,
    Network(Vec<Network>),
    /// A name, and all below it.
    Domain(String),
}

impl Proxies {
    /// `setting` is `--platform-proxy`; `none` there silences the variables.
    ///
    /// # Errors
    /// An address that is none, by the name of its setting and without its words.
    pub(super) fn read(setting: Option<&str>, get: Environment<'_>) -> crate::StartResult<Self> {
        let variable = |name: &str| {
            let found = [name.to_owned(), name.to_lowercase()];
            let mut found = found
                .into_iter()
                .filter_map(|name| Some((get(&name)?, name)));
            let (value, name) = found.find(|(value, _)| !value.is_empty())?;
            Some((value.to_string_lossy().into_owned(), name))
        };
        let read = |name: &str| match variable(name) {
            Some((value, name)) => {
                // It may be there for others.
                let setting = format!("{name} (which --platform-proxy none silences)");
                parse(&value, &setting).map(Some)
            }
            None => Ok(None),
        };
        let (https, others) = match setting {
            Some("none") => (None, None),
            Some(address) => {
                let proxy = parse(address, "--platform-proxy (TURNKEY_PLATFORM_PROXY)")?;
                (Some(proxy.clone()), Some(proxy))
            }
            None => {
                let all = read("ALL_PROXY")?;
                (read("HTTPS_PROXY")?.or_else(|| all.clone()), all)
            }
        };
        let except = variable("NO_PROXY")
            .map(|(list, _)| list)
            .unwrap_or_default();
        Ok(Proxies(Arc::new(Rules {
            https,
            others,
            except: except.split(',').filter_map(exception).collect(),
        })))
    }

    /// For operators: without user and password.
    pub(crate) fn shown(&self) -> Option<String> {
        self.0.https.as_ref().map(ToString::to_string)
    }

    /// The proxy for an address; none for one that is reached directly.
    pub(crate) fn of(&self, address: &Uri) -> Option<&Proxy> {
        let proxy = match address.scheme_str() {
            Some("https") => self.0.https.as_ref()?,
            _ => self.0.others.as_ref()?,
        };
        let host = address
            .host()?
            .trim_matches(['[', ']'])
            .to_ascii_lowercase();
        let ip: Option<IpAddr> = host.parse().ok();
        let is_direct = self.0.except.iter().any(|except| match (except, ip) {
            (Except::All, _) => true,
            (Except::Network(networks), Some(ip)) => {
                networks.iter().any(|network| network.contains(ip))
            }
            (Except::Domain(domain), None) => host
                .strip_suffix(domain.as_str())
                .is_some_and(|rest| rest.is_empty() || rest.ends_with('.')),
            _ => false,
        });
        (!is_direct).then_some(proxy)
    }
}

/// An entry of `NO_PROXY`.
fn exception(entry: &str) -> Option<Except> {
    let entry = entry.trim().trim_matches(['[', ']']);
    if entry == "*" {
        return Some(Except::All);
    }
    if let Ok(networks) = network::list(entry)
        && !networks.is_empty()
    {
        return Some(Except::Network(networks));
    }
    let domain = entry.trim_matches('.').to_ascii_lowercase();
    (!domain.is_empty()).then_some(Except::Domain(domain))
}

/// `SCHEME://USER:PASSWORD@HOST:PORT`; without a scheme it is an HTTP proxy.
fn parse(address: &str, setting: &str) -> crate::StartResult<Proxy> {
    let (scheme, rest) = address.split_once("://").unwrap_or(("http", address));
    let kind = match scheme.to_ascii_lowercase().as_str() {
        "http" => ProxyKind::Http,
        "socks5" | "socks5h" => ProxyKind::Socks5,
        _ => {
            return refuse(format!(
                "{setting} takes http://USER:PASSWORD@HOST:PORT or socks5://USER:PASSWORD@HOST:PORT: no other kind of proxy is known"
            ));
        }
    };
    let authority = rest.strip_suffix('/').unwrap_or(rest);
    if authority.matches('@').count() > 1 {
        return refuse(format!(
            "{setting} holds more than one @; write one that belongs to the user or password as %40"
        ));
    }
    let (user, place) = match authority.split_once('@') {
        Some((user, place)) => (Some(user), place),
        None => (None, authority),
    };
    let decoded = |text: &str| {
        percent_decode_str(text)
            .decode_utf8()
            .ok()
            .map(String::from)
    };
    let user = match user.map(|user| user.split_once(':').unwrap_or((user, ""))) {
        None => None,
        Some((user, written)) => match (decoded(user), decoded(written)) {
            (Some(user), Some(password)) if user.len() < 256 && password.len() < 256 => {
                scrub::learn([written, &password]);
                Some((user, password))
            }
            _ => {
                return refuse(format!(
                    "{setting}: user and password are UTF-8 (percent-encoded), up to 255 bytes each"
                ));
            }
        },
    };
    let parts = place.rsplit_once(':').and_then(|(host, port)| {
        let bare = host
            .strip_prefix('[')
            .and_then(|host| host.strip_suffix(']'));
        let is_name = |host: &str| {
            !host.is_empty()
                && host
                    .bytes()
                    .all(|b| b.is_ascii_alphanumeric() || b"-._".contains(&b))
        };
        let host = match bare {
            Some(bare) => bare.parse::<IpAddr>().ok().map(|_| bare)?,
            None => is_name(host).then_some(host)?,
        };
        let port: u16 = port.parse().ok().filter(|port| *port > 0)?;
        Some((host.to_owned(), port))
    });
    match parts {
        Some((host, port)) => Ok(Proxy {
            kind,
            host,
            port,
            user,
        }),
        None => refuse(format!(
            "{setting} takes a host and its port, such as http://proxy.example.org:3128 or socks5://127.0.0.1:1080; what stands there is not shown, since it may hold a password"
        )),
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;
    use std::ffi::OsString;

    use super::*;

    fn read(setting: Option<&str>, variables: &[(&str, &str)]) -> crate::StartResult<Proxies> {
        let variables: HashMap<_, _> = variables.iter().copied().collect();
        Proxies::read(setting, &|name| variables.get(name).map(OsString::from))
    }

    fn of(proxies: &Proxies, address: &str) -> String {
        let proxy = proxies.of(&address.parse().unwrap());
        proxy.map_or("direct".to_owned(), ToString::to_string)
    }

    #[test]
    fn the_variables_mean_what_they_mean_elsewhere() {
        let both = [
            ("HTTPS_PROXY", "http://secure:1"),
            ("all_proxy", "socks5h://all:2/"),
            ("NO_PROXY", "localhost, 10.0.0.0/8,.example.org, [::1]"),
        ];
        let proxies = read(None, &both).unwrap();
        for (address, expected) in [
            ("https://api.telegram.org/x", "http://secure:1"),
            ("http://api.test", "socks5://all:2"),
            ("http://localhost:8081", "direct"),
            ("http://10.1.2.3", "direct"),
            ("http://[::1]:8081", "direct"),
            ("https://example.org", "direct"),
            ("https://a.EXAMPLE.org", "direct"),
            ("https://notexample.org", "http://secure:1"),
        ] {
            assert_eq!(of(&proxies, address), expected, "{address}");
        }
        let flag = read(Some("proxy:8080"), &both).unwrap();
        assert_eq!(of(&flag, "http://api.test"), "http://proxy:8080");
        assert_eq!(of(&flag, "http://localhost"), "direct");
        let none = read(Some("none"), &both).unwrap();
        assert_eq!(of(&none, "https://api.test"), "direct");
        assert_eq!(of(&read(None, &[]).unwrap(), "https://api.test"), "direct");
        let all = read(None, &[("ALL_PROXY", "h:1"), ("NO_PROXY", "*")]).unwrap();
        assert_eq!(of(&all, "https://api.test"), "direct");
        let empty = read(None, &[("HTTPS_PROXY", "")]).unwrap();
        assert_eq!(of(&empty, "https://api.test"), "direct");
    }

    #[test]
    fn no_password_is_shown() {
        let proxies = read(Some("http://anna:p%40ss:w0rd@[::1]:3128"), &[]).unwrap();
        let proxy = proxies.of(&"https://a".parse().unwrap()).unwrap();
        let user = ("anna".to_owned(), "p@ss:w0rd".to_owned());
        assert_eq!(proxy.user, Some(user));
        let shown = format!("{proxies:?} {proxies:#?} {proxy}");
        assert!(
            !shown.contains("w0rd") && !shown.contains("anna"),
            "{shown}"
        );
        for text in ["p@ss:w0rd", "p%40ss:w0rd"] {
            assert_eq!(scrub::scrub(text), "(secret)", "{text}");
        }
        for odd in [
            "http://me:w0rd@x@host:1",
            "https://me:w0rd@host:1",
            "ftp://me:w0rd@host:1",
            "http://me:w0rd@host",
            "http://me:w0rd@host:0",
            "http://me:w0rd@host:99999",
            "http://me:w0rd@ho st:1",
            "http://me:w0rd/x@host:1/path",
            "http://me:%ff@host:1",
            "socks5://me:w0rd",
            "me:w0rd@",
            "w0rd",
            "",
        ] {
            let refused = read(Some(odd), &[]).map(|_| ()).unwrap_err().to_string();
            assert!(!refused.contains("w0rd"), "{odd}: {refused}");
            assert!(refused.contains("--platform-proxy"), "{odd}: {refused}");
            if !odd.is_empty() {
                let refused = read(None, &[("https_proxy", odd)]).map(|_| ());
                let refused = refused.unwrap_err().to_string();
                assert!(refused.contains("https_proxy"), "{odd}: {refused}");
                assert!(!refused.contains("w0rd"), "{odd}: {refused}");
            }
        }
    }
}
