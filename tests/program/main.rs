//! Tests of the whole program: each starts the real thing, talks to it over the network,
//! and kills what is to be killed. A folder for each subject; `harness/` is what they
//! share.

#![allow(clippy::unwrap_used)]

mod databases;
mod endurance;
mod handlers;
mod harness;
mod house;
mod http;
mod operators;
mod platforms;
mod processes;
mod tools;
mod turns;
