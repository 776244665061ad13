//! The state of a user: a counter in JSON, padded to a size. And who is next.
//!
//! Used by every engine: each turn reads the counter, adds one and writes it.

use serde::Deserialize;

use crate::error::Error;

#[derive(Deserialize)]
struct Counter {
    count: u64,
}

/// The counter in a state; 0 for a user without one.
pub(crate) fn count(state: Option<&str>) -> crate::error::Result<u64> {
    let Some(state) = state else {
        return Ok(0);
    };
    serde_json::from_str::<Counter>(state)
        .map(|counter| counter.count)
        .map_err(|e| Error::Start(format!("a state that is none of ours: {e}")))
}

/// A state with this counter, of `bytes` bytes where it is not longer by itself.
pub(crate) fn padded(count: u64, bytes: usize) -> String {
    let mut state = format!(r#"{{"count":{count},"pad":""#);
    state.extend(std::iter::repeat_n(
        'x',
        bytes.saturating_sub(state.len() + 2),
    ));
    state.push_str("\"}");
    state
}

/// What a turn writes, given what it read.
pub(crate) fn next(state: Option<&str>, bytes: usize) -> crate::error::Result<String> {
    Ok(padded(count(state)? + 1, bytes))
}

/// A user's id, as a platform would name them.
pub(crate) fn user_id(user: u64) -> String {
    format!("u{user}")
}

/// SplitMix64 (<https://prng.di.unimi.it/splitmix64.c>): a seed gives the same users
/// in every run.
pub(crate) struct Random(u64);

impl Random {
    pub(crate) fn new(seed: u64) -> Self {
        Random(seed)
    }

    pub(crate) fn below(&mut self, bound: u64) -> u64 {
        // High bits of a product: no division, and even enough.
        ((u128::from(self.next()) * u128::from(bound)) >> 64) as u64
    }

    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }
}

/// For the distributions of `rand_distr`.
impl rand::TryRng for Random {
    type Error = std::convert::Infallible;

    fn try_next_u32(&mut self) -> std::result::Result<u32, Self::Error> {
        Ok((self.next() >> 32) as u32)
    }

    fn try_next_u64(&mut self) -> std::result::Result<u64, Self::Error> {
        Ok(self.next())
    }

    fn try_fill_bytes(&mut self, to: &mut [u8]) -> std::result::Result<(), Self::Error> {
        for part in to.chunks_mut(8) {
            let drawn = self.next().to_le_bytes();
            part.copy_from_slice(&drawn[..part.len()]);
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_state_has_its_size_and_counts() {
        let state = padded(41, 200);
        assert_eq!(state.len(), 200);
        let state = next(Some(&state), 200).unwrap();
        assert_eq!((state.len(), count(Some(&state)).unwrap()), (200, 42));
        assert_eq!(count(None).unwrap(), 0);
        assert_eq!(next(None, 1).unwrap(), r#"{"count":1,"pad":""}"#);
        assert!(count(Some("{}")).is_err());
    }

    #[test]
    fn random_users_are_below_the_bound_and_reach_all() {
        let mut random = Random::new(7);
        let mut seen = [0; 10];
        for _ in 0..10_000 {
            seen[random.below(10) as usize] += 1;
        }
        assert!(seen.iter().all(|n| (800..1200).contains(n)), "{seen:?}");
    }
}
