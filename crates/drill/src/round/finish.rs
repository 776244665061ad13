//! The end of a round: everything that is known, judged.

use std::net::TcpListener;
use std::time::Duration;

use super::Drill;
use crate::deed::Deed;
use crate::diagnosis::{self, Facts};
use crate::family::{Process, sockets};
use crate::output::Traces;
use crate::ready::{PROBE, Ready};
use crate::record::Micros;
use crate::recorder::{OfClients, Recorded, Told};
use crate::results::{Round, Showing};
use crate::sockets::listeners;
use crate::storage;
use crate::verdict::Verdict;

impl Drill<'_> {
    /// What the diagnosis needs beside the requests.
    fn facts(&mut self) -> Facts {
        let listeners = listeners(self.port);
        let holds = |process: &Process| !sockets(process.pid).is_disjoint(&listeners);
        let scenario = &self.case.scenario;
        let asked = scenario.asks_with();
        Facts {
            by_design: match (self.plan.known(), asked) {
                (Some(known), Some(signal)) => !known.finishes_on(signal),
                _ => false,
            },
            stops: scenario.stops(),
            killed: self.seen.killed_at,
            left: self.seen.left,
            stopped_listening: self.seen.stopped_listening,
            first_is_a_shell: self.seen.first_is_a_shell,
            killed_at_limit: self.seen.killed,
            left_behind: self.seen.left_behind.len() as u64,
            port_is_held: self.seen.left_behind.iter().any(holds),
            goes_on: scenario.is_done_by_command(),
        }
    }

    /// Everything is over: collects what is known.
    pub(super) fn finish(mut self, ready: &Ready) -> turnkey_report::Result<Round> {
        // Before anything is killed here.
        let facts = self.facts();
        let recorded = self.load.join()?;
        let left = self.session.left(Duration::ZERO);
        let exit = left.and_then(|left| left.exit);
        if self.seen.killed || !self.seen.left_behind.is_empty() {
            self.session.family.kill();
        }
        // The last lines may still be on their way.
        std::thread::sleep(Duration::from_millis(30));
        let output = self.session.output();
        // What was not started here may have a successor, or listen for others, too.
        let is_alone = self.session.is_ours() && self.seen.left_behind.is_empty();
        let port_is_free = is_alone.then(|| {
            // Servers allow the reuse of an address, too.
            TcpListener::bind(self.aim.address).is_ok()
        });
        let outage = Duration::from_micros(recorded.outage);
        self.moments.may_refuse |= outage <= self.plan.allow_refused;
        let storage = match &ready.storage {
            Some(place) => {
                let told = with_probes(&recorded, ready);
                Some(storage::check(
                    place,
                    &self.plan.run,
                    self.case.round,
                    &told,
                )?)
            }
            None => None,
        };
        let seconds =
            |from: Option<Micros>, to: Option<Micros>| Some(to?.saturating_sub(from?) as f64 / 1e6);
        let (signal, seen) = (self.moments.signal, self.seen);
        let first_refusal = recorded.first_refusal;
        let counts = Round::count(&recorded, &self.moments);
        let (under_way, later) = Round::around(&recorded, &self.moments);
        let refused = counts.get(&Verdict::Refused).copied().unwrap_or_default();
        let mut round = Round {
            scenario: self.case.scenario.to_string(),
            load: self.case.mode.name(),
            repeat: self.case.repeat,
            seed: self.case.seed,
            port: self.port,
            signal_after_s: signal.unwrap_or_default() as f64 / 1e6,
            requests: counts.values().sum::<u64>() - refused,
            in_flight_at_signal: under_way.values().sum::<u64>() as usize,
            counts,
            under_way,
            later,
            cut_how: Round::how(&recorded, &self.moments),
            statuses: recorded.statuses.clone(),
            slow_answered: Round::slow(&recorded, &self.moments),
            refused_after_s: seconds(signal, first_refusal),
            stopped_listening_after_s: seconds(seen.told_to_leave, seen.stopped_listening),
            left_after_s: seconds(seen.told_to_leave, seen.left),
            gone_after_s: seconds(seen.told_to_leave, seen.gone),
            exit: exit.filter(|_| !seen.killed),
            killed_at_limit: seen.killed,
            replaced_after_s: seconds(signal, seen.successor),
            left_early: seen.left_early,
            left_behind: seen.left_behind,
            port_is_free,
            traces: Traces::find(&output.text_after(seen.printed)),
            output: output.text(),
            longest_refusal_s: outage.as_secs_f64(),
            done_by: self.deed.as_ref().map(Deed::result),
            backends: recorded
                .backends
                .iter()
                .map(|(name, counts)| (name.to_string(), *counts))
                .collect(),
            leaves: recorded.leaves,
            early_answers: recorded.early_answers,
            messages: recorded.messages,
            events: recorded.events,
            unready_after_s: seconds(
                signal,
                recorded.readiness.turned_away(signal.unwrap_or_default()),
            ),
            storage,
            killed_at_stop_timeout: seen.killed_at.is_some(),
            findings: diagnosis::findings(&recorded, &self.moments, &facts),
            allowed: Vec::new(),
            problems: Vec::new(),
            showing: None,
        };
        round.judge(
            &self.case.scenario,
            seen.gone_though_it_should_stay,
            recorded.dropped,
            self.plan,
        );
        round.showing = Some(Showing {
            records: recorded.records,
            moments: self.moments,
            stopped_listening: seen.stopped_listening,
            left: seen.left,
            successor: seen.successor,
        });
        Ok(round)
    }
}

/// What the clients were told, with those that asked first.
fn with_probes(recorded: &Recorded, ready: &Ready) -> OfClients {
    let mut told = recorded.of_clients.clone();
    let mut probe = Told::default();
    for record in &ready.probes {
        probe.add(record);
    }
    told.insert(PROBE, probe);
    told
}
