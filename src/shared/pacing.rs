//! Rate limits for calls to a platform: one budget for each bot and each chat, shared by all
//! workers of the box.
//!
//! Used by `turn/send.rs` before each call, and by channels whose replies ride in an answer.
//! The budgets are words of the shared map (`scoreboard.rs`), changed by compare-and-swap, so
//! no process can hold up another. Each is a *theoretical arrival time* (the generic cell rate
//! algorithm, ITU-T I.371): one word says how much was spent and when it is available again. A
//! caller reserves a time slot, then waits for it, so waiting callers are not woken all at
//! once.
//!
//! Bounds: [`MAX_CHANNELS`]; [`CHATS`] chats that are sending at one moment. Beyond that chats
//! share words: they go slower, never faster.

use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use crate::shared::clock::{monotonic, monotonic_ms, unix_ms};
use crate::shared::notable::{self, Line, Lines};

/// Channels of a bot, the author's included.
pub(crate) const MAX_CHANNELS: usize = 32;

/// Words of a channel.
const CHANNEL: usize = 16 + TROUBLE + OWN_NAME;

/// Words of a channel's last trouble.
const TROUBLE: usize = notable::words(2);

/// Words of what the platform calls the bot.
const OWN_NAME: usize = notable::words(1);

/// Words for chats: a power of two.
const CHATS: usize = 1 << 15;

/// Places that a chat's word may have.
const PROBES: usize = 4;

/// Words that the whole takes in the shared map.
pub(crate) const WORDS: usize = MAX_CHANNELS * CHANNEL + CHATS;

/// A chat's word: 16 bits of its hash, 48 of milliseconds.
const TIME: u64 = (1 << 48) - 1;

/// How far a reply that rides, and cannot wait, may go ahead of its bot's next place.
const AHEAD: Duration = Duration::from_millis(150);

/// Chats that were told "too many" while others of them still wait. That many
/// cannot all have been too fast: the whole bot is.
const FLOODED: u64 = 3;

/// How often something may be done: so many at once, then one at a time.
///
/// In any time `t` at most `burst + t / every` pass.
///
/// ```
/// use std::time::Duration;
/// use turnkey::Rate;
///
/// // Three at once, then one every two seconds.
/// let rate = Rate { every: Duration::from_secs(2), burst: 3 };
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rate {
    /// From one to the next.
    pub every: Duration,
    /// How many pass at once after a pause. At least 1.
    pub burst: u32,
}

impl Rate {
    /// So many in a second, evenly.
    pub fn per_second(count: u32) -> Self {
        Rate {
            every: Duration::from_secs(1) / count.max(1),
            burst: 1,
        }
    }
}

/// What a word of a channel is for.
#[derive(Clone, Copy)]
enum Word {
    /// The bot's theoretical arrival time, microseconds.
    Spent,
    /// No call before then, milliseconds.
    Paused,
    /// Until when flooded chats are counted (48 bits, milliseconds), and their count.
    Flooded,
    /// Which webhook is registered, as a hash; 0 for none.
    Registered,
    /// What a platform's confirmation of the webhook is answered with; two words.
    Confirmation,
    /// The page or community whose token it is; 0 while that is not known.
    Account = 6,
    /// When an update came last, milliseconds since 1970.
    Updated,
    /// Until when the platform was polled with success, milliseconds since 1970.
    Polled,
    /// What the platform said last that was no success, and what it calls the bot: the rest of
    /// the channel's words.
    Trouble = 16,
}

/// The budgets of all channels.
#[derive(Clone, Copy)]
pub(crate) struct Pacer {
    words: &'static [AtomicU64],
}

/// Those of one channel and its chats.
#[derive(Clone, Copy)]
pub(crate) struct Pace {
    channel: usize,
    words: &'static [AtomicU64],
}

impl Pacer {
    /// Over [`WORDS`] words of the shared map.
    pub(crate) fn new(words: &'static [AtomicU64]) -> Self {
        Pacer { words }
    }

    /// The budgets of a channel; its number is below [`MAX_CHANNELS`], and the same in
    /// all workers.
    pub(crate) fn channel(&self, channel: usize) -> Pace {
        Pace {
            channel: channel % MAX_CHANNELS,
            words: self.words,
        }
    }
}

impl Pace {
    fn word(&self, word: Word) -> &AtomicU64 {
        &self.words[self.channel * CHANNEL + word as usize]
    }

    /// Reserves the bot's next place that is at most `patience` away: how long to wait
    /// for it. Else nothing is reserved, and the error says how far away it is.
    pub(crate) fn bot(&self, rate: Option<Rate>, patience: Duration) -> Result<Duration, Duration> {
        let Some(rate) = rate else {
            return Ok(Duration::ZERO);
        };
        let now = monotonic().as_micros() as u64;
        let every = rate.every.as_micros() as u64;
        let at_once = every * u64::from(rate.burst.saturating_sub(1));
        let word = self.word(Word::Spent);
        let mut spent = word.load(Relaxed);
        loop {
            let wait = spent.saturating_sub(at_once).saturating_sub(now);
            let wait = Duration::from_micros(wait);
            if wait > patience {
                return Err(wait);
            }
            let next = spent.max(now) + every;
            match word.compare_exchange_weak(spent, next, Relaxed, Relaxed) {
                Ok(_) => return Ok(wait),
                Err(other) => spent = other,
            }
        }
    }

    /// As [`Pace::bot`], for a chat. A chat without a rate only waits out its pause.
    pub(crate) fn chat(
        &self,
        rate: Option<Rate>,
        chat: &str,
        patience: Duration,
    ) -> Result<Duration, Duration> {
        let (every, at_once) = spacing(rate);
        self.change_chat(chat, |spent, now| {
            let wait = spent.saturating_sub(at_once).saturating_sub(now);
            let wait = Duration::from_millis(wait);
            if wait > patience {
                return (None, Err(wait));
            }
            let next = (every > 0).then(|| spent.max(now) + every);
            (next, Ok(wait))
        })
    }

    /// Takes a place for a reply that rides in an answer, if there is one now.
    pub(crate) fn ride(&self, bot: Option<Rate>, of_chat: Option<Rate>, chat: &str) -> bool {
        self.pause_left().is_none()
            && self.chat(of_chat, chat, Duration::ZERO).is_ok()
            && self.bot(bot, AHEAD).is_ok()
    }

    /// How long no call may go out; none when they may.
    pub(crate) fn pause_left(&self) -> Option<Duration> {
        let until = self.word(Word::Paused).load(Relaxed);
        let left = until.checked_sub(monotonic_ms())?;
        (left > 0).then(|| Duration::from_millis(left))
    }

    /// No call for so long.
    pub(crate) fn pause(&self, pause: Duration) {
        let until = monotonic_ms() + pause.as_millis() as u64;
        self.word(Word::Paused).fetch_max(until, Relaxed);
    }

    /// No call to this chat for so long; then one at a time.
    pub(crate) fn pause_chat(&self, rate: Option<Rate>, chat: &str, pause: Duration) {
        let (_, at_once) = spacing(rate);
        self.change_chat(chat, |spent, now| {
            let until = now + pause.as_millis() as u64 + at_once;
            (Some(spent.max(until)), ())
        });
    }

    /// Notes that a chat was told "too many" for so long. Whether it is one of so many
    /// that the whole bot must be meant.
    pub(crate) fn is_flooded(&self, pause: Duration) -> bool {
        let now = monotonic_ms();
        let until = (now + pause.as_millis() as u64) & TIME;
        let word = self.word(Word::Flooded);
        let mut seen = word.load(Relaxed);
        loop {
            let (count, before) = (seen >> 48, seen & TIME);
            let next = match before > now {
                true => ((count + 1).min(FLOODED) << 48) | before.max(until),
                false => (1 << 48) | until,
            };
            match word.compare_exchange_weak(seen, next, Relaxed, Relaxed) {
                Ok(_) => return next >> 48 >= FLOODED,
                Err(other) => seen = other,
            }
        }
    }

    /// The hash of the webhook that is registered; 0 for none.
    pub(crate) fn registered(&self) -> u64 {
        self.word(Word::Registered).load(Relaxed)
    }

    /// The webhook with this hash is registered.
    pub(crate) fn set_registered(&self, hash: u64) {
        self.word(Word::Registered).store(hash, Relaxed);
    }

    /// The channel's number.
    pub(crate) fn number(&self) -> usize {
        self.channel
    }

    /// An update came at this moment, in milliseconds since 1970. Written once a second, so that
    /// workers do not fight for the word.
    pub(crate) fn note_update(&self, at_ms: u64) {
        let word = self.word(Word::Updated);
        if at_ms > word.load(Relaxed) + 1000 {
            word.store(at_ms, Relaxed);
        }
    }

    /// When an update came last, give or take a second: milliseconds since 1970.
    pub(crate) fn updated_ms(&self) -> Option<u64> {
        Some(self.word(Word::Updated).load(Relaxed)).filter(|at| *at > 0)
    }

    /// The platform has just been polled with success.
    pub(crate) fn note_poll(&self) {
        self.word(Word::Polled).store(unix_ms(), Relaxed);
    }

    /// Until when it was polled: milliseconds since 1970.
    pub(crate) fn polled_ms(&self) -> Option<u64> {
        Some(self.word(Word::Polled).load(Relaxed)).filter(|at| *at > 0)
    }

    /// The platform did not do what it was asked for. No secret is in the reason.
    pub(crate) fn note_trouble(&self, reason: &str) {
        self.troubles().keep(true, reason);
    }

    /// What the platform said last that was no success.
    pub(crate) fn trouble(&self) -> Option<Line> {
        self.troubles().last().into_iter().next()
    }

    /// What the platform calls the bot, once it is known.
    pub(crate) fn own_name(&self) -> Option<String> {
        let name = self.own_names().last().into_iter().next()?;
        Some(name.text)
    }

    /// Sets it, for all workers.
    pub(crate) fn set_own_name(&self, name: &str) {
        self.own_names().keep(false, name);
    }

    fn own_names(&self) -> Lines {
        let start = self.channel * CHANNEL + Word::Trouble as usize + TROUBLE;
        Lines::new(&self.words[start..start + OWN_NAME])
    }

    fn troubles(&self) -> Lines {
        let start = self.channel * CHANNEL + Word::Trouble as usize;
        Lines::new(&self.words[start..start + TROUBLE])
    }

    /// The page or community whose token it is, once it is known.
    pub(crate) fn account(&self) -> Option<u64> {
        Some(self.word(Word::Account).load(Relaxed)).filter(|id| *id != 0)
    }

    /// Sets it, for all workers; 0 for one that is not known.
    pub(crate) fn set_account(&self, id: u64) {
        self.word(Word::Account).store(id, Relaxed);
    }

    /// What all workers answer a platform with that confirms the webhook's address.
    pub(crate) fn confirmation(&self) -> Option<String> {
        let mut bytes = Vec::with_capacity(16);
        for word in self.confirmation_words() {
            bytes.extend(word.load(Relaxed).to_be_bytes());
        }
        let text: Vec<u8> = bytes.into_iter().take_while(|byte| *byte != 0).collect();
        String::from_utf8(text).ok().filter(|text| !text.is_empty())
    }

    /// Sets it, for all workers. False when it is longer than 16 bytes.
    pub(crate) fn set_confirmation(&self, text: &str) -> bool {
        let mut bytes = [0; 16];
        let Some(room) = bytes.get_mut(..text.len()) else {
            return false;
        };
        room.copy_from_slice(text.as_bytes());
        let (chunks, _) = bytes.as_chunks::<8>();
        for (word, bytes) in self.confirmation_words().iter().zip(chunks) {
            word.store(u64::from_be_bytes(*bytes), Relaxed);
        }
        true
    }

    fn confirmation_words(&self) -> &[AtomicU64] {
        let first = self.channel * CHANNEL + Word::Confirmation as usize;
        &self.words[first..first + 2]
    }

    /// Changes a chat's word: `change` is given when it has earned everything, and now
    /// (milliseconds), and returns the new time, if it changes, and a result.
    fn change_chat<T>(&self, chat: &str, change: impl Fn(u64, u64) -> (Option<u64>, T)) -> T {
        let mut hasher = DefaultHasher::new();
        (self.channel, chat).hash(&mut hasher);
        let hash = hasher.finish();
        let tag = hash >> 48;
        let now = monotonic_ms();
        loop {
            let (word, seen) = self.find_chat(hash, now);
            let spent = seen & TIME;
            // Shared: it stays the other's.
            let owner = if spent > now { seen >> 48 } else { tag };
            let (next, result) = change(spent, now);
            let Some(next) = next else { return result };
            let next = (owner << 48) | (next & TIME);
            if word.compare_exchange(seen, next, Relaxed, Relaxed).is_ok() {
                return result;
            }
        }
    }

    /// The chat's word, else one that is free, else one that it must share.
    fn find_chat(&self, hash: u64, now: u64) -> (&AtomicU64, u64) {
        let chats = &self.words[MAX_CHANNELS * CHANNEL..];
        let at = |probe: usize| {
            let word = &chats[(hash as usize).wrapping_add(probe) % CHATS];
            (word, word.load(Relaxed))
        };
        let own = (0..PROBES)
            .map(at)
            .find(|(_, seen)| seen >> 48 == hash >> 48);
        let free = || (0..PROBES).map(at).find(|(_, seen)| seen & TIME <= now);
        own.or_else(free).unwrap_or_else(|| at(0))
    }
}

/// Milliseconds from one to the next, and those of a burst.
fn spacing(rate: Option<Rate>) -> (u64, u64) {
    rate.map_or((0, 0), |rate| {
        let every = rate.every.as_millis() as u64;
        (every, every * u64::from(rate.burst.saturating_sub(1)))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pacer() -> Pacer {
        let words: Vec<AtomicU64> = std::iter::repeat_with(|| AtomicU64::new(0))
            .take(WORDS)
            .collect();
        Pacer::new(Vec::leak(words))
    }

    const HOUR: Duration = Duration::from_secs(3600);

    #[test]
    fn a_bots_places_are_apart() {
        let pace = pacer().channel(0);
        let rate = Some(Rate::per_second(10));
        let waits: Vec<_> = (0..50).map(|_| pace.bot(rate, HOUR).unwrap()).collect();
        assert!(waits[0].is_zero());
        // The test itself takes time, which is earned.
        assert!(waits[49] > Duration::from_secs(4), "{:?}", waits[49]);
        assert!(waits[49] <= Duration::from_millis(4900));
        assert!(pace.bot(rate, Duration::from_secs(1)).is_err());
        assert!(pacer().channel(1).bot(rate, Duration::ZERO).is_ok());
    }

    #[test]
    fn a_chat_has_a_burst_and_then_waits() {
        let pace = pacer().channel(3);
        let rate = Some(Rate {
            every: Duration::from_secs(60),
            burst: 5,
        });
        for _ in 0..5 {
            assert!(pace.chat(rate, "7", Duration::ZERO).is_ok());
        }
        let wait = pace.chat(rate, "7", Duration::ZERO).unwrap_err();
        assert!(wait > Duration::from_secs(30) && wait <= Duration::from_secs(60));
        assert!(pace.chat(rate, "8", Duration::ZERO).is_ok());
        assert!(pace.chat(None, "9", Duration::ZERO).is_ok());
    }

    #[test]
    fn pauses_are_waited_out() {
        let pace = pacer().channel(0);
        pace.pause_chat(None, "7", HOUR);
        assert!(pace.chat(None, "7", Duration::ZERO).is_err());
        assert!(pace.chat(None, "8", Duration::ZERO).is_ok());
        assert!(pace.ride(None, None, "8"));
        assert!(!pace.ride(None, None, "7"));
        assert_eq!(pace.pause_left(), None);
        pace.pause(HOUR);
        assert!(pace.pause_left() > Some(HOUR / 2));
        assert!(!pace.ride(None, None, "8"));
    }

    #[test]
    fn many_flooded_chats_are_a_flooded_bot() {
        let pace = pacer().channel(0);
        assert!(!pace.is_flooded(HOUR));
        assert!(!pace.is_flooded(HOUR));
        assert!(pace.is_flooded(HOUR));
        let pace = pacer().channel(0);
        for _ in 0..10 {
            assert!(!pace.is_flooded(Duration::ZERO), "each is over");
        }
    }

    /// More chats than there are words: nobody is let through who should wait.
    #[test]
    fn a_full_table_makes_nobody_faster() {
        let pace = pacer().channel(0);
        let rate = Some(Rate {
            every: HOUR,
            burst: 1,
        });
        for chat in 0..2 * CHATS {
            let chat = chat.to_string();
            if pace.chat(rate, &chat, Duration::ZERO).is_ok() {
                assert!(pace.chat(rate, &chat, Duration::ZERO).is_err());
            }
        }
    }

    #[test]
    fn a_confirmation_is_for_all() {
        let pacer = pacer();
        assert_eq!(pacer.channel(1).confirmation(), None);
        assert!(pacer.channel(1).set_confirmation("c0nf1rm"));
        assert_eq!(pacer.channel(1).confirmation().as_deref(), Some("c0nf1rm"));
        assert!(pacer.channel(1).set_confirmation("0123456789abcdef"));
        assert!(!pacer.channel(1).set_confirmation("0123456789abcdef0"));
        pacer.channel(1).set_account(u64::MAX);
        let now = pacer.channel(1).confirmation();
        assert_eq!(now.as_deref(), Some("0123456789abcdef"));
        assert_eq!(pacer.channel(1).account(), Some(u64::MAX));
        assert_eq!(pacer.channel(2).account(), None);
        pacer.channel(1).note_trouble("away");
        pacer.channel(1).set_own_name("Tea");
        pacer.channel(1).set_own_name("Tea & more");
        assert_eq!(pacer.channel(1).own_name().as_deref(), Some("Tea & more"));
        assert_eq!(pacer.channel(2).own_name(), None);
    }
}
