//! The power fails at many moments of a recorded life.
//!
//! A recording is made once for each of the tests; images are made of it at random moments, and
//! at moments of every kind that is dangerous. `TURNKEY_CUTS` says how many (`scripts/soak`):
//! a hundred of each recording, the next of which goes on with an image of the last.

use std::collections::BTreeMap;
use std::path::Path;

use crate::disk::{Disk, Random};
use crate::promised::{Promised, Verdict};
use crate::recorder::{Record, Recording, Session, place, record};
use crate::{library, session};

/// Cuts of one recording.
const CUTS: usize = 100;

/// Of so many images one has to serve, too.
const SERVES: usize = 5;

/// Moments of one kind.
struct Moments {
    kind: &'static str,
    /// Places in the recording.
    at: Vec<usize>,
}

/// Where a cut is likely to find something.
fn moments(recording: &Recording) -> Vec<Moments> {
    let mut kinds: BTreeMap<&'static str, Vec<usize>> = BTreeMap::new();
    let mut phase = None;
    let (mut copying, mut copied) = (false, 0);
    for (index, record) in recording.records.iter().enumerate() {
        let name = |file: &usize| recording.names[*file].to_string_lossy();
        kinds.entry("anywhere").or_default().push(index);
        match record {
            Record::Mark(mark) => {
                let word = mark.split(' ').next().unwrap();
                match word {
                    "backing" => phase = Some("backup"),
                    "migrating" => phase = Some("migration"),
                    "restoring" => phase = Some("restore"),
                    "backed" | "migrated" | "restored" => phase = None,
                    "done" | "did" => kinds.entry("acknowledged").or_default().push(index + 1),
                    _ => {}
                }
            }
            Record::Written { file, .. } if name(file) == "bot.db" => copying = true,
            Record::Syncing(file, number) if name(file) == "bot.db" => copied = *number,
            Record::Synced(number) if *number == copied => copying = false,
            Record::Created(..)
            | Record::Linked(..)
            | Record::Renamed(..)
            | Record::Removed(_)
            | Record::MadeDirectory(_) => {
                let near = index..index + 3;
                let kind = match phase {
                    Some("restore") => "names of a restore",
                    _ => "names",
                };
                kinds.entry(kind).or_default().extend(near);
            }
            Record::Written { file, at: 0, .. } | Record::Resized(file, _)
                if name(file).ends_with("-wal") =>
            {
                let near = index.saturating_sub(3)..index + 6;
                kinds.entry("log reset").or_default().extend(near);
            }
            _ => {}
        }
        if copying && phase.is_none() {
            kinds.entry("checkpoint").or_default().push(index);
        }
        if let Some(phase) = phase {
            kinds.entry(phase).or_default().push(index);
        }
    }
    let all = kinds.into_iter();
    all.map(|(kind, at)| Moments { kind, at }).collect()
}

/// So many moments, of each kind in turn, in order.
fn choose(
    moments: &[Moments],
    cuts: usize,
    random: &mut Random,
    last: usize,
) -> Vec<(usize, &'static str)> {
    let mut chosen: Vec<_> = (0..cuts)
        .map(|cut| {
            let moments = &moments[cut % moments.len()];
            let at = moments.at[random.below(moments.at.len())];
            (at.min(last), moments.kind)
        })
        .collect();
    chosen.sort_unstable();
    chosen
}

/// What follows the marks of a session, and judges images by them.
pub(crate) trait Promises: Clone + Default {
    fn take(&mut self, mark: &str);

    /// Looks into an image. `goes_on`: it is used, too.
    fn judge(&self, directory: &Path, goes_on: bool) -> Verdict;
}

/// What came of some cuts.
struct Outcome<P> {
    cuts: usize,
    lost: u64,
    /// Cuts that lost something.
    losing: usize,
    wrong: Vec<String>,
    kinds: BTreeMap<&'static str, usize>,
    /// The image with which the next recording begins, and what it was promised.
    next: Option<(tempfile::TempDir, P)>,
}

/// Cuts a recording. `before`: what was promised when it began.
fn cut<P: Promises>(
    recording: &Recording,
    before: &P,
    cuts: usize,
    seed: u64,
    lies_about: Option<&'static str>,
) -> Outcome<P> {
    let mut random = Random(seed);
    let moments = moments(recording);
    let chosen = choose(&moments, cuts, &mut random, recording.records.len());
    let next = random.below(cuts);
    let mut disk = Disk::new(recording, lies_about);
    let (mut promised, mut read) = (before.clone(), 0);
    let mut outcome = Outcome {
        cuts: 0,
        lost: 0,
        losing: 0,
        wrong: Vec::new(),
        kinds: BTreeMap::new(),
        next: None,
    };
    for (number, (at, kind)) in chosen.into_iter().enumerate() {
        disk.advance(at);
        for record in &recording.records[read..at] {
            if let Record::Mark(mark) = record {
                promised.take(mark);
            }
        }
        read = at;
        if number == next {
            let image = place();
            disk.image(image.path(), &mut random);
            outcome.next = Some((image, promised.clone()));
        }
        let image = place();
        disk.image(image.path(), &mut random);
        let verdict = promised.judge(image.path(), number % SERVES == 0);
        outcome.count(
            kind,
            verdict,
            &format!("{kind}, cut {number} of seed {seed}"),
        );
    }
    outcome
}

impl<P> Outcome<P> {
    fn count(&mut self, kind: &'static str, verdict: Verdict, which: &str) {
        self.cuts += 1;
        *self.kinds.entry(kind).or_default() += 1;
        self.lost += verdict.lost;
        self.losing += usize::from(verdict.lost > 0);
        if verdict.lost > 0 {
            println!("{which}: {} promises were not kept", verdict.lost);
        }
        let wrong = verdict
            .wrong
            .into_iter()
            .map(|wrong| format!("{which}: {wrong}"));
        self.wrong.extend(wrong);
    }

    fn report(&self, what: &str) {
        println!(
            "CUTS {what}: {} cuts, {} promises lost in {} of them, {} images unsound; {:?}",
            self.cuts,
            self.lost,
            self.losing,
            self.wrong.len(),
            self.kinds
        );
    }
}

fn live(directory: &Path, test: &str, sync: &str, seed: u64) -> Recording {
    let session = Session {
        test,
        variables: &[
            ("POWER_SYNC", sync.to_owned()),
            ("POWER_SEED", seed.to_string()),
        ],
    };
    record(directory, &session)
}

fn number(variable: &str, otherwise: usize) -> usize {
    std::env::var(variable).map_or(otherwise, |value| value.parse().unwrap())
}

/// So many cuts of recordings, each of which begins with an image of the last: nothing is lost.
fn nothing_is_lost<P: Promises>(what: &str, test: &str, cuts: usize) {
    let mut start = (place(), P::default());
    let mut left = cuts;
    let mut seed = number("TURNKEY_CUTS_SEED", 1) as u64;
    while left > 0 {
        let (directory, promised) = &start;
        let recording = live(directory.path(), test, "full", seed);
        let some = left.min(CUTS);
        let outcome = cut(&recording, promised, some, seed, None);
        outcome.report(&format!(
            "{what}, seed {seed}, {} records",
            recording.records.len()
        ));
        assert_eq!(outcome.wrong, Vec::<String>::new());
        assert_eq!(outcome.lost, 0);
        left -= some;
        seed += 1;
        start = outcome.next.unwrap();
    }
}

#[test]
fn what_was_acknowledged_survives_a_power_cut() {
    let cuts = number("TURNKEY_CUTS", CUTS);
    nothing_is_lost::<Promised>("full", session::TEST, cuts);
}

/// The same of a database that processes open without a program that starts them.
#[test]
fn what_was_written_to_a_shared_database_survives_a_power_cut() {
    let cuts = number("TURNKEY_CUTS", CUTS) / 2;
    nothing_is_lost::<library::Promised>("shared", library::TEST, cuts);
}

/// So the test is not blind: here a cut may lose what was acknowledged, and does.
#[test]
fn without_full_sync_a_power_cut_loses_turns_and_damages_nothing() {
    let directory = place();
    let recording = live(directory.path(), session::TEST, "normal", 1);
    let outcome = cut(&recording, &Promised::default(), 40, 1, None);
    outcome.report("normal");
    assert_eq!(outcome.wrong, Vec::<String>::new());
    assert!(outcome.lost > 0);
}

/// Nor here: a disk that only says that it has synced the log, or the database, is noticed.
#[test]
fn a_disk_that_lies_is_noticed() {
    let directory = place();
    let recording = live(directory.path(), session::TEST, "full", 2);
    for lies_about in ["-wal", "bot.db"] {
        let outcome = cut(&recording, &Promised::default(), 40, 2, Some(lies_about));
        outcome.report(&format!("a disk that lies about {lies_about}"));
        assert!(
            outcome.lost > 0 || !outcome.wrong.is_empty(),
            "{lies_about}"
        );
    }
}
