//! Timers beside the messages: many that wait, and some that come due in every second.
//!
//! `mod.rs` calls [`Plan::fill`] before the bot starts and [`Plan::fired`] after it has ended. How
//! late a timer was is read from its turn's row: when that was committed, less when it was due.
//! Only a database of our own, in SQLite, is measured.

use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use rusqlite::{Connection, OpenFlags, params};
use serde::Serialize;
use turnkey_storage::timers::Timer;
use turnkey_storage::{Address, Database, DialogKey, Sync};

use super::super::measure::{self, Percentiles};
use crate::error::Error;
use turnkey_report::stop::Stop;

/// Makes a timer of this dialog, of this name and due then (milliseconds since 1970): its row,
/// and the update that it fires.
pub type MakeTimer = fn(DialogKey, &str, i64) -> Result<(Timer, Vec<u8>), String>;

/// Timers of one dialog that waits: as many as one may have.
const PER_DIALOG: u64 = turnkey_storage::timers::PER_DIALOG;

/// When the first of those is due that only wait: in an hour.
const LATER_MS: i64 = 3_600_000;

/// For timers that are late when the load ends.
const PATIENCE: Duration = Duration::from_secs(30);

/// Between two looks whether some are left.
const LOOK: Duration = Duration::from_millis(50);

/// What is measured beside the messages.
#[derive(Clone, Copy, Debug)]
pub struct Timers {
    /// Timers that wait, and are not due in this run.
    pub waiting: u64,
    /// Timers that come due in a second.
    pub rate: u64,
    /// How one is made.
    pub make: MakeTimer,
}

/// The timers of one run.
#[derive(Clone, Copy)]
pub(super) struct Plan {
    timers: Timers,
    /// When the first is due: milliseconds since 1970.
    first: i64,
    /// How many come due.
    due: u64,
}

/// What became of them.
#[derive(Clone, Copy, Debug, Default, Serialize)]
pub(super) struct Fired {
    /// Of these many that came due, none twice.
    pub(super) timers: u64,
    /// From when each was due to the commit of its turn; of those that came due within the
    /// window.
    pub(super) late_us: Percentiles,
}

impl Timers {
    /// Makes a database with those that only wait.
    pub(super) fn fill(self, storage: &str) -> crate::error::Result<()> {
        let address: Address = storage.parse().map_err(Error::start)?;
        let database = Database::at(&address, Sync::Full).map_err(Error::start)?;
        database.prepare(&[]).map_err(Error::start)?;
        let later = wall_ms() + LATER_MS;
        let waiting = (0..self.waiting).map(|n| {
            let dialog = DialogKey::new("http", format!("waits-{}", n / PER_DIALOG));
            (self.make)(dialog, &(n % PER_DIALOG).to_string(), later + n as i64)
        });
        insert(storage, waiting)
    }

    /// Plans those that come due from a moment shortly ahead on, for so long.
    pub(super) fn plan(self, ahead: Duration, lasting: Duration) -> Plan {
        Plan {
            timers: self,
            first: wall_ms() + ahead.as_millis() as i64,
            due: (self.rate as f64 * lasting.as_secs_f64()) as u64,
        }
    }
}

impl Plan {
    fn due(&self, n: u64) -> i64 {
        self.first + (n * 1000 / self.timers.rate.max(1)) as i64
    }

    /// Puts those into the database that come due.
    pub(super) fn fill(&self, storage: &str) -> crate::error::Result<()> {
        let due = (0..self.due).map(|n| {
            let dialog = DialogKey::new("http", format!("timer-{n}"));
            (self.timers.make)(dialog, "due", self.due(n))
        });
        insert(storage, due)
    }

    /// How long it is until the first is due.
    pub(super) fn left(&self) -> Duration {
        let left = self.first - wall_ms();
        Duration::from_millis(u64::try_from(left).unwrap_or_default())
    }

    /// Waits until all have fired and their turns have ended, but for no longer than [`PATIENCE`].
    pub(super) fn wait(&self, storage: &str, stop: &Stop) -> crate::error::Result<()> {
        let deadline = Instant::now() + PATIENCE;
        let conn = reader(storage)?;
        let ask = "SELECT EXISTS (SELECT 1 FROM turnkey_timer WHERE due <= ?1)
                 OR EXISTS (SELECT 1 FROM turnkey_inbox)";
        let mut ask = conn.prepare(ask).map_err(sql)?;
        let mut are_left = || ask.query_row([self.due(self.due)], |row| row.get(0));
        while are_left().map_err(sql)? && Instant::now() < deadline {
            if stop.sleep(LOOK) {
                break;
            }
        }
        Ok(())
    }

    /// What became of them; `warm_up` is not looked at.
    pub(super) fn fired(&self, storage: &str, warm_up: Duration) -> crate::error::Result<Fired> {
        let conn = reader(storage)?;
        let ask = "SELECT at FROM turnkey_seen WHERE id = ?1 AND channel = 'http'";
        let mut ask = conn.prepare(ask).map_err(sql)?;
        let mut late = measure::histogram()?;
        let mut fired = 0;
        let from = self.first + warm_up.as_millis() as i64;
        for n in 0..self.due {
            let dialog = DialogKey::new("http", format!("timer-{n}"));
            let (timer, _) = (self.timers.make)(dialog, "due", self.due(n)).map_err(Error::msg)?;
            let mut rows = ask.query([&timer.update]).map_err(sql)?;
            let Some(row) = rows.next().map_err(sql)? else {
                continue;
            };
            fired += 1;
            let at: i64 = row.get(0).map_err(sql)?;
            if timer.due >= from {
                let ms = u64::try_from(at - timer.due).unwrap_or_default();
                late.saturating_record((ms * 1_000_000).max(1));
            }
        }
        if fired < self.due {
            return Err(Error::msg(format!(
                "of {} timers that came due {} ran no turn",
                self.due,
                self.due - fired
            )));
        }
        Ok(Fired {
            timers: fired,
            late_us: Percentiles::of(&late),
        })
    }
}

/// Puts timers into a database that nobody else has open.
fn insert(
    storage: &str,
    timers: impl Iterator<Item = Result<(Timer, Vec<u8>), String>>,
) -> crate::error::Result<()> {
    let mut conn = Connection::open(file(storage)).map_err(sql)?;
    let transaction = conn.transaction().map_err(sql)?;
    {
        let insert = "INSERT INTO turnkey_timer (channel, user_id, name, due, id, body)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6)";
        let mut insert = transaction.prepare(insert).map_err(sql)?;
        for timer in timers {
            let (timer, body) = timer.map_err(Error::msg)?;
            let Timer {
                dialog,
                name,
                due,
                update,
                schedule: _,
            } = timer;
            let DialogKey { channel, user_id } = dialog;
            let row = params![channel, user_id, name, due, update, body];
            insert.execute(row).map_err(sql)?;
        }
    }
    transaction.commit().map_err(sql)
}

fn reader(storage: &str) -> crate::error::Result<Connection> {
    Connection::open_with_flags(file(storage), OpenFlags::SQLITE_OPEN_READ_ONLY).map_err(sql)
}

fn file(storage: &str) -> &str {
    storage.strip_prefix("sqlite:").unwrap_or(storage)
}

fn sql(error: rusqlite::Error) -> Error {
    Error::msg(format!("the database of the run: {error}"))
}

fn wall_ms() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH);
    since.map_or(0, |since| since.as_millis() as i64)
}
