//! The one check that finds a lost update: the counters in the database against the
//! acknowledged turns, or a workload's invariants against its acknowledged transactions.
//!
//! Called after each run by `run.rs`, and after `bench turn`.

use std::collections::BTreeMap;

use super::engines::Engine;
use super::results::{Invariant, Transaction};
use super::workload::Workload;

/// What the sum of all counters says.
///
/// # Errors
/// A sentence, when a turn was lost or took effect twice. `uncertain` turns are those
/// whose end nobody was told: they may stand or not.
pub(crate) fn counters(sum: u64, acknowledged: u64, uncertain: u64) -> Result<(), String> {
    let most = acknowledged.saturating_add(uncertain);
    if sum < acknowledged {
        return Err(format!(
            "{} acknowledged turns were lost: the counters add up to {sum}, acknowledged were {acknowledged}",
            acknowledged - sum
        ));
    }
    if sum > most {
        return Err(format!(
            "{} turns took effect twice: the counters add up to {sum}, acknowledged were {acknowledged}",
            sum - most
        ));
    }
    Ok(())
}

/// What each invariant of a workload had to be, beside what it was.
pub(crate) fn invariants(
    workload: &Workload,
    engine: Engine,
    transactions: &BTreeMap<String, Transaction>,
    found: &[i64],
) -> Vec<Invariant> {
    let each = workload.invariants.iter().zip(found);
    each.map(|(invariant, found)| {
        let (mut least, mut most) = (invariant.equals, invariant.equals);
        for (name, plus) in &invariant.plus {
            let known = transactions.get(name);
            let stands = |count: u64| count as i64 * plus;
            let certain = stands(known.map_or(0, |known| known.acknowledged));
            let perhaps = stands(known.map_or(0, |known| known.uncertain));
            least += certain + perhaps.min(0);
            most += certain + perhaps.max(0);
        }
        let sql = engine
            .dialect()
            .and_then(|dialect| invariant.sql.statements(dialect));
        Invariant {
            sql: sql.unwrap_or_default().join("; "),
            least,
            most,
            found: *found,
        }
    })
    .collect()
}

/// Whether all of them hold.
///
/// # Errors
/// A sentence for the first that does not.
pub(crate) fn hold(invariants: &[Invariant]) -> Result<(), String> {
    for i in invariants {
        if !(i.least..=i.most).contains(&i.found) {
            let expected = match i.least == i.most {
                true => i.least.to_string(),
                false => format!("{} to {}", i.least, i.most),
            };
            return Err(format!(
                "an invariant is broken: {} gives {}, and by the acknowledged transactions it must be {expected}",
                i.sql, i.found
            ));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_broken_invariant_is_a_sentence() {
        let invariant = |found| Invariant {
            sql: "SELECT count(*) FROM t".to_owned(),
            least: 10,
            most: 12,
            found,
        };
        assert_eq!(hold(&[invariant(10), invariant(12)]), Ok(()));
        let said = hold(&[invariant(11), invariant(9)]).unwrap_err();
        assert!(
            said.contains("gives 9") && said.contains("10 to 12"),
            "{said}"
        );
    }

    #[test]
    fn a_lost_turn_and_a_double_one_are_found() {
        assert_eq!(counters(1000, 1000, 0), Ok(()));
        assert_eq!(counters(1001, 1000, 1), Ok(()));
        assert!(counters(999, 1000, 0).unwrap_err().starts_with("1 ack"));
        assert!(counters(999, 1000, 5).unwrap_err().contains("lost"));
        assert!(
            counters(1002, 1000, 1)
                .unwrap_err()
                .contains("1 turns took effect twice")
        );
    }
}
