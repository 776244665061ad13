//! A guide, from the first bot to its operation; each module is a chapter. Each takes a few
//! minutes, and this crate's tests compile the code in them.
//!
//! `turnkey new mybot` writes a project to try things out in. What bots are mostly asked for (a
//! menu, a picture, a reminder, an operator, a broadcast, a slow service) has a page of its own,
//! `docs/BOT.md`, with the code for each.
//!
//! 1. [`first_bot`]: a program, and what it does with a message
//! 2. [`state`]: what the bot remembers about each user
//! 3. [`hearing`]: what comes in: kinds of update, files, groups
//! 4. [`overlap`]: quick messages, albums, and interrupting
//! 5. [`replies`]: texts, files, buttons; edits; other people
//! 6. [`own_sql`]: tables of your own, in the same transaction
//! 7. [`errors`]: attempts, dead letters, calls to other services
//! 8. [`slow_work`]: waiting for other services, and computing
//! 9. [`steps`]: what is not done twice: payments, models
//! 10. [`timers`]: reminders, and what comes again and again
//! 11. [`callbacks`]: others who come back: addresses that they post to, questions that they answer
//! 12. [`testing`]: your bot's tests
//! 13. [`own_channels`]: a platform, or a lock, of your own
//! 14. [`operating`]: start, stop, new versions, backups

// Nothing but text: the chapters stand in guide/, and the compiler reads their code.

#[doc = include_str!("guide/first_bot.md")]
pub mod first_bot {}

#[doc = include_str!("guide/state.md")]
pub mod state {}

#[doc = include_str!("guide/hearing.md")]
pub mod hearing {}

#[doc = include_str!("guide/overlap.md")]
pub mod overlap {}

#[doc = include_str!("guide/replies.md")]
pub mod replies {}

#[doc = include_str!("guide/own_sql.md")]
pub mod own_sql {}

#[doc = include_str!("guide/errors.md")]
pub mod errors {}

#[doc = include_str!("guide/slow_work.md")]
pub mod slow_work {}

#[doc = include_str!("guide/steps.md")]
pub mod steps {}

#[doc = include_str!("guide/timers.md")]
pub mod timers {}

#[doc = include_str!("guide/callbacks.md")]
pub mod callbacks {}

#[doc = include_str!("guide/testing.md")]
pub mod testing {}

#[doc = include_str!("guide/own_channels.md")]
pub mod own_channels {}

#[doc = include_str!("guide/operating.md")]
pub mod operating {}

// The code of pages that are no chapters.
#[cfg(test)]
mod coming_from;
#[cfg(doctest)]
#[doc = include_str!("../docs/BOT.md")]
mod bot {}
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
mod readme {}
