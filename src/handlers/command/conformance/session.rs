//! One process that is spoken to as a worker does, and what it owes.
//!
//! Called by the cases. Invariants: an answer counts only for a turn that is in hand; the
//! first thing for which a worker would kill the process ends the case. What only fails a
//! turn is written down as wrong, and the case goes on. Bounds: those of `conversation.rs`,
//! and a deadline for each wait.

use std::collections::{HashMap, HashSet};
use std::process::ExitStatus;
use std::time::{Duration, Instant};

use nix::sys::signal::Signal;
use serde_json::Value;

use super::super::conversation::{Conversation, Next};
use super::super::plan::ended;
use super::super::process::LEAVE;
use super::super::wire::{self, Asked, Given, Hello, Line, Look, Question};
use super::answer::{self, Ended};
use super::{Bench, Findings, MOST_AT_ONCE, Stop, Tally, Tried};
use crate::author::message::Update;

/// Levels of lines for the log.
const LEVELS: [&str; 4] = ["error", "warn", "info", "debug"];

/// What is said to whoever asks the platform.
const NO_PLATFORM: &str = "there is no platform: this is turnkey handler check";

/// Where the addresses of callbacks begin.
const CALLBACKS: &str = "https://bot.example/callback/";

/// A process that has said hello.
pub(super) struct Session<'a> {
    bench: &'a Bench,
    tally: &'a mut Tally,
    pub(super) found: &'a mut Findings,
    talk: Conversation<'a>,
    pub(super) hello: Hello,
    next_id: u64,
    /// The turns that it has, with the states that they were given.
    in_hand: HashMap<u64, Option<String>>,
    answered: HashMap<u64, Ended>,
    pings: HashSet<u64>,
    questions: HashSet<(u64, u64)>,
    /// What questions are answered with: no rows and no platform, or this error.
    pub(super) refuses: Option<&'static str>,
}

/// What a line was.
enum Heard {
    Answer,
    Pong,
    Other,
}

impl<'a> Session<'a> {
    /// Starts a process and greets it.
    pub(super) fn open(
        bench: &'a Bench,
        tally: &'a mut Tally,
        found: &'a mut Findings,
    ) -> Tried<Self> {
        Self::greeted(bench, tally, found, &wire::hello(0, Some(CALLBACKS)))
    }

    /// Starts a process and greets it with this line.
    pub(super) fn greeted(
        bench: &'a Bench,
        tally: &'a mut Tally,
        found: &'a mut Findings,
        greeting: &[u8],
    ) -> Tried<Self> {
        let mut talk = Conversation::start(&bench.plan, &bench.sdk).map_err(Stop::CannotStart)?;
        talk.say(greeting);
        let hello = match talk.hello(bench.patience.hello) {
            Ok(hello) => hello,
            Err(why) => {
                let speaks = talk
                    .printed()
                    .any(|line| wire::read(line.as_bytes()).is_ok());
                let hint = match speaks {
                    true => {
                        "; it printed a line of the protocol to standard output or error, but descriptor 4 is where answers go"
                    }
                    false => "",
                };
                let lines = talk.last_lines();
                return Err(format!("{why}{hint}{lines}").into());
            }
        };
        tally.introduced.get_or_insert_with(|| hello.clone());
        Ok(Session {
            bench,
            tally,
            found,
            talk,
            hello,
            next_id: 1,
            in_hand: HashMap::new(),
            answered: HashMap::new(),
            pings: HashSet::new(),
            questions: HashSet::new(),
            refuses: None,
        })
    }

    /// Turns that may be in hand at once.
    pub(super) fn window(&self) -> usize {
        self.hello.concurrency.min(MOST_AT_ONCE)
    }

    /// How many questions it has asked.
    pub(super) fn asked(&self) -> usize {
        self.questions.len()
    }

    /// Gives it a turn; its id.
    pub(super) fn give(&mut self, update: &Update, state: Option<&str>) -> Tried<u64> {
        self.give_changed(update, state, |_| {})
    }

    /// Gives it a turn whose line was changed.
    pub(super) fn give_changed(
        &mut self,
        update: &Update,
        state: Option<&str>,
        change: impl FnOnce(&mut Value),
    ) -> Tried<u64> {
        let id = self.next_id;
        self.next_id += 1;
        let given = Given {
            id,
            update,
            attempt: 1,
            is_last_attempt: false,
            given_up: None,
            state,
            raw: self.hello.raw,
            steps: &[],
        };
        let cannot = |error: String| format!("the turn cannot be written: {error}");
        let line = wire::turn(&given).map_err(|e| cannot(e.to_string()))?;
        self.talk.say(&match state {
            // Not all states are numbers that a `Value` holds.
            Some(_) => line,
            None => {
                let mut whole = serde_json::from_slice(&line).map_err(|e| cannot(e.to_string()))?;
                change(&mut whole);
                wire::line(&whole).map_err(|e| cannot(e.to_string()))?
            }
        });
        self.in_hand.insert(id, state.map(str::to_owned));
        Ok(id)
    }

    /// Waits until a turn is answered.
    pub(super) fn answer(&mut self, id: u64) -> Tried<Ended> {
        self.answer_within(id, self.bench.patience.turn)
    }

    /// The same, with a limit of its own.
    pub(super) fn answer_within(&mut self, id: u64, limit: Duration) -> Tried<Ended> {
        let until = Instant::now() + limit;
        loop {
            if let Some(ended) = self.answered.get(&id) {
                return Ok(ended.clone());
            }
            if self.hear(until)?.is_none() {
                return Err(self.unanswered(limit).into());
            }
        }
    }

    /// Gives it a turn and waits for the answer.
    pub(super) fn ask(&mut self, update: &Update, state: Option<&str>) -> Tried<Ended> {
        let id = self.give(update, state)?;
        self.answer(id)
    }

    /// Waits until it has no more than so many turns in hand; each answer gives it new time.
    pub(super) fn answers(&mut self, left: usize) -> Tried {
        let limit = self.bench.patience.turn;
        let mut until = Instant::now() + limit;
        while self.in_hand.len() > left {
            match self.hear(until)? {
                None => return Err(self.unanswered(limit).into()),
                Some(Heard::Answer) => until = Instant::now() + limit,
                Some(_) => {}
            }
        }
        Ok(())
    }

    fn unanswered(&self, limit: Duration) -> String {
        format!(
            "{} had no answer within {} s",
            self.has(),
            limit.as_secs_f32()
        )
    }

    /// The turns that it has in hand, as the subject of a sentence.
    fn has(&self) -> String {
        let mut ids: Vec<_> = self.in_hand.keys().collect();
        ids.sort();
        match ids[..] {
            [] => "no turn".to_owned(),
            [id] => format!("turn {id}"),
            [first, ..] => format!("{} turns, the first with the id {first},", ids.len()),
        }
    }

    /// Pings it and waits for the pong.
    pub(super) fn ping(&mut self, number: u64, limit: Duration) -> Tried {
        self.talk.say(&wire::ping(number));
        self.pings.insert(number);
        let until = Instant::now() + limit;
        while self.pings.contains(&number) {
            match self.hear(until)? {
                None => {
                    return Err(format!(
                        "ping {number} had no pong within {} s, while no turn was in hand",
                        limit.as_secs_f32()
                    )
                    .into());
                }
                Some(Heard::Pong | Heard::Answer | Heard::Other) => {}
            }
        }
        Ok(())
    }

    pub(super) fn cancel(&mut self, id: u64) {
        self.talk.say(&wire::cancel(id));
    }

    pub(super) fn drain(&mut self) {
        self.talk.say(&wire::drain());
    }

    pub(super) fn signal(&mut self, signal: Signal) {
        self.talk.signal(signal);
    }

    /// Waits for what must not come.
    pub(super) fn silence(&mut self, time: Duration) -> Tried {
        let until = Instant::now() + time;
        while self.hear(until)?.is_some() {}
        Ok(())
    }

    /// Waits until the turn is answered or the process is gone: how that was.
    pub(super) fn answer_or_end(&mut self, id: u64) -> Tried<Option<ExitStatus>> {
        let until = Instant::now() + self.bench.patience.turn;
        while self.in_hand.contains_key(&id) {
            match self.talk.next(until) {
                Next::Ended(status) => return Ok(Some(status)),
                next => {
                    if self.heard(next)?.is_none() {
                        return Err(self.unanswered(self.bench.patience.turn).into());
                    }
                }
            }
        }
        Ok(None)
    }

    /// Has it leave, as at the end of each case; whatever else it says is heard.
    pub(super) fn leave(mut self) -> Tried {
        self.drain();
        self.end(LEAVE).map(|_| ())
    }

    /// Ends the pipe to it and hears what it still says: how it ended, if within this time.
    pub(super) fn end(&mut self, limit: Duration) -> Tried<Option<ExitStatus>> {
        self.talk.close();
        self.gone_within(limit)
    }

    /// How it ended, if it does within this time.
    pub(super) fn gone_within(&mut self, limit: Duration) -> Tried<Option<ExitStatus>> {
        let until = Instant::now() + limit;
        loop {
            match self.talk.next(until) {
                Next::Ended(status) => {
                    if self.talk.is_cut_off() {
                        let warning = "its last line has no line feed, and was not read";
                        self.found.warn(warning.to_owned());
                    }
                    return Ok(Some(status));
                }
                next => {
                    if self.heard(next)?.is_none() {
                        return Ok(None);
                    }
                }
            }
        }
    }

    /// The last lines that it printed, to be shown below a sentence.
    pub(super) fn last_lines(&mut self) -> String {
        self.talk.last_lines()
    }

    /// Hears one line; none when there is none in time.
    fn hear(&mut self, until: Instant) -> Tried<Option<Heard>> {
        let next = self.talk.next(until);
        self.heard(next)
    }

    fn heard(&mut self, next: Next) -> Tried<Option<Heard>> {
        let broken = |how| Stop::Wrong(format!("it broke the protocol: {how}"));
        match next {
            Next::Line(line) => self.judge(&line).map(Some).map_err(broken),
            Next::Broken(how) => Err(broken(how)),
            Next::Nothing => Ok(None),
            Next::Ended(status) => {
                let (has, how, lines) = (self.has(), ended(status), self.talk.last_lines());
                Err(format!("{how}, with {has} in hand{lines}").into())
            }
        }
    }

    /// What a line means.
    fn judge(&mut self, line: &[u8]) -> Result<Heard, String> {
        match wire::read(line)? {
            Line::Hello(_) => Err("a second hello".to_owned()),
            Line::Answer(id, answer) => {
                let Some(state) = self.in_hand.remove(&id) else {
                    return Err(match self.answered.contains_key(&id) {
                        true => format!("a second answer to turn {id}"),
                        false => format!("an answer to turn {id}, which it was never given"),
                    });
                };
                let ended = answer::read(&answer, state.as_deref(), self.tally, self.found);
                self.answered.insert(id, ended);
                Ok(Heard::Answer)
            }
            Line::Question(id, Question { number, asked }) => {
                if !self.in_hand.contains_key(&id) {
                    return Err(format!("a question of turn {id}, which is not in hand"));
                }
                if !self.questions.insert((id, number.number)) {
                    let number = number.number;
                    self.found.warn(format!(
                        "a turn asked two questions with the same number, {number}"
                    ));
                }
                let answer = match (asked, self.refuses) {
                    (Err(wrong), _) => {
                        let wrong = format!("a question is refused: {wrong}");
                        self.found.wrong(wrong.clone());
                        wire::refused(id, number, wrong)
                    }
                    (Ok(_), Some(error)) => wire::refused(id, number, error.to_owned()),
                    (Ok(Asked::Storage(Look::Rows(_))), None) => {
                        wire::rows(id, number, Ok(Vec::new()))
                    }
                    (Ok(Asked::Storage(Look::DeadReplies)), None) => {
                        wire::dead(id, number, Ok(Vec::new()))
                    }
                    (Ok(Asked::Keep(step)), None) => {
                        let stands = step.value.as_str().into();
                        wire::kept(id, number, &step.value, Ok(stands))
                    }
                    (Ok(Asked::Platform(_)), None) => {
                        wire::refused(id, number, NO_PLATFORM.to_owned())
                    }
                    // Nothing newer comes: to wait for it is no mistake.
                    (Ok(Asked::Newer { wait: true }), None) => return Ok(Heard::Other),
                    (Ok(Asked::Newer { wait: false }), None) => wire::newer(id, number, Ok(false)),
                };
                self.talk.say(&answer);
                Ok(Heard::Other)
            }
            Line::Draft(id, draft) => {
                if !self.in_hand.contains_key(&id) {
                    return Err(format!("a draft of turn {id}, which is not in hand"));
                }
                if let Err(wrong) = draft {
                    self.found.wrong(format!("a draft is not shown: {wrong}"));
                }
                Ok(Heard::Other)
            }
            Line::Pong(number) => match self.pings.remove(&number) {
                true => Ok(Heard::Pong),
                false => Err(format!(
                    "a pong with the number {number}, which no ping has"
                )),
            },
            Line::Log(log) => {
                if !LEVELS.contains(&log.level.as_str()) {
                    let level = &log.level;
                    self.found.warn(format!(
                        "a line for the log has the level {level:?}; it is taken for info"
                    ));
                }
                Ok(Heard::Other)
            }
        }
    }
}
