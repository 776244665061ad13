//! One update, from begin to end: order, once only, failures, replies, the inbox.

pub(crate) mod booking;
mod callbacks;
pub(crate) mod clock;
pub(crate) mod custom;
pub(crate) mod dead_replies;
pub(crate) mod dedupe;
pub(crate) mod edits;
pub(crate) mod given_up;
mod handler;
pub(crate) mod inbox;
mod interrupt;
pub(crate) mod late_ride;
pub(crate) mod order;
pub(crate) mod others;
mod oven;
mod overlap;
pub(crate) mod poison;
pub(crate) mod replies;
pub(crate) mod resent;
mod schedules;
pub(crate) mod slow;
mod steps;
mod stopped;
mod timers;
pub(crate) mod unreadable;
