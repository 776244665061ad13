//! One HTTP request to a bot under test, with the standard library's sockets.
//!
//! Called by `program.rs`. Bound: ten seconds for each wait, and a connection for each request.

use std::io::{Read, Write};
use std::net::TcpStream;

use super::PATIENCE;

/// What a bot has answered.
///
/// ```
/// # fn main() {}
/// # fn test(bot: &turnkey::testing::Program) -> turnkey::Result<()> {
/// let update = r#"{"user":"ann","id":"1","text":"hi"}"#;
/// let answer = bot.post("/desk", &[("x-secret", "open")], update)?;
/// assert_eq!((answer.status, answer.body.as_str()), (200, ""));
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Answer {
    /// The status, such as 200.
    pub status: u16,
    /// The body, as text.
    pub body: String,
}

/// Posts JSON and waits for the answer.
///
/// # Errors
/// The connection breaks, or nothing comes in time.
pub(super) fn post(
    port: u16,
    path: &str,
    headers: &[(&str, &str)],
    body: &str,
) -> std::io::Result<Answer> {
    let mut stream = TcpStream::connect(("127.0.0.1", port))?;
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.set_write_timeout(Some(PATIENCE))?;
    let mut head = format!(
        "POST {path} HTTP/1.1\r\nHost: bot\r\nContent-Type: application/json\r\nContent-Length: {}\r\nConnection: close\r\n",
        body.len()
    );
    for (name, value) in headers {
        head.extend([*name, ": ", *value, "\r\n"]);
    }
    write!(stream, "{head}\r\n{body}")?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer)?;
    let (head, body) = answer.split_once("\r\n\r\n").unwrap_or((&answer, ""));
    let status = head
        .split(' ')
        .nth(1)
        .and_then(|status| status.parse().ok());
    Ok(Answer {
        status: status.ok_or_else(|| std::io::Error::other("the answer is no HTTP"))?,
        body: body.to_owned(),
    })
}
