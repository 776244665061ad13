//! Clients whose connections last: WebSockets, and streams of server-sent events.
//!
//! Each connection is one record, from its begin to its end; its messages are counted beside
//! it. After an end the client connects again, events with `Last-Event-ID`. Bounds: the
//! clients of the plan; an echo has the time limit of a request.

use std::cell::RefCell;
use std::time::Duration;

use super::errands::Errand;
use super::{AGAIN, Generator, Until};
use crate::client::Order;
use crate::events::Events;
use crate::record::{End, Kind, Record};
use crate::websocket;

/// An answer of events has no end; the round has.
const ENDLESS: Duration = Duration::from_secs(24 * 3600);

/// Numbers of clients that no other has.
const FIRST: usize = 10_000;

impl Generator {
    pub(super) fn lasting(&self) -> Vec<Errand> {
        let plan = &self.plan;
        let mut errands = Vec::new();
        for (kind, beside) in [
            (Kind::WebSocket, &plan.websocket),
            (Kind::Events, &plan.events),
        ] {
            let Some(beside) = beside else { continue };
            let first = FIRST + errands.len();
            errands.extend((0..beside.connections).map(|n| Errand {
                client: first + n,
                kind,
                request: beside.request.clone(),
                keep_alive: true,
                every: plan.message_every,
                think: Duration::ZERO,
            }));
        }
        errands
    }

    /// One connection after another until told to end.
    pub(super) async fn last(&self, errand: &Errand) {
        let mut random = self.random(errand.client);
        self.pause(random.part_of(errand.every)).await;
        let mut last_id: Option<String> = None;
        while !self.is_told_to_end() {
            match errand.kind {
                Kind::WebSocket => self.websocket(errand).await,
                _ => self.events(errand, &mut last_id).await,
            }
            self.pause(AGAIN).await;
        }
    }

    async fn websocket(&self, errand: &Errand) {
        let (which, aim) = self.aim(errand);
        let counters = self.counters(errand);
        let message = errand.request.message(&counters);
        let order = Order {
            aim: which,
            ..Order::plain(&counters, errand.kind, &message)
        };
        let told = self.told.clone();
        let (record, messages) =
            websocket::live(&self.client, aim, &order, errand.every, told).await;
        let mut recorder = self.recorder.borrow_mut();
        recorder.messages(&messages);
        recorder.keep(record);
    }

    async fn events(&self, errand: &Errand, last_id: &mut Option<String>) {
        let (which, aim) = self.aim(errand);
        let request = match last_id {
            None => errand.request.clone(),
            Some(id) => errand.request.clone().header("Last-Event-ID", id.as_str()),
        };
        let request = request.header("Accept", "text/event-stream");
        let counters = self.counters(errand);
        let message = request.message(&counters);
        let events = RefCell::new(Events::after(last_id.take()));
        let order = Order {
            aim: which,
            keep_alive: true,
            events: Some(&events),
            ..Order::plain(&counters, errand.kind, &message)
        };
        let client = self.client.with_timeout(ENDLESS);
        let mut told = self.told.clone();
        let begun = order.record(client.now());
        let mut record = tokio::select! {
            (record, _) = client.request(aim, None, &order) => record,
            _ = told.wait_for(|until| *until != Until::Told) => Record {
                end: client.now(),
                // As far as it went: nobody ended it but its client.
                connected: Some(begun.start),
                status: Some(200),
                ..begun
            },
        };
        let events = events.into_inner();
        record.outcome = match record.outcome {
            // A whole answer, or one whose connection was closed: it may come again.
            End::Complete if self.is_told_to_end() => End::Complete,
            End::Complete | End::Closed if record.status == Some(200) => match events.is_whole() {
                true => End::Told,
                false => End::TornEvent,
            },
            end => end,
        };
        *last_id = events.last_id().map(str::to_owned);
        let mut recorder = self.recorder.borrow_mut();
        recorder.events(&events);
        recorder.keep(record);
    }
}
