//! HTTP and HTTPS: connections, bodies, refusals, certificates, proxies, limits.

pub(crate) mod accept;
pub(crate) mod acme;
pub(crate) mod bad_pair;
pub(crate) mod hang_up;
pub(crate) mod https;
pub(crate) mod idle;
pub(crate) mod input;
pub(crate) mod nginx;
pub(crate) mod pem;
pub(crate) mod proxy;
pub(crate) mod rates;
pub(crate) mod refusals;
pub(crate) mod tickets;
pub(crate) mod unix;
