//! What a drill does, checked: every number within its bound before anything starts.

use std::ffi::OsString;
use std::path::PathBuf;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use nix::sys::signal::Signal;

use super::allow::AllowCut;
use super::family;
use super::known::Known;
use super::scenario::Scenario;
use super::template::Request;
use super::verdict::Expected;
use turnkey_report::Error;
use turnkey_text::quoted;

/// How clients use connections.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Mode {
    /// Many requests on one connection.
    KeepAlive,
    /// A new connection for each request.
    New,
}

impl Mode {
    pub(super) fn name(self) -> &'static str {
        match self {
            Mode::KeepAlive => "keep-alive",
            Mode::New => "new",
        }
    }
}

/// Clients beside the steady ones.
#[derive(Clone, Debug)]
pub(super) struct Beside {
    pub(super) request: Request,
    pub(super) connections: usize,
}

/// A drill, as it was ordered.
#[derive(Clone, Debug)]
pub(super) struct Plan {
    pub(super) command: Vec<OsString>,
    pub(super) envs: Vec<(String, OsString)>,
    pub(super) directory: Option<PathBuf>,
    /// The program that plays the shell: one with our command line; none for `/bin/sh`.
    pub(super) shell: Option<PathBuf>,
    /// A process that runs already, in place of a command.
    pub(super) attach: Option<i32>,
    pub(super) urls: Vec<String>,
    pub(super) port: Option<u16>,
    /// Hosts beside the loopback interface that may be loaded.
    pub(super) allowed_hosts: Vec<String>,
    /// Whether the port that is found, or `--port`, speaks TLS.
    pub(super) https: bool,
    /// Whose certificates are trusted; none: whom browsers trust.
    pub(super) ca: Option<PathBuf>,
    /// Trusts any certificate.
    pub(super) insecure: bool,
    /// The name to ask for, in place of that of the URL.
    pub(super) server_name: Option<String>,
    pub(super) http2: bool,
    /// Clients that share a connection of HTTP/2.
    pub(super) streams: usize,
    /// Asked all the time, as balancers do.
    pub(super) ready_path: Option<String>,
    /// The header field that names who answered, in small letters.
    pub(super) backend_header: Option<String>,
    /// For so long a server that should go on may refuse connections.
    pub(super) allow_refused: Duration,
    /// For a command of `--do`.
    pub(super) do_limit: Duration,
    pub(super) scenarios: Vec<Scenario>,
    pub(super) modes: Vec<Mode>,
    pub(super) repeat: usize,
    pub(super) allow_cut: Option<AllowCut>,
    pub(super) seed: u64,
    pub(super) connections: usize,
    /// Requests a second of all steady clients; none: each after its think time.
    pub(super) rate: Option<f64>,
    pub(super) think: Duration,
    /// None: chosen when it is known whether the server is a bot of ours.
    pub(super) request: Option<Request>,
    pub(super) slow: Option<Beside>,
    pub(super) stream: Option<Beside>,
    pub(super) upload: Option<Beside>,
    /// Bytes of each, and the time that they take.
    pub(super) upload_size: usize,
    pub(super) upload_time: Duration,
    pub(super) websocket: Option<Beside>,
    pub(super) events: Option<Beside>,
    /// From one text on a WebSocket to the next.
    pub(super) message_every: Duration,
    /// Requests of each kind that are held when the signal comes.
    pub(super) held: usize,
    /// After the signal, at most, what is held goes on.
    pub(super) latency: Duration,
    /// Statuses of a right answer.
    pub(super) expected: Expected,
    pub(super) timeout: Duration,
    pub(super) start_timeout: Duration,
    /// Load before the signal, at least; up to half as much again by chance.
    pub(super) before: Duration,
    /// Load after a signal that the server survives, at least.
    pub(super) after: Duration,
    /// Between the two signals of a double Ctrl-C.
    pub(super) gap: Duration,
    /// For the server to leave.
    pub(super) limit: Duration,
    /// After so long a server that should stop is killed, as by a container.
    pub(super) stop_timeout: Option<Duration>,
    /// For a worker that was hit to be replaced.
    pub(super) replace_limit: Duration,
    /// The database that is checked, if it is a bot of ours.
    pub(super) storage: Option<String>,
    pub(super) check_storage: bool,
    /// A word that no other drill has.
    pub(super) run: String,
}

/// URLs of one drill.
pub(super) const MAX_URLS: usize = 20;

const HOUR: Duration = Duration::from_secs(3600);

impl Plan {
    /// With the defaults.
    pub(super) fn of(command: Vec<OsString>) -> Self {
        // Every drill another word, and the same for all processes of one.
        let now = SystemTime::now().duration_since(UNIX_EPOCH);
        let now = now.map_or(0, |time| time.as_nanos() as u64);
        Plan {
            command,
            envs: Vec::new(),
            directory: None,
            shell: None,
            attach: None,
            urls: Vec::new(),
            port: None,
            allowed_hosts: Vec::new(),
            https: false,
            ca: None,
            insecure: false,
            server_name: None,
            http2: false,
            streams: 8,
            ready_path: None,
            backend_header: None,
            allow_refused: Duration::ZERO,
            do_limit: Duration::from_secs(600),
            scenarios: Vec::new(),
            modes: Vec::new(),
            repeat: 1,
            allow_cut: None,
            seed: now % 1_000_000,
            connections: 16,
            rate: None,
            think: Duration::from_millis(10),
            request: None,
            slow: None,
            stream: None,
            upload: None,
            upload_size: 1 << 20,
            upload_time: Duration::from_secs(1),
            websocket: None,
            events: None,
            message_every: Duration::from_millis(100),
            held: 2,
            latency: Duration::from_millis(100),
            expected: Expected::default(),
            timeout: Duration::from_secs(5),
            start_timeout: Duration::from_secs(30),
            before: Duration::from_secs(1),
            after: Duration::from_secs(3),
            gap: Duration::from_millis(300),
            limit: Duration::from_secs(20),
            stop_timeout: None,
            replace_limit: Duration::from_secs(40),
            storage: None,
            check_storage: true,
            run: format!("{now:x}{:x}", std::process::id()),
        }
    }

    /// # Errors
    /// [`Error::Start`] that names what is wrong and what would be right.
    pub(super) fn check(&self) -> turnkey_report::Result<()> {
        self.check_target()?;
        if self.scenarios.is_empty() || self.modes.is_empty() {
            return refuse("a drill needs at least one scenario and one kind of load");
        }
        if self.port == Some(0) {
            return refuse("--port is where the server listens; leave it out to have it found");
        }
        for scenario in &self.scenarios {
            scenario.act()?;
        }
        within("--repeat", self.repeat, 1, 10_000)?;
        within("--connections", self.connections, 1, 2_000)?;
        within("--upload-size", self.upload_size, 1, 1 << 30)?;
        within("--streams", self.streams, 1, 1_000)?;
        within("--held", self.held, 0, 100)?;
        for (name, beside) in [
            ("--slow-connections", &self.slow),
            ("--stream-connections", &self.stream),
            ("--upload-connections", &self.upload),
            ("--websocket-connections", &self.websocket),
            ("--sse-connections", &self.events),
        ] {
            if let Some(beside) = beside {
                within(name, beside.connections, 1, 1_000)?;
                self.check_request(&beside.request)?;
            }
        }
        if let Some(request) = &self.request {
            self.check_request(request)?;
        }
        if self.websocket.is_some() && self.http2 {
            return refuse("--websocket needs HTTP/1.1; leave out --http2");
        }
        if self
            .rate
            .is_some_and(|rate| !(0.1..=100_000.0).contains(&rate))
        {
            return refuse("--rate is between 0.1 and 100000 requests a second");
        }
        if let Some(wrong) = self.expected.0.iter().find(|s| !(200..600).contains(*s)) {
            return Err(Error::Start(format!(
                "--expect-status takes statuses from 200 to 599, such as 200,302, not {wrong}"
            )));
        }
        let second = Duration::from_secs(1);
        let milli = Duration::from_millis(1);
        for (name, time, least, most) in [
            ("--before", self.before, 50 * milli, HOUR),
            ("--after", self.after, Duration::ZERO, HOUR),
            ("--think", self.think, Duration::ZERO, 60 * second),
            ("--upload-time", self.upload_time, milli, 60 * second),
            ("--message-every", self.message_every, milli, 60 * second),
            ("--latency", self.latency, Duration::ZERO, 10 * second),
            ("--timeout", self.timeout, 10 * milli, HOUR),
            ("--start-timeout", self.start_timeout, 10 * milli, HOUR),
            ("--do-limit", self.do_limit, 10 * milli, 24 * HOUR),
            ("--allow-refused", self.allow_refused, Duration::ZERO, HOUR),
            ("--gap", self.gap, milli, 60 * second),
            ("--limit", self.limit, 10 * milli, HOUR),
            (
                "--stop-timeout",
                self.stop_timeout.unwrap_or(second),
                10 * milli,
                HOUR,
            ),
            ("--replace-limit", self.replace_limit, 10 * milli, HOUR),
        ] {
            if time < least || time > most {
                return Err(Error::Start(format!(
                    "{name} is between {} and {} s",
                    least.as_secs_f64(),
                    most.as_secs_f64()
                )));
            }
        }
        Ok(())
    }

    fn check_request(&self, request: &Request) -> turnkey_report::Result<()> {
        request.check()?;
        match request.is_grpc() && !self.http2 {
            true => refuse("gRPC needs HTTP/2: say --http2"),
            false => Ok(()),
        }
    }

    /// Clients whose requests come one after another.
    pub(super) fn clients(&self) -> usize {
        let beside = [&self.slow, &self.stream, &self.upload]
            .into_iter()
            .flatten();
        self.connections + beside.map(|beside| beside.connections).sum::<usize>()
    }

    /// One server: a command, a process, or an address.
    fn check_target(&self) -> turnkey_report::Result<()> {
        let is_started = self.command.first().is_some_and(|word| !word.is_empty());
        if is_started && self.attach.is_some() {
            return refuse("--attach takes a server that runs already; leave the command out");
        }
        if !is_started && self.attach.is_none() && self.urls.is_empty() {
            return refuse(
                "name the server's command after --, as in: turnkey drill -- gunicorn app:app; for \
                 one that runs already say --url with --do, or --attach",
            );
        }
        if self.port.is_some() && !self.urls.is_empty() {
            return refuse("--port and --url say the same; give one of them");
        }
        within("--url", self.urls.len(), 0, MAX_URLS)?;
        let only_by_command = !is_started && self.attach.is_none();
        if only_by_command
            && let Some(signal) = self.scenarios.iter().find(|s| !s.is_done_by_command())
        {
            return Err(Error::Start(format!(
                "{signal} needs a process, and --url alone names none: say what to do with --do \
                 'COMMAND', or whom to signal with --attach PID"
            )));
        }
        if only_by_command && self.scenarios.is_empty() {
            return refuse(
                "say what to do to the server in the middle of its load: --do 'COMMAND', such as \
                 --do './rollout.sh'",
            );
        }
        let stops = self.scenarios.iter().filter(|scenario| scenario.stops());
        if self.attach.is_some() && stops.count() > 0 && self.rounds() > 1 {
            return refuse(
                "a server that was attached to and stopped does not come back: give one scenario, \
                 one --load, and no --repeat",
            );
        }
        let is_path = |path: &String| path.starts_with('/');
        if !self.ready_path.as_ref().is_none_or(is_path) {
            return refuse("--ready-path is a path such as /ready");
        }
        Ok(())
    }

    /// The server of the command, if it is known.
    pub(super) fn known(&self) -> Option<&'static Known> {
        match self.attach {
            None => Known::of(self.command.iter().filter_map(|word| word.to_str())),
            Some(pid) => Known::of(family::name(pid).split(' ')),
        }
    }

    /// Settles what is tried, from what was wished. Without a wish that is Ctrl-C, and the
    /// signal that the server calls graceful where Ctrl-C is not; under both loads.
    pub(super) fn choose(&mut self) {
        let known = self.known();
        let wished = std::mem::take(&mut self.scenarios);
        let wished = match wished.is_empty() {
            false => wished,
            // A stop, and it does not come back: one is all there can be.
            true if self.attach.is_some() => vec![Scenario::Graceful],
            true if self.command.is_empty() => Vec::new(),
            true => match known.is_none_or(|known| known.finishes_on(Signal::SIGINT)) {
                true => vec![Scenario::CtrlC],
                false => vec![Scenario::CtrlC, Scenario::Graceful],
            },
        };
        for scenario in wished {
            let scenario = scenario.for_server(known);
            if !self.scenarios.contains(&scenario) {
                self.scenarios.push(scenario);
            }
        }
        if self.modes.is_empty() {
            self.modes = match self.attach {
                Some(_) => vec![Mode::KeepAlive],
                None => vec![Mode::KeepAlive, Mode::New],
            };
        }
    }

    /// What a reader should know of the server beside the figures.
    pub(super) fn notes(&self) -> Vec<String> {
        let Some(known) = self.known() else {
            return Vec::new();
        };
        let mut tried = self.scenarios.iter().filter_map(Scenario::asks_with);
        let wrong = tried.find(|signal| !known.finishes_on(*signal));
        wrong.map(|signal| known.note(signal)).into_iter().collect()
    }

    pub(super) fn rounds(&self) -> usize {
        self.scenarios.len() * self.modes.len() * self.repeat
    }

    /// As a person would type it; or what is drilled in place of a command.
    pub(super) fn command_line(&self) -> String {
        if let Some(pid) = self.attach {
            return format!("process {pid}: {}", family::name(pid));
        }
        if self.command.is_empty() {
            return self.urls.join(" ");
        }
        let words: Vec<String> = self
            .command
            .iter()
            .map(|word| quoted(&word.to_string_lossy()))
            .collect();
        words.join(" ")
    }
}

fn refuse<T>(sentence: &str) -> turnkey_report::Result<T> {
    Err(Error::Start(sentence.to_owned()))
}

fn within(name: &str, number: usize, least: usize, most: usize) -> turnkey_report::Result<()> {
    match (least..=most).contains(&number) {
        true => Ok(()),
        false => Err(Error::Start(format!(
            "{name} is between {least} and {most}"
        ))),
    }
}
