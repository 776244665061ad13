//! Whose request it is: the address at the other end of the connection, or what a
//! trusted proxy says in `X-Forwarded-For`. Who comes through a Unix socket is one.
//!
//! Called by `routes.rs` for what it logs and for `--rate-per-address`. Invariant: what a client writes into that
//! header itself is never believed. Each proxy adds the address that it saw at the end,
//! so it is read from there, and only as far as trusted proxies have written it.

use std::net::IpAddr;

use hyper::HeaderMap;

use crate::config::network::Network;

/// The client's address; none when a proxy behind a Unix socket does not tell.
pub(super) fn of_client(
    peer: Option<IpAddr>,
    headers: &HeaderMap,
    trusted: &[Network],
) -> Option<IpAddr> {
    let is_trusted = |address: Option<IpAddr>| match address {
        Some(address) => trusted.iter().any(|network| network.contains(address)),
        None => true,
    };
    let mut client = peer.map(|address| address.to_canonical());
    let forwarded = headers.get_all("x-forwarded-for").into_iter();
    let mut hops: Vec<&str> = forwarded
        .filter_map(|value| value.to_str().ok())
        .flat_map(|list| list.split(','))
        .collect();
    while is_trusted(client)
        && let Some(hop) = hops.pop()
    {
        // Not an address: nobody before it is known.
        let Ok(address) = hop.trim().parse::<IpAddr>() else {
            break;
        };
        client = Some(address.to_canonical());
    }
    client
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::network::list;

    #[test]
    fn only_trusted_proxies_are_believed() {
        let trusted = list("10.0.0.0/8,::1").unwrap();
        let of = |peer: &str, lists: &[&str]| {
            let mut headers = HeaderMap::new();
            for list in lists {
                headers.append("x-forwarded-for", list.parse().unwrap());
            }
            let peer = Some(peer).filter(|peer| !peer.is_empty());
            let peer = peer.map(|peer| peer.parse().unwrap());
            let client = of_client(peer, &headers, &trusted);
            client.map_or("?".to_owned(), |client| client.to_string())
        };
        assert_eq!(of("1.1.1.1", &[]), "1.1.1.1");
        assert_eq!(of("", &[]), "?");
        assert_eq!(of("", &["9.9.9.9, 2.2.2.2"]), "2.2.2.2");
        assert_eq!(of("1.1.1.1", &["2.2.2.2"]), "1.1.1.1");
        assert_eq!(of("10.0.0.1", &[]), "10.0.0.1");
        assert_eq!(of("10.0.0.1", &["2.2.2.2"]), "2.2.2.2");
        assert_eq!(of("::ffff:10.0.0.1", &["2.2.2.2"]), "2.2.2.2");
        // The first was written by the client.
        assert_eq!(of("10.0.0.1", &["9.9.9.9, 2.2.2.2"]), "2.2.2.2");
        assert_eq!(of("::1", &["9.9.9.9", "2.2.2.2, 10.0.0.7"]), "2.2.2.2");
        assert_eq!(of("10.0.0.1", &["rubbish, 10.0.0.7"]), "10.0.0.7");
    }
}
