//! A request that is stopped half-way until it is seen who took its connection.
//!
//! Used by `round/` to learn whether a new worker serves: connections of the load may
//! be too short to be seen in proc(5). It is none of the load's requests. Bounds: the
//! times below.

use std::collections::HashSet;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::{Duration, Instant};

use super::aim::Aim;
use super::family::sockets;
use super::sockets::connections;

/// For the connection to be taken.
const TAKEN: Duration = Duration::from_millis(40);

/// For the rest of the request and its answer.
const ANSWER: Duration = Duration::from_millis(500);

/// Whether one of these processes takes the connection.
pub(super) fn is_taken_by(aim: &Aim, pids: &[i32]) -> bool {
    let Ok(mut stream) = TcpStream::connect_timeout(&aim.address, ANSWER) else {
        return false;
    };
    let Ok(own) = stream.local_addr() else {
        return false;
    };
    drop(stream.set_read_timeout(Some(ANSWER)));
    // Half a request keeps the connection open. In another protocol it would be refused at
    // once, and silence keeps it, too.
    let is_plain = aim.tls.is_none() && !aim.http2;
    let half = format!("GET / HTTP/1.1\r\nHost: {}\r\n", aim.host);
    if is_plain && stream.write_all(half.as_bytes()).is_err() {
        return false;
    }
    let deadline = Instant::now() + TAKEN;
    let mut taken = false;
    while !taken && Instant::now() < deadline {
        std::thread::sleep(Duration::from_millis(2));
        let inodes: HashSet<u64> = connections(aim.address.port())
            .into_iter()
            .filter(|socket| socket.remote_port == own.port())
            .map(|socket| socket.inode)
            .collect();
        taken = pids.iter().any(|pid| !sockets(*pid).is_disjoint(&inodes));
    }
    // Whoever took it shall not wait for the rest; what it says does not matter.
    if is_plain && stream.write_all(b"Connection: close\r\n\r\n").is_ok() {
        drop(stream.read(&mut [0; 1024]));
    }
    taken
}
