//! Server-sent events as they arrive (the HTML standard, 9.2.6), read just far enough to
//! know whether the last one is whole, and its id.
//!
//! Fed by the readers of both protocols with the bytes of a body. Bound: [`MAX_LINE`].

/// Bytes of a line that are looked at; only the beginning of an id matters.
const MAX_LINE: usize = 1024;

/// What was seen of one stream.
#[derive(Debug, Default)]
pub(super) struct Events {
    line: Vec<u8>,
    /// Whether something has come since the last empty line.
    is_open: bool,
    /// The id in the event that is under way, and of the last whole one.
    next_id: Option<String>,
    last_id: Option<String>,
    /// The id with which this stream was asked for.
    asked_after: Option<String>,
    pub(super) received: u64,
    /// Whether the first id is the one that follows the id that was asked after; none if that
    /// cannot be known.
    pub(super) is_resumed: Option<bool>,
}

impl Events {
    /// Asked for with `Last-Event-ID`.
    pub(super) fn after(id: Option<String>) -> Self {
        Events {
            last_id: id.clone(),
            asked_after: id,
            ..Events::default()
        }
    }

    pub(super) fn feed(&mut self, bytes: &[u8]) {
        for byte in bytes {
            match byte {
                b'\n' => self.line_ends(),
                b'\r' => {}
                byte if self.line.len() < MAX_LINE => self.line.push(*byte),
                _ => {}
            }
        }
    }

    fn line_ends(&mut self) {
        let line = String::from_utf8_lossy(&self.line).into_owned();
        self.line.clear();
        if line.is_empty() {
            if self.is_open {
                self.received += 1;
                self.judge_resumption();
                self.last_id = self.next_id.take().or(self.last_id.take());
            }
            self.is_open = false;
            return;
        }
        // A comment keeps the connection alive and is no event.
        self.is_open |= !line.starts_with(':');
        if let Some(id) = line.strip_prefix("id:") {
            self.next_id = Some(id.trim().to_owned());
        }
    }

    fn judge_resumption(&mut self) {
        if self.received > 1 {
            return;
        }
        let number = |id: &Option<String>| id.as_ref().and_then(|id| id.parse::<u64>().ok());
        if let (Some(asked), Some(first)) = (number(&self.asked_after), number(&self.next_id)) {
            self.is_resumed = Some(first == asked + 1);
        }
    }

    /// Whether no event has been begun and not ended.
    pub(super) fn is_whole(&self) -> bool {
        !self.is_open && self.line.is_empty()
    }

    pub(super) fn last_id(&self) -> Option<&str> {
        self.last_id.as_deref()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn events_are_whole_at_an_empty_line() {
        let text = ": hello\n\nid: 7\ndata: a\n\nid: 8\r\ndata: b\r\n\r\n";
        let mut events = Events::after(Some("6".to_owned()));
        for byte in text.as_bytes() {
            events.feed(&[*byte]);
        }
        assert_eq!((events.received, events.last_id()), (2, Some("8")));
        assert!(events.is_whole());
        assert_eq!(events.is_resumed, Some(true));
        events.feed(b"data: c");
        assert!(!events.is_whole());
        assert_eq!(events.last_id(), Some("8"));
    }

    #[test]
    fn a_stream_that_does_not_go_on_where_it_ended_is_noticed() {
        let mut events = Events::after(Some("6".to_owned()));
        events.feed(b"id: 0\ndata: a\n\n");
        assert_eq!(events.is_resumed, Some(false));
        let mut without_numbers = Events::after(Some("x".to_owned()));
        without_numbers.feed(b"id: y\ndata: a\n\n");
        assert_eq!(without_numbers.is_resumed, None);
    }
}
