//! Tests the graceful shutdown of any server: starts it at a terminal of its own, loads
//! it, does something to it in the middle of the load (Ctrl-C, SIGTERM, the death of a
//! worker, …) and tells what became of every request and every process.
//!
//! From the command line it is `turnkey drill -- COMMAND …`; here is how a bot of your
//! own is drilled in its tests:
//!
//! ```no_run
//! # macro_rules! env { ($name:literal) => { "bot" } }
//! use turnkey_drill::{Drill, Scenario, Verdict};
//!
//! #[test]
//! fn ctrl_c_loses_nothing() {
//!     let directory = tempfile::tempdir().unwrap();
//!     let report = Drill::bot(env!("CARGO_BIN_EXE_bot"))
//!         .args(["--workers", "2", "--storage", "sqlite:bot.db"])
//!         .directory(directory.path())
//!         .scenario(Scenario::CtrlC)
//!         .scenario(Scenario::Term)
//!         .run()
//!         .unwrap();
//!     // Nothing cut, nothing left behind, every acknowledged message in the database.
//!     report.assert_clean();
//!     assert!(report.total(Verdict::Answered) > 0);
//! }
//! ```
//!
//! Any other server is drilled the same way, with [`Drill::command`]; requests are made
//! from a template ([`Request`]). docs/DRILL.md has the method and its limits.
//!
//! | file | what |
//! | --- | --- |
//! | `builder.rs` | a drill as it is ordered |
//! | `plan.rs` `scenario.rs` `template.rs` `known.rs` | what is to be done, with its bounds |
//! | `random.rs` | moments of chance, repeatable by their seed |
//! | `run.rs` `round/` | all rounds; one round |
//! | `session.rs` `shell.rs` `posix.rs` | the terminal and the stand-in for a shell, from the outside and the inside |
//! | `deed.rs` | the command of `--do` |
//! | `family.rs` `sockets.rs` | processes and sockets of the server, from proc(5) |
//! | `aim.rs` `ready.rs` | where requests go; waits until the server answers |
//! | `load/` `client/` `connect.rs` `tls.rs` | clients, one request, one connection |
//! | `client/http1.rs` `answer.rs` `http2/` `websocket.rs` `events.rs` `upload.rs` | the protocols |
//! | `witness.rs` | who takes a connection |
//! | `record.rs` `recorder.rs` `outage.rs` `readiness.rs` | what clients saw |
//! | `verdict.rs` | what that means, for each request |
//! | `diagnosis/` | why something was lost, and what helps |
//! | `output.rs` `storage.rs` | what the server printed; what is in a bot's database |
//! | `results.rs` `judge.rs` `allow.rs` `baseline.rs` `table.rs` `report/` `progress.rs` | what was found, and how it is shown |
//!
//! Invariants: a process is signalled only if it belongs to the session that was made for
//! it, carries its mark, or was named by its user. Whatever ends the drill, a SIGKILL
//! included, ends the server that it started. Every request gets exactly one verdict. Each
//! wait, record and body has a bound.

mod aim;
mod allow;
mod answer;
mod baseline;
mod builder;
mod client;
mod connect;
mod deed;
mod diagnosis;
mod events;
mod family;
mod http2;
mod judge;
mod known;
mod load;
mod outage;
mod output;
mod plan;
mod posix;
mod progress;
mod random;
mod readiness;
mod ready;
mod record;
mod recorder;
mod report;
mod results;
mod round;
mod run;
mod scenario;
mod session;
mod shell;
mod sockets;
mod storage;
mod table;
mod template;
mod tls;
mod upload;
mod verdict;
mod websocket;
mod witness;

pub use allow::AllowCut;
pub use baseline::Baseline;
pub use builder::Drill;
pub use deed::DoneBy;
pub use diagnosis::{Cause, Finding};
pub use family::Process;
pub use output::Traces;
pub use plan::Mode;
pub use recorder::{EventCounts, Leaves};
pub use results::{Report, Round};
pub use scenario::{Scenario, To};
pub use shell::Exit;
pub use storage::StorageCheck;
pub use template::Request;
pub use verdict::Verdict;
pub use websocket::Messages;

pub use report::{annotate, junit, make_directory, write};
pub use scenario::named_signal;
pub use shell::{COMMAND as SHELL_COMMAND, Role as ShellRole, main as shell};

pub use turnkey_report::{Error, Result};
