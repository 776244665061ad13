//! A small real bot: visitors of a hair salon book an hour by pressing a button.
//!
//! It has what a bot of your own will have: buttons, a table of its own, and a step
//! that is slow, since the salon's calendar has to agree first. Nothing here thinks of
//! crashes, of messages that come twice or of two visitors at the same moment.
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
//! `BOOKING_CALENDAR_MS` is how long the calendar takes to answer (3000).

use std::process::ExitCode;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use turnkey::{App, Reply, Turn};

/// The hours that can be booked.
const HOURS: [&str; 4] = ["Mon 10:00", "Mon 11:00", "Tue 10:00", "Tue 11:00"];

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
}

async fn answer(turn: &mut Turn<Visitor>, calendar: Calendar) -> turnkey::Result<()> {
    let pressed = turn.button().map(str::to_owned);
    match pressed.as_deref().and_then(|data| data.split_once(' ')) {
        Some(("book", hour)) => book(turn, calendar, hour).await,
        Some(("cancel", hour)) => cancel(turn, hour).await,
        _ => greet(turn).await,
    }
}

/// What anybody is told who just writes something.
async fn greet(turn: &mut Turn<Visitor>) -> turnkey::Result<()> {
    match &turn.state.hour {
        Some(hour) => {
            let reply = Reply::from(format!("You have {hour}."));
            let reply = reply.button("Cancel it", format!("cancel {hour}"));
            turn.reply(reply);
            Ok(())
        }
        None => offer(turn, "When would you like to come?").await,
    }
}

async fn book(turn: &mut Turn<Visitor>, calendar: Calendar, hour: &str) -> turnkey::Result<()> {
    // They pressed an old button.
    if turn.state.hour.is_some() {
        return greet(turn).await;
    }
    if !free_hours(turn).await?.contains(&hour) {
        return offer(turn, "Somebody was quicker. What about another hour?").await;
    }
    calendar.confirm(hour).await?;
    // If another visitor gets the hour between our look and here, this row cannot be
    // written. Then the turn fails and changes nothing; it is tried again, and the
    // look says that somebody was quicker.
    let row = (hour, visitor(turn));
    turn.execute("INSERT INTO bookings (hour, visitor) VALUES (?1, ?2)", row);
    turn.state.hour = Some(hour.to_owned());
    turn.reply(format!("{hour} is yours."));
    turn.reply("Write to me if you have to cancel. See you!");
    Ok(())
}

async fn cancel(turn: &mut Turn<Visitor>, hour: &str) -> turnkey::Result<()> {
    if turn.state.hour.as_deref() != Some(hour) {
        return greet(turn).await;
    }
    turn.execute("DELETE FROM bookings WHERE hour = ?1", [hour]);
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
    let calendar = Calendar {
        delay: Duration::from_millis(delay),
    };
    App::new(async move |turn: &mut Turn<Visitor>| answer(turn, calendar).await)
        .migrations(MIGRATIONS)
        .run()
}
