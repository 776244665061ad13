//! What the server printed: its first and its last part, and the traces in it.

use std::collections::VecDeque;
use std::io::Read;
use std::sync::{Arc, Mutex, PoisonError};

use serde::Serialize;

/// Bytes that are kept of the beginning, and of the end.
const KEPT: usize = 128 << 10;

/// Lines that are shown of a trace.
const LINES: usize = 12;

/// Traces that are shown.
const SHOWN: usize = 5;

/// What begins a trace, or is the mark of one: in Python, Rust, Go, Node, Ruby and Java,
/// and what C's runtime and the shell say of crashes.
const MARKS: [&str; 22] = [
    "Traceback (most recent call last)",
    "Exception ignored in",
    "exception was never retrieved",
    "coroutine was never awaited",
    "was never awaited",
    "Task was destroyed but it is pending",
    "Event loop is closed",
    "RuntimeError:",
    "panicked at",
    "fatal runtime error",
    "goroutine 1 [",
    "panic: ",
    "UnhandledPromiseRejection",
    "Uncaught ",
    "ERR_UNHANDLED",
    "terminated with exception",
    "Exception in thread",
    "(fatal)",
    "Segmentation fault",
    "core dumped",
    "double free or corruption",
    "Assertion failed",
];

/// Output within bounds.
#[derive(Clone, Default)]
pub(super) struct Output {
    first: Vec<u8>,
    last: VecDeque<u8>,
    total: usize,
}

/// Tracebacks and panics.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Traces {
    /// How many there were.
    pub count: usize,
    /// The first lines of the first ones.
    pub shown: Vec<String>,
}

impl Output {
    /// Reads on a thread of its own, until the terminal or the pipe is closed.
    pub(super) fn follow(
        from: impl Read + Send + 'static,
        into: &Arc<Mutex<Output>>,
    ) -> turnkey_report::Result<()> {
        let into = into.clone();
        std::thread::Builder::new()
            .name("output".to_owned())
            .spawn(move || Output::read(from, &into))?;
        Ok(())
    }

    fn read(mut terminal: impl Read, into: &Mutex<Output>) {
        let mut buffer = [0; 8192];
        while let Ok(count @ 1..) = terminal.read(&mut buffer) {
            into.lock()
                .unwrap_or_else(PoisonError::into_inner)
                .push(&buffer[..count]);
        }
    }

    fn push(&mut self, bytes: &[u8]) {
        self.total += bytes.len();
        let room = KEPT.saturating_sub(self.first.len()).min(bytes.len());
        self.first.extend_from_slice(&bytes[..room]);
        self.last.extend(&bytes[room..]);
        let over = self.last.len().saturating_sub(KEPT);
        self.last.drain(..over);
    }

    /// Bytes so far.
    pub(super) fn len(&self) -> usize {
        self.total
    }

    /// As text, without colours and other escapes.
    pub(super) fn text(&self) -> String {
        let missing = self.total - self.first.len() - self.last.len();
        let mut text = plain(&self.first);
        if missing > 0 {
            text.push_str(&format!("\n[{missing} bytes are left out here]\n"));
        }
        text + &plain(&Vec::from(self.last.clone()))
    }

    /// What came after so many bytes.
    pub(super) fn text_after(&self, bytes: usize) -> String {
        let first = &self.first[bytes.min(self.first.len())..];
        let gone = self.total - self.last.len();
        let last: Vec<u8> = self
            .last
            .iter()
            .skip(bytes.saturating_sub(gone))
            .copied()
            .collect();
        plain(first) + &plain(&last)
    }
}

/// Without escape sequences (ECMA-48) and carriage returns.
fn plain(bytes: &[u8]) -> String {
    let text = String::from_utf8_lossy(bytes);
    let mut out = String::with_capacity(text.len());
    let mut chars = text.chars().peekable();
    while let Some(c) = chars.next() {
        match c {
            '\x1b' if chars.peek() == Some(&'[') => {
                chars.next();
                for c in chars.by_ref() {
                    if ('@'..='~').contains(&c) {
                        break;
                    }
                }
            }
            '\x1b' => drop(chars.next()),
            '\n' | '\t' => out.push(c),
            c if c.is_control() => {}
            c => out.push(c),
        }
    }
    out
}

impl Traces {
    /// Those in a text. Marks that stand close together are of one trace.
    pub(super) fn find(text: &str) -> Self {
        let lines: Vec<&str> = text.lines().collect();
        let mut traces = Traces::default();
        let mut end = 0;
        for (at, line) in lines.iter().enumerate() {
            if at < end || !MARKS.iter().any(|mark| line.contains(mark)) {
                continue;
            }
            end = trace_end(&lines, at);
            traces.count += 1;
            if traces.shown.len() < SHOWN {
                let shown = &lines[at..end.min(at + LINES)];
                traces.shown.push(shown.join("\n"));
            }
        }
        traces
    }
}

/// After its indented lines and the one that names the error.
fn trace_end(lines: &[&str], at: usize) -> usize {
    let indented = |line: &&&str| line.starts_with([' ', '\t']);
    let body = lines[at + 1..].iter().take_while(indented).count();
    (at + 1 + body + usize::from(body > 0)).min(lines.len())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn traces_are_counted_and_shown() {
        let text = "\
Starting
Traceback (most recent call last):
  File \"app.py\", line 1, in <module>
    raise RuntimeError('no')
RuntimeError: no
thread 'main' panicked at src/main.rs:3:5:
oh
all went well
";
        let traces = Traces::find(text);
        assert_eq!(traces.count, 2);
        assert!(traces.shown[0].ends_with("RuntimeError: no"));
        assert_eq!(Traces::find("Stopped: nothing lost").count, 0);
    }

    #[test]
    fn output_is_bounded_and_loses_its_middle() {
        let mut output = Output::default();
        output.push(b"\x1b[31mfirst\x1b[0m\r\n");
        for _ in 0..100 {
            output.push(&[b'x'; 9000]);
        }
        let seen = output.len();
        output.push(b"last\n");
        let text = output.text();
        assert!(text.starts_with("first\n") && text.ends_with("last\n"));
        assert!(text.contains("bytes are left out") && text.len() < 3 * KEPT);
        assert_eq!(output.text_after(seen), "last\n");
    }

    #[test]
    fn what_came_later_is_found_in_a_short_output() {
        let mut output = Output::default();
        output.push(b"before\n");
        let seen = output.len();
        output.push(b"after\n");
        assert_eq!(output.text_after(seen), "after\n");
        assert_eq!(output.text(), "before\nafter\n");
    }
}
