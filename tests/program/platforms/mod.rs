//! The platforms: webhooks, polling, registration, pacing, accounts, topics.

pub(crate) mod accounts;
pub(crate) mod called;
mod desk;
pub(crate) mod emulator;
mod judged;
pub(crate) mod odd;
pub(crate) mod pacing;
pub(crate) mod platform_proxy;
pub(crate) mod polling;
pub(crate) mod registration;
pub(crate) mod rpc;
mod said;
pub(crate) mod telegram;
pub(crate) mod token;
pub(crate) mod topics;
pub(crate) mod webhooks;
pub(crate) mod webhooks_refused;
pub(crate) mod whatsapp;
