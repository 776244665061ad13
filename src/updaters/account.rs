//! Learns which page or community the bot belongs to, so that all workers ignore events for
//! others.
//!
//! Run by worker 0 for each platform that can be asked (`channels/account.rs`), at each start,
//! since the token may have changed. Until the answer is known, all events are accepted.

use std::rc::Rc;
use std::time::Duration;

use crate::channels::account::Account;
use crate::shared::backoff::Backoff;
use crate::turn::context::Bot;

/// Pauses between two attempts.
const AGAIN: (Duration, Duration) = (Duration::from_secs(2), Duration::from_secs(300));

/// Asks a platform until it answers.
pub(crate) async fn learn(bot: Rc<Bot>, account: Box<dyn Account>) {
    let Some(outlet) = bot.channels.outlet_named(account.channel()) else {
        return;
    };
    outlet.pace.set_account(0);
    let mut again = Backoff::new(AGAIN.0, AGAIN.1);
    loop {
        let (reason, after) = match account.id().await {
            Ok(id) => return outlet.pace.set_account(id),
            Err(error) => error.told(),
        };
        let platform = account.platform();
        if again.is_fresh() {
            tracing::warn!("cannot ask {platform} whose token it is, trying again: {reason}");
        } else {
            tracing::debug!("cannot ask {platform} whose token it is: {reason}");
        }
        tokio::time::sleep(again.pause_for(after)).await;
    }
}
