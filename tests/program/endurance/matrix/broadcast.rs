//! A broadcast is brought to a point: its row is written, its messages are on their way, sent,
//! or all done.

use super::case::quiet;
use super::points::{Point, Stage};
use super::user::HELLO;
use crate::harness::api::{Call, Mood};
use crate::harness::bot::{Bot, SOON, Setup, until};

impl Stage<'_> {
    /// Everybody has said something, so that the bot knows them; then the broadcast is made. The
    /// first worker sends it: the other one is stopped until it does.
    pub(super) async fn broadcast_to(&mut self, bot: &Bot, point: Point) {
        for user in &self.users {
            self.fake.says(user.says(1, &self.text(user)));
        }
        self.fake.idle(SOON).await;
        let known = || {
            let mut all = self.users.iter();
            all.all(|user| self.api.received(&user.chat()) == ["1: hi"])
        };
        until("everybody is known", SOON, known).await;
        quiet(bot).await;
        let mood = match point {
            Point::Called(_) | Point::Mark(_) => Mood::Held,
            Point::Taken(_) => Mood::Taken,
            _ => Mood::Well,
        };
        for user in &self.users {
            self.api.be(&user.chat(), &[mood]);
        }
        self.stop(self.sibling);
        if point == Point::Received {
            self.stop(self.worker);
        }
        // As quick as the slowest platform allows: the calls of all are under way at a time.
        let made = self
            .setup
            .tool(&["broadcast", "--text", HELLO, "--rate", "100"]);
        assert_eq!(made.code, Some(0), "{}", made.stderr);
        match point {
            // A row, and there it stays.
            Point::Received => return,
            Point::Called(_) => self.everybody(|_| true).await,
            Point::Taken(_) => self.everybody(|call| call.accepted).await,
            Point::Mark(_) => {
                self.everybody(|_| true).await;
                self.hold_storage(bot).await;
                self.api.release();
                self.everybody(|call| call.accepted).await;
            }
            Point::Ended => {
                self.everybody(|call| call.accepted).await;
                ends(&self.setup, self.users.len()).await;
            }
            other => panic!("no broadcast is {other}"),
        }
        quiet(bot).await;
        self.let_sibling_go();
    }

    /// Waits for the call of each user that is such.
    async fn everybody(&self, is_such: impl Fn(&Call) -> bool) {
        until("a call for each user", SOON, || {
            let calls = self.api.calls();
            self.users.iter().all(|user| {
                let mut calls = calls.iter();
                calls.any(|call| call.chat == user.chat() && call.text == HELLO && is_such(call))
            })
        })
        .await;
    }
}

fn state(setup: &Setup) -> serde_json::Value {
    let shown = setup.tool(&["broadcast", "show", "1", "--json"]);
    assert_eq!(shown.code, Some(0), "{}", shown.stderr);
    serde_json::from_str(&shown.stdout).expect("JSON")
}

/// So many get it, and nobody does not.
pub(super) async fn ends(setup: &Setup, users: usize) {
    until("the broadcast is done", SOON, || {
        state(setup)["state"] == "done"
    })
    .await;
    let shown = state(setup);
    let figures = ["queued", "sent", "failed"].map(|name| shown[name].as_u64());
    let users = Some(users as u64);
    assert_eq!(figures, [users, users, Some(0)], "{shown}");
}
