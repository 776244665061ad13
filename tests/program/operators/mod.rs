//! What an operator sees and types: status page, metrics, commands, secrets.

pub(crate) mod admin;
pub(crate) mod admin_docs;
pub(crate) mod broadcast;
pub(crate) mod browser;
pub(crate) mod command_line;
pub(crate) mod metrics;
pub(crate) mod operator;
pub(crate) mod output;
mod page;
pub(crate) mod secrets;
pub(crate) mod security;
pub(crate) mod talk;
pub(crate) mod top;
pub(crate) mod upgrade_command;
