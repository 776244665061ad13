//! Handlers in any language, as commands that speak the protocol of docs/HANDLERS.md.

mod check;
