//! Waits until the server answers, and learns what it is: where it listens, and whether
//! it is a bot of ours.
//!
//! Called by `round/` after each start. Errors are the user's to mend: the sentence
//! says what was seen and quotes what the command printed.

use std::collections::BTreeSet;
use std::net::{SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use super::aim::{self, Aim, Place};
use super::client::Client;
use super::family::sockets;
use super::load;
use super::plan::Plan;
use super::record::{End, Record};
use super::session::Session;
use super::shell::{CANNOT_START, Exit};
use super::sockets::listening;
use super::storage;
use super::template::{Counters, Request};
use super::tls::Tls;
use turnkey_report::Error;
use turnkey_report::stop::Stop;

/// Between two looks.
const LOOK: Duration = Duration::from_millis(20);

/// For a bot of ours to say that it is one.
const BOT_SAYS: Duration = Duration::from_secs(2);

/// Lines of the command's output in an error.
const QUOTED: usize = 12;

/// The number of the client that asks first.
pub(super) const PROBE: usize = 1_000_000;

/// A server that answers.
pub(super) struct Ready {
    /// The first one is where requests go that are sent to one alone.
    pub(super) aims: Vec<Aim>,
    /// What the load sends.
    pub(super) request: Request,
    pub(super) storage: Option<storage::Place>,
    /// The requests that asked whether it answers.
    pub(super) probes: Vec<Record>,
}

/// One address that answers.
struct Answering {
    aim: Aim,
    request: Request,
    storage: Option<storage::Place>,
    probes: Vec<Record>,
}

/// Waits until the server answers a request, at each of its places.
///
/// # Errors
/// [`Error::Start`] when it does not; none when asked to stop.
pub(super) fn wait(
    plan: &Plan,
    places: &[Place],
    session: &mut Session,
    round: usize,
    stop: &Stop,
) -> turnkey_report::Result<Option<Ready>> {
    let deadline = Instant::now() + plan.start_timeout;
    let mut ready: Option<Ready> = None;
    // Without a place, its processes say where they listen.
    let each = match places {
        [] => vec![None],
        places => places.iter().map(Some).collect(),
    };
    for place in each {
        let Some(found) = one(plan, place, session, round, deadline, stop)? else {
            return Ok(None);
        };
        match &mut ready {
            None => {
                ready = Some(Ready {
                    aims: vec![found.aim],
                    request: found.request,
                    storage: found.storage,
                    probes: found.probes,
                });
            }
            Some(ready) => ready.aims.push(found.aim),
        }
    }
    let Some(ready) = ready else { return Ok(None) };
    if let Some(path) = &plan.ready_path
        && !is_ready(plan, &ready.aims, path, round, deadline, stop)?
    {
        return Ok(None);
    }
    Ok(Some(ready))
}

/// Waits until one place answers.
fn one(
    plan: &Plan,
    place: Option<&Place>,
    session: &mut Session,
    round: usize,
    deadline: Instant,
    stop: &Stop,
) -> turnkey_report::Result<Option<Answering>> {
    let mut probes = Vec::new();
    let mut seen = String::new();
    loop {
        if let Some(left) = session.left(Duration::ZERO) {
            return Err(left_early(plan, session, left.exit));
        }
        let mut answering: Vec<Answering> = Vec::new();
        for address in candidates(place, session, plan)? {
            let is_known = |known: &Answering| known.aim.address.port() == address.port();
            if answering.iter().any(is_known)
                || TcpStream::connect_timeout(&address, Duration::from_secs(1)).is_err()
            {
                continue;
            }
            let found = Answering::at(address, place, plan, session)?;
            let n = probes.len() as u64 + 1;
            let record = found.probe(plan, round, n)?;
            seen = what(&record, address, &found.request);
            let good = load::is_answer(&record)
                && record
                    .status
                    .is_some_and(|s| s < 500 || plan.expected.takes(s));
            probes.push(record);
            if good {
                answering.push(found);
            }
        }
        if answering.len() > 1 {
            let ports: BTreeSet<u16> = answering.iter().map(|r| r.aim.address.port()).collect();
            let ports: Vec<String> = ports.iter().map(ToString::to_string).collect();
            return Err(Error::Start(format!(
                "the command answers on several ports: {}; name the one to load with --port",
                ports.join(", ")
            )));
        }
        if let Some(mut found) = answering.pop() {
            found.probes = probes;
            return match found.may_be_a_bot(plan) {
                true => found.asked_again(place, plan, session, round, stop),
                false => found.with_right_answer(plan).map(Some),
            };
        }
        if Instant::now() >= deadline {
            return Err(never(plan, place, session, &seen));
        }
        if stop.sleep(LOOK) {
            return Ok(None);
        }
    }
}

/// Waits until `--ready-path` says that every place is ready; false when asked to stop.
fn is_ready(
    plan: &Plan,
    aims: &[Aim],
    path: &str,
    round: usize,
    deadline: Instant,
    stop: &Stop,
) -> turnkey_report::Result<bool> {
    let request = Request::get(path);
    for aim in aims {
        loop {
            let record = ask(plan, aim, &request, round, 1)?;
            if load::is_answer(&record) && record.status.is_some_and(|s| (200..300).contains(&s)) {
                break;
            }
            if Instant::now() >= deadline {
                return Err(Error::Start(format!(
                    "not ready within {} s (--start-timeout): {}",
                    plan.start_timeout.as_secs_f64(),
                    what(&record, aim.address, &request)
                )));
            }
            if stop.sleep(LOOK) {
                return Ok(false);
            }
        }
    }
    Ok(true)
}

/// Where the server may be: as told, or where its processes listen.
fn candidates(
    place: Option<&Place>,
    session: &mut Session,
    plan: &Plan,
) -> turnkey_report::Result<Vec<SocketAddr>> {
    if let Some(place) = place {
        return Ok(place.addresses.clone());
    }
    let sockets_of_all = listening();
    let mut found = BTreeSet::new();
    for process in session.family.members() {
        let own = sockets(process.pid);
        found.extend(
            sockets_of_all
                .iter()
                .filter(|socket| own.contains(&socket.inode))
                .map(|socket| socket.local),
        );
    }
    let mut addresses = Vec::new();
    for address in found {
        let ip = address.ip();
        if ip.is_unspecified() {
            addresses.extend(aim::of_port(address.port()));
        } else if ip.is_loopback() || plan.allowed_hosts.contains(&ip.to_string()) {
            addresses.push(address);
        } else {
            return Err(Error::Start(format!(
                "the command listens on {address}, which is not the loopback interface; let it listen \
                 on 127.0.0.1, or add --i-know {ip}"
            )));
        }
    }
    Ok(addresses)
}

/// One request before the load.
fn ask(
    plan: &Plan,
    aim: &Aim,
    request: &Request,
    round: usize,
    n: u64,
) -> turnkey_report::Result<Record> {
    let client = Client::new(plan.timeout, Instant::now(), None);
    let counters = Counters {
        n,
        client: PROBE,
        round,
        run: &plan.run,
    };
    load::probe(client, aim, request, &counters)
}

impl Answering {
    fn at(
        address: SocketAddr,
        place: Option<&Place>,
        plan: &Plan,
        session: &Session,
    ) -> turnkey_report::Result<Self> {
        let printed = session.output().text();
        let is_bot = storage::is_bot(&printed);
        let path = place.and_then(|place| place.path.clone());
        let request = match &plan.request {
            Some(request) => request.clone().or_path(path),
            None if path.is_some() => Request::get("/").or_path(path),
            None if is_bot => storage::message(plan),
            None => Request::get("/"),
        };
        let check = is_bot && plan.check_storage && plan.request.is_none();
        let host = place.and_then(|place| place.host.clone());
        let tls_name = match place {
            Some(place) => place.tls_name.clone(),
            None => plan.https.then(|| "localhost".to_owned()),
        };
        let tls = tls_name.map(|name| Tls::to(&name, plan)).transpose()?;
        Ok(Answering {
            aim: Aim {
                address,
                host: host.unwrap_or_else(|| address.to_string()),
                tls,
                http2: plan.http2,
            },
            request,
            storage: check.then(|| storage::find(plan, &printed)).flatten(),
            probes: Vec::new(),
        })
    }

    /// A bot of ours answers 404 to `GET /`, and may do so before it says what it is.
    fn may_be_a_bot(&self, plan: &Plan) -> bool {
        let status = self.probes.last().and_then(|record| record.status);
        plan.request.is_none() && self.request.method == "GET" && status == Some(404)
    }

    /// Waits a moment for what a bot says when it is there.
    fn asked_again(
        self,
        place: Option<&Place>,
        plan: &Plan,
        session: &Session,
        round: usize,
        stop: &Stop,
    ) -> turnkey_report::Result<Option<Self>> {
        let deadline = Instant::now() + BOT_SAYS;
        while !storage::is_bot(&session.output().text()) {
            if Instant::now() >= deadline {
                return self.with_right_answer(plan).map(Some);
            }
            if stop.sleep(LOOK) {
                return Ok(None);
            }
        }
        let mut bot = Answering::at(self.aim.address, place, plan, session)?;
        bot.probes = vec![bot.probe(plan, round, 1)?];
        let status = bot.probes[0].status;
        match status {
            Some(status) if status < 400 => Ok(Some(bot)),
            _ => Err(Error::Start(format!(
                "the bot did not take a message: {}",
                what(&bot.probes[0], bot.aim.address, &bot.request)
            ))),
        }
    }

    /// A load of redirections or refusals would say little of the server: an answer with
    /// another status has to be named as right.
    fn with_right_answer(self, plan: &Plan) -> turnkey_report::Result<Self> {
        let status = self.probes.last().and_then(|record| record.status);
        match status.filter(|status| !plan.expected.takes(*status)) {
            None => Ok(self),
            Some(status) => Err(Error::Start(format!(
                "{} {} on {} was answered with {status}; name a request that works with --method, --path and --body, or say --expect-status {status} if that is the right answer",
                self.request.method, self.request.path, self.aim.address
            ))),
        }
    }

    fn probe(&self, plan: &Plan, round: usize, n: u64) -> turnkey_report::Result<Record> {
        ask(plan, &self.aim, &self.request, round, n)
    }
}

fn what(record: &Record, target: SocketAddr, request: &Request) -> String {
    let asked = format!("{} {} on {target}", request.method, request.path);
    match (record.outcome, record.status) {
        (End::Complete, Some(status)) => format!(
            "{asked} was answered with {status}; name a request that works with --method, --path and --body"
        ),
        (End::NoStatus, _) => {
            format!("{asked} was answered without grpc-status: no gRPC is served there")
        }
        (End::TimedOut, _) => format!("{asked} was not answered within --timeout"),
        (End::Malformed, _) => format!(
            "{asked} was answered with something that is not the protocol; --https and --http2 choose another"
        ),
        (End::NoTls, _) => format!(
            "{asked}: no TLS: {}; --ca names whose certificates to trust, --insecure trusts all, --sni asks for another name",
            record.detail.as_deref().unwrap_or("no reason was given")
        ),
        _ => format!("{asked} was not answered: the connection was closed"),
    }
}

fn left_early(plan: &Plan, session: &Session, exit: Option<Exit>) -> Error {
    // The last of it may still be on its way through the terminal.
    std::thread::sleep(Duration::from_millis(100));
    let printed = session.output().text();
    if exit == Some(Exit::Code(CANNOT_START))
        && let Some(line) = printed
            .lines()
            .find(|line| line.starts_with("cannot start "))
    {
        return Error::Start(line.to_owned());
    }
    let how = match exit {
        Some(Exit::Code(code)) => format!("left with exit code {code}"),
        Some(exit @ Exit::Signal(_)) => format!("was ended by {exit}"),
        None => "left".to_owned(),
    };
    Error::Start(format!(
        "the command {how} before its port answered: {}{}",
        plan.command_line(),
        quote(&printed)
    ))
}

fn never(plan: &Plan, place: Option<&Place>, session: &Session, seen: &str) -> Error {
    let seconds = plan.start_timeout.as_secs_f64();
    let printed = session.output().text();
    let what = match seen {
        "" => {
            let host = place.and_then(|place| place.host.clone());
            let at = match (plan.port, host) {
                (Some(port), _) => format!("port {port}"),
                (None, Some(host)) => host,
                (None, None) => "any port".to_owned(),
            };
            match plan.command.is_empty() {
                false => format!(
                    "the command did not listen on {at} within {seconds} s (--start-timeout)"
                ),
                true => format!("nobody listened on {at} within {seconds} s (--start-timeout)"),
            }
        }
        seen => format!("no answer within {seconds} s (--start-timeout): {seen}"),
    };
    let quoted = match plan.command.is_empty() {
        true => String::new(),
        false => quote(&printed),
    };
    Error::Start(format!("{what}{quoted}"))
}

/// The end of what was printed.
fn quote(printed: &str) -> String {
    let lines: Vec<&str> = printed.lines().filter(|l| !l.trim().is_empty()).collect();
    if lines.is_empty() {
        return "; it printed nothing".to_owned();
    }
    let last = &lines[lines.len().saturating_sub(QUOTED)..];
    format!("\nit printed:\n  {}", last.join("\n  "))
}
