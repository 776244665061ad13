//! Broadcasts: from a row with a cursor to updates of [`Kind::Relayed`](crate::Kind) in the
//! inbox, some each second.
//!
//! Run by the first worker only; several boxes do no harm, since the cursor moves once. No
//! reply of a broadcast is in memory alone: a kill or a stop loses nothing, and the next life
//! goes on from the rows. No dialog gets it twice by our own doing: the cursor passes it once,
//! and its update has an id. Who talks with the bot comes first: few of a broadcast's replies
//! wait at any time, no more of them are sent than a part of what the platform allows, and each
//! takes a place only when nobody else wants it (`send.rs`).
//!
//! Bounds: [`MOST`], [`BYTES`], [`AT_ONCE`]; the rate of the channel.

use std::collections::HashMap;
use std::rc::Rc;
use std::time::Duration;

use sha2::{Digest, Sha256};
use turnkey_storage::broadcasts::{self, Broadcast, State};
use turnkey_storage::{DialogKey, Error, Result};

use crate::author::message::{MAX_UPDATE_ID, Reply};
use crate::channels::Channel;
use crate::shared::pacing::Rate;
use crate::shared::scrub::told;
use crate::turn::context::Bot;
use crate::turn::relay;

/// Between two steps.
const LOOK: Duration = Duration::from_secs(1);

/// Dialogs of a step.
const MOST: u32 = 500;

/// Bytes of a step's updates: what a transaction of the storage takes with ease.
const BYTES: usize = 8 << 20;

/// Broadcasts that run at a time; further ones begin when one of them has ended.
const AT_ONCE: u32 = 20;

/// Dialogs a second where the channel has no rate of its own.
const UNPACED: u32 = 100;

/// A broadcast has this part of what its channel may send, unless its maker says otherwise.
const SHARE: u32 = 3;

/// Looks at which the database refused the condition, before the broadcast is paused: a
/// single one may have come at a bad moment.
const REFUSALS: u32 = 3;

/// Takes steps for as long as it is polled.
pub(crate) async fn run(bot: Rc<Bot>) {
    let mut refusals: HashMap<u64, u32> = HashMap::new();
    loop {
        match broadcasts::running(&*bot.storage, AT_ONCE).await {
            Ok(all) => {
                refusals.retain(|id, _| all.iter().any(|broadcast| broadcast.id == *id));
                for broadcast in &all {
                    look_after(&bot, broadcast, &mut refusals).await;
                }
            }
            // Others who look at the same database say so.
            Err(error) => tracing::debug!("cannot look for broadcasts: {error}"),
        }
        if !bot.inbox.sleep(LOOK).await {
            return;
        }
    }
}

async fn look_after(bot: &Bot, broadcast: &Broadcast, refusals: &mut HashMap<u64, u32>) {
    let id = broadcast.id;
    let stuck = match step(bot, broadcast).await {
        Ok(Step::Taken) => {
            refusals.remove(&id);
            return;
        }
        Ok(Step::Stuck(why)) => why,
        Err(Error::Statement(why)) => {
            let count = refusals.entry(id).or_default();
            *count += 1;
            if *count < REFUSALS {
                return tracing::warn!("broadcast {id}: its dialogs cannot be read: {why}");
            }
            format!("its dialogs cannot be read: {why}")
        }
        Err(error) => return tracing::warn!("broadcast {id} waits: {error}"),
    };
    refusals.remove(&id);
    let why = told(&stuck).into_owned();
    let paused = broadcasts::set_state(&*bot.storage, id, State::Paused, Some(&why)).await;
    let show = bot
        .inbox
        .commands
        .line(&["broadcast", "resume", &id.to_string()]);
    match paused {
        Ok(_) => tracing::error!("broadcast {id} is paused: {why} ({show})"),
        Err(error) => tracing::warn!("broadcast {id} cannot be paused yet: {why}; {error}"),
    }
}

/// What came of a step.
enum Step {
    Taken,
    /// It cannot go on, for this reason.
    Stuck(String),
}

async fn step(bot: &Bot, broadcast: &Broadcast) -> Result<Step> {
    let storage = &*bot.storage;
    let (id, made_of) = (broadcast.id, &broadcast.made_of);
    let reply: Reply = match serde_json::from_str(&made_of.body) {
        Ok(reply) => reply,
        Err(error) => return Ok(Step::Stuck(format!("what it says cannot be read: {error}"))),
    };
    let takers = match takers(bot, broadcast, &reply) {
        Ok(takers) => takers,
        Err(why) => return Ok(Step::Stuck(why)),
    };
    if takers.left_out.is_some() && takers.left_out != broadcast.trouble {
        let why = takers.left_out.as_deref().unwrap_or_default();
        tracing::warn!("broadcast {id}: {why}");
        broadcasts::note_trouble(storage, id, why).await?;
    }
    if takers.channels.is_empty() {
        return Ok(Step::Taken);
    }

    // Few wait at any time, also while a platform is away.
    let rate = per_second(
        takers.channels.iter().map(|channel| channel.rate()),
        made_of.rate,
    );
    let mut open = broadcast.open();
    if open >= rate.into() {
        // Some may have been dropped by an operator: those never end.
        open = broadcasts::waiting(storage, id, rate).await?;
    }
    let fitting = u32::try_from(BYTES / made_of.body.len().max(1)).unwrap_or(MOST);
    let room = rate.saturating_sub(u32::try_from(open).unwrap_or(rate));
    let room = room.min(MOST).min(fitting.max(1));
    if room == 0 {
        return Ok(Step::Taken);
    }
    let names: Vec<&str> = takers
        .channels
        .iter()
        .map(|channel| channel.name())
        .collect();
    let next = broadcasts::next(storage, broadcast, &names, room).await?;
    if next.is_empty() {
        if broadcast.open() == 0 || broadcasts::waiting(storage, id, 1).await? == 0 {
            broadcasts::set_state(storage, id, State::Done, broadcast.trouble.as_deref()).await?;
            let Broadcast { sent, failed, .. } = broadcast;
            tracing::info!("broadcast {id} is done: {sent} sent, {failed} failed");
        }
        return Ok(Step::Taken);
    }
    let row = |to: DialogKey| {
        let address = bot.channels.of(&to).address(&to.user_id);
        let update = update_id(id, &to.user_id);
        relay::to_inbox(to, address, update, &reply)
    };
    match next
        .into_iter()
        .map(row)
        .collect::<std::result::Result<Vec<_>, _>>()
    {
        Ok(rows) => broadcasts::step(storage, broadcast, &rows).await?,
        Err(why) => return Ok(Step::Stuck(why)),
    }
    Ok(Step::Taken)
}

/// Who can say it.
struct Takers<'a> {
    channels: Vec<&'a dyn Channel>,
    /// Whom it cannot go to, and why.
    left_out: Option<String>,
}

/// The channels that a broadcast goes to.
///
/// # Errors
/// Not a single one would ever take it.
fn takers<'a>(
    bot: &'a Bot,
    broadcast: &Broadcast,
    reply: &Reply,
) -> std::result::Result<Takers<'a>, String> {
    let wanted = broadcast.made_of.audience.channel.as_deref();
    let mut left_out = Vec::new();
    let mut channels = Vec::new();
    for channel in bot.channels.senders() {
        if wanted.is_some_and(|wanted| wanted != channel.name()) {
            continue;
        }
        match channel.fit(reply) {
            Ok(_) => channels.push(channel),
            Err(why) => left_out.push(format!("{} cannot take it: {why}", channel.name())),
        }
    }
    match (channels.is_empty(), left_out.is_empty()) {
        (true, false) => return Err(left_out.join("; ")),
        (true, true) => left_out.push(match wanted {
            // Another box, or the next start, may.
            Some(wanted) => format!("this program does not send to the channel {wanted:?}"),
            None => "this program has no channel to send to".to_owned(),
        }),
        _ => {}
    }
    channels.sort_by_key(|channel| channel.name());
    left_out.sort();
    Ok(Takers {
        channels,
        left_out: (!left_out.is_empty()).then(|| left_out.join("; ")),
    })
}

/// Dialogs a second: what was wished, as far as the slowest of the channels allows it; else its
/// share.
fn per_second(rates: impl Iterator<Item = Option<Rate>>, wished: Option<u32>) -> u32 {
    let slowest = rates.flatten().map(|rate| rate.every).max();
    let allowed = slowest.map(|every| (1.0 / every.as_secs_f64().max(0.001)).round() as u32);
    let rate = match (wished, allowed) {
        (Some(wished), Some(allowed)) => wished.min(allowed),
        (Some(wished), None) => wished,
        (None, Some(allowed)) => allowed / SHARE,
        (None, None) => UNPACED,
    };
    rate.clamp(1, MOST)
}

/// The id of a dialog's update of a broadcast.
fn update_id(broadcast: u64, user_id: &str) -> String {
    let prefix = broadcasts::PREFIX;
    match format!("{prefix}{broadcast}:{user_id}") {
        id if id.len() <= MAX_UPDATE_ID => id,
        _ => format!(
            "{prefix}{broadcast}:{}",
            hex::encode(Sha256::digest(user_id))
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_broadcast_has_a_share_of_what_its_channel_may_send() {
        let rate = |count| Some(Rate::per_second(count));
        for (rates, wished, expected) in [
            (vec![rate(30)], None, 10),
            (vec![rate(30), rate(6), None], None, 2),
            (vec![rate(1)], None, 1),
            (vec![None], None, UNPACED),
            (vec![rate(30)], Some(20), 20),
            (vec![rate(30)], Some(1000), 30),
            (vec![None], Some(100_000), MOST),
            (vec![None], Some(0), 1),
        ] {
            assert_eq!(per_second(rates.into_iter(), wished), expected);
        }
    }

    #[test]
    fn ids_fit_and_say_whose_they_are() {
        assert_eq!(update_id(7, "42"), "broadcast:7:42");
        let long = update_id(7, &"x".repeat(256));
        assert!(long.len() <= MAX_UPDATE_ID);
        assert_ne!(long, update_id(7, &"y".repeat(256)));
        assert_eq!(broadcasts::of_update(&long), Some(7));
    }
}
