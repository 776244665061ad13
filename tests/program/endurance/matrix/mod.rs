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

use case::{Script, Sums, Victim};
use points::Point;

use crate::harness::engine::Engine;

/// One point, each victim.
async fn point(engine: Engine, script: Script, point: Point) {
    for victim in case::victims(&engine) {
        let sums = case::run(&engine, script, point, victim).await;
        print(&engine, &case::name(script, point), victim, &sums);
    }
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
    ($($name:ident: $script:ident, $point:expr;)*) => {
        mod sqlite {
            use super::{Engine, Point, Script};
            $(#[tokio::test]
            async fn $name() {
                super::point(Engine::Sqlite, Script::$script, $point).await;
            })*
        }

        mod postgres {
            use super::{Engine, Point, Script};
            $(#[tokio::test]
            async fn $name() {
                // None: it has said why it cannot run here.
                if let Some(engine) = Engine::postgres() {
                    super::point(engine, Script::$script, $point).await;
                }
            })*
        }
    };
}

matrix! {
    after_receive: Texts, Point::Received;
    in_begin: Texts, Point::Begin;
    in_handle: Texts, Point::Handle;
    in_commit: Texts, Point::Commit;
    before_answer: Texts, Point::Committed;
    in_send_of_the_first: Texts, Point::Called(1);
    in_send_of_the_last: Texts, Point::Called(3);
    after_send_of_the_first: Texts, Point::Taken(1);
    after_send_of_the_second: Texts, Point::Taken(2);
    in_mark_of_the_first: Texts, Point::Mark(1);
    in_mark_of_the_last: Texts, Point::Mark(3);
    after_end: Texts, Point::Ended;
    in_accept: Texts, Point::Accepting;
    accepted_and_in_handle: Texts, Point::Accepted;
    accepted_and_in_commit: Texts, Point::AcceptedCommit;
    accepted_and_after_send: Texts, Point::AcceptedTaken(2);

    of_verbs_in_commit: Verbs, Point::Commit;
    of_verbs_before_answer: Verbs, Point::Committed;
    in_send_of_the_named: Verbs, Point::Called(1);
    after_send_of_the_named: Verbs, Point::Taken(1);
    in_mark_of_the_named: Verbs, Point::Mark(1);
    in_the_edit: Verbs, Point::Called(2);
    after_the_edit: Verbs, Point::Taken(2);
    in_mark_of_the_edit: Verbs, Point::Mark(2);
    in_upload_of_the_file: Verbs, Point::Called(3);
    after_upload_of_the_file: Verbs, Point::Taken(3);
    in_upload_of_bytes: Verbs, Point::Called(4);
    after_upload_of_bytes: Verbs, Point::Taken(4);
    in_end_of_uploads: Verbs, Point::Mark(4);
    in_send_to_another: Verbs, Point::Called(5);
    after_send_to_another: Verbs, Point::Taken(5);
    in_mark_of_another: Verbs, Point::Mark(5);
    of_verbs_after_end: Verbs, Point::Ended;
    of_verbs_accepted_and_after_upload: Verbs, Point::AcceptedTaken(3);
}
