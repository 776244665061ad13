//! The crash matrix: at each point of a turn something is killed (`kill -9`), what died
//! comes back, the platforms post again what was not answered; then every update took
//! effect exactly once, and every reply was sent at least once and in order. How often
//! one was sent twice is printed, a line for each case.
//!
//! Each case has ten users, two on each channel: one is told three things, the other
//! one (which rides in Telegram's answer). All of them are brought to the same point
//! (`points.rs`), in one worker; the other one is the sibling that goes on.

mod case;
mod points;

use std::io::Write;

use case::{Sums, Victim};
use points::Point;

use crate::harness::engine::Engine;

/// One point, each victim.
async fn point(engine: Engine, point: Point) {
    for victim in case::victims(&engine) {
        let sums = case::run(&engine, point, victim).await;
        print(&engine, point, victim, &sums);
    }
}

/// Past the test runner, which swallows what a passing test prints: `scripts/test`
/// adds these lines up.
fn print(engine: &Engine, point: Point, victim: Victim, sums: &Sums) {
    let line = format!(
        "MATRIX {} | {point} | {victim} | replies {} | sent twice: telegram {}, in its answers {}, \
         viber {}, facebook {}, vk {}, http {}",
        engine.name(),
        sums.replies,
        sums.telegram_sent,
        sums.telegram_rode,
        sums.viber,
        sums.facebook,
        sums.vk,
        sums.http
    );
    writeln!(std::io::stderr(), "{line}").expect("stderr");
}

macro_rules! matrix {
    ($($name:ident: $point:expr;)*) => {
        mod sqlite {
            use super::{Engine, Point};
            $(#[tokio::test]
            async fn $name() {
                super::point(Engine::Sqlite, $point).await;
            })*
        }

        mod postgres {
            use super::{Engine, Point};
            $(#[tokio::test]
            async fn $name() {
                // None: it has said why it cannot run here.
                if let Some(engine) = Engine::postgres() {
                    super::point(engine, $point).await;
                }
            })*
        }
    };
}

matrix! {
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
