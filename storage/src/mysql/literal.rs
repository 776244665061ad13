//! Writes values into the text of our own statements.
//!
//! Used in all our own statements; the author's values travel as parameters. Texts are escaped
//! for a connection in utf8mb4 whose SQL mode lets backslashes escape (`server.rs` sets both);
//! keys and bytes are written in hexadecimal, which needs no escaping. Any text can be written,
//! NUL included.

use std::fmt::Write;

use crate::DialogKey;

/// The text of one or more statements.
#[derive(Debug, Default)]
pub(super) struct Sql(pub(super) String);

impl Sql {
    pub(super) fn new(text: &str) -> Self {
        Sql(text.to_owned())
    }

    pub(super) fn push(&mut self, text: &str) -> &mut Self {
        self.0.push_str(text);
        self
    }

    pub(super) fn number(&mut self, number: impl std::fmt::Display) -> &mut Self {
        // Writing to a String cannot fail.
        let _ = write!(self.0, "{number}");
        self
    }

    pub(super) fn text(&mut self, text: &str) -> &mut Self {
        self.0.reserve(text.len() + 2);
        self.0.push('\'');
        let mut rest = text;
        while let Some(at) = rest.find(['\\', '\'', '\0']) {
            self.0.push_str(&rest[..at]);
            self.0.push_str(match rest.as_bytes()[at] {
                b'\\' => r"\\",
                b'\'' => r"\'",
                _ => r"\0",
            });
            rest = &rest[at + 1..];
        }
        self.0.push_str(rest);
        self.0.push('\'');
        self
    }

    pub(super) fn bytes(&mut self, bytes: &[u8]) -> &mut Self {
        const DIGITS: &[u8; 16] = b"0123456789abcdef";
        self.0.reserve(2 * bytes.len() + 3);
        self.0.push_str("X'");
        for byte in bytes {
            self.0.push(DIGITS[usize::from(byte >> 4)].into());
            self.0.push(DIGITS[usize::from(byte & 15)].into());
        }
        self.0.push('\'');
        self
    }

    /// The two columns of a key, with a comma between.
    pub(super) fn key(&mut self, dialog: &DialogKey) -> &mut Self {
        self.bytes(dialog.user_id.as_bytes())
            .push(",")
            .bytes(dialog.channel.as_bytes())
    }

    /// Each item as `write` writes it, with commas between.
    pub(super) fn list<T>(
        &mut self,
        items: impl IntoIterator<Item = T>,
        mut write: impl FnMut(&mut Self, T),
    ) -> &mut Self {
        for (n, item) in items.into_iter().enumerate() {
            if n > 0 {
                self.push(",");
            }
            write(self, item);
        }
        self
    }

    /// `(user_id,channel) IN (…)`: found by key, in the order of the keys, so that
    /// transactions lock rows in the same order.
    pub(super) fn among<'a>(
        &mut self,
        dialogs: impl IntoIterator<Item = &'a DialogKey>,
    ) -> &mut Self {
        self.push("(user_id,channel) IN (")
            .list(dialogs, |sql, dialog| {
                sql.push("(").key(dialog).push(")");
            })
            .push(")")
    }

    /// The row of one dialog: the server looks it up without choosing a way. `table` is empty
    /// or ends with a dot.
    pub(super) fn of(&mut self, table: &str, dialog: &DialogKey) -> &mut Self {
        self.push(table)
            .push("user_id=")
            .bytes(dialog.user_id.as_bytes())
            .push(" AND ")
            .push(table)
            .push("channel=")
            .bytes(dialog.channel.as_bytes())
    }

    /// When a waiter came, which is the order of service: as far as clocks can be believed. A
    /// box whose clock is wrong gains or loses a second at most.
    pub(super) fn arrival(&mut self, at: impl std::fmt::Display) -> &mut Self {
        const SERVER_US: &str = "CAST(UNIX_TIMESTAMP(NOW(6))*1000000 AS SIGNED)";
        self.push(&format!(
            "LEAST(GREATEST({at},{SERVER_US}-1000000),{SERVER_US})"
        ))
    }

    pub(super) fn numbers(&mut self, numbers: impl IntoIterator<Item = u64>) -> &mut Self {
        self.push("(")
            .list(numbers, |sql, n| {
                sql.number(n);
            })
            .push(")")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_written_so_that_they_end_where_they_should() {
        let mut sql = Sql::default();
        sql.text("a'b\\c\0d\"é🦀").push(" ").bytes(b"\x00\xffA");
        assert_eq!(sql.0, r#"'a\'b\\c\0d"é🦀' X'00ff41'"#);
        let mut sql = Sql::default();
        sql.among(&[DialogKey::new("h", "1"), DialogKey::new("", "'")]);
        assert_eq!(sql.0, "(user_id,channel) IN ((X'31',X'68'),(X'27',X''))");
        let mut sql = Sql::default();
        assert_eq!(sql.numbers([]).0, "()");
    }
}
