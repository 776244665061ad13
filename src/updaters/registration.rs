//! Tells the platforms where to post, once for each start of the program.
//!
//! Run by worker 0, once it serves: Viber and VK try the address before they accept it. What is
//! registered is noted in shared memory, so its replacement has nothing to do, unless the first
//! died during registration. A failure is logged once and tried again with pauses, while the
//! bot serves.

use std::hash::{DefaultHasher, Hash, Hasher};
use std::rc::Rc;
use std::time::Duration;

use crate::channels::register::{Register, Webhook};
use crate::shared::backoff::Backoff;
use crate::shared::scrub::told;
use crate::turn::context::Bot;

/// Pauses between two attempts.
const AGAIN: (Duration, Duration) = (Duration::from_secs(2), Duration::from_secs(300));

/// Registers a platform's webhook below this address, if that was not done.
pub(crate) async fn run(bot: Rc<Bot>, platform: Box<dyn Register>, public_url: String) {
    let name = platform.channel();
    let Some(outlet) = bot.channels.outlet_named(name) else {
        return;
    };
    let webhook = Webhook {
        url: format!("{}/{name}", public_url.trim_end_matches('/')),
        pace: outlet.pace,
    };
    let mut hasher = DefaultHasher::new();
    webhook.url.hash(&mut hasher);
    let wanted = hasher.finish().max(1);
    let mut again = Backoff::new(AGAIN.0, AGAIN.1);
    let mut said = String::new();
    let (platform_name, url) = (platform.platform(), &webhook.url);
    while outlet.pace.registered() != wanted {
        let (reason, after) = match platform.register(&webhook).await {
            Ok(()) => {
                outlet.pace.set_registered(wanted);
                tracing::info!("{platform_name} posts to {url}");
                return;
            }
            Err(error) => error.told(),
        };
        outlet.pace.note_trouble(&told(&reason));
        if said != reason {
            tracing::error!("cannot register {url} with {platform_name}, trying again: {reason}");
            said = reason;
        }
        tokio::time::sleep(again.pause_for(after)).await;
    }
}
