//! Asks a platform what it calls the bot, for the status page and `turnkey top`.
//!
//! Run by worker 0 of a bot with an admin address, for each channel, once it serves; nobody waits
//! for it. The answer is put where all workers see it (`shared/pacing.rs`), and a worker that
//! takes the first one's place does not ask again. Bounds: [`ATTEMPTS`], with pauses; a refusal
//! ends it, since the token is told of elsewhere.

use std::rc::Rc;
use std::time::Duration;

use crate::channels::SendError;
use crate::shared::backoff::Backoff;
use crate::turn::context::Bot;

/// Questions, if the platform is away.
const ATTEMPTS: u32 = 10;

/// Pauses between two of them.
const AGAIN: (Duration, Duration) = (Duration::from_secs(2), Duration::from_secs(300));

/// Asks the platform of this channel.
pub(crate) async fn learn(bot: Rc<Bot>, channel: String) {
    let Some(outlet) = bot.channels.outlet_named(&channel) else {
        return;
    };
    let mut again = Backoff::new(AGAIN.0, AGAIN.1);
    for _ in 0..ATTEMPTS {
        if outlet.pace.own_name().is_some() {
            return;
        }
        let Some(question) = outlet.channel.own_name() else {
            return;
        };
        let after = match question.await {
            Ok(name) => return outlet.pace.set_own_name(&name),
            Err(error) => {
                tracing::debug!("cannot ask {channel} what it calls the bot: {error}");
                match error {
                    SendError::Retry { after, .. }
                    | SendError::Away { after, .. }
                    | SendError::TooMany { after, .. } => after,
                    SendError::Refused(_) | SendError::Unreachable(_) => return,
                }
            }
        };
        tokio::time::sleep(again.pause_for(after)).await;
    }
}
