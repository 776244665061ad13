//! The client's address: the other end of the connection, or what a trusted proxy says in
//! `X-Forwarded-For` or `Forwarded` (RFC 7239). The peer on a Unix socket counts as a trusted
//! proxy.
//!
//! Called by `routes.rs` for what it logs and for `--rate-per-address`. Invariant: what a
//! client writes into these headers itself is never trusted. Each proxy appends the address
//! that it saw, so they are read from the end, and only as far as trusted proxies have written
//! them. We cannot know which of the two headers a proxy writes, and it may pass on the other
//! one as the client wrote it: if both are present and disagree, neither is trusted, and the
//! proxy's own address counts.

use std::net::{IpAddr, SocketAddr};

use hyper::HeaderMap;

use crate::config::network::Network;

/// The client's address; none when a proxy behind a Unix socket does not tell.
pub(super) fn of_client(
    peer: Option<IpAddr>,
    headers: &HeaderMap,
    trusted: &[Network],
) -> Option<IpAddr> {
    let peer = peer.map(|address| address.to_canonical());
    if !is_trusted(peer, trusted) {
        return peer;
    }
    let listed = hops(headers, "x-forwarded-for");
    let listed = listed.as_deref().map(|list| list.split(',').collect());
    let forwarded = hops(headers, "forwarded");
    let forwarded = forwarded.as_deref().map(for_parameters);
    let listed = listed.map(|hops| furthest(peer, hops, trusted));
    let forwarded = forwarded.map(|hops| furthest(peer, hops, trusted));
    match (listed, forwarded) {
        (None, None) => peer,
        (Some(client), None) | (None, Some(client)) => client,
        (Some(client), Some(other)) if client == other => client,
        (Some(_), Some(_)) => peer,
    }
}

/// All lines of a header as one list.
fn hops(headers: &HeaderMap, name: &str) -> Option<String> {
    let lines = headers.get_all(name).iter();
    let lines: Vec<&str> = lines.filter_map(|value| value.to_str().ok()).collect();
    (!lines.is_empty()).then(|| lines.join(","))
}

/// Whether what stands before this address is believed. A Unix socket's peer is a proxy.
fn is_trusted(address: Option<IpAddr>, trusted: &[Network]) -> bool {
    address.is_none_or(|address| trusted.iter().any(|network| network.contains(address)))
}

/// The first address from the end that no trusted proxy has.
fn furthest(peer: Option<IpAddr>, mut hops: Vec<&str>, trusted: &[Network]) -> Option<IpAddr> {
    let mut client = peer;
    while is_trusted(client, trusted)
        && let Some(hop) = hops.pop()
    {
        // Not an address: nobody before it is known.
        let Some(address) = address(hop) else {
            break;
        };
        client = Some(address.to_canonical());
    }
    client
}

/// An address, with a port or without, IPv6 in brackets or not, in quotes or not.
fn address(hop: &str) -> Option<IpAddr> {
    let hop = hop.trim();
    let hop = match hop.strip_prefix('"') {
        Some(quoted) => quoted.strip_suffix('"')?,
        None => hop,
    };
    if let Ok(address) = hop.parse() {
        return Some(address);
    }
    if let Ok(with_port) = hop.parse::<SocketAddr>() {
        return Some(with_port.ip());
    }
    let bare = hop.strip_prefix('[')?.strip_suffix(']')?;
    bare.parse().ok()
}

/// The `for` of each element of a `Forwarded` header; empty where it has none.
fn for_parameters(header: &str) -> Vec<&str> {
    let of_element = |element| {
        split(element, ';').into_iter().find_map(|pair| {
            let (name, value) = pair.split_once('=')?;
            name.trim().eq_ignore_ascii_case("for").then_some(value)
        })
    };
    let elements = split(header, ',').into_iter();
    elements
        .map(|element| of_element(element).unwrap_or_default())
        .collect()
}

/// The parts between separators that do not stand in quotes.
fn split(text: &str, separator: char) -> Vec<&str> {
    let (mut is_quoted, mut is_escaped) = (false, false);
    text.split(|c: char| {
        let ends = c == separator && !is_quoted;
        is_quoted ^= c == '"' && !is_escaped;
        is_escaped = is_quoted && c == '\\' && !is_escaped;
        ends
    })
    .collect()
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
        // With ports, as some proxies write them.
        for (hop, expected) in [
            ("203.0.113.5:41234", "203.0.113.5"),
            ("[2001:db8::1]:443", "2001:db8::1"),
            ("[2001:db8::1]", "2001:db8::1"),
            ("2001:db8::1", "2001:db8::1"),
            ("\"[2001:db8::1]:443\"", "2001:db8::1"),
            ("[::ffff:203.0.113.5]:1", "203.0.113.5"),
            ("203.0.113.5:", "10.0.0.1"),
            ("203.0.113.5:99999", "10.0.0.1"),
            ("unknown", "10.0.0.1"),
        ] {
            assert_eq!(of("10.0.0.1", &[hop]), expected, "{hop}");
        }
        let through = ["9.9.9.9, 203.0.113.5:1, 10.0.0.7:2"];
        assert_eq!(of("10.0.0.1", &through), "203.0.113.5");
    }

    #[test]
    fn forwarded_is_read_as_rfc_7239_has_it() {
        let trusted = list("10.0.0.0/8").unwrap();
        let of = |forwarded: &str, listed: Option<&str>| {
            let mut headers = HeaderMap::new();
            headers.insert("forwarded", forwarded.parse().unwrap());
            if let Some(listed) = listed {
                headers.insert("x-forwarded-for", listed.parse().unwrap());
            }
            let peer = Some("10.0.0.1".parse().unwrap());
            of_client(peer, &headers, &trusted).unwrap().to_string()
        };
        for (forwarded, expected) in [
            ("for=192.0.2.60;proto=http;by=203.0.113.43", "192.0.2.60"),
            ("For=\"[2001:db8:cafe::17]:4711\"", "2001:db8:cafe::17"),
            ("for=\"192.0.2.43:47011\"", "192.0.2.43"),
            ("proto=https; for=192.0.2.43", "192.0.2.43"),
            ("for=9.9.9.9, for=192.0.2.43, for=10.0.0.7", "192.0.2.43"),
            // A quoted comma ends nothing, and a quoted `for` is none.
            (
                "for=9.9.9.9, host=\"a, for=8.8.8.8\";for=192.0.2.43",
                "192.0.2.43",
            ),
            ("for=9.9.9.9;host=\"\\\", for=8.8.8.8\"", "9.9.9.9"),
            // Whoever does not want to be known is not.
            ("for=9.9.9.9, for=unknown", "10.0.0.1"),
            ("for=9.9.9.9, for=_hidden", "10.0.0.1"),
            ("for=9.9.9.9, proto=https", "10.0.0.1"),
        ] {
            assert_eq!(of(forwarded, None), expected, "{forwarded}");
        }
        // One of the two was written by the client.
        assert_eq!(of("for=192.0.2.1", Some("192.0.2.1:5")), "192.0.2.1");
        assert_eq!(of("for=192.0.2.1", Some("192.0.2.2")), "10.0.0.1");
    }
}
