//! A drill, as its user orders it: every setting has a default.
//!
//! The numbers are checked by `plan.rs` when it runs.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::allow::AllowCut;
use crate::plan::{Beside, Mode, Plan};
use crate::results::Report;
use crate::run;
use crate::scenario::Scenario;
use crate::template::Request;
use crate::verdict::Expected;
use turnkey_report::stop::Stop;

/// A drill to run. Every setting has a default that suits a small server.
#[derive(Clone, Debug)]
#[must_use]
pub struct Drill {
    plan: Plan,
    /// Whether each round is told to whoever watches, on stderr.
    pub show_progress: bool,
}

impl Drill {
    /// Drills a program that is made with `turnkey::App`: its command `run`, on a
    /// free port of the loopback interface. It also plays the stand-in for a shell.
    pub fn bot(program: impl AsRef<Path>) -> Self {
        let program = program.as_ref();
        let args = ["run", "--host", "127.0.0.1", "--port", "0"];
        let command = std::iter::once(program.as_os_str().to_owned())
            .chain(args.map(OsString::from))
            .collect::<Vec<_>>();
        Drill::command(command).shell(program)
    }

    /// Drills any command. It must stay in the foreground and serve HTTP/1.1, or HTTP/2 where
    /// [`Drill::http2`] says so; its port is found by itself.
    ///
    /// The stand-in for a shell is played by `/bin/sh`; or by a program with Turnkey's
    /// command line, which [`Drill::shell`] names. That one tells exit codes above 128 from
    /// signals.
    pub fn command<W: Into<OsString>>(words: impl IntoIterator<Item = W>) -> Self {
        Drill {
            plan: Plan::of(words.into_iter().map(Into::into).collect()),
            show_progress: false,
        }
    }

    /// Drills what runs already, at the addresses of [`Drill::url`]: something is done to it
    /// by a command, with [`Scenario::Do`].
    pub fn running() -> Self {
        Drill::command(std::iter::empty::<OsString>())
    }

    /// Drills a process that runs already, with its descendants. It is signalled, and not
    /// killed at the end.
    pub fn attach(pid: u32) -> Self {
        let mut drill = Drill::running();
        drill.plan.attach = i32::try_from(pid).ok();
        drill
    }

    /// The program that plays the stand-in for a shell: any one made with
    /// `turnkey::App`.
    pub fn shell(mut self, program: impl Into<PathBuf>) -> Self {
        self.plan.shell = Some(program.into());
        self
    }

    /// Adds arguments to the command.
    pub fn args<W: Into<OsString>>(mut self, words: impl IntoIterator<Item = W>) -> Self {
        self.plan.command.extend(words.into_iter().map(Into::into));
        self
    }

    /// Sets an environment variable of the command.
    pub fn env(mut self, name: impl Into<String>, value: impl Into<OsString>) -> Self {
        self.plan.envs.push((name.into(), value.into()));
        self
    }

    /// Where the command runs.
    pub fn directory(mut self, directory: impl Into<PathBuf>) -> Self {
        self.plan.directory = Some(directory.into());
        self
    }

    /// Adds something to try. Without any: [`Scenario::CtrlC`], and for a server that is
    /// known to stop at once on that, [`Scenario::Graceful`], too.
    pub fn scenario(mut self, scenario: Scenario) -> Self {
        self.plan.scenarios.push(scenario);
        self
    }

    /// Adds a kind of load; both without any.
    pub fn mode(mut self, mode: Mode) -> Self {
        self.plan.modes.push(mode);
        self
    }

    /// The port on which the command listens; found by itself without.
    pub fn port(mut self, port: u16) -> Self {
        self.plan.port = Some(port);
        self
    }

    /// Adds an address on which the server listens, such as `http://127.0.0.1:8000/path`;
    /// clients are spread over all.
    pub fn url(mut self, url: impl Into<String>) -> Self {
        self.plan.urls.push(url.into());
        self
    }

    /// Allows traffic to a host that is not the loopback interface.
    pub fn i_know(mut self, host: impl Into<String>) -> Self {
        self.plan.allowed_hosts.push(host.into());
        self
    }

    /// Speaks TLS to the port that is found, or that [`Drill::port`] names; a URL says so
    /// itself.
    pub fn https(mut self) -> Self {
        self.plan.https = true;
        self
    }

    /// A file of certificates (PEM) whose owners are trusted; without, those that browsers
    /// trust.
    pub fn ca(mut self, file: impl Into<PathBuf>) -> Self {
        self.plan.ca = Some(file.into());
        self
    }

    /// Trusts any certificate.
    pub fn insecure(mut self) -> Self {
        self.plan.insecure = true;
        self
    }

    /// The name to ask for in TLS, and that the certificate should have, in place of that of
    /// the URL.
    pub fn sni(mut self, name: impl Into<String>) -> Self {
        self.plan.server_name = Some(name.into());
        self
    }

    /// Speaks HTTP/2: chosen in the handshake of TLS (ALPN), or in the clear with prior
    /// knowledge.
    pub fn http2(mut self) -> Self {
        self.plan.http2 = true;
        self
    }

    /// Clients that share a connection of HTTP/2 \[8\].
    pub fn streams(mut self, streams: usize) -> Self {
        self.plan.streams = streams;
        self
    }

    /// Asks for this path all the time, as balancers do, and compares its answers with what
    /// becomes of requests.
    pub fn ready_path(mut self, path: impl Into<String>) -> Self {
        self.plan.ready_path = Some(path.into());
        self
    }

    /// The header field in which the server, or a balancer before it, names who answered.
    pub fn load_balancer(mut self, field: impl Into<String>) -> Self {
        self.plan.backend_header = Some(field.into().to_ascii_lowercase());
        self
    }

    /// For so long a server that should go on may refuse connections \[0\].
    pub fn allow_refused(mut self, time: Duration) -> Self {
        self.plan.allow_refused = time;
        self
    }

    /// For the command of [`Scenario::Do`] \[10 minutes\].
    pub fn do_limit(mut self, time: Duration) -> Self {
        self.plan.do_limit = time;
        self
    }

    /// What is sent: `GET /` without, and for a bot of ours a message to `POST /http`.
    pub fn request(mut self, request: Request) -> Self {
        self.plan.request = Some(request);
        self
    }

    /// Statuses of a right answer; 200 to 299 without. Any other one counts against the
    /// server, and one before the load is an error.
    pub fn expect_status(mut self, statuses: impl IntoIterator<Item = u16>) -> Self {
        self.plan.expected = Expected(statuses.into_iter().collect());
        self
    }

    /// Adds clients whose requests take their time.
    pub fn slow(mut self, request: Request, connections: usize) -> Self {
        self.plan.slow = Some(Beside {
            request,
            connections,
        });
        self
    }

    /// Adds clients whose answers come in pieces, such as downloads or calls of gRPC with a
    /// stream of messages.
    pub fn stream(mut self, request: Request, connections: usize) -> Self {
        self.plan.stream = Some(Beside {
            request,
            connections,
        });
        self
    }

    /// Adds clients that upload a large body, piece by piece over a second; every other one
    /// asks for leave first (`Expect: 100-continue`).
    pub fn upload(mut self, path: impl Into<String>, size: usize, connections: usize) -> Self {
        self.plan.upload_size = size;
        self.plan.upload = Some(Beside {
            request: Request::new("POST", path),
            connections,
        });
        self
    }

    /// How long each upload takes \[1 s\].
    pub fn upload_time(mut self, time: Duration) -> Self {
        self.plan.upload_time = time;
        self
    }

    /// Adds WebSockets: texts are sent that should come back, and what comes besides is
    /// counted.
    pub fn websocket(mut self, path: impl Into<String>, connections: usize) -> Self {
        self.plan.websocket = Some(Beside {
            request: Request::get(path),
            connections,
        });
        self
    }

    /// From one text on a WebSocket to the next \[100 ms\].
    pub fn message_every(mut self, time: Duration) -> Self {
        self.plan.message_every = time;
        self
    }

    /// Adds clients of server-sent events.
    pub fn events(mut self, path: impl Into<String>, connections: usize) -> Self {
        self.plan.events = Some(Beside {
            request: Request::get(path),
            connections,
        });
        self
    }

    /// Clients of the steady load, each with one request at a time \[16\].
    pub fn connections(mut self, connections: usize) -> Self {
        self.plan.connections = connections;
        self
    }

    /// Requests a second of all steady clients together, instead of a think time.
    pub fn rate(mut self, rate: f64) -> Self {
        self.plan.rate = Some(rate);
        self
    }

    /// From an answer to the same client's next request \[10 ms\].
    pub fn think(mut self, time: Duration) -> Self {
        self.plan.think = time;
        self
    }

    /// Requests of each kind that are held in the middle when the signal comes \[2\].
    pub fn held(mut self, number: usize) -> Self {
        self.plan.held = number;
        self
    }

    /// How long after the signal, at most, they go on: that of a client's network \[100 ms\].
    pub fn latency(mut self, time: Duration) -> Self {
        self.plan.latency = time;
        self
    }

    /// Rounds of each scenario under each load \[1\].
    pub fn repeat(mut self, repeat: usize) -> Self {
        self.plan.repeat = repeat;
        self
    }

    /// Requests that may be cut \[none\].
    pub fn allow_cut(mut self, allowed: AllowCut) -> Self {
        self.plan.allow_cut = Some(allowed);
        self
    }

    /// Makes the moments of chance repeatable.
    pub fn seed(mut self, seed: u64) -> Self {
        self.plan.seed = seed;
        self
    }

    /// Load before the signal, at least; by chance up to half as much again \[1 s\].
    pub fn before(mut self, time: Duration) -> Self {
        self.plan.before = time;
        self
    }

    /// Load after a signal that the server survives, at least \[3 s\].
    pub fn after(mut self, time: Duration) -> Self {
        self.plan.after = time;
        self
    }

    /// Between the two signals of [`Scenario::DoubleCtrlC`] \[300 ms\].
    pub fn gap(mut self, time: Duration) -> Self {
        self.plan.gap = time;
        self
    }

    /// For one request \[5 s\].
    pub fn timeout(mut self, time: Duration) -> Self {
        self.plan.timeout = time;
        self
    }

    /// For the command to answer after its start \[30 s\].
    pub fn start_timeout(mut self, time: Duration) -> Self {
        self.plan.start_timeout = time;
        self
    }

    /// For the server to leave after a signal; then it is killed \[20 s\].
    pub fn limit(mut self, time: Duration) -> Self {
        self.plan.limit = time;
        self
    }

    /// Kills a server that has not left so long after a signal that should stop it, as
    /// containers (10 s) and systemd (90 s) do.
    pub fn stop_timeout(mut self, time: Duration) -> Self {
        self.plan.stop_timeout = Some(time);
        self
    }

    /// For a worker that was killed or hangs to be replaced \[40 s\].
    pub fn replace_limit(mut self, time: Duration) -> Self {
        self.plan.replace_limit = time;
        self
    }

    /// The database of a bot of ours, if its command does not name it; `None` to leave it
    /// unchecked.
    pub fn storage(mut self, url: Option<String>) -> Self {
        self.plan.check_storage = url.is_some();
        self.plan.storage = url;
        self
    }

    /// Runs it and waits for its end.
    ///
    /// # Errors
    /// [`Error::Start`](crate::Error::Start) when a setting is wrong, or the command
    /// does not start, does not answer, or leaves by itself. What a server does wrong is no
    /// error: see [`Report`].
    pub fn run(self) -> turnkey_report::Result<Report> {
        self.run_until(&Stop::default())
    }

    /// The same, until this program gets SIGINT, SIGTERM or SIGHUP.
    pub fn run_until_signalled(self) -> turnkey_report::Result<Report> {
        self.run_until(&Stop::on_signals()?)
    }

    fn run_until(mut self, stop: &Stop) -> turnkey_report::Result<Report> {
        self.plan.choose();
        run::run(&self.plan, self.show_progress, stop)
    }
}
