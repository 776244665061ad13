//! Listening sockets, outgoing connections, HTTPS and certificates.
//!
//! Used by the worker, the process room and the operator's page. Knows nothing of turns.

pub(crate) mod acme;
pub(crate) mod listener;
pub(crate) mod outgoing;
pub(crate) mod request;
pub(crate) mod tls;
