//! The kernel's table of TCP sockets: who listens where, and which connections there are.
//!
//! From /proc/net/tcp and tcp6 (proc(5)), for the network namespace of the drill.

use std::collections::HashSet;
use std::fs::File;
use std::io::{BufRead, BufReader};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

const LISTEN: u8 = 0x0a;

/// One line of the table.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Socket {
    pub(super) local: SocketAddr,
    pub(super) remote_port: u16,
    pub(super) inode: u64,
    state: u8,
}

const TABLES: [&str; 2] = ["/proc/net/tcp", "/proc/net/tcp6"];

fn read(mut wanted: impl FnMut(&Socket) -> bool, only_listening: bool) -> Vec<Socket> {
    let mut found = Vec::new();
    for table in TABLES {
        let Ok(file) = File::open(table) else {
            continue;
        };
        for line in BufReader::new(file).lines().map_while(Result::ok).skip(1) {
            let Some(socket) = socket(&line) else {
                continue;
            };
            // The kernel lists these first.
            if only_listening && socket.state != LISTEN {
                break;
            }
            if wanted(&socket) {
                found.push(socket);
            }
        }
    }
    found
}

/// The inodes of those that listen on a port.
pub(super) fn listeners(port: u16) -> HashSet<u64> {
    let all = read(|socket| socket.local.port() == port, true);
    all.into_iter().map(|socket| socket.inode).collect()
}

/// All that listen.
pub(super) fn listening() -> Vec<Socket> {
    read(|_| true, true)
}

/// Whether anybody listens on a port.
pub(super) fn is_listening(port: u16) -> bool {
    !listeners(port).is_empty()
}

/// The server's side of all connections to a port.
pub(super) fn connections(port: u16) -> Vec<Socket> {
    read(
        |socket| socket.local.port() == port && socket.state != LISTEN && socket.inode != 0,
        false,
    )
}

fn socket(line: &str) -> Option<Socket> {
    let fields: Vec<&str> = line.split_whitespace().collect();
    let (_, remote_port) = fields.get(2)?.rsplit_once(':')?;
    Some(Socket {
        local: address(fields.get(1)?)?,
        remote_port: u16::from_str_radix(remote_port, 16).ok()?,
        state: u8::from_str_radix(fields.get(3)?, 16).ok()?,
        inode: fields.get(9)?.parse().ok()?,
    })
}

/// Words of 32 bits in the machine's order, in hexadecimal.
fn address(text: &str) -> Option<SocketAddr> {
    let (address, port) = text.split_once(':')?;
    let port = u16::from_str_radix(port, 16).ok()?;
    let mut bytes = Vec::new();
    for word in address.as_bytes().chunks(8) {
        let word = std::str::from_utf8(word).ok()?;
        bytes.extend(u32::from_str_radix(word, 16).ok()?.to_ne_bytes());
    }
    let ip = match bytes.len() {
        4 => IpAddr::from(Ipv4Addr::from(<[u8; 4]>::try_from(bytes).ok()?)),
        _ => IpAddr::from(Ipv6Addr::from(<[u8; 16]>::try_from(bytes).ok()?)),
    };
    Some(SocketAddr::new(ip, port))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[cfg(target_endian = "little")]
    #[test]
    fn addresses_of_both_kinds() {
        let four = address("0100007F:1F90").unwrap();
        assert_eq!(four, "127.0.0.1:8080".parse().unwrap());
        let six = address("00000000000000000000000001000000:0050").unwrap();
        assert_eq!(six, "[::1]:80".parse().unwrap());
    }

    #[test]
    fn a_listener_and_its_connections_are_found() {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        assert!(is_listening(address.port()));
        let here = listening()
            .into_iter()
            .find(|socket| socket.local == address);
        let own = super::super::family::sockets(std::process::id() as i32);
        assert!(own.contains(&here.unwrap().inode));
        let client = std::net::TcpStream::connect(address).unwrap();
        let (_server, _) = listener.accept().unwrap();
        let port = client.local_addr().unwrap().port();
        let found = connections(address.port());
        assert!(
            found.iter().any(|socket| socket.remote_port == port),
            "{found:?}"
        );
    }
}
