//! A small real bot: visitors of a hair salon book an hour by pressing a button.
//!
//! It has what a bot of your own will have: buttons, a table of its own, a step that is slow,
//! since the salon's calendar has to agree first, a question to the salon's owner, and a
//! reminder an hour before. Nothing here thinks of crashes, of restarts in between, of messages
//! that come twice or of two visitors at the same moment.
//!
//! With nothing but a token it asks Telegram for updates:
//!
//! ```sh
//! TURNKEY_TELEGRAM_TOKEN=12345:ABC… cargo run --example booking -- run
//! ```
//!
//! Behind an address that Telegram can reach, it has them posted there:
//!
//! ```sh
//! TURNKEY_TELEGRAM_TOKEN=12345:ABC… cargo run --example booking -- run \
//!   --public-url https://bot.example.org --storage sqlite:booking.db
//! ```
//!
//! `BOOKING_CALENDAR_MS` is how long the calendar takes to answer (3000). `BOOKING_OWNER`, such as
//! `telegram:4242`, is the owner's chat: each booking is asked of her there, and answered by a
//! button. Without it every free hour is the visitor's at once.

use std::process::ExitCode;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use serde::{Deserialize, Serialize};
use turnkey::{App, Reply, Turn};

/// The hours that can be booked, and how many hours after the beginning of Monday each begins.
/// The salon is in Reykjavik, where it is UTC all year.
const HOURS: [(&str, u64); 4] = [
    ("Mon 10:00", 10),
    ("Mon 11:00", 11),
    ("Tue 10:00", 24 + 10),
    ("Tue 11:00", 24 + 11),
];

const HOUR: Duration = Duration::from_secs(3600);
const WEEK: Duration = Duration::from_secs(7 * 24 * 3600);

/// 1970 began on a Thursday; the Monday after it.
const FIRST_MONDAY: Duration = Duration::from_secs(4 * 24 * 3600);

/// What the timer is called that reminds a visitor.
const REMINDER: &str = "reminder";

/// One row for each hour that is taken. The primary key is the promise that nobody
/// else gets it.
const MIGRATIONS: [&str; 1] = ["CREATE TABLE bookings (
        hour VARCHAR(20) PRIMARY KEY,
        visitor VARCHAR(300) NOT NULL
    )"];

/// What the bot remembers of each visitor.
#[derive(Default, Serialize, Deserialize)]
struct Visitor {
    /// The hour that is theirs.
    hour: Option<String>,
    /// The hour that the owner was asked about.
    asked: Option<String>,
}

/// What every turn is given.
struct Salon {
    calendar: Calendar,
    /// The owner's channel and chat.
    owner: Option<(String, String)>,
}

async fn answer(turn: &mut Turn<Visitor>, salon: &Salon) -> turnkey::Result<()> {
    if let Some(called) = turn.called() {
        return decided(turn, called.button.as_deref() == Some("yes")).await;
    }
    if turn.timer().is_some() {
        return remind(turn);
    }
    let pressed = turn.button().map(str::to_owned);
    match pressed.as_deref().and_then(|data| data.split_once(' ')) {
        Some(("book", hour)) => book(turn, salon, hour).await,
        Some(("cancel", hour)) => cancel(turn, hour).await,
        _ => greet(turn).await,
    }
}

/// What anybody is told who just writes something.
async fn greet(turn: &mut Turn<Visitor>) -> turnkey::Result<()> {
    match (&turn.state.hour, &turn.state.asked) {
        (Some(hour), _) => {
            let reply = Reply::from(format!("You have {hour}."));
            let reply = reply.button("Cancel it", format!("cancel {hour}"));
            turn.reply(reply);
            Ok(())
        }
        (None, Some(hour)) => {
            let waits = format!("The salon has not decided on {hour} yet.");
            turn.reply(waits);
            Ok(())
        }
        (None, None) => offer(turn, "When would you like to come?").await,
    }
}

async fn book(turn: &mut Turn<Visitor>, salon: &Salon, hour: &str) -> turnkey::Result<()> {
    // They pressed an old button.
    if turn.state.hour.is_some() || turn.state.asked.is_some() {
        return greet(turn).await;
    }
    if !free_hours(turn).await?.contains(&hour) {
        return offer(turn, SOMEBODY_WAS_QUICKER).await;
    }
    salon.calendar.confirm(hour).await?;
    let Some((channel, owner)) = &salon.owner else {
        confirm(turn, hour);
        return Ok(());
    };
    let who = turn.sender().map_or("Somebody", |sender| &sender.name);
    let question = Reply::from(format!("{who} would like {hour}. Is that all right?"));
    let question = question.button("Yes", "yes").button("No", "no");
    turn.ask_in(channel, owner, question, "booking");
    turn.state.asked = Some(hour.to_owned());
    turn.reply(format!(
        "I ask the salon about {hour}. You will hear from me."
    ));
    Ok(())
}

const SOMEBODY_WAS_QUICKER: &str = "Somebody was quicker. What about another hour?";

/// The owner has pressed a button: in a minute, or tomorrow.
async fn decided(turn: &mut Turn<Visitor>, agrees: bool) -> turnkey::Result<()> {
    let Some(hour) = turn.state.asked.take() else {
        return Ok(());
    };
    if !agrees {
        return offer(turn, &format!("{hour} is not possible. Another hour?")).await;
    }
    if !free_hours(turn).await?.contains(&hour.as_str()) {
        return offer(turn, SOMEBODY_WAS_QUICKER).await;
    }
    confirm(turn, &hour);
    Ok(())
}

fn confirm(turn: &mut Turn<Visitor>, hour: &str) {
    // If another visitor gets the hour between our look and here, this row cannot be
    // written. Then the turn fails and changes nothing; it is tried again, and the
    // look says that somebody was quicker.
    let row = (hour, visitor(turn));
    turn.execute("INSERT INTO bookings (hour, visitor) VALUES (?1, ?2)", row);
    turn.state.hour = Some(hour.to_owned());
    // Whoever comes by `POST /http` can be told nothing later.
    if turn.channel() != "http" {
        turn.at(next(hour, SystemTime::now()) - HOUR, REMINDER, hour.into());
    }
    turn.reply(format!("{hour} is yours."));
    turn.reply("Write to me if you have to cancel. See you!");
}

/// An hour before: also if the bot was started again since, and late if it was not there.
fn remind(turn: &mut Turn<Visitor>) -> turnkey::Result<()> {
    if let Some(hour) = &turn.state.hour {
        let reminder = format!("Do not forget: {hour}.");
        turn.reply(reminder);
    }
    Ok(())
}

/// When this hour begins next.
fn next(hour: &str, now: SystemTime) -> SystemTime {
    let after_monday = HOURS.iter().find(|(name, _)| *name == hour);
    let after_monday = HOUR * after_monday.map_or(0, |(_, hours)| *hours as u32);
    let first = UNIX_EPOCH + FIRST_MONDAY + after_monday;
    let since = now.duration_since(first).unwrap_or_default();
    first + WEEK * (since.as_secs() / WEEK.as_secs() + 1) as u32
}

async fn cancel(turn: &mut Turn<Visitor>, hour: &str) -> turnkey::Result<()> {
    if turn.state.hour.as_deref() != Some(hour) {
        return greet(turn).await;
    }
    turn.execute("DELETE FROM bookings WHERE hour = ?1", [hour]);
    turn.cancel(REMINDER);
    turn.state.hour = None;
    turn.reply(format!("{hour} is cancelled."));
    Ok(())
}

/// Asks which of the free hours it shall be.
async fn offer(turn: &mut Turn<Visitor>, question: &str) -> turnkey::Result<()> {
    let free = free_hours(turn).await?;
    if free.is_empty() {
        turn.reply("Every hour is taken.");
        return Ok(());
    }
    let reply = free.iter().fold(Reply::from(question), |reply, hour| {
        reply.button(*hour, format!("book {hour}"))
    });
    turn.reply(reply);
    Ok(())
}

async fn free_hours(turn: &Turn<Visitor>) -> turnkey::Result<Vec<&'static str>> {
    let rows = turn.query("SELECT hour FROM bookings", ()).await?;
    let taken: Vec<String> = rows
        .iter()
        .map(|row| row.get("hour"))
        .collect::<Result<_, _>>()?;
    let free = HOURS
        .into_iter()
        .map(|(hour, _)| hour)
        .filter(|hour| !taken.iter().any(|t| t == hour));
    Ok(free.collect())
}

fn visitor(turn: &Turn<Visitor>) -> String {
    format!("{}:{}", turn.channel(), turn.user_id())
}

/// Stands for the salon's calendar, a slow service somewhere else.
#[derive(Clone, Copy)]
struct Calendar {
    delay: Duration,
}

impl Calendar {
    async fn confirm(&self, _hour: &str) -> turnkey::Result<()> {
        tokio::time::sleep(self.delay).await;
        Ok(())
    }
}

fn main() -> ExitCode {
    let setting = std::env::var("BOOKING_CALENDAR_MS").ok();
    let delay = setting.and_then(|ms| ms.parse().ok()).unwrap_or(3000);
    let owner = std::env::var("BOOKING_OWNER").ok();
    let owner = owner.and_then(|owner| {
        let (channel, chat) = owner.split_once(':')?;
        Some((channel.to_owned(), chat.to_owned()))
    });
    let salon = Salon {
        calendar: Calendar {
            delay: Duration::from_millis(delay),
        },
        owner,
    };
    App::new(async move |turn: &mut Turn<Visitor>| answer(turn, &salon).await)
        .migrations(MIGRATIONS)
        .run()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_next_hour_is_of_this_week_or_the_next() {
        // Wednesday, 7 January 2026, 12:00.
        let wednesday = UNIX_EPOCH + Duration::from_secs(1_767_787_200);
        let after = |hour, now| next(hour, now).duration_since(now).expect("later");
        assert_eq!(after("Mon 10:00", wednesday), HOUR * (4 * 24 + 22));
        assert_eq!(after("Tue 11:00", wednesday), HOUR * (5 * 24 + 23));
        let begins = next("Mon 10:00", wednesday);
        assert_eq!(next("Mon 10:00", begins), begins + WEEK);
        assert_eq!(next("Mon 11:00", begins), begins + HOUR);
    }
}
