//! Copies between engines: everything arrives, byte for byte, and order and dedupe go on; what
//! may not be copied, or into, is refused.
//!
//! | file | what |
//! | --- | --- |
//! | `filled.rs` | a database with a bit of everything, and what must hold of its copy |
//! | `copies.rs` | how the tests copy |
//! | `files.rs` | from file to file |
//! | `servers.rs` | to servers, from one to another, and back |
//! | `in_use.rs` | servers that are in use, or were meanwhile |
//! | `values.rs` | values that a server holds exactly, or refuses |

#![allow(clippy::unwrap_used)]

#[path = "../common/mod.rs"]
mod common;

mod copies;
mod files;
mod filled;
#[cfg(all(feature = "mysql", feature = "postgres"))]
mod in_use;
#[cfg(all(feature = "mysql", feature = "postgres"))]
mod servers;
#[cfg(all(feature = "mysql", feature = "postgres"))]
mod values;
