//! What a handler process and its worker say to each other: lines in both directions, and what
//! the process prints.
//!
//! Called by `life.rs`, and by `mod.rs` at the start. Invariant: of a process that breaks the
//! protocol nothing more is read. Bounds: [`LONGEST_LINE`], and those of the lines.

use std::rc::Rc;

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWriteExt};
use tokio::net::unix::pipe;
use tokio::sync::oneshot;
use tokio::time::Instant;

use super::super::printed;
use super::super::wire::{self, Hello, LONGEST_LINE, Line};
use super::turns::{MOST_QUESTIONS, too_many};
use super::{Cause, Event, GOING, Process};

impl Process {
    /// Reads what it says, until it is to be ended: why.
    pub(super) async fn read(
        &self,
        mut from: pipe::Receiver,
        said: oneshot::Sender<Hello>,
    ) -> Cause {
        let mut said = Some(said);
        let mut buffer = Vec::with_capacity(64 << 10);
        let mut searched = 0;
        loop {
            let mut begin = 0;
            while let Some(at) = buffer[searched..].iter().position(|b| *b == b'\n') {
                let end = searched + at;
                let line = &buffer[begin..end];
                if line.len() > LONGEST_LINE {
                    return Cause::Protocol(wire::too_long());
                }
                if let Err(reason) = self.hear(line, &mut said) {
                    return Cause::Protocol(reason);
                }
                (begin, searched) = (end + 1, end + 1);
            }
            buffer.drain(..begin);
            searched = buffer.len();
            if buffer.len() > LONGEST_LINE {
                return Cause::Protocol(wire::too_long());
            }
            match from.read_buf(&mut buffer).await {
                Ok(0) if self.closing.get() => std::future::pending().await,
                // It ended, most likely: how, its status tells.
                Ok(0) => {
                    tokio::time::sleep(GOING).await;
                    return Cause::Protocol(wire::CLOSED.to_owned());
                }
                Ok(_) => {}
                Err(error) => return Cause::Protocol(format!("descriptor 4: {error}")),
            }
        }
    }

    /// Hears one line.
    fn hear(
        &self,
        line: &[u8],
        said: &mut Option<oneshot::Sender<Hello>>,
    ) -> std::result::Result<(), String> {
        self.heard.set(Instant::now());
        let line = wire::read(line)?;
        if said.is_some() && !matches!(line, Line::Hello(_) | Line::Log(_)) {
            return Err("a line before hello".to_owned());
        }
        match line {
            Line::Hello(hello) => {
                let said = said.take().ok_or("a second hello")?;
                self.greeted.set(true);
                self.raw.set(hello.raw);
                if !hello.name.is_empty() {
                    *self.title.borrow_mut() = format!("{}[{}]", hello.name, self.leader);
                }
                // Nobody waits any more: it comes too late, and is being ended.
                drop(said.send(hello));
            }
            Line::Answer(id, answer) => {
                let turn = self.in_hand.borrow_mut().remove(&id);
                let turn = turn.ok_or_else(|| {
                    format!(
                        "an answer to turn {id}, which is not in hand, or had its answer before"
                    )
                })?;
                turn.put(Event::Answer(answer));
            }
            Line::Question(id, question) => {
                let turn = self.in_hand.borrow().get(&id).cloned();
                let turn =
                    turn.ok_or_else(|| format!("a question of turn {id}, which is not in hand"))?;
                if turn.waiting() < MOST_QUESTIONS {
                    turn.put(Event::Question(question));
                } else {
                    self.write(&wire::refused(id, question.number, too_many()));
                }
            }
            Line::Draft(id, draft) => {
                let turn = self.in_hand.borrow().get(&id).cloned();
                let turn =
                    turn.ok_or_else(|| format!("a draft of turn {id}, which is not in hand"))?;
                match draft {
                    // However many come at once, they are no questions.
                    Ok(text) => turn.put_newest(Event::Draft(text)),
                    Err(wrong) => {
                        let title = self.title.borrow();
                        tracing::warn!("{title}: a draft of turn {id} is not shown: {wrong}");
                    }
                }
            }
            Line::Pong(_) => {}
            Line::Log(log) => self.log(log),
        }
        Ok(())
    }

    fn log(&self, log: wire::Log) {
        let (title, text) = (self.title.borrow(), wire::cut(log.text, printed::LONGEST));
        match log.level.as_str() {
            "error" => tracing::error!("{title}: {text}"),
            "warn" | "warning" => tracing::warn!("{title}: {text}"),
            "debug" => tracing::debug!("{title}: {text}"),
            _ => tracing::info!("{title}: {text}"),
        }
    }

    /// What it prints goes to the log.
    pub(super) fn hear_printed(
        self: &Rc<Self>,
        from: impl AsyncRead + Unpin + 'static,
    ) -> tokio::task::JoinHandle<()> {
        let process = self.clone();
        tokio::task::spawn_local(printed::each_line(from, move |line| {
            tracing::info!("{}: {line}", process.title.borrow());
            process.printed.borrow_mut().keep(line);
        }))
    }

    /// Writes what is in the outbox, as much at once as there is, until the worker leaves
    /// or the process no longer reads.
    pub(super) async fn write_all(&self, mut to: pipe::Sender) {
        loop {
            let lines = std::mem::take(&mut *self.outbox.borrow_mut());
            if lines.is_empty() {
                if self.closing.get() {
                    return;
                }
                self.wake.notified().await;
                continue;
            }
            if let Err(error) = to.write_all(&lines).await {
                if !self.closing.get() {
                    // If it has ended, its status says more.
                    tokio::time::sleep(GOING).await;
                    self.end(Cause::Protocol(wire::unread(&error)));
                }
                return std::future::pending().await;
            }
        }
    }
}
