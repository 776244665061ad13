//! "… is typing" while a handler takes its time.
//!
//! Called by `turn.rs` around the handler, with `--typing`. Best effort: never stored, never
//! tried again, none while the platform has asked for a pause, and a turn never waits for it.
//! Bounds: first after [`FIRST`], then every [`AGAIN`], as long as the handler runs.

use std::future::Future;
use std::pin::pin;
use std::time::Duration;

use crate::author::message::{Kind, Update};
use crate::turn::context::Bot;

/// Whoever answers sooner is not seen to type.
const FIRST: Duration = Duration::from_secs(1);

/// Platforms show it for five seconds and longer
/// (<https://core.telegram.org/bots/api#sendchataction>).
const AGAIN: Duration = Duration::from_secs(4);

/// Runs a handler; while it runs, its user sees that somebody is writing.
pub(super) async fn during<T>(bot: &Bot, update: &Update, handler: impl Future<Output = T>) -> T {
    let has_reader = matches!(update.kind, Kind::Message | Kind::Button | Kind::Opened);
    if !bot.limits.typing || !has_reader {
        return handler.await;
    }
    let mut handler = pin!(handler);
    let mut shown = pin!(show(bot, update));
    tokio::select! {
        biased;
        done = &mut handler => return done,
        () = &mut shown => {}
    }
    handler.await
}

/// Shows it again and again; ends where the platform shows no such thing.
async fn show(bot: &Bot, update: &Update) {
    let outlet = bot.channels.outlet(&update.dialog);
    tokio::time::sleep(FIRST).await;
    loop {
        if outlet.pace.pause_left().is_none() {
            let Some(typing) = outlet.channel.typing(update) else {
                return;
            };
            if let Err(error) = typing.await {
                tracing::debug!("{}: cannot show that it types: {error}", update.dialog);
                return;
            }
        }
        tokio::time::sleep(AGAIN).await;
    }
}
