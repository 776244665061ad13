//! Handlers in Rust, of any state type.
//!
//! Called through [`AnyHandler`]. Invariant: a panic of the author's code is an error of
//! its turn alone.

use std::any::TypeId;
use std::cell::{Cell, OnceCell};
use std::future::{Future, poll_fn};
use std::marker::PhantomData;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::{Pin, pin};
use std::task::Poll;

use serde::Serialize;
use serde::de::DeserializeOwned;

use super::{AnyHandler, Call, Handled, Returned, RunEnd, Starting, Wishes};
use crate::author::error::{Error, Result};
use crate::author::list::List;
use crate::author::start_error::StartResult;
use crate::author::steps::Used;
use crate::author::turn::{MAX_REPLIES, Turn};

/// A handler of state `S`.
pub(crate) struct Typed<S, F> {
    handler: F,
    state: PhantomData<fn(S)>,
}

impl<S, F> Typed<S, F> {
    pub(crate) fn new(handler: F) -> Self {
        Typed {
            handler,
            state: PhantomData,
        }
    }
}

impl<S, F> AnyHandler for Typed<S, F>
where
    S: Default + Serialize + DeserializeOwned + 'static,
    F: AsyncFn(&mut Turn<S>) -> Result<()> + 'static,
{
    fn call(&self, call: Call) -> Pin<Box<dyn Future<Output = Returned> + '_>> {
        Box::pin(run(call, &self.handler))
    }

    fn state(&self) -> Option<TypeId> {
        Some(TypeId::of::<S>())
    }
}

/// A handler that is also given what its worker has made.
pub(crate) struct With<S, C, M, F> {
    make: M,
    /// In a worker.
    made: OnceCell<C>,
    handler: F,
    state: PhantomData<fn(S)>,
}

impl<S, C, M, F> With<S, C, M, F> {
    pub(crate) fn new(make: M, handler: F) -> Self {
        With {
            make,
            made: OnceCell::new(),
            handler,
            state: PhantomData,
        }
    }
}

impl<S, C, M, F> AnyHandler for With<S, C, M, F>
where
    S: Default + Serialize + DeserializeOwned + 'static,
    C: 'static,
    M: Fn() -> Result<C> + 'static,
    F: AsyncFn(&mut Turn<S>, &C) -> Result<()> + 'static,
{
    fn call(&self, call: Call) -> Pin<Box<dyn Future<Output = Returned> + '_>> {
        Box::pin(run(call, async |turn: &mut Turn<S>| {
            match self.made.get() {
                Some(made) => (self.handler)(turn, made).await,
                None => Err(Error::msg("no handler was started")),
            }
        }))
    }

    fn start<'a>(
        &'a self,
        _: Starting<'a>,
    ) -> Pin<Box<dyn Future<Output = StartResult<Wishes>> + 'a>> {
        Box::pin(async move {
            // A worker starts once.
            drop(self.made.set(guard(&self.make)?));
            Ok(Wishes::default())
        })
    }

    fn state(&self) -> Option<TypeId> {
        Some(TypeId::of::<S>())
    }
}

/// Runs a turn with the author's code.
async fn run<S>(call: Call, handler: impl AsyncFn(&mut Turn<S>) -> Result<()>) -> Returned
where
    S: Default + Serialize + DeserializeOwned + 'static,
{
    let mut call = call;
    let read = || match call
        .state
        .as_deref()
        .map(|state| (state, serde_json::from_str(state)))
    {
        // `null` is what a turn leaves that called no handler yet.
        None | Some(("null", _)) => Ok(S::default()),
        Some((_, Ok(state))) => Ok(state),
        Some((_, Err(e))) => Err(Error::msg(format!(
            "the stored state does not fit the handler's type: {e}"
        ))),
    };
    let state = match guard(read) {
        Ok(state) => state,
        Err(error) => {
            return Returned {
                state: call.state,
                grant: call.grant,
                outcome: RunEnd::Ended(Err(error)),
            };
        }
    };
    let mut turn = Turn {
        state,
        update: call.update,
        attempt: call.attempt,
        is_last_attempt: call.is_last_attempt,
        given_up: call.given_up,
        actions: List::default(),
        statements: List::default(),
        timers: List::default(),
        overlap: Cell::default(),
        callbacks: List::default(),
        storage: call.storage,
        grant: call.grant,
        platform: call.platform,
        steps: call.steps,
        used: Used::default(),
        newer: call.newer,
        drafts: OnceCell::new(),
    };
    let handled = tokio::select! {
        biased;
        handled = tokio::time::timeout(
            call.timeout,
            catch_panic(handler(&mut turn)),
        ) => Some(handled.unwrap_or(Err(Error::Timeout(call.timeout)))),
        () = call.interruption.comes() => None,
    };
    let Some(handled) = handled else {
        return Returned {
            state: call.state,
            grant: turn.grant,
            outcome: RunEnd::Interrupted,
        };
    };
    let outcome = handled.and_then(|()| {
        let actions = turn.actions.into_vec();
        if actions.len() > MAX_REPLIES {
            return Err(Error::msg(format!(
                "{} replies in one turn; {MAX_REPLIES} is the limit",
                actions.len()
            )));
        }
        Ok(Handled {
            state: guard(|| Ok(serde_json::to_string(&turn.state)?))?,
            actions,
            statements: turn.statements.into_vec(),
            timers: turn.timers.into_vec(),
            overlap: turn.overlap.into_inner(),
            callbacks: turn.callbacks.into_vec(),
        })
    });
    Returned {
        state: call.state,
        grant: turn.grant,
        outcome: RunEnd::Ended(outcome),
    }
}

/// Runs the author's code; a panic in it is an error of this turn alone.
async fn catch_panic(handler: impl Future<Output = Result<()>>) -> Result<()> {
    let mut handler = pin!(handler);
    poll_fn(|context| {
        guard(|| Ok(handler.as_mut().poll(context))).unwrap_or_else(|error| Poll::Ready(Err(error)))
    })
    .await
}

/// Calls the author's code. What a panic left half changed is thrown away.
fn guard<T>(author: impl FnOnce() -> Result<T>) -> Result<T> {
    catch_unwind(AssertUnwindSafe(author)).unwrap_or_else(|panic| {
        let message = panic
            .downcast_ref::<&str>()
            .map(|text| (*text).to_owned())
            .or_else(|| panic.downcast_ref::<String>().cloned())
            .unwrap_or_else(|| "no message".to_owned());
        Err(Error::Panic(message))
    })
}
