//! What the charts show: a span of the shared map (`shared/trends.rs`), as lists that a drawing or a
//! program reads.
//!
//! Made for each status. Bound: as many points as the map keeps.

use serde::{Deserialize, Serialize};

use crate::shared::trends::{Point, Span};

/// One figure for each step, the oldest first; all lists are as long.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(crate) struct Series {
    /// `5m`, `1h` or `1d`.
    #[serde(default)]
    pub(crate) span: String,
    /// How many seconds ago each step ended.
    #[serde(default)]
    pub(crate) ages: Vec<f64>,
    /// How many seconds it was long.
    #[serde(default)]
    pub(crate) lengths: Vec<f64>,
    pub(crate) turns_per_second: Vec<f64>,
    /// Seconds; 0 where there were no turns.
    pub(crate) p50: Vec<f64>,
    pub(crate) p99: Vec<f64>,
    pub(crate) commits_per_second: Vec<f64>,
    /// The most at one moment of the step.
    pub(crate) in_flight: Vec<f64>,
    pub(crate) waiting: Vec<f64>,
}

impl Series {
    pub(super) fn of(span: Span, points: &[Point]) -> Self {
        let each = |figure: &dyn Fn(&Point) -> f64| points.iter().map(figure).collect();
        let rate = |count: u64, point: &Point| match point.length.as_secs_f64() {
            length if length > 0.0 => count as f64 / length,
            _ => 0.0,
        };
        Series {
            span: span.name().to_owned(),
            ages: each(&|point| point.age.as_secs_f64()),
            lengths: each(&|point| point.length.as_secs_f64()),
            turns_per_second: each(&|point| rate(point.turns, point)),
            p50: each(&|point| point.p50.unwrap_or_default()),
            p99: each(&|point| point.p99.unwrap_or_default()),
            commits_per_second: each(&|point| rate(point.commits, point)),
            in_flight: each(&|point| point.in_flight as f64),
            waiting: each(&|point| point.waiting as f64),
        }
    }

    /// What is shown.
    pub(super) fn span(&self) -> Span {
        Span::named(&self.span).unwrap_or_default()
    }
}
