//! Steps: what a turn has kept, and how its handler has more kept while it runs.
//!
//! One [`Steps`] belongs to an update; all attempts at it share it. The handler's side
//! ([`Turn::step`](crate::Turn::step), `handlers/command/`) asks with [`Steps::keep`]; whoever
//! runs the handler (`turn/stepping.rs`; in tests [`Steps::serve`]) takes the wish with
//! [`Steps::asked`], writes it, and answers. Invariants: what is known here is durable; what was
//! asked for is written even if nobody waits for the answer any more, since it has happened.
//! Bounds: [`MOST`] steps, [`MAX_NAME`](steps::MAX_NAME), [`MAX_VALUE`], [`MAX_ALL`].

use std::cell::{Cell, RefCell};
use std::collections::{BTreeMap, VecDeque};
use std::future::{Future, poll_fn};
use std::panic::Location;
use std::pin::pin;
use std::rc::Rc;
use std::task::{Poll, Waker};

use serde::Serialize;
use serde::de::DeserializeOwned;
use tokio::sync::oneshot;
use turnkey_storage::steps::{self, Step};

use crate::author::error::{Error, Result};

/// Steps of a turn.
pub(crate) const MOST: usize = 100;

/// Bytes of a result, as JSON.
pub(crate) const MAX_VALUE: usize = 64 << 10;

/// Bytes of all names and results of a turn.
pub(crate) const MAX_ALL: usize = 1 << 20;

/// What became of a wish: the result that stands, as JSON text; or why there is none.
pub(crate) type Answer = std::result::Result<Rc<str>, String>;

/// A result that is to be kept.
pub(crate) struct Wish {
    pub(crate) step: Step,
    pub(crate) answer: oneshot::Sender<Answer>,
}

/// The steps of an update.
#[derive(Default)]
pub(crate) struct Steps {
    kept: RefCell<BTreeMap<String, Rc<str>>>,
    asked: RefCell<VecDeque<Wish>>,
    waker: Cell<Option<Waker>>,
    /// The attempt under way has begun one, or asked for one to be kept.
    has_begun: Cell<bool>,
}

impl Steps {
    /// The result of a step, as JSON text, if it is kept.
    pub(crate) fn get(&self, name: &str) -> Option<Rc<str>> {
        self.kept.borrow().get(name).cloned()
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.kept.borrow().is_empty()
    }

    /// An attempt begins.
    pub(crate) fn begin_attempt(&self) {
        self.has_begun.set(false);
    }

    /// Whether the attempt under way has to be left to end: it has begun a step, or is given one.
    pub(crate) fn hold_it(&self) -> bool {
        self.has_begun.get() || !self.is_empty()
    }

    /// All that are kept, in the order of their names.
    pub(crate) fn all(&self) -> Vec<(String, Rc<str>)> {
        let kept = self.kept.borrow();
        let both = |(name, value): (&String, &Rc<str>)| (name.clone(), value.clone());
        kept.iter().map(both).collect()
    }

    /// Whether there may be one more of this name.
    ///
    /// # Errors
    /// Why not.
    pub(crate) fn check_name(&self, name: &str) -> std::result::Result<(), String> {
        if name.is_empty() || name.len() > steps::MAX_NAME {
            return Err(format!("a step's name has 1 to {} bytes", steps::MAX_NAME));
        }
        let kept = self.kept.borrow();
        if !kept.contains_key(name) && kept.len() + self.asked.borrow().len() >= MOST {
            return Err(format!(
                "step {name:?}: a turn has at most {MOST} steps, and this is one more"
            ));
        }
        Ok(())
    }

    /// Has a result kept, which is JSON text: what stands then under its name. It is asked for
    /// at once, and not when the answer is waited for.
    pub(crate) fn keep(&self, name: String, value: String) -> impl Future<Output = Answer> + use<> {
        let answer = match self.check_size(&name, &value) {
            Ok(()) => {
                let (answer, stands) = oneshot::channel();
                let step = Step { name, value };
                self.has_begun.set(true);
                self.asked.borrow_mut().push_back(Wish { step, answer });
                if let Some(waker) = self.waker.take() {
                    waker.wake();
                }
                Ok(stands)
            }
            Err(reason) => Err(reason),
        };
        async move { answer?.await.unwrap_or_else(|_| Err(ENDED.to_owned())) }
    }

    fn check_size(&self, name: &str, value: &str) -> std::result::Result<(), String> {
        self.check_name(name)?;
        if value.len() > MAX_VALUE {
            return Err(format!(
                "step {name:?} has a result of {} bytes as JSON; {} KiB is the limit",
                value.len(),
                MAX_VALUE >> 10
            ));
        }
        let kept = self.kept.borrow();
        let asked = self.asked.borrow();
        let all = kept.iter().map(|(name, value)| name.len() + value.len());
        let all = all.chain(
            asked
                .iter()
                .map(|Wish { step, .. }| step.name.len() + step.value.len()),
        );
        if all.sum::<usize>() + name.len() + value.len() > MAX_ALL {
            return Err(format!(
                "step {name:?}: the results of this turn's steps have more than {} MiB together",
                MAX_ALL >> 20
            ));
        }
        Ok(())
    }

    /// This result stands from now on.
    pub(crate) fn stands(&self, name: String, value: String) -> Rc<str> {
        let value: Rc<str> = value.into();
        self.kept.borrow_mut().entry(name).or_insert(value).clone()
    }

    /// Results that earlier attempts kept.
    pub(crate) fn found(&self, steps: Vec<Step>) {
        for Step { name, value } in steps {
            self.stands(name, value);
        }
    }

    /// The next wish.
    pub(crate) async fn asked(&self) -> Wish {
        poll_fn(|context| match self.take() {
            Some(wish) => Poll::Ready(wish),
            None => {
                self.waker.set(Some(context.waker().clone()));
                Poll::Pending
            }
        })
        .await
    }

    /// Runs a handler, and keeps in memory what it asks for: where nothing has to last, as in a
    /// test.
    pub(crate) async fn serve<T>(&self, handler: impl Future<Output = T>) -> T {
        let mut handler = pin!(handler);
        loop {
            tokio::select! {
                biased;
                done = &mut handler => return done,
                Wish { step, answer } = self.asked() => {
                    drop(answer.send(Ok(self.stands(step.name, step.value))));
                }
            }
        }
    }

    /// The next wish, if there is one now.
    pub(crate) fn take(&self) -> Option<Wish> {
        self.asked.borrow_mut().pop_front()
    }
}

/// What is said where nobody answers.
const ENDED: &str = "the turn has ended";

/// The names that an attempt has used, with the places where it did.
#[derive(Default)]
pub(crate) struct Used(RefCell<BTreeMap<String, &'static Location<'static>>>);

/// A name that an attempt uses. It is free again when this is dropped, unless it is spent.
struct Using<'a> {
    used: &'a Used,
    name: &'a str,
    is_spent: bool,
}

impl Used {
    fn begin<'a>(&'a self, name: &'a str, place: &'static Location<'static>) -> Result<Using<'a>> {
        let mut used = self.0.borrow_mut();
        if let Some(before) = used.get(name) {
            return Err(Error::msg(format!(
                "step {name:?} is used twice in this turn, at {before} and at {place}: each has a \
                 name of its own"
            )));
        }
        used.insert(name.to_owned(), place);
        Ok(Using {
            used: self,
            name,
            is_spent: false,
        })
    }
}

impl Drop for Using<'_> {
    fn drop(&mut self) {
        if !self.is_spent {
            self.used.0.borrow_mut().remove(self.name);
        }
    }
}

/// See [`Turn::step`](crate::Turn::step).
pub(crate) async fn run<T: Serialize + DeserializeOwned>(
    steps: &Steps,
    used: &Used,
    place: &'static Location<'static>,
    name: &str,
    body: impl Future<Output = Result<T>>,
) -> Result<T> {
    steps.check_name(name).map_err(Error::msg)?;
    let mut using = used.begin(name, place)?;
    let unreadable = |error: serde_json::Error| {
        Error::msg(format!(
            "the result of step {name:?} cannot be read as what it was: {error}"
        ))
    };
    if let Some(kept) = steps.get(name) {
        using.is_spent = true;
        return serde_json::from_str(&kept).map_err(unreadable);
    }
    steps.has_begun.set(true);
    let result = serde_json::to_string(&body.await?)?;
    // What a later attempt would be given: that it can be read shows now.
    let given: T = serde_json::from_str(&result).map_err(unreadable)?;
    using.is_spent = true;
    let own = result.clone();
    let stands = steps.keep(name.to_owned(), result).await;
    let stands = stands.map_err(Error::msg)?;
    match *stands == *own {
        true => Ok(given),
        false => serde_json::from_str(&stands).map_err(unreadable),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn step<'a, T: Serialize + DeserializeOwned + 'a>(
        (steps, used): &'a (Steps, Used),
        name: &'a str,
        body: impl Future<Output = Result<T>> + 'a,
    ) -> impl Future<Output = Result<T>> + 'a {
        steps.serve(run(steps, used, Location::caller(), name, body))
    }

    async fn gives<T>(value: T) -> Result<T> {
        Ok(value)
    }

    fn block_on<T>(work: impl Future<Output = T>) -> T {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .build()
            .unwrap();
        runtime.block_on(work)
    }

    #[test]
    fn what_is_kept_is_not_done_again() {
        block_on(async {
            let mut turn = (Steps::default(), Used::default());
            assert_eq!(step(&turn, "a", gives(7)).await.unwrap(), 7);
            // The next attempt has names of its own.
            turn.1 = Used::default();
            let never = async { panic!("it is kept") };
            assert_eq!(step::<u32>(&turn, "a", never).await.unwrap(), 7);
            turn.1 = Used::default();
            let other = step(&turn, "a", gives("seven".to_owned())).await;
            let why = other.unwrap_err().to_string();
            assert!(
                why.contains("the result of step \"a\" cannot be read"),
                "{why}"
            );
            // What a later attempt could not read shows at once, and is not kept.
            let lost = step(&turn, "nan", gives(f64::NAN)).await;
            assert!(lost.is_err());
            assert!(turn.0.get("nan").is_none());
        });
    }

    #[test]
    fn of_two_results_the_first_is_given_to_both() {
        block_on(async {
            let turn = (Steps::default(), Used::default());
            let slow = async {
                turn.0.found(vec![Step {
                    name: "a".to_owned(),
                    value: "1".to_owned(),
                }]);
                Ok(2)
            };
            assert_eq!(step(&turn, "a", slow).await.unwrap(), 1);
        });
    }

    #[test]
    fn a_name_is_used_once_and_both_places_are_told() {
        block_on(async {
            let turn = (Steps::default(), Used::default());
            let fails = async { Err::<u32, _>(Error::msg("no")) };
            assert_eq!(step(&turn, "a", fails).await.unwrap_err().to_string(), "no");
            step(&turn, "a", gives(1)).await.unwrap();
            let twice = step(&turn, "a", gives(1)).await.unwrap_err().to_string();
            let places: Vec<_> = twice.matches("steps.rs:").collect();
            assert!(
                twice.contains("is used twice") && places.len() == 2,
                "{twice}"
            );
        });
    }

    #[test]
    fn each_limit_has_its_error() {
        let refused = |work: Result<String>, part: &str| {
            let why = work.unwrap_err().to_string();
            assert!(why.contains(part), "{why}");
        };
        block_on(async {
            let turn = (Steps::default(), Used::default());
            let text = |length| gives("x".repeat(length));
            for name in ["", &"x".repeat(65)] {
                refused(step(&turn, name, text(1)).await, "1 to 64 bytes");
            }
            refused(
                step(&turn, "long", text(MAX_VALUE)).await,
                "64 KiB is the limit",
            );
            for n in 0..16 {
                let kept = step(&turn, &format!("{n}"), text(65_000)).await;
                kept.unwrap();
            }
            refused(
                step(&turn, "more", text(65_000)).await,
                "more than 1 MiB together",
            );
            for n in 16..100 {
                step(&turn, &format!("{n}"), text(1)).await.unwrap();
            }
            refused(step(&turn, "101", text(1)).await, "at most 100 steps");
        });
    }
}
