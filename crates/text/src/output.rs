//! What commands print: the only place that writes to standard output.
//!
//! Called by every command. Unlike `println!`, nothing here panics when the
//! output cannot take a line. A reader who has had enough (`dump | head -1`) ends it
//! quietly, and the command's own exit code stands. A full disk, or a descriptor that was
//! closed before the start, is [`Unwritable`]: a sentence, and an exit code of its own.
//! Everything is flushed before a command says that it is done.

use std::fmt;
use std::io::{BufWriter, ErrorKind, Stdout, Write};
use std::sync::atomic::{AtomicBool, Ordering};

use nix::errno::Errno;

/// Standard output was closed when the program began.
static IS_CLOSED: AtomicBool = AtomicBool::new(false);

/// Standard output took no more.
#[derive(Debug)]
pub struct Unwritable(std::io::Error);

impl std::error::Error for Unwritable {}

impl fmt::Display for Unwritable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "cannot write to standard output: {}", self.0)
    }
}

impl Unwritable {
    /// Whoever read has had enough: nothing is wrong.
    pub fn is_enough(&self) -> bool {
        self.0.kind() == ErrorKind::BrokenPipe
    }
}

/// Told at the start: Rust opens /dev/null in the place of a closed descriptor, and what
/// is printed would be lost without a word.
pub fn was_closed() {
    IS_CLOSED.store(true, Ordering::Relaxed);
}

/// Prints a text as it is. None is lost in a buffer. Fine when the reader had enough.
///
/// # Errors
/// [`Unwritable`].
pub fn print(text: &str) -> Result<(), Unwritable> {
    let mut out = Stream::new();
    let written = out.write(text.as_bytes()).and_then(|()| out.end());
    fine_if_enough(written)
}

/// Prints a line.
///
/// # Errors
/// [`Unwritable`].
pub fn line(text: impl fmt::Display) -> Result<(), Unwritable> {
    print(&format!("{text}\n"))
}

/// Whether standard output took what somebody else's code wrote there.
///
/// # Errors
/// [`Unwritable`].
pub fn written(write: impl FnOnce() -> std::io::Result<()>) -> Result<(), Unwritable> {
    let written = is_open()
        .and_then(|()| write())
        .and_then(|()| std::io::stdout().flush());
    fine_if_enough(written.map_err(Unwritable))
}

fn fine_if_enough(written: Result<(), Unwritable>) -> Result<(), Unwritable> {
    match written {
        Err(error) if error.is_enough() => Ok(()),
        other => other,
    }
}

fn is_open() -> std::io::Result<()> {
    match IS_CLOSED.load(Ordering::Relaxed) {
        true => Err(Errno::EBADF.into()),
        false => Ok(()),
    }
}

/// Many lines, which are gathered. It has to be told its end.
pub struct Stream(BufWriter<Stdout>);

impl Default for Stream {
    fn default() -> Self {
        Self::new()
    }
}

impl Stream {
    /// A stream that has printed nothing yet.
    pub fn new() -> Self {
        Stream(BufWriter::new(std::io::stdout()))
    }

    /// Prints bytes as they are, later at the latest at the end.
    ///
    /// # Errors
    /// [`Unwritable`], also when the reader has had enough: no need to go on.
    pub fn write(&mut self, bytes: &[u8]) -> Result<(), Unwritable> {
        is_open()
            .and_then(|()| self.0.write_all(bytes))
            .map_err(Unwritable)
    }

    /// Prints what was gathered.
    ///
    /// # Errors
    /// [`Unwritable`], likewise.
    pub fn end(&mut self) -> Result<(), Unwritable> {
        self.0.flush().map_err(Unwritable)
    }
}
