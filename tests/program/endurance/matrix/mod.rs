//! The crash matrix: at each point of a turn something is killed (`kill -9`), what died
//! comes back, the platforms post again what was not answered; then every update took
//! effect exactly once, and every reply was sent at least once and in order. How often
//! one was sent twice is printed, a line for each case.
//!
//! Each case has two users on each channel. In most, one is told three things, the other
//! one (which rides in Telegram's answer); in others (`user.rs`) each is told everything else
//! that there is: a message with a name, its edit, files, and something is said to another
//! user; or there is a broadcast. All of them are brought to the same point (`points.rs`,
//! `broadcast.rs`), in one worker; the other one is the sibling that goes on.

mod broadcast;
mod case;
mod points;
mod user;

use std::io::Write;
use std::rc::Rc;

use tokio::task::LocalSet;

use case::{Sums, Victim};
use points::Point;
use user::Script;

use crate::harness::engine::Engine;

/// One point, each victim: side by side, since most of a case is waiting.
async fn point(engine: Engine, script: Script, point: Point) {
    let engine = Rc::new(engine);
    let here = LocalSet::new();
    let start = |victim| {
        let engine = engine.clone();
        here.spawn_local(async move { case::run(&engine, script, point, victim).await })
    };
    let victims = case::victims(&engine);
    let cases: Vec<_> = victims.iter().copied().map(start).collect();
    let ended = here.run_until(async {
        for (victim, case) in victims.into_iter().zip(cases) {
            match case.await {
                Ok(sums) => print(&engine, &user::name(script, point), victim, &sums),
                Err(failed) => std::panic::resume_unwind(failed.into_panic()),
            }
        }
    });
    ended.await;
}

/// Past the test runner, which swallows what a passing test prints: `scripts/test`
/// adds these lines up.
fn print(engine: &Engine, point: &str, victim: Victim, sums: &Sums) {
    let line = format!(
        "MATRIX {} | {point} | {victim} | replies {} | sent twice: telegram {}, in its answers {}, \
         viber {}, facebook {}, vk {}, http {}, edits {}",
        engine.name(),
        sums.replies,
        sums.telegram_sent,
        sums.telegram_rode,
        sums.viber,
        sums.facebook,
        sums.vk,
        sums.http,
        sums.edits
    );
    writeln!(std::io::stderr(), "{line}").expect("stderr");
}

macro_rules! matrix {
    ($script:expr; $($name:ident: $point:expr;)*) => {
        mod sqlite {
            use super::{Engine, Point, Script};
            $(#[tokio::test]
            async fn $name() {
                super::point(Engine::Sqlite, $script, $point).await;
            })*
        }

        mod postgres {
            use super::{Engine, Point, Script};
            $(#[tokio::test]
            async fn $name() {
                // None: it has said why it cannot run here.
                if let Some(engine) = Engine::postgres() {
                    super::point(engine, $script, $point).await;
                }
            })*
        }
    };
}

matrix! {
    Script::Texts;
    after_receive: Point::Received;
    in_begin: Point::Begin;
    in_handle: Point::Handle;
    in_commit: Point::Commit;
    before_answer: Point::Committed;
    in_send_of_the_first: Point::Called(1);
    in_send_of_the_last: Point::Called(3);
    after_send_of_the_first: Point::Taken(1);
    after_send_of_the_second: Point::Taken(2);
    in_mark_of_the_first: Point::Mark(1);
    in_mark_of_the_last: Point::Mark(3);
    after_end: Point::Ended;
    in_accept: Point::Accepting;
    accepted_and_in_handle: Point::Accepted;
    accepted_and_in_commit: Point::AcceptedCommit;
    accepted_and_after_send: Point::AcceptedTaken(2);
}

mod verbs {
    use super::*;

    matrix! {
        Script::Verbs;
        in_commit: Point::Commit;
        in_send_of_the_named: Point::Called(1);
        after_send_of_the_named: Point::Taken(1);
        in_mark_of_the_named: Point::Mark(1);
        in_the_edit: Point::Called(2);
        after_the_edit: Point::Taken(2);
        in_mark_of_the_edit: Point::Mark(2);
        in_upload_of_the_file: Point::Called(3);
        after_upload_of_the_file: Point::Taken(3);
        in_upload_of_bytes: Point::Called(4);
        after_upload_of_bytes: Point::Taken(4);
        in_end_of_uploads: Point::Mark(4);
        in_send_to_another: Point::Called(5);
        after_send_to_another: Point::Taken(5);
        in_mark_of_another: Point::Mark(5);
        after_end: Point::Ended;
        accepted_and_after_upload: Point::AcceptedTaken(3);
    }

    /// Such a commit is one message to SQLite's writer. In PostgreSQL it is several, which a
    /// worker that was stopped does not send.
    #[tokio::test]
    async fn before_answer_on_sqlite() {
        point(Engine::Sqlite, Script::Verbs, Point::Committed).await;
    }
}

mod broadcasts {
    use super::*;

    matrix! {
        Script::Broadcast;
        made: Point::Received;
        in_send: Point::Called(1);
        after_send: Point::Taken(1);
        in_mark: Point::Mark(1);
        after_end: Point::Ended;
    }
}
