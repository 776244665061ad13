//! The one check that finds a lost update: the counters in the database against the
//! acknowledged turns.
//!
//! Called after each run by `run.rs`, and after `bench turn`.

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

#[cfg(test)]
mod tests {
    use super::counters;

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
