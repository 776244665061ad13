//! Session tickets (RFC 8446, 4.6.1; RFC 5077): a returning client needs no full handshake,
//! whichever worker it meets.
//!
//! [`Tickets`] is made by the master before the first fork and inherited by each worker, which
//! makes a [`Ticketer`] from it; rustls asks the ticketer in each handshake. Processes exchange
//! nothing: each derives the same keys. There is a chain of secrets, one for every [`PERIOD`];
//! each is derived from the one before by a one-way function, and a period's key from its
//! secret. Every process forgets earlier secrets (the master, too: [`Tickets::advance`]), so
//! forgotten keys cannot be made again. Invariants: a key encrypts for one period and decrypts
//! for one more; time is that of the monotonic clock, which nobody can set. An upgrade and a
//! restart begin a new chain: clients make one full handshake. There is no early data (0-RTT),
//! so nobody can replay a request.

use std::fmt;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use ring::aead::{self, Aad, CHACHA20_POLY1305, LessSafeKey, NONCE_LEN, Nonce, UnboundKey};
use ring::hmac;
use ring::rand::{SecureRandom, SystemRandom};
use rustls::server::ProducesTickets;

use crate::author::start_error::StartError;

/// How long a key seals.
const PERIOD: Duration = Duration::from_secs(6 * 3600);

/// Bytes of a key's name, with which its tickets begin.
const NAME: usize = 16;

/// Bytes of a ticket that are looked at: rustls puts the client's certificates into them,
/// and we ask for none.
const LONGEST: usize = 16 << 10;

/// Where the chain of secrets is. A copy goes on by itself.
#[derive(Clone)]
pub(crate) struct Tickets {
    secret: [u8; 32],
    /// The period of the secret.
    period: u64,
    began: Instant,
}

impl Tickets {
    /// A chain of its own.
    ///
    /// # Errors
    /// [`StartError::Refused`]: the system gives no random numbers.
    pub(crate) fn new() -> crate::StartResult<Self> {
        let mut secret = [0; 32];
        SystemRandom::new()
            .fill(&mut secret)
            .map_err(|_| StartError::Refused("the system gives no random numbers".to_owned()))?;
        Ok(Tickets {
            secret,
            period: 0,
            began: Instant::now(),
        })
    }

    /// Forgets the secrets of periods that are over.
    pub(crate) fn advance(&mut self, now: Instant) {
        while self.step(now) {}
    }

    /// One period on, if it has begun.
    fn step(&mut self, now: Instant) -> bool {
        let elapsed = now.saturating_duration_since(self.began);
        if elapsed.as_secs() / PERIOD.as_secs() <= self.period {
            return false;
        }
        self.secret = self.derive(b"next");
        self.period += 1;
        true
    }

    fn derive(&self, what: &[u8]) -> [u8; 32] {
        let key = hmac::Key::new(hmac::HMAC_SHA256, &self.secret);
        let mut derived = [0; 32];
        derived.copy_from_slice(hmac::sign(&key, what).as_ref());
        derived
    }

    fn key(&self) -> Option<Key> {
        let key = UnboundKey::new(&CHACHA20_POLY1305, &self.derive(b"key")).ok()?;
        let mut name = [0; NAME];
        name.copy_from_slice(&self.derive(b"name")[..NAME]);
        Some(Key {
            name,
            key: LessSafeKey::new(key),
        })
    }
}

impl fmt::Debug for Tickets {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Tickets")
    }
}

struct Key {
    name: [u8; NAME],
    key: LessSafeKey,
}

impl Key {
    /// Name, nonce, the sealed text, its tag.
    fn seal(&self, plain: &[u8]) -> Option<Vec<u8>> {
        let mut nonce = [0; NONCE_LEN];
        SystemRandom::new().fill(&mut nonce).ok()?;
        let mut sealed = plain.to_vec();
        let nonce_of_ring = Nonce::assume_unique_for_key(nonce);
        self.key
            .seal_in_place_append_tag(nonce_of_ring, Aad::from(self.name), &mut sealed)
            .ok()?;
        Some([&self.name[..], &nonce, &sealed].concat())
    }

    fn open(&self, ticket: &[u8]) -> Option<Vec<u8>> {
        let (name, rest) = ticket.split_at_checked(NAME)?;
        if name != self.name {
            return None;
        }
        let (nonce, sealed) = rest.split_at_checked(NONCE_LEN)?;
        let nonce = Nonce::try_assume_unique_for_key(nonce).ok()?;
        let mut sealed = sealed.to_vec();
        let aad: Aad<[u8; NAME]> = aead::Aad::from(self.name);
        let plain = self.key.open_in_place(nonce, aad, &mut sealed).ok()?;
        Some(plain.to_vec())
    }
}

/// Seals and opens a worker's tickets.
pub(super) struct Ticketer(Mutex<Keys>);

struct Keys {
    chain: Tickets,
    current: Option<Key>,
    before: Option<Key>,
}

impl Keys {
    fn advance(&mut self, now: Instant) {
        while self.chain.step(now) {
            self.before = self.current.take();
            self.current = self.chain.key();
        }
    }
}

impl Ticketer {
    pub(super) fn new(chain: Tickets) -> Self {
        Ticketer(Mutex::new(Keys {
            current: chain.key(),
            before: None,
            chain,
        }))
    }

    fn keys(&self, now: Instant) -> MutexGuard<'_, Keys> {
        let mut keys = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        keys.advance(now);
        keys
    }

    fn seal(&self, plain: &[u8], now: Instant) -> Option<Vec<u8>> {
        self.keys(now).current.as_ref()?.seal(plain)
    }

    fn open(&self, ticket: &[u8], now: Instant) -> Option<Vec<u8>> {
        if ticket.len() > LONGEST {
            return None;
        }
        let keys = self.keys(now);
        let mut both = keys.current.iter().chain(&keys.before);
        both.find_map(|key| key.open(ticket))
    }
}

impl fmt::Debug for Ticketer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Ticketer")
    }
}

impl ProducesTickets for Ticketer {
    fn enabled(&self) -> bool {
        true
    }

    fn lifetime(&self) -> u32 {
        // What the youngest ticket of a period has at most.
        u32::try_from(2 * PERIOD.as_secs()).unwrap_or(u32::MAX)
    }

    fn encrypt(&self, plain: &[u8]) -> Option<Vec<u8>> {
        self.seal(plain, Instant::now())
    }

    fn decrypt(&self, ticket: &[u8]) -> Option<Vec<u8>> {
        self.open(ticket, Instant::now())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_ticket_is_opened_by_every_worker_for_two_periods() {
        let mut chain = Tickets::new().unwrap();
        let at = |periods: f64| chain.began + PERIOD.mul_f64(periods);
        let (early, late, later, over) = (at(0.1), at(0.9), at(1.9), at(2.1));
        let workers = [Ticketer::new(chain.clone()), Ticketer::new(chain.clone())];
        let ticket = workers[0].seal(b"session", early).unwrap();
        assert!(!ticket.windows(7).any(|part| part == b"session"));
        assert_eq!(workers[1].open(&ticket, late).unwrap(), b"session");
        assert_eq!(workers[1].open(&ticket, later).unwrap(), b"session");
        // One that is forked from a master that has forgotten the first secret.
        let first = chain.secret;
        chain.advance(later);
        assert_ne!(chain.secret, first);
        let successor = Ticketer::new(chain.clone());
        let second = workers[0].seal(b"second", later).unwrap();
        assert_eq!(successor.open(&second, later).unwrap(), b"second");
        assert_eq!(
            successor.open(&ticket, later),
            None,
            "it never had that key"
        );
        assert_eq!(workers[1].open(&ticket, over), None, "its time is over");
        assert_eq!(workers[1].open(&second, over).unwrap(), b"second");
        assert_eq!(
            Ticketer::new(Tickets::new().unwrap()).open(&second, over),
            None
        );
    }

    #[test]
    fn a_ticket_that_was_changed_is_none() {
        let ticketer = Ticketer::new(Tickets::new().unwrap());
        let now = Instant::now();
        let ticket = ticketer.seal(b"session", now).unwrap();
        for at in 0..ticket.len() {
            let mut changed = ticket.clone();
            changed[at] ^= 1;
            assert_eq!(ticketer.open(&changed, now), None, "byte {at}");
            assert_eq!(ticketer.open(&ticket[..at], now), None, "{at} bytes");
        }
        assert_eq!(ticketer.open(&vec![0; 1 << 20], now), None);
        assert_ne!(
            ticketer.seal(b"session", now).unwrap(),
            ticket,
            "one nonce twice"
        );
        assert!(!format!("{ticketer:?}").contains(char::is_numeric));
    }
}
