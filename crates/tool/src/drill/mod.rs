//! `drill`: the graceful shutdown of any server, tested. And the hidden command that
//! plays the shell for it.

mod beside;
mod target;

use std::ffi::OsString;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use clap::Args;

use turnkey::tool::{duration, exit};
use turnkey_drill::{self as drill, AllowCut, Drill, Error, Mode, Request, Scenario, To};
use turnkey_report::say;
use turnkey_text::output;

use beside::Beside;
use target::Target;

/// Help as it stands: clap would make a line break of `{n}`. An escape that changes nothing
/// parts it; clap leaves escapes out where no terminal is.
fn verbatim(text: &str) -> String {
    text.replace("{n}", "{\u{1b}[0mn}")
}

#[derive(Args)]
#[command(after_help = verbatim(&format!("\
Starts COMMAND in the foreground of a terminal of its own, waits until its port answers,
loads it, does something to it in the middle of the load and tells what became of every
request: answered, refused after the signal (fine), or cut: accepted or sent, and then
reset or closed without a whole answer; why, most likely, and what helps. Also when it left
and how, what it printed, and which processes it left behind. COMMAND must stay in the
foreground. Or drills what runs already: --url with --do, or --attach.

Scenarios:
  {}
  or any signal: --signal quit --to master

Counters in --path, --header and --body: {{n}} is another number in every request,
{{client}} the client's, {{round}} the round's, {{run}} a word of this drill.

A bot made with Turnkey needs no options: it gets messages of users of its own, and
afterwards every acknowledged message must be in its database.

Exit codes: 0 nothing cut, nothing left behind (or within --allow-cut, or no worse than
--baseline); 1 something was; 2 bad options, or the command does not start, answer or stay;
130 stopped by Ctrl-C.

Examples:
  turnkey drill -- gunicorn --workers 2 app:app
  turnkey drill --scenario ctrl-c,term,kill-worker --out report/ -- uvicorn --workers 2 app:app
  turnkey drill --method POST --path /echo --body '{{\"n\":{{n}}}}' --slow-path '/sleep?ms=2000' -- node server.js
  turnkey drill --url https://localhost:8443 --http2 --do './rollout.sh'
  turnkey drill --url http://localhost:8080 --do 'docker compose up -d web' --allow-refused 500ms
  turnkey drill --attach 4711 --scenario term --stop-timeout 10s
  turnkey drill --websocket /ws --sse /events --scenario term -- node server.js
  turnkey drill --repeat 20 --junit drill.xml -- turnkey run --workers 2 --storage sqlite:bot.db", Scenario::names())))]
pub(crate) struct DrillArgs {
    /// What to do to the server.
    #[arg(long, value_name = "NAMES", value_delimiter = ',')]
    scenario: Vec<Scenario>,

    /// Send this signal, too, as one more scenario.
    #[arg(long, value_name = "NAME")]
    signal: Option<String>,

    /// Who gets it: master, group or worker.
    #[arg(
        long,
        value_name = "WHO",
        default_value = "master",
        requires = "signal"
    )]
    to: To,

    /// Whether --signal should end the server: stop or go-on [default: what is usual for it].
    #[arg(long, value_name = "WHAT", requires = "signal", value_parser = ["stop", "go-on"])]
    expect: Option<String>,

    /// How connections are used: keep-alive, new (one for each request) or both [default:
    /// both; keep-alive with --attach].
    #[arg(long, value_name = "KIND", value_parser = ["keep-alive", "new", "both"])]
    load: Option<String>,

    /// Rounds of each scenario under each load.
    #[arg(long, value_name = "N", default_value_t = 1)]
    repeat: usize,

    /// Repeat the moments of chance of another drill.
    #[arg(long, value_name = "N")]
    seed: Option<u64>,

    #[command(flatten)]
    target: Target,

    #[command(flatten)]
    beside: Beside,

    /// Clients, each with one request at a time.
    #[arg(long, value_name = "N", default_value_t = 16)]
    connections: usize,

    /// Requests a second of all of them, instead of --think.
    #[arg(long, value_name = "N", conflicts_with = "think")]
    rate: Option<f64>,

    /// From an answer to the same client's next request.
    #[arg(long, value_name = "TIME", default_value = "10ms", value_parser = duration)]
    think: Duration,

    /// Method of the requests [default: GET; POST with --body].
    #[arg(long, value_name = "METHOD")]
    method: Option<String>,

    /// Path of the requests [default: /].
    #[arg(long, value_name = "PATH")]
    path: Option<String>,

    /// Body of the requests.
    #[arg(long, value_name = "TEXT")]
    body: Option<String>,

    /// Header field of the requests; may be given several times.
    #[arg(long, value_name = "NAME: VALUE")]
    header: Vec<String>,

    /// Statuses that are right answers [default: 200 to 299].
    #[arg(long, value_name = "STATUS,...", value_delimiter = ',')]
    expect_status: Vec<u16>,

    /// Requests that are held in the middle when the signal comes, for each of: after
    /// connecting, in the head, in the body, while reading.
    #[arg(long, value_name = "N", default_value_t = 2)]
    held: usize,

    /// How long after the signal, at most, they go on.
    #[arg(long, value_name = "TIME", default_value = "100ms", value_parser = duration)]
    latency: Duration,

    /// For one request to be answered.
    #[arg(long, value_name = "TIME", default_value = "5s", value_parser = duration)]
    timeout: Duration,

    /// For the command to answer after its start.
    #[arg(long, value_name = "TIME", default_value = "30s", value_parser = duration)]
    start_timeout: Duration,

    /// Load before the signal, at least; by chance up to half as much again.
    #[arg(long, value_name = "TIME", default_value = "1s", value_parser = duration)]
    before: Duration,

    /// Load after a signal that the server survives, at least.
    #[arg(long, value_name = "TIME", default_value = "3s", value_parser = duration)]
    after: Duration,

    /// Between the two signals of double-ctrl-c.
    #[arg(long, value_name = "TIME", default_value = "300ms", value_parser = duration)]
    gap: Duration,

    /// For the server to leave; then it is killed.
    #[arg(long, value_name = "TIME", default_value = "20s", value_parser = duration)]
    limit: Duration,

    /// Kill a server that has not left so long after the signal, as containers (10s) and
    /// systemd (90s) do.
    #[arg(long, value_name = "TIME", value_parser = duration)]
    stop_timeout: Option<Duration>,

    /// For a worker that was killed or hangs to be replaced.
    #[arg(long, value_name = "TIME", default_value = "40s", value_parser = duration)]
    replace_limit: Duration,

    /// Database of a Turnkey bot, to check [default: what its command says].
    #[arg(long, value_name = "URL")]
    storage: Option<String>,

    /// Leave the database of a Turnkey bot unchecked.
    #[arg(long, conflicts_with = "storage")]
    no_storage_check: bool,

    /// Write results.json, report.html and the timelines there.
    #[arg(long, value_name = "DIR")]
    out: Option<PathBuf>,

    /// Write the results for CI there, as JUnit's XML.
    #[arg(long, value_name = "FILE")]
    junit: Option<PathBuf>,

    /// Requests that may be cut, in each scenario and load: a number, or a share of all that
    /// began, such as 0.1%.
    #[arg(long, value_name = "N|N%")]
    allow_cut: Option<AllowCut>,

    /// Results of an earlier drill (results.json, or what --json printed): only what is worse
    /// than then fails.
    #[arg(long, value_name = "FILE")]
    baseline: Option<PathBuf>,

    /// Say what is wrong so that this CI service shows it: github.
    #[arg(long, value_name = "SERVICE", value_parser = ["github"])]
    annotations: Option<String>,

    /// Print the results as JSON instead of the table.
    #[arg(long)]
    json: bool,

    /// The command that starts the server, and its arguments.
    #[arg(last = true, value_name = "COMMAND")]
    command: Vec<OsString>,
}

impl DrillArgs {
    pub(crate) fn run(self) -> anyhow::Result<ExitCode> {
        let said = |e: Error| anyhow::anyhow!("{e}");
        let (out, junit, json) = (self.out.clone(), self.junit.clone(), self.json);
        let (baseline, annotations) = (self.baseline.clone(), self.annotations.is_some());
        let baseline = baseline.as_deref().map(drill::Baseline::read);
        let baseline = baseline.transpose().map_err(said)?;
        let drill = self.drill().map_err(said)?;
        if let Some(out) = &out {
            drill::make_directory(out).map_err(said)?;
        }
        let mut report = drill.run_until_signalled().map_err(said)?;
        if let Some(out) = &out {
            drill::write(&mut report, out).map_err(said)?;
        }
        if let Some(file) = &junit {
            drill::junit(&report, file).map_err(said)?;
        }
        let worse = baseline.map(|baseline| baseline.worse(&report));
        if annotations {
            drill::annotate(&report);
        }
        let text = match json {
            true => serde_json::to_string_pretty(&report)?,
            false => report.to_string(),
        };
        let printed = output::line(text);
        if let Some(page) = report
            .files
            .iter()
            .find(|file| file.ends_with("report.html"))
        {
            say!("Report: {}", page.display());
        }
        printed?;
        match worse.as_deref() {
            None => {}
            Some([]) => say!("No worse than the baseline."),
            Some(worse) => worse
                .iter()
                .for_each(|what| say!("Worse than the baseline: {what}")),
        }
        let is_good = match &worse {
            None => report.is_clean(),
            Some(worse) => worse.is_empty(),
        };
        Ok(ExitCode::from(match () {
            () if report.interrupted => exit::INTERRUPTED,
            () if is_good => exit::CLEAN,
            () => exit::CUT,
        }))
    }

    fn drill(self) -> turnkey_drill::Result<Drill> {
        let request = self.request()?;
        let mut drill = match self.target.attach {
            Some(pid) => Drill::attach(pid),
            None => Drill::command(self.command).shell(std::env::current_exe()?),
        };
        drill = drill
            .repeat(self.repeat)
            .connections(self.connections)
            .expect_status(self.expect_status)
            .think(self.think)
            .held(self.held)
            .latency(self.latency)
            .timeout(self.timeout)
            .start_timeout(self.start_timeout)
            .before(self.before)
            .after(self.after)
            .gap(self.gap)
            .limit(self.limit)
            .replace_limit(self.replace_limit);
        drill.show_progress = true;
        for scenario in self.scenario {
            drill = drill.scenario(scenario);
        }
        drill = self.target.set(drill);
        drill = self.beside.set(drill)?;
        if let Some(name) = self.signal {
            let mut scenario = drill::named_signal(&name, self.to)?;
            if let (Some(expect), Scenario::Signal { stops, .. }) = (self.expect, &mut scenario) {
                *stops = expect == "stop";
            }
            drill = drill.scenario(scenario);
        }
        for (name, mode) in [("keep-alive", Mode::KeepAlive), ("new", Mode::New)] {
            let wished = self.load.as_deref();
            if wished == Some(name) || wished == Some("both") {
                drill = drill.mode(mode);
            }
        }
        if let Some(seed) = self.seed {
            drill = drill.seed(seed);
        }
        if let Some(allowed) = self.allow_cut {
            drill = drill.allow_cut(allowed);
        }
        if let Some(time) = self.stop_timeout {
            drill = drill.stop_timeout(time);
        }
        if let Some(rate) = self.rate {
            drill = drill.rate(rate);
        }
        if let Some(request) = request {
            drill = drill.request(request);
        }
        if self.storage.is_some() || self.no_storage_check {
            drill = drill.storage(self.storage);
        }
        Ok(drill)
    }

    /// None when nothing was said of it.
    fn request(&self) -> turnkey_drill::Result<Option<Request>> {
        let said = self.method.is_some()
            || self.path.is_some()
            || self.body.is_some()
            || !self.header.is_empty();
        if !said {
            return self.beside.call();
        }
        if self.beside.grpc.is_some() {
            return Err(Error::Start(
                "--grpc says what is sent; leave out --method, --path, --body and --header"
                    .to_owned(),
            ));
        }
        let usual = if self.body.is_some() { "POST" } else { "GET" };
        let method = self.method.as_deref().unwrap_or(usual);
        let mut request = Request::new(method, self.path.as_deref().unwrap_or("/"));
        for header in &self.header {
            let Some((name, value)) = header.split_once(':') else {
                return Err(Error::Start(format!(
                    "{header:?} is no header; write --header 'Name: value'"
                )));
            };
            request = request.header(name.trim(), value.trim());
        }
        if let Some(body) = &self.body {
            request = request.body(body.as_str());
        }
        Ok(Some(request))
    }
}
