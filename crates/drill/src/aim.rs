//! Where requests go: addresses from `--url` and `--port`, on this machine's loopback
//! interface unless its user says otherwise.
//!
//! Used by `round/`, and by `ready.rs`, which finds out which of the addresses answers.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpStream, ToSocketAddrs};
use std::time::Duration;

use super::plan::Plan;
use super::sockets::is_listening;
use super::tls::Tls;
use turnkey_report::Error;

/// For a look whether somebody listens.
const LOOK: Duration = Duration::from_millis(500);

/// An address that is loaded.
#[derive(Clone, Debug)]
pub(super) struct Aim {
    pub(super) address: SocketAddr,
    /// As in the header field `Host`.
    pub(super) host: String,
    /// None in the clear.
    pub(super) tls: Option<Tls>,
    pub(super) http2: bool,
}

impl Aim {
    pub(super) fn scheme(&self) -> &'static str {
        match self.tls {
            Some(_) => "https",
            None => "http",
        }
    }
}

/// What a `--url` says: one of these addresses is loaded.
#[derive(Clone, Debug)]
pub(super) struct Place {
    pub(super) addresses: Vec<SocketAddr>,
    /// As in the header field `Host`; none where only a port is known.
    pub(super) host: Option<String>,
    /// The name that its certificate should have; none in the clear.
    pub(super) tls_name: Option<String>,
    /// With its query; none for `/`.
    pub(super) path: Option<String>,
}

/// Reads `--url` and `--port`; nothing where neither is given.
///
/// # Errors
/// [`Error::Start`]: no address, or not one of the loopback interface.
pub(super) fn places(plan: &Plan) -> turnkey_report::Result<Vec<Place>> {
    match plan.port {
        Some(port) => Ok(vec![Place {
            addresses: of_port(port),
            host: None,
            tls_name: plan.https.then(|| "localhost".to_owned()),
            path: None,
        }]),
        None => plan
            .urls
            .iter()
            .map(|url| of_url(url, &plan.allowed_hosts))
            .collect(),
    }
}

/// # Errors
/// [`Error::Start`]: somebody is there already, where the command is to listen.
pub(super) fn must_be_free(places: &[Place]) -> turnkey_report::Result<()> {
    for address in places.iter().flat_map(|place| &place.addresses) {
        let busy = address.ip().is_loopback() && is_listening(address.port());
        if busy || TcpStream::connect_timeout(address, LOOK).is_ok() {
            return Err(Error::Start(format!(
                "something already listens on {address}, and the drill did not start it; stop it, or \
                 let the command listen on another port; to drill what runs already, leave the \
                 command out and say --url with --do, or --attach"
            )));
        }
    }
    Ok(())
}

pub(super) fn of_port(port: u16) -> Vec<SocketAddr> {
    let loopback = [
        IpAddr::V4(Ipv4Addr::LOCALHOST),
        IpAddr::V6(Ipv6Addr::LOCALHOST),
    ];
    loopback.map(|ip| SocketAddr::new(ip, port)).to_vec()
}

fn of_url(url: &str, allowed_hosts: &[String]) -> turnkey_report::Result<Place> {
    let refuse = || {
        Error::Start(format!(
            "--url takes an address such as http://127.0.0.1:8000/path, not {url:?}"
        ))
    };
    let uri: http::Uri = url.parse().map_err(|_| refuse())?;
    let name = uri.host().ok_or_else(refuse)?.trim_matches(['[', ']']);
    let is_https = uri.scheme_str() == Some("https");
    let port = match uri.scheme_str() {
        Some("http") => uri.port_u16().unwrap_or(80),
        Some("https") => uri.port_u16().unwrap_or(443),
        _ => return Err(refuse()),
    };
    let addresses: Vec<SocketAddr> = (name, port)
        .to_socket_addrs()
        .map_err(|e| Error::Start(format!("cannot find the host {name:?} of --url: {e}")))?
        .collect();
    let is_local = addresses.iter().all(|address| address.ip().is_loopback());
    if !is_local && !allowed_hosts.iter().any(|host| host == name) {
        return Err(Error::Start(format!(
            "{name} is not this machine's loopback interface, and a drill is a heavy load; if it is \
             yours to load, add --i-know {name}"
        )));
    }
    let path = uri.path_and_query().map(ToString::to_string);
    Ok(Place {
        addresses,
        host: uri.authority().map(ToString::to_string),
        tls_name: is_https.then(|| name.to_owned()),
        path: path.filter(|path| path != "/"),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_loopback_without_leave() {
        let addresses = |url, hosts: &[&str]| {
            let hosts: Vec<String> = hosts.iter().map(ToString::to_string).collect();
            of_url(url, &hosts).map(|place| place.addresses.len()).ok()
        };
        assert_eq!(addresses("http://127.0.0.1:8000", &[]), Some(1));
        assert_eq!(addresses("http://[::1]:8000/", &[]), Some(1));
        assert_eq!(addresses("http://192.0.2.1:80", &[]), None);
        assert_eq!(addresses("http://192.0.2.1:80", &["192.0.2.1"]), Some(1));
        assert_eq!(addresses("http://192.0.2.1:80", &["192.0.2.2"]), None);
        for wrong in ["ftp://127.0.0.1", "127.0.0.1:80", ""] {
            assert_eq!(addresses(wrong, &[]), None, "{wrong}");
        }
    }

    #[test]
    fn the_path_of_a_url_is_kept() {
        let path = |url| of_url(url, &[]).unwrap().path;
        assert_eq!(path("http://127.0.0.1:1"), None);
        assert_eq!(path("http://127.0.0.1:1/"), None);
        assert_eq!(path("http://127.0.0.1:1/a?b=c").as_deref(), Some("/a?b=c"));
    }
}
