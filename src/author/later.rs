//! What a [`Turn`] has for later: timers and schedules of its dialog. `turn/outcome.rs` makes rows
//! of them, and refuses what is over the limits.

use crate::author::message::{Delay, TimerChange, When};
use crate::author::turn::Turn;

/// What is to be done later.
impl<S> Turn<S> {
    /// Sets a timer of this dialog: once that time has passed since the end of this turn, a turn
    /// of [`Kind::Timer`](crate::Kind::Timer) runs, whose [`Turn::timer`] has the name and the data. It is part of
    /// this turn's transaction, and survives restarts; what was due while nothing ran is due at
    /// the next start. One of the same name is replaced.
    ///
    /// At most 100 timers for a dialog, 64 bytes for a name, 64 KiB for the data, ten years: more
    /// fails the turn.
    ///
    /// ```
    /// use turnkey::{Kind, Turn};
    ///
    /// async fn tea(turn: &mut Turn<()>) -> turnkey::Result<()> {
    ///     match turn.kind() {
    ///         Kind::Timer => turn.reply("Your tea is ready."),
    ///         _ => turn.after("4m", "tea", serde_json::json!({ "sort": "green" })),
    ///     }
    ///     Ok(())
    /// }
    /// # turnkey::App::new(tea);
    /// ```
    ///
    /// A time that the user wrote is parsed first, so that what is none is answered:
    ///
    /// ```
    /// use turnkey::{Delay, Turn, testing};
    ///
    /// async fn remind(turn: &mut Turn<()>) -> turnkey::Result<()> {
    ///     match turn.text().parse::<Delay>() {
    ///         Ok(delay) => turn.after(delay, "reminder", serde_json::json!(null)),
    ///         Err(error) => turn.reply(format!("When? {error}.")),
    ///     }
    ///     Ok(())
    /// }
    ///
    /// # fn main() -> turnkey::Result<()> {
    /// assert_eq!(testing::say(remind, (), "10m")?.timers, ["reminder"]);
    /// let said = testing::say(remind, (), "soon")?;
    /// assert_eq!(said.text(), "When? \"soon\" is no time such as 500ms, 10s, 10m, 2h or 3d.");
    /// # Ok(())
    /// # }
    /// ```
    pub fn after(&self, delay: impl Into<Delay>, name: impl Into<String>, data: serde_json::Value) {
        self.timers.push(TimerChange::Set {
            name: name.into(),
            when: When::After(delay.into()),
            data,
        });
    }

    /// As [`after`](Turn::after), at a moment of the wall clock; one that is past is due at once.
    ///
    /// ```
    /// # use turnkey::Turn;
    /// # async fn handle(turn: &mut Turn<()>) -> turnkey::Result<()> {
    /// let new_year = std::time::UNIX_EPOCH + std::time::Duration::from_secs(1_798_761_600);
    /// turn.at(new_year, "new year", serde_json::json!(null));
    /// # Ok(())
    /// # }
    /// # turnkey::App::new(handle);
    /// ```
    pub fn at(
        &self,
        moment: std::time::SystemTime,
        name: impl Into<String>,
        data: serde_json::Value,
    ) {
        let since = moment.duration_since(std::time::UNIX_EPOCH);
        let moment = since.map_or(0, |since| {
            i64::try_from(since.as_millis()).unwrap_or(i64::MAX)
        });
        self.timers.push(TimerChange::Set {
            name: name.into(),
            when: When::At(moment),
            data,
        });
    }

    /// Sets a timer that comes again and again, until it is [cancelled](Turn::cancel): at the
    /// moments of a cron expression of five fields (minute, hour, day of the month, month, day of
    /// the week) in a time zone. Otherwise as [`after`](Turn::after), whose limits it has. What
    /// is neither a schedule nor a zone, and a schedule that never comes, such as on the 31st of
    /// February, fails the turn.
    ///
    /// Where the zone's clock is set, each moment still comes once. What came while nothing ran
    /// comes once at the next start. While one tick's turn waits or runs, further ones are left
    /// out. The guide says more: [`timers`](crate::guide::timers).
    ///
    /// ```
    /// use turnkey::{Kind, Turn};
    ///
    /// async fn digest(turn: &mut Turn<()>) -> turnkey::Result<()> {
    ///     match turn.timer() {
    ///         Some(timer) => turn.reply(format!("Your {}.", timer.name)),
    ///         None => turn.every("0 9 * * MON", "Europe/Vienna", "digest", serde_json::json!(null)),
    ///     }
    ///     Ok(())
    /// }
    /// # turnkey::App::new(digest);
    /// ```
    pub fn every(
        &self,
        cron: impl Into<String>,
        zone: impl Into<String>,
        name: impl Into<String>,
        data: serde_json::Value,
    ) {
        self.timers.push(TimerChange::Set {
            name: name.into(),
            when: When::Every {
                cron: cron.into(),
                zone: zone.into(),
            },
            data,
        });
    }

    /// Takes a timer or schedule of this dialog away, if there is one of this name.
    ///
    /// ```
    /// # use turnkey::Turn;
    /// # async fn handle(turn: &mut Turn<()>) -> turnkey::Result<()> {
    /// match turn.command() {
    ///     Some("wake") => turn.every("0 7 * * *", "Europe/Vienna", "wake", serde_json::json!(null)),
    ///     Some("sleep") => turn.cancel("wake"),
    ///     _ => {}
    /// }
    /// # Ok(())
    /// # }
    /// # turnkey::App::new(handle);
    /// ```
    pub fn cancel(&self, name: impl Into<String>) {
        self.timers.push(TimerChange::Cancel { name: name.into() });
    }
}
