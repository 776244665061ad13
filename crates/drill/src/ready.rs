//! Waits until the server answers, and learns what it is: where it listens, and whether
//! it is a bot of ours.
//!
//! Called by `round.rs` after each start. Errors are the user's to mend: the sentence
//! says what was seen and quotes what the command printed.

use std::collections::BTreeSet;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpStream, ToSocketAddrs};
use std::time::{Duration, Instant};

use super::client::Client;
use super::family::sockets;
use super::load;
use super::plan::Plan;
use super::record::{End, Record};
use super::session::Session;
use super::shell::{CANNOT_START, Exit};
use super::sockets::{is_listening, listening};
use super::storage;
use super::template::{Counters, Request};
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
    pub(super) target: SocketAddr,
    /// As in the header field.
    pub(super) host: String,
    /// What the load sends.
    pub(super) request: Request,
    pub(super) storage: Option<storage::Place>,
    /// The requests that asked whether it answers.
    pub(super) probes: Vec<Record>,
}

/// Where the plan says that it listens.
pub(super) struct Place {
    addresses: Vec<SocketAddr>,
    host: Option<String>,
}

/// Reads `--url` and `--port`; nobody may listen there yet.
///
/// # Errors
/// [`Error::Start`]: no loopback address, or somebody is there already.
pub(super) fn place(plan: &Plan) -> turnkey_report::Result<Place> {
    let place = match (&plan.url, plan.port) {
        (Some(url), _) => of_url(url, plan.allowed_host.as_deref())?,
        (None, Some(port)) => Place {
            addresses: of_port(port),
            host: None,
        },
        (None, None) => Place {
            addresses: Vec::new(),
            host: None,
        },
    };
    for address in &place.addresses {
        let busy = address.ip().is_loopback() && is_listening(address.port());
        if busy || TcpStream::connect_timeout(address, Duration::from_millis(500)).is_ok() {
            return Err(Error::Start(format!(
                "something already listens on {address}, and the drill did not start it; stop it, or \
                 let the command listen on another port"
            )));
        }
    }
    Ok(place)
}

fn of_port(port: u16) -> Vec<SocketAddr> {
    let loopback = [
        IpAddr::V4(Ipv4Addr::LOCALHOST),
        IpAddr::V6(Ipv6Addr::LOCALHOST),
    ];
    loopback.map(|ip| SocketAddr::new(ip, port)).to_vec()
}

fn of_url(url: &str, allowed_host: Option<&str>) -> turnkey_report::Result<Place> {
    let refuse = || {
        Error::Start(format!(
            "--url takes an address such as http://127.0.0.1:8000, not {url:?}; a path goes to --path"
        ))
    };
    let uri: http::Uri = url.parse().map_err(|_| refuse())?;
    let name = uri.host().ok_or_else(refuse)?.trim_matches(['[', ']']);
    if uri.scheme_str() != Some("http") || !matches!(uri.path(), "" | "/") {
        return Err(refuse());
    }
    let port = uri.port_u16().unwrap_or(80);
    let addresses: Vec<SocketAddr> = (name, port)
        .to_socket_addrs()
        .map_err(|e| Error::Start(format!("cannot find the host {name:?} of --url: {e}")))?
        .collect();
    let is_local = addresses.iter().all(|address| address.ip().is_loopback());
    if !is_local && allowed_host != Some(name) {
        return Err(Error::Start(format!(
            "{name} is not this machine's loopback interface, and a drill is a heavy load; if it is \
             yours to load, add --i-know {name}"
        )));
    }
    let host = uri.authority().map(ToString::to_string);
    Ok(Place { addresses, host })
}

/// Waits until the command answers a request.
///
/// # Errors
/// [`Error::Start`] when it does not; none when asked to stop.
pub(super) fn wait(
    plan: &Plan,
    place: &Place,
    session: &mut Session,
    round: usize,
    stop: &Stop,
) -> turnkey_report::Result<Option<Ready>> {
    let deadline = Instant::now() + plan.start_timeout;
    let mut probes = Vec::new();
    let mut seen = String::new();
    loop {
        if let Some((_, exit)) = session.left(Duration::ZERO) {
            return Err(left_early(plan, session, exit));
        }
        let mut answering: Vec<Ready> = Vec::new();
        for target in candidates(place, session, plan)? {
            if answering
                .iter()
                .any(|ready| ready.target.port() == target.port())
            {
                continue;
            }
            if TcpStream::connect_timeout(&target, Duration::from_secs(1)).is_err() {
                continue;
            }
            let ready = Ready::at(target, place, plan, session);
            let n = probes.len() as u64 + 1;
            let record = ready.probe(plan, round, n)?;
            seen = what(&record, target, &ready.request);
            let good = load::is_answer(&record)
                && record
                    .status
                    .is_some_and(|s| s < 500 || plan.expected.takes(s));
            probes.push(record);
            if good {
                answering.push(ready);
            }
        }
        if answering.len() > 1 {
            let ports: BTreeSet<u16> = answering.iter().map(|r| r.target.port()).collect();
            let ports: Vec<String> = ports.iter().map(ToString::to_string).collect();
            return Err(Error::Start(format!(
                "the command answers on several ports: {}; name the one to load with --port",
                ports.join(", ")
            )));
        }
        if let Some(mut ready) = answering.pop() {
            ready.probes = probes;
            return match ready.may_be_a_bot(plan) {
                true => ready.asked_again(place, plan, session, round, stop),
                false => ready.with_right_answer(plan).map(Some),
            };
        }
        if Instant::now() >= deadline {
            return Err(never(plan, session, &seen));
        }
        if stop.sleep(LOOK) {
            return Ok(None);
        }
    }
}

/// Where the server may be: as told, or where its processes listen.
fn candidates(
    place: &Place,
    session: &mut Session,
    plan: &Plan,
) -> turnkey_report::Result<Vec<SocketAddr>> {
    if !place.addresses.is_empty() {
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
            addresses.extend(of_port(address.port()));
        } else if ip.is_loopback() || plan.allowed_host == Some(ip.to_string()) {
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

impl Ready {
    fn at(target: SocketAddr, place: &Place, plan: &Plan, session: &Session) -> Self {
        let printed = session.output().text();
        let is_bot = storage::is_bot(&printed);
        let request = match &plan.request {
            Some(request) => request.clone(),
            None if is_bot => storage::message(plan),
            None => Request::get("/"),
        };
        let check = is_bot && plan.check_storage && plan.request.is_none();
        Ready {
            target,
            host: place.host.clone().unwrap_or_else(|| target.to_string()),
            request,
            storage: check.then(|| storage::find(plan, &printed)).flatten(),
            probes: Vec::new(),
        }
    }

    /// A bot of ours answers 404 to `GET /`, and may do so before it says what it is.
    fn may_be_a_bot(&self, plan: &Plan) -> bool {
        let status = self.probes.last().and_then(|record| record.status);
        plan.request.is_none() && self.request.method == "GET" && status == Some(404)
    }

    /// Waits a moment for what a bot says when it is there.
    fn asked_again(
        self,
        place: &Place,
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
        let mut bot = Ready::at(self.target, place, plan, session);
        bot.probes = vec![bot.probe(plan, round, 1)?];
        let status = bot.probes[0].status;
        match status {
            Some(status) if status < 400 => Ok(Some(bot)),
            _ => Err(Error::Start(format!(
                "the bot did not take a message: {}",
                what(&bot.probes[0], bot.target, &bot.request)
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
                self.request.method, self.request.path, self.target
            ))),
        }
    }

    fn probe(&self, plan: &Plan, round: usize, n: u64) -> turnkey_report::Result<Record> {
        let client = Client {
            target: self.target,
            timeout: plan.timeout,
            base: Instant::now(),
        };
        let counters = Counters {
            n,
            client: PROBE,
            round,
            run: &plan.run,
        };
        load::probe(client, &self.request, &self.host, &counters)
    }
}

fn what(record: &Record, target: SocketAddr, request: &Request) -> String {
    let asked = format!("{} {} on {target}", request.method, request.path);
    match (record.outcome, record.status) {
        (End::Complete, Some(status)) => format!(
            "{asked} was answered with {status}; name a request that works with --method, --path and --body"
        ),
        (End::TimedOut, _) => format!("{asked} was not answered within --timeout"),
        (End::Malformed, _) => format!("{asked} was answered with something that is no HTTP/1.1"),
        _ => format!("{asked} was not answered: the connection was closed"),
    }
}

fn left_early(plan: &Plan, session: &Session, exit: Exit) -> Error {
    // The last of it may still be on its way through the terminal.
    std::thread::sleep(Duration::from_millis(100));
    let printed = session.output().text();
    if exit == Exit::Code(CANNOT_START)
        && let Some(line) = printed
            .lines()
            .find(|line| line.starts_with("cannot start "))
    {
        return Error::Start(line.to_owned());
    }
    let how = match exit {
        Exit::Code(code) => format!("left with exit code {code}"),
        Exit::Signal(_) => format!("was ended by {exit}"),
    };
    Error::Start(format!(
        "the command {how} before its port answered: {}{}",
        plan.command_line(),
        quote(&printed)
    ))
}

fn never(plan: &Plan, session: &mut Session, seen: &str) -> Error {
    let seconds = plan.start_timeout.as_secs_f64();
    let printed = session.output().text();
    let what = match seen {
        "" => format!(
            "the command did not listen on {} within {seconds} s (--start-timeout)",
            match plan.port {
                Some(port) => format!("port {port}"),
                None => plan.url.clone().unwrap_or_else(|| "any port".to_owned()),
            }
        ),
        seen => format!("no answer within {seconds} s (--start-timeout): {seen}"),
    };
    Error::Start(format!("{what}{}", quote(&printed)))
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_loopback_without_leave() {
        let addresses = |url, host| of_url(url, host).map(|place| place.addresses.len()).ok();
        assert_eq!(addresses("http://127.0.0.1:8000", None), Some(1));
        assert_eq!(addresses("http://[::1]:8000/", None), Some(1));
        assert_eq!(addresses("http://192.0.2.1:80", None), None);
        assert_eq!(addresses("http://192.0.2.1:80", Some("192.0.2.1")), Some(1));
        assert_eq!(addresses("http://192.0.2.1:80", Some("192.0.2.2")), None);
        for wrong in [
            "https://127.0.0.1",
            "127.0.0.1:80",
            "http://127.0.0.1/path",
            "",
        ] {
            assert_eq!(addresses(wrong, None), None, "{wrong}");
        }
    }
}
