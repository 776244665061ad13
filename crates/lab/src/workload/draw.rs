//! Where the parameters of a transaction come from: drawn by chance under a distribution,
//! or counted.
//!
//! One [`Draws`] for each process; the same seed draws the same. `zipfian` and `latest` are
//! YCSB's ("Benchmarking Cloud Serving Systems with YCSB", 2010, section 5.1, and its
//! `ScrambledZipfianGenerator`): the ranks are scattered over all rows by a hash, so that
//! those often asked for do not share pages. `rand_distr` draws the ranks.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;

use rand_distr::{Distribution, Zipf};
use serde::{Deserialize, Serialize};
use turnkey_storage::Value;

use super::super::state::Random;
use super::Workload;

/// Of zipfian choices: YCSB's.
const SKEW: f64 = 0.99;

/// The items among which YCSB's scrambled zipfian draws a rank, before it is scattered.
const SCATTERED: f64 = 1e10;

/// Longest drawn text.
const MAX_TEXT: usize = 1 << 20;

/// Where a parameter comes from.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(try_from = "serde_json::Map<String, serde_json::Value>")]
pub(crate) struct Source {
    #[serde(flatten)]
    pub(crate) shape: Shape,
    /// Of zipfian and latest.
    #[serde(skip_serializing_if = "Option::is_none")]
    skew: Option<f64>,
}

/// A distribution over the rows of a table, or over numbers; or no chance.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Shape {
    /// Each alike.
    Uniform(Range),
    /// Some far more often than others, scattered.
    Zipfian(Range),
    /// A row that was inserted not long ago is likelier; of the rows of a table.
    Latest(String),
    /// The number of a row that is not there yet.
    Next(String),
    /// The first of so many numbers that no other client has.
    Own(u64),
    /// The number of this client: each turn in flight of each process is one.
    Client(bool),
    /// Letters by chance, so many.
    Text(usize),
}

/// What is chosen from.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(untagged)]
pub(crate) enum Range {
    /// The rows that a table has at the start, by number.
    Rows(String),
    /// From and to, both of them included.
    Numbers(i64, i64),
}

impl TryFrom<serde_json::Map<String, serde_json::Value>> for Source {
    type Error = String;

    /// One distribution, and perhaps a skew: anything else is named.
    fn try_from(mut map: serde_json::Map<String, serde_json::Value>) -> Result<Self, String> {
        const KNOWN: &str = "uniform, zipfian, latest, next, own, client or text";
        let skew = match map.remove("skew") {
            None => None,
            Some(skew) => Some(skew.as_f64().ok_or("skew is a number")?),
        };
        let name = match map.keys().next() {
            Some(name) if map.len() == 1 => name.clone(),
            _ => return Err(format!("a parameter is one of {KNOWN}")),
        };
        let value = serde_json::Value::Object(map);
        let shape = serde_json::from_value(value).map_err(|e| {
            format!("{name:?} is not understood ({e}); a parameter is one of {KNOWN}")
        })?;
        Ok(Source { shape, skew })
    }
}

impl Source {
    pub(super) fn set_skew(&mut self, skew: f64) {
        if matches!(self.shape, Shape::Zipfian(_) | Shape::Latest(_)) {
            self.skew = Some(skew);
        }
    }

    pub(super) fn check(&self, rows: impl Fn(&str) -> Option<u64>) -> Result<(), String> {
        let known = |table: &str| match rows(table) {
            Some(0) => Err(format!("the table {table:?} has no rows at the start")),
            Some(_) => Ok(()),
            None => Err(format!("there is no table {table:?}")),
        };
        if self.skew.is_some_and(|skew| !(skew > 0.0 && skew < 10.0)) {
            return Err("skew is above 0 and below 10".to_owned());
        }
        match &self.shape {
            Shape::Uniform(range) | Shape::Zipfian(range) => match range {
                Range::Rows(table) => known(table),
                Range::Numbers(from, to) if from <= to => Ok(()),
                Range::Numbers(from, to) => Err(format!("{from} to {to} is no range")),
            },
            Shape::Latest(table) => known(table),
            Shape::Next(table) => match rows(table) {
                Some(_) => Ok(()),
                None => Err(format!("there is no table {table:?}")),
            },
            Shape::Own(0) => Err("own is at least 1".to_owned()),
            Shape::Text(bytes) if *bytes > MAX_TEXT => {
                Err(format!("text is at most {MAX_TEXT} bytes"))
            }
            _ => Ok(()),
        }
    }
}

/// The draws of one process.
pub(crate) struct Draws {
    random: RefCell<Random>,
    process: u64,
    processes: u64,
    in_flight: u64,
    /// By table: how many it has at the start, and how many this process has added.
    tables: BTreeMap<String, (u64, Cell<u64>)>,
    /// By client of this process: how many of its own numbers it has used.
    own: RefCell<BTreeMap<u64, u64>>,
    /// Of the transactions: the weights, added up.
    weights: Vec<u64>,
}

impl Draws {
    pub(crate) fn new(
        workload: &Workload,
        seed: u64,
        (process, processes): (usize, usize),
        in_flight: usize,
    ) -> Self {
        let tables = workload
            .tables
            .iter()
            .map(|table| (table.name.clone(), (table.rows, Cell::new(0))));
        let mut sum = 0;
        let weights = workload.transactions.iter().map(|transaction| {
            sum += u64::from(transaction.weight);
            sum
        });
        Draws {
            random: RefCell::new(Random::new(seed)),
            process: process as u64,
            processes: processes as u64,
            in_flight: in_flight as u64,
            weights: weights.collect(),
            tables: tables.collect(),
            own: RefCell::new(BTreeMap::new()),
        }
    }

    fn below(&self, bound: u64) -> u64 {
        self.random.borrow_mut().below(bound)
    }

    /// The place of the next transaction.
    pub(crate) fn transaction(&self) -> usize {
        let all = self.weights.last().copied().unwrap_or(1);
        let drawn = self.below(all);
        self.weights.partition_point(|sum| *sum <= drawn)
    }

    fn rows(&self, table: &str) -> u64 {
        self.tables.get(table).map_or(1, |(rows, _)| (*rows).max(1))
    }

    /// A rank from 1.
    fn rank(&self, of: f64, skew: Option<f64>) -> u64 {
        let drawn = Zipf::new(of, skew.unwrap_or(SKEW))
            .map(|zipf| zipf.sample(&mut *self.random.borrow_mut()));
        drawn.map_or(1, |rank| rank as u64)
    }

    /// The values of all parameters of a transaction of this client (its lane within the
    /// process).
    pub(crate) fn all(
        &self,
        parameters: &BTreeMap<String, Source>,
        lane: usize,
    ) -> BTreeMap<String, Value> {
        let draw = |(name, source): (&String, &Source)| (name.clone(), self.one(source, lane));
        parameters.iter().map(draw).collect()
    }

    fn one(&self, source: &Source, lane: usize) -> Value {
        let number = |number: u64| Value::Integer(number as i64);
        let client = self.process * self.in_flight + lane as u64;
        match &source.shape {
            Shape::Uniform(range) => {
                let (from, count) = self.span(range);
                Value::Integer(from + self.below(count) as i64)
            }
            Shape::Zipfian(range) => {
                let (from, count) = self.span(range);
                let rank = self.rank(SCATTERED, source.skew);
                Value::Integer(from + (scatter(rank) % count) as i64)
            }
            Shape::Latest(table) => {
                let added = self.tables.get(table).map_or(0, |(_, added)| added.get());
                let last = self.rows(table) + added * self.processes;
                let back = self.rank(last as f64, source.skew);
                number(last.saturating_sub(back))
            }
            Shape::Next(table) => {
                let Some((rows, added)) = self.tables.get(table) else {
                    return Value::Null;
                };
                let n = added.get();
                added.set(n + 1);
                number(rows + n * self.processes + self.process)
            }
            Shape::Own(count) => {
                let mut own = self.own.borrow_mut();
                let used = own.entry(client).or_default();
                *used += 1;
                number((client << 32) | ((*used - 1) * count))
            }
            Shape::Client(_) => number(client),
            Shape::Text(bytes) => Value::Text(self.letters(*bytes)),
        }
    }

    /// From, and how many.
    fn span(&self, range: &Range) -> (i64, u64) {
        match range {
            Range::Rows(table) => (0, self.rows(table)),
            Range::Numbers(from, to) => (*from, to.abs_diff(*from).saturating_add(1)),
        }
    }

    fn letters(&self, bytes: usize) -> String {
        let mut text = String::with_capacity(bytes);
        while text.len() < bytes {
            let mut drawn = self.below(1 << 60);
            for _ in 0..10.min(bytes - text.len()) {
                text.push(char::from(b'a' + (drawn % 26) as u8));
                drawn /= 26;
            }
        }
        text
    }
}

/// FNV-1a of the eight bytes of a rank, as YCSB has it.
fn scatter(rank: u64) -> u64 {
    rank.to_le_bytes()
        .iter()
        .fold(0xcbf2_9ce4_8422_2325, |hash, byte| {
            (hash ^ u64::from(*byte)).wrapping_mul(0x0000_0100_0000_01b3)
        })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn draws(process: usize) -> Draws {
        let text = r#"
name = "t"
about = "A test."
[[table]]
name = "t"
create = "CREATE TABLE t (id INTEGER)"
rows = 1000
insert = "INSERT INTO t VALUES (:row)"
[[transaction]]
name = "often"
weight = 95
sql = "SELECT 1"
[[transaction]]
name = "seldom"
weight = 5
sql = "SELECT 2"
"#;
        Draws::new(&super::super::parse(text).unwrap(), 7, (process, 2), 4)
    }

    fn source(text: &str) -> Source {
        toml::from_str(text).unwrap()
    }

    fn counts(draws: &Draws, source: &Source) -> BTreeMap<i64, u32> {
        let mut counts = BTreeMap::new();
        for _ in 0..10_000 {
            let Value::Integer(drawn) = draws.one(source, 0) else {
                panic!("no number");
            };
            *counts.entry(drawn).or_default() += 1;
        }
        counts
    }

    #[test]
    fn distributions_have_their_shapes() {
        let draws = draws(0);
        let even = counts(&draws, &source("uniform = 't'"));
        assert!(even.keys().all(|row| (0..1000).contains(row)));
        assert!(even.len() > 990 && even.values().all(|n| *n < 40));
        let few = counts(&draws, &source("uniform = [-1, 1]"));
        assert_eq!(few.keys().copied().collect::<Vec<_>>(), [-1, 0, 1]);
        let skewed = counts(&draws, &source("zipfian = 't'"));
        assert!(skewed.keys().all(|row| (0..1000).contains(row)));
        let most = *skewed.values().max().unwrap();
        let stronger = counts(&draws, &source("zipfian = 't'\nskew = 1.5"));
        assert!(most > 200, "the most wanted row: {most}");
        assert!(*stronger.values().max().unwrap() > 2 * most);
        let latest = counts(&draws, &source("latest = 't'"));
        let last = latest.keys().max().copied();
        assert_eq!(last, Some(999), "the newest");
        assert!(latest[&999] > 800, "{}", latest[&999]);
    }

    #[test]
    fn nobody_else_has_the_same_numbers() {
        let (a, b) = (draws(0), draws(1));
        let next = source("next = 't'");
        let row = |draws: &Draws| draws.one(&next, 0);
        assert_eq!([row(&a), row(&a)], [1000, 1002].map(Value::Integer));
        assert_eq!([row(&b), row(&b)], [1001, 1003].map(Value::Integer));
        let own = source("own = 100");
        assert_eq!(a.one(&own, 1), Value::Integer(1 << 32));
        assert_eq!(a.one(&own, 1), Value::Integer((1 << 32) + 100));
        assert_eq!(b.one(&own, 0), Value::Integer(4 << 32));
        assert_eq!(b.one(&source("client = true"), 3), Value::Integer(7));
        let Value::Text(text) = a.one(&source("text = 25"), 0) else {
            panic!("no text");
        };
        assert!(text.len() == 25 && text.bytes().all(|b| b.is_ascii_lowercase()));
    }

    #[test]
    fn transactions_come_by_their_weight() {
        let draws = draws(0);
        let often = (0..10_000).filter(|_| draws.transaction() == 0).count();
        assert!((9300..9700).contains(&often), "{often}");
    }
}
