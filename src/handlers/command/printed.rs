//! What a handler prints to standard output and error, line by line.
//!
//! Called by `process/pipes.rs`, where each line goes to the log, and by `conversation.rs`, where the
//! last ones are shown below what went wrong. Invariant: nothing that was printed is lost, also
//! without a line feed at its end. Bounds: [`LONGEST`] bytes of a line, the last [`KEPT`] lines.

use std::collections::VecDeque;

use tokio::io::{AsyncRead, AsyncReadExt};

/// Bytes of what is printed that become one line.
pub(super) const LONGEST: usize = 8 << 10;

/// Lines that are kept, for whoever asks why a handler did not start.
const KEPT: usize = 40;

/// The last lines that a process printed.
#[derive(Default)]
pub(super) struct LastLines(VecDeque<String>);

impl LastLines {
    pub(super) fn keep(&mut self, line: String) {
        if self.0.len() == KEPT {
            self.0.pop_front();
        }
        self.0.push_back(line);
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &str> {
        self.0.iter().map(String::as_str)
    }

    /// To be shown below a sentence: indented, each on a line of its own.
    pub(super) fn indented(&self) -> String {
        self.iter().map(|line| format!("\n  {line}")).collect()
    }
}

/// Gives each line to `take`, until the pipe is at its end.
pub(super) async fn each_line(mut from: impl AsyncRead + Unpin, take: impl Fn(String)) {
    let mut buffer = Vec::new();
    loop {
        let read = from.read_buf(&mut buffer).await;
        let is_over = !matches!(read, Ok(bytes) if bytes > 0);
        while let Some(line) = take_line(&mut buffer, is_over) {
            take(line);
        }
        if is_over {
            return;
        }
    }
}

/// The first line of what was printed: to the line feed, or as much as a line may have;
/// at the end, what is left.
pub(super) fn take_line(buffer: &mut Vec<u8>, is_over: bool) -> Option<String> {
    let within = &buffer[..buffer.len().min(LONGEST)];
    let (length, taken) = match within.iter().position(|b| *b == b'\n') {
        Some(at) => (at, at + 1),
        None if buffer.len() >= LONGEST => (LONGEST, LONGEST),
        None if is_over && !buffer.is_empty() => (buffer.len(), buffer.len()),
        None => return None,
    };
    let line = String::from_utf8_lossy(&buffer[..length])
        .trim_end()
        .to_owned();
    buffer.drain(..taken);
    Some(line)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_printed_becomes_lines() {
        let long = "x".repeat(LONGEST + 1);
        let mut buffer = format!("a\r\n\n{long}\nend").into_bytes();
        let mut lines: Vec<String> = std::iter::from_fn(|| take_line(&mut buffer, false)).collect();
        lines.extend(take_line(&mut buffer, true));
        assert_eq!(lines, ["a", "", &long[1..], "x", "end"]);
        assert_eq!(take_line(&mut buffer, true), None);
    }

    #[test]
    fn the_last_lines_are_kept() {
        let mut kept = LastLines::default();
        (0..KEPT + 2).for_each(|n| kept.keep(n.to_string()));
        assert_eq!(kept.iter().next(), Some("2"));
        assert_eq!(kept.iter().count(), KEPT);
        assert!(kept.indented().starts_with("\n  2\n  3\n"));
    }
}
