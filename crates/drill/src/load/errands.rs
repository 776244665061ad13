//! Who sends what: the clients of a load.

use std::time::Duration;

use super::Generator;
use crate::plan::Mode;
use crate::record::Kind;
use crate::template::{Paced, Request};

/// What one client sends.
#[derive(Clone)]
pub(super) struct Errand {
    pub(super) client: usize,
    pub(super) kind: Kind,
    pub(super) request: Request,
    pub(super) keep_alive: bool,
    /// From the start of a request to that of the next, at least.
    pub(super) every: Duration,
    /// From the end of a request to the start of the next.
    pub(super) think: Duration,
}

impl Generator {
    pub(super) fn errands(&self) -> Vec<Errand> {
        let (plan, keep_alive) = (&self.plan, self.setting.mode == Mode::KeepAlive);
        let every = plan.rate.map_or(Duration::ZERO, |rate| {
            Duration::from_secs_f64(plan.connections as f64 / rate)
        });
        let mut errands: Vec<Errand> = (0..plan.connections)
            .map(|client| Errand {
                client,
                kind: Kind::Steady,
                request: self.setting.request.clone(),
                keep_alive,
                every,
                think: if plan.rate.is_some() {
                    Duration::ZERO
                } else {
                    plan.think
                },
            })
            .collect();
        for (kind, beside) in [
            (Kind::Slow, &plan.slow),
            (Kind::Stream, &plan.stream),
            (Kind::Upload, &plan.upload),
        ] {
            let Some(beside) = beside else { continue };
            let first = errands.len();
            errands.extend((0..beside.connections).map(|n| Errand {
                client: first + n,
                kind,
                request: beside.request.clone(),
                keep_alive,
                every: Duration::ZERO,
                think: plan.think,
            }));
        }
        errands
    }

    /// Every other one asks for leave first; HTTP/2 hardly knows that.
    pub(super) fn upload(&self, errand: &Errand) -> Option<Paced> {
        let is_one = errand.kind == Kind::Upload;
        is_one.then(|| Paced {
            size: self.plan.upload_size,
            time: self.plan.upload_time,
            expects: errand.client.is_multiple_of(2) && !self.plan.http2,
        })
    }

    /// Those whose requests are held when the signal comes, on connections of their own.
    pub(super) fn held_errands(&self) -> Vec<Errand> {
        let first = self.plan.clients();
        let mut kinds = vec![Kind::Connect, Kind::Head, Kind::Read];
        if self.setting.request.body.is_some() {
            kinds.push(Kind::Body);
        }
        let each = self.plan.held;
        let errands = kinds.iter().flat_map(|kind| (0..each).map(move |_| *kind));
        errands
            .enumerate()
            .map(|(n, kind)| Errand {
                client: first + n,
                kind,
                request: self.setting.request.clone(),
                keep_alive: self.setting.mode == Mode::KeepAlive,
                every: Duration::ZERO,
                think: Duration::ZERO,
            })
            .collect()
    }
}
