//! Rate limits for incoming requests: `--rate-per-user` and `--rate-per-address`.
//!
//! Asked by `worker/routes.rs` for each request, by `updaters/webhooks.rs` for each update once
//! its channel has found it genuine (a stranger cannot use up a user's limit), by
//! `updaters/polling.rs` before each turn. All workers share the limits: the words are in
//! shared memory (`scoreboard.rs`) and are changed by compare-and-swap, like those of
//! `pacing.rs`. Each is a *theoretical arrival time* (the generic cell rate algorithm, ITU-T
//! I.371): in any time `t` at most [`BURST`]` * N + N * t` pass.
//!
//! Bounds: [`USERS`] users and [`ADDRESSES`] addresses at one moment; each request occupies its
//! word for `1/N` s. Beyond that some share a word: their limit is lower, never higher.
//! Outsiders cannot predict which ones share: hashes are keyed with a random number drawn at
//! each start. Without limits no word is touched, and the map's pages are never allocated.

use std::hash::{BuildHasher, DefaultHasher, Hash, Hasher, RandomState};
use std::net::IpAddr;
use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use crate::shared::clock::monotonic;

/// Seconds' worth that pass at once after a pause.
pub(crate) const BURST: u64 = 3;

/// Words for users: a power of two.
const USERS: usize = 1 << 15;

/// Words for addresses: a power of two.
const ADDRESSES: usize = 1 << 14;

/// Places that somebody's word may have.
const PROBES: usize = 4;

/// Words that the whole takes in the shared map; the first is the key.
pub(crate) const WORDS: usize = 1 + USERS + ADDRESSES;

/// A word: 16 bits of a hash, 48 of microseconds, which last for nine years of uptime.
const TIME: u64 = (1 << 48) - 1;

/// Both limits, over the shared map.
#[derive(Clone, Copy)]
pub(crate) struct Limiter {
    words: &'static [AtomicU64],
    user: Option<u32>,
    address: Option<u32>,
}

impl Limiter {
    /// Over [`WORDS`] words of the shared map; `user` updates a second of one user,
    /// `address` requests a second from one address, none for no limit.
    pub(crate) fn new(
        words: &'static [AtomicU64],
        user: Option<u32>,
        address: Option<u32>,
    ) -> Self {
        Limiter {
            words,
            user,
            address,
        }
    }

    /// Draws the key of the hashes. Once, before the first fork.
    pub(crate) fn seed(words: &'static [AtomicU64]) {
        let drawn = RandomState::new().build_hasher().finish();
        words[0].store(drawn, Relaxed);
    }

    /// Whether there is a limit for users.
    pub(crate) fn limits_users(&self) -> bool {
        self.user.is_some()
    }

    /// Takes a place for an update of a user, or says how long until there is one.
    pub(crate) fn user(&self, channel: &str, user: &str) -> Result<(), Duration> {
        self.user.map_or(Ok(()), |rate| {
            take(self.users(), self.hash((channel, user)), rate)
        })
    }

    /// Gives a place back: the update was known, so nothing was done for it. Otherwise a
    /// batch that is longer than a burst, and sent again, would never get past its
    /// beginning.
    pub(crate) fn forgive(&self, channel: &str, user: &str) {
        if let Some(rate) = self.user {
            give_back(self.users(), self.hash((channel, user)), rate);
        }
    }

    /// Takes a place for a request from an address. An IPv6 network of 64 bits counts as
    /// one: who has one address of it has them all.
    pub(crate) fn address(&self, address: IpAddr) -> Result<(), Duration> {
        self.address.map_or(Ok(()), |rate| {
            let who = match address.to_canonical() {
                IpAddr::V4(address) => (4, u64::from(address.to_bits())),
                IpAddr::V6(address) => (6, (address.to_bits() >> 64) as u64),
            };
            take(&self.words[1 + USERS..WORDS], self.hash(who), rate)
        })
    }

    fn users(&self) -> &[AtomicU64] {
        &self.words[1..=USERS]
    }

    fn hash(&self, who: impl Hash) -> u64 {
        let mut hasher = DefaultHasher::new();
        self.words[0].load(Relaxed).hash(&mut hasher);
        who.hash(&mut hasher);
        hasher.finish()
    }
}

/// Microseconds from one place to the next.
fn every(rate: u32) -> u64 {
    (1_000_000 / u64::from(rate.max(1))).max(1)
}

fn take(table: &[AtomicU64], hash: u64, rate: u32) -> Result<(), Duration> {
    let every = every(rate);
    // The last of a burst comes when all before it are spent.
    let at_once = every * (BURST * u64::from(rate)).saturating_sub(1);
    let now = now();
    loop {
        let (word, seen) = find(table, hash, now);
        let spent = seen & TIME;
        let wait = spent.saturating_sub(at_once).saturating_sub(now);
        if wait > 0 {
            return Err(Duration::from_micros(wait));
        }
        // A word that is shared stays the other's.
        let owner = if spent > now { seen >> 48 } else { hash >> 48 };
        let next = (owner << 48) | ((spent.max(now) + every) & TIME);
        if word.compare_exchange(seen, next, Relaxed, Relaxed).is_ok() {
            return Ok(());
        }
    }
}

fn give_back(table: &[AtomicU64], hash: u64, rate: u32) {
    loop {
        let (word, seen) = find(table, hash, now());
        let (owner, spent) = (seen >> 48, seen & TIME);
        // Of a word that is shared it may be somebody else's place.
        if owner != hash >> 48 {
            return;
        }
        let next = (owner << 48) | spent.saturating_sub(every(rate));
        if word.compare_exchange(seen, next, Relaxed, Relaxed).is_ok() {
            return;
        }
    }
}

/// Somebody's word, else one that is free, else one that must be shared.
fn find(table: &[AtomicU64], hash: u64, now: u64) -> (&AtomicU64, u64) {
    let at = |probe: usize| {
        let word = &table[(hash as usize).wrapping_add(probe) % table.len()];
        (word, word.load(Relaxed))
    };
    let own = (0..PROBES)
        .map(at)
        .find(|(_, seen)| seen >> 48 == hash >> 48 && seen & TIME > now);
    let free = || (0..PROBES).map(at).find(|(_, seen)| seen & TIME <= now);
    own.or_else(free).unwrap_or_else(|| at(0))
}

/// Microseconds of [`monotonic`].
fn now() -> u64 {
    monotonic().as_micros() as u64
}

#[cfg(test)]
mod tests {
    use super::*;

    fn limiter(user: Option<u32>, address: Option<u32>) -> Limiter {
        let words: Vec<AtomicU64> = std::iter::repeat_with(|| AtomicU64::new(0))
            .take(WORDS)
            .collect();
        let words = Vec::leak(words);
        Limiter::seed(words);
        Limiter::new(words, user, address)
    }

    #[test]
    fn a_burst_passes_and_then_the_rate() {
        let limiter = limiter(Some(1), None);
        for _ in 0..BURST {
            assert_eq!(limiter.user("http", "ann"), Ok(()));
        }
        let wait = limiter.user("http", "ann").unwrap_err();
        assert!(wait > Duration::from_millis(500) && wait <= Duration::from_secs(1));
        assert_eq!(limiter.user("http", "bob"), Ok(()));
        assert_eq!(limiter.user("telegram", "ann"), Ok(()), "another user");
        limiter.forgive("http", "ann");
        assert_eq!(limiter.user("http", "ann"), Ok(()));
        assert!(limiter.user("http", "ann").is_err());
    }

    /// The whole of a second's places and the burst before it, however many ask at once.
    #[test]
    fn workers_share_one_budget() {
        let limiter = limiter(Some(100_000), None);
        let begun = std::time::Instant::now();
        let passed: u64 = std::thread::scope(|scope| {
            let ask = || {
                (0..300_000)
                    .filter(|_| limiter.user("http", "ann").is_ok())
                    .count() as u64
            };
            let threads: Vec<_> = (0..3).map(|_| scope.spawn(ask)).collect();
            threads.into_iter().map(|t| t.join().unwrap()).sum()
        });
        let most = 300_000 + begun.elapsed().as_micros() as u64 / 10 + 1;
        assert!(
            (300_000..=most).contains(&passed),
            "{passed} of at most {most}"
        );
    }

    #[test]
    fn an_ipv6_network_is_one_address() {
        let limiter = limiter(None, Some(1));
        let ask = |address: &str| limiter.address(address.parse().unwrap()).is_ok();
        for host in 1..=BURST {
            assert!(ask(&format!("2001:db8:1:2::{host}")));
        }
        assert!(!ask("2001:db8:1:2:ffff::1"));
        assert!(ask("2001:db8:1:3::1"));
        for _ in 0..BURST {
            assert!(ask("192.0.2.1"));
        }
        assert!(!ask("::ffff:192.0.2.1"), "the same, as IPv6 writes it");
        assert!(ask("192.0.2.2"));
    }

    #[test]
    fn without_limits_nothing_is_touched() {
        let limiter = limiter(None, None);
        for user in 0..1000 {
            assert!(limiter.user("http", &user.to_string()).is_ok());
            assert!(limiter.address(IpAddr::from([127, 0, 0, 1])).is_ok());
            limiter.forgive("http", &user.to_string());
        }
        let touched = limiter.words[1..]
            .iter()
            .filter(|word| word.load(Relaxed) != 0);
        assert_eq!(touched.count(), 0);
    }

    /// More users than there are words: nobody is let through who should wait.
    #[test]
    fn a_full_table_takes_no_more_of_anybody() {
        let limiter = limiter(Some(1), None);
        let mut strict = 0;
        for user in 0..2 * USERS {
            let user = user.to_string();
            let taken = (0..10)
                .filter(|_| limiter.user("http", &user).is_ok())
                .count();
            assert!(taken as u64 <= BURST, "{user}: {taken}");
            strict += usize::from((taken as u64) < BURST);
        }
        assert!(strict > 0, "none had to share");
    }
}
