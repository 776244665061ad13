//! A turn in a handler process: sent to it, its questions answered, until its end is known.
//!
//! Called by `pool.rs` through [`Process::run`]. Invariant: each turn that was sent gets exactly
//! one end, its answer or the process's. Bounds: [`MOST_QUESTIONS`], [`CANCEL_GRACE`].

use std::collections::VecDeque;
use std::pin::pin;
use std::rc::Rc;

use tokio::task::JoinSet;
use tokio::time::Instant;
use turnkey_storage::steps::Step;

use super::super::mailbox::Mailbox;
use super::super::wire::{self, Asked, Given, Look, Number, Question, TurnEnd, Wish};
use super::{Blame, CANCEL_GRACE, Cause, Event, Process, Ran};
use crate::author::drafts::Drafts;
use crate::author::error::Error;
use crate::author::turn::dead_replies;
use crate::handlers::{Call, Interruption};

/// Questions of one turn that are not answered yet; one more is answered with an error.
pub(super) const MOST_QUESTIONS: usize = 64;

impl Process {
    /// Runs a turn in it. Dropped, the turn is still the process's until it is answered.
    ///
    /// After an interruption it is cancelled, and its end is waited for: of one dialog there are
    /// never two turns. A process is not killed for that, but for the turn's own time-out. A turn
    /// that was in a step then, and keeps its result, is not interrupted.
    pub(in crate::handlers::command) async fn run(
        self: &Rc<Self>,
        call: &Call,
        interruption: &mut Interruption,
    ) -> Ran {
        let id = self.next_id.replace(self.next_id.get() + 1);
        let given = Given {
            id,
            update: &call.update,
            attempt: call.attempt,
            is_last_attempt: call.is_last_attempt,
            given_up: call.given_up.as_deref(),
            state: call.state.as_deref(),
            raw: self.raw.get(),
            // Those, too, that a process kept which died of another turn.
            steps: &call.steps.all(),
        };
        let line = match wire::turn(&given) {
            Ok(line) => line,
            Err(error) => return Ran::Answered(Err(error)),
        };
        let events = Rc::new(Mailbox::new());
        if self.is_gone() {
            return Ran::Died(Blame::None, "it was already ending".to_owned());
        }
        self.in_hand.borrow_mut().insert(id, events.clone());
        self.write(&line);
        let mut deadline = pin!(tokio::time::sleep(call.timeout));
        let mut is_late = false;
        let (mut is_interrupted, mut may_be_interrupted) = (false, true);
        // The database is asked one thing after another, the platform all at once.
        let mut waiting: VecDeque<(Number, Look)> = VecDeque::new();
        let mut asked = None;
        let mut others: Option<JoinSet<()>> = None;
        let mut drafts: Option<Drafts> = None;
        let over = || "the turn is over its time".to_owned();
        loop {
            if asked.is_none()
                && let Some((number, look)) = waiting.pop_front()
            {
                asked = Some(Box::pin(self.look(call, id, number, look)));
            }
            tokio::select! {
                event = events.next() => match event {
                    Some(Event::Answer(_)) if is_late => {
                        return Ran::Answered(Err(Error::Timeout(call.timeout)));
                    }
                    Some(Event::Answer(_)) if is_interrupted => return Ran::Interrupted,
                    Some(Event::Answer(TurnEnd::Done(done))) => {
                        return Ran::Answered(wire::done(&done, call.state.as_deref()));
                    }
                    Some(Event::Answer(TurnEnd::Fail(fail))) => {
                        return Ran::Answered(Err(wire::fail(&fail)));
                    }
                    Some(Event::Question(Question { number, asked: what })) => {
                        let open = waiting.len() + usize::from(asked.is_some()) + open(&mut others);
                        match what {
                            _ if open >= MOST_QUESTIONS => {
                                self.write(&wire::refused(id, number, too_many()));
                            }
                            // It has happened, be it late.
                            Ok(Asked::Keep(step)) => {
                                // It goes on, and what it answers counts.
                                (is_interrupted, may_be_interrupted) = (false, false);
                                let others = others.get_or_insert_default();
                                others.spawn_local(self.keep(call, id, number, step));
                            }
                            _ if is_late => self.write(&wire::refused(id, number, over())),
                            Ok(Asked::Storage(look)) => waiting.push_back((number, look)),
                            Ok(Asked::Platform(wish)) => {
                                let others = others.get_or_insert_default();
                                others.spawn_local(self.ask(call, id, number, wish));
                            }
                            Ok(Asked::Newer { wait }) => {
                                let others = others.get_or_insert_default();
                                others.spawn_local(self.look_for_newer(call, id, number, wait));
                            }
                            Err(reason) => self.write(&wire::refused(id, number, reason)),
                        }
                    }
                    Some(Event::Draft(_)) if is_late || is_interrupted => {}
                    Some(Event::Draft(text)) => match &drafts {
                        Some(drafts) => drafts.show(text),
                        None => {
                            let (platform, update) = (call.platform.clone(), call.update.clone());
                            drafts = Some(Drafts::start(platform, update, text));
                        }
                    },
                    None if is_late => return Ran::Answered(Err(Error::Timeout(call.timeout))),
                    None => return self.died(),
                },
                () = async { if let Some(asked) = &mut asked { asked.await } }, if asked.is_some() => {
                    asked = None;
                }
                () = interruption.comes(), if may_be_interrupted && !is_late => {
                    // One that is in a step of its goes on, and asks.
                    (is_interrupted, may_be_interrupted) = (true, false);
                    drafts = None;
                    self.write(&wire::interrupt(id));
                }
                () = &mut deadline => {
                    if is_late {
                        self.end(Cause::Late);
                        // Its end comes as the end of the events.
                        deadline.as_mut().reset(Instant::now() + CANCEL_GRACE);
                    } else {
                        is_late = true;
                        for (number, _) in waiting.drain(..) {
                            self.write(&wire::refused(id, number, over()));
                        }
                        // What is asked of the platform ends with the turn.
                        (others, drafts) = (None, None);
                        if !is_interrupted {
                            self.write(&wire::cancel(id));
                        }
                        deadline.as_mut().reset(Instant::now() + CANCEL_GRACE);
                    }
                }
            }
        }
    }

    /// Looks something up, and writes the answer.
    async fn look(&self, call: &Call, id: u64, number: Number, look: Look) {
        let answer = match look {
            Look::Rows(statement) => {
                let rows = call.storage.query(Some(&call.grant), statement).await;
                wire::rows(id, number, rows.map_err(|error| error.to_string()))
            }
            Look::DeadReplies => {
                let dead = dead_replies(&*call.storage, &call.update.dialog).await;
                wire::dead(id, number, dead.map_err(|error| error.to_string()))
            }
        };
        self.write(&answer);
    }

    /// Has a result kept, of which the wish is there at once, and writes the answer.
    fn keep(
        self: &Rc<Self>,
        call: &Call,
        id: u64,
        number: Number,
        step: Step,
    ) -> impl Future<Output = ()> + use<> {
        let process = self.clone();
        let own = step.value.clone();
        let kept = call.steps.keep(step.name, step.value);
        async move { process.write(&wire::kept(id, number, &own, kept.await)) }
    }

    /// Asks the platform, and writes the answer.
    fn ask(
        self: &Rc<Self>,
        call: &Call,
        id: u64,
        number: Number,
        wish: Wish,
    ) -> impl Future<Output = ()> + use<> {
        let (process, update) = (self.clone(), call.update.clone());
        let platform = call.platform.clone();
        async move {
            let answer = match wish {
                Wish::Result { method, params } => {
                    let result = platform.ask(&update, method, params).await;
                    wire::result(id, number, result)
                }
                Wish::File { file, path, limit } => {
                    let channel = &update.dialog.channel;
                    let size = platform.download_to(channel, &file, path.clone(), limit);
                    wire::downloaded(id, number, &path, size.await)
                }
            };
            process.write(&answer);
        }
    }

    /// Looks for something newer, and writes the answer.
    fn look_for_newer(
        self: &Rc<Self>,
        call: &Call,
        id: u64,
        number: Number,
        wait: bool,
    ) -> impl Future<Output = ()> + use<> {
        let (process, update) = (self.clone(), call.update.clone());
        let (newer, storage) = (call.newer, call.storage.clone());
        async move {
            let answer = match wait {
                true => {
                    newer.came(&*storage, &update).await;
                    Ok(true)
                }
                false => newer.has_come(&*storage, &update).await,
            };
            process.write(&wire::newer(id, number, answer.map_err(|e| e.to_string())));
        }
    }

    /// What its end means to a turn that it had in hand.
    fn died(&self) -> Ran {
        let cause = self.cause.borrow().clone();
        let why = cause.as_ref().map(ToString::to_string).unwrap_or_default();
        let blame = match cause {
            Some(Cause::Ended(_) | Cause::Protocol(_)) if self.had_one.get() => Blame::Alone,
            // Of a process that hangs, the oldest turn is late first, and may not be the one.
            Some(Cause::Ended(_) | Cause::Protocol(_) | Cause::Late) => Blame::Suspect,
            _ => Blame::None,
        };
        Ran::Died(blame, format!("its handler {}: {why}", self.title()))
    }
}

/// How many of these still run.
fn open(tasks: &mut Option<JoinSet<()>>) -> usize {
    let Some(tasks) = tasks else { return 0 };
    while tasks.try_join_next().is_some() {}
    tasks.len()
}

pub(super) fn too_many() -> String {
    format!("more than {MOST_QUESTIONS} questions at once")
}
