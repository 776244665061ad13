//! Options of the drill for clients beside the steady ones: what is slow, what lasts, what is
//! large.

use std::time::Duration;

use clap::Args;
use turnkey::tool::duration;
use turnkey_drill::{Drill, Error, Request};

#[derive(Args)]
#[command(next_help_heading = "Clients beside them")]
pub(super) struct Beside {
    /// Path that is slow to answer, asked beside the others.
    #[arg(long, value_name = "PATH")]
    slow_path: Option<String>,

    /// Post this there instead.
    #[arg(long, value_name = "TEXT", requires = "slow_path")]
    slow_body: Option<String>,

    /// Clients that ask for it; 0 for none [default: 2].
    #[arg(long, value_name = "N")]
    slow_connections: Option<usize>,

    /// Open WebSockets there: texts are sent that should come back, and what comes besides is
    /// counted.
    #[arg(long, value_name = "PATH")]
    websocket: Option<String>,

    /// How many.
    #[arg(long, value_name = "N", default_value_t = 4, requires = "websocket")]
    websocket_connections: usize,

    /// From one text on a WebSocket to the next.
    #[arg(long, value_name = "TIME", default_value = "100ms", value_parser = duration, requires = "websocket")]
    message_every: Duration,

    /// Listen to server-sent events there.
    #[arg(long, value_name = "PATH")]
    sse: Option<String>,

    /// How many clients do.
    #[arg(long, value_name = "N", default_value_t = 4, requires = "sse")]
    sse_connections: usize,

    /// Ask for an answer in pieces there, beside the others.
    #[arg(long, value_name = "PATH", conflicts_with = "grpc_stream")]
    stream: Option<String>,

    /// Call this with gRPC in place of the other requests, such as /package.Service/Method;
    /// needs --http2.
    #[arg(long, value_name = "PATH")]
    pub(super) grpc: Option<String>,

    /// The message of the calls, encoded, in hexadecimal [default: an empty one].
    #[arg(
        long,
        value_name = "HEX",
        default_value = "",
        hide_default_value = true
    )]
    grpc_message: String,

    /// Call this beside the others; it answers with a stream of messages.
    #[arg(long, value_name = "PATH")]
    grpc_stream: Option<String>,

    /// How many clients ask for --stream or --grpc-stream.
    #[arg(long, value_name = "N", default_value_t = 2)]
    stream_connections: usize,

    /// Upload a large body there, piece by piece; half of the clients with
    /// `Expect: 100-continue`.
    #[arg(long, value_name = "PATH")]
    upload: Option<String>,

    /// Its bytes.
    #[arg(long, value_name = "BYTES", default_value_t = 1 << 20, requires = "upload")]
    upload_size: usize,

    /// How long each takes.
    #[arg(long, value_name = "TIME", default_value = "1s", value_parser = duration, requires = "upload")]
    upload_time: Duration,

    /// How many clients do.
    #[arg(long, value_name = "N", default_value_t = 4, requires = "upload")]
    upload_connections: usize,
}

/// Clients that ask for --slow-path.
const SLOW_CONNECTIONS: usize = 2;

impl Beside {
    /// The call of gRPC that takes the place of other requests.
    pub(super) fn call(&self) -> turnkey_drill::Result<Option<Request>> {
        let message = bytes_of(&self.grpc_message)?;
        let call = |path: &String| Request::grpc(path.as_str(), &message);
        Ok(self.grpc.as_ref().map(call))
    }

    pub(super) fn set(self, mut drill: Drill) -> turnkey_drill::Result<Drill> {
        let slow = self.slow_path.map(|path| match &self.slow_body {
            Some(body) => Request::post(path, body.as_str()),
            None => Request::get(path),
        });
        match (slow, self.slow_connections.unwrap_or(SLOW_CONNECTIONS)) {
            (Some(request), number @ 1..) => drill = drill.slow(request, number),
            (None, 1..) if self.slow_connections.is_some() => {
                return Err(Error::Start(
                    "--slow-connections says how many ask for --slow-path; name that, too"
                        .to_owned(),
                ));
            }
            _ => {}
        }
        if let Some(path) = self.websocket {
            drill = drill
                .websocket(path, self.websocket_connections)
                .message_every(self.message_every);
        }
        if let Some(path) = self.sse {
            drill = drill.events(path, self.sse_connections);
        }
        if let Some(path) = self.stream {
            drill = drill.stream(Request::get(path), self.stream_connections);
        }
        if let Some(path) = self.grpc_stream {
            let call = Request::grpc(path, bytes_of(&self.grpc_message)?);
            drill = drill.stream(call, self.stream_connections);
        }
        if let Some(path) = self.upload {
            drill = drill
                .upload(path, self.upload_size, self.upload_connections)
                .upload_time(self.upload_time);
        }
        Ok(drill)
    }
}

fn bytes_of(hex: &str) -> turnkey_drill::Result<Vec<u8>> {
    let pairs = hex.as_bytes().chunks(2).map(|pair| {
        let digits = std::str::from_utf8(pair)
            .ok()
            .filter(|digits| digits.len() == 2)?;
        u8::from_str_radix(digits, 16).ok()
    });
    let bytes: Option<Vec<u8>> = pairs.collect();
    bytes.ok_or_else(|| {
        Error::Start(format!(
            "--grpc-message is a message in hexadecimal, such as 0a0141, not {hex:?}"
        ))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_in_hexadecimal() {
        assert_eq!(bytes_of("0a0141").ok(), Some(vec![10, 1, 0x41]));
        assert_eq!(bytes_of("").ok(), Some(Vec::new()));
        for wrong in ["0", "0g", "0a1"] {
            assert!(bytes_of(wrong).is_err(), "{wrong}");
        }
    }
}
