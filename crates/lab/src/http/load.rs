//! The load: messages of random users over connections that are kept alive, the next on
//! each when the one before is answered.
//!
//! Some threads, each with its share of the connections. A connection that breaks is
//! made again; the message on it counts as uncertain: the bot may have committed it.
//! Bounds: the connections; no request is sent after the window.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::rc::Rc;
use std::thread::JoinHandle;
use std::time::Duration;

use bytes::Bytes;
use hdrhistogram::Histogram;
use http_body_util::{BodyExt, Full};
use hyper::client::conn::http1::{self, SendRequest};
use hyper::{Request, Uri};
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;
use tokio::task::{JoinSet, LocalSet};

use super::super::measure::{self, Meter};
use super::super::order::{Loaded, Window};
use super::super::state::{self, Random};
use crate::error::Error;
use turnkey_report::stop::Stop;

/// For a connection, or an answer: longer than the bot's own limits.
const PATIENCE: Duration = Duration::from_secs(60);

/// Before a connection that failed is tried again.
const AGAIN: Duration = Duration::from_millis(50);

/// Threads that send; on a small machine one, so that the bot has the rest.
const MAX_THREADS: usize = 8;

/// Where a bot listens.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Target {
    host: String,
    port: u16,
}

impl Target {
    pub(super) fn parse(url: &str) -> crate::error::Result<Self> {
        let refuse = || {
            Error::Start(format!(
                "--url takes an address such as http://127.0.0.1:8080, not {url:?}"
            ))
        };
        let uri: Uri = url.parse().map_err(|_| refuse())?;
        let host = uri.host().ok_or_else(refuse)?;
        if uri.scheme_str() != Some("http") || !matches!(uri.path(), "" | "/") {
            return Err(refuse());
        }
        Ok(Target {
            host: host.trim_matches(['[', ']']).to_owned(),
            port: uri.port_u16().unwrap_or(80),
        })
    }
}

/// What is sent.
#[derive(Clone)]
pub(super) struct Load {
    pub(super) target: Target,
    pub(super) token: Option<String>,
    pub(super) connections: usize,
    pub(super) users: u64,
    pub(super) text: &'static str,
    pub(super) window: Window,
    pub(super) seed: u64,
}

/// A load under way.
pub(super) struct Generator(Vec<JoinHandle<crate::error::Result<Loaded>>>);

impl Load {
    pub(super) fn start(self, stop: &Stop) -> crate::error::Result<Generator> {
        let processors = std::thread::available_parallelism().map_or(1, usize::from);
        let threads = (processors / 2).clamp(1, MAX_THREADS).min(self.connections);
        let mut handles = Vec::new();
        for thread in 0..threads {
            let (load, stop) = (self.clone(), stop.clone());
            let share =
                self.connections / threads + usize::from(thread < self.connections % threads);
            handles.push(
                std::thread::Builder::new()
                    .name(format!("load {thread}"))
                    .spawn(move || load.run(thread, share, &stop))?,
            );
        }
        Ok(Generator(handles))
    }

    fn run(self, thread: usize, connections: usize, stop: &Stop) -> crate::error::Result<Loaded> {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()?;
        let meter = Rc::new(RefCell::new(Meter::new(self.window)?));
        LocalSet::new().block_on(&runtime, async {
            let mut lanes = JoinSet::new();
            for lane in 0..connections {
                let (load, meter, stop) = (self.clone(), meter.clone(), stop.clone());
                let place = thread * 100_000 + lane;
                lanes.spawn_local(async move { load.lane(place, &meter, &stop).await });
            }
            while let Some(ended) = lanes.join_next().await {
                ended??;
            }
            Ok::<_, Error>(())
        })?;
        let meter = Rc::try_unwrap(meter).map_err(|_| Error::msg("a lane is left"))?;
        Ok(meter.into_inner().into_loaded())
    }

    async fn lane(
        &self,
        place: usize,
        meter: &RefCell<Meter>,
        stop: &Stop,
    ) -> crate::error::Result<()> {
        let mut random = Random::new((self.seed << 32) + place as u64 * 7919);
        let mut connection: Option<SendRequest<Full<Bytes>>> = None;
        while !meter.borrow().is_over() && !stop.asked() {
            let sender = match &mut connection {
                Some(sender) => sender,
                None => match tokio::time::timeout(PATIENCE, self.connect()).await {
                    Ok(Ok(sender)) => connection.insert(sender),
                    Ok(Err(_)) | Err(_) => {
                        meter.borrow_mut().error("no connection");
                        tokio::time::sleep(AGAIN).await;
                        continue;
                    }
                },
            };
            let began = measure::now();
            let request = self.message(random.below(self.users), began, place)?;
            let answered = tokio::time::timeout(PATIENCE, exchange(sender, request)).await;
            let mut meter = meter.borrow_mut();
            match answered {
                Ok(Ok(200)) => meter.acknowledge(began),
                Ok(Ok(status)) => {
                    meter.error(status.to_string());
                    // It may have been committed all the same.
                    if status >= 500 {
                        meter.uncertain();
                    }
                }
                Ok(Err(_)) | Err(_) => {
                    meter.error("connection broken");
                    meter.uncertain();
                    connection = None;
                }
            }
        }
        Ok(())
    }

    async fn connect(&self) -> crate::error::Result<SendRequest<Full<Bytes>>> {
        let stream = TcpStream::connect((self.target.host.as_str(), self.target.port)).await?;
        stream.set_nodelay(true)?;
        let (sender, connection) = http1::handshake(TokioIo::new(stream)).await?;
        // It ends with the sender; what broke it, the sender is told.
        tokio::task::spawn_local(connection);
        Ok(sender)
    }

    /// A message that nobody has sent before.
    fn message(
        &self,
        user: u64,
        now: u64,
        place: usize,
    ) -> crate::error::Result<Request<Full<Bytes>>> {
        let (user, text) = (state::user_id(user), self.text);
        let body = format!(r#"{{"user_id":"bench-{user}","text":"{text}","id":"{now}.{place}"}}"#);
        let mut request = Request::post("/http")
            .header("host", &self.target.host)
            .header("content-type", "application/json");
        if let Some(token) = &self.token {
            request = request.header("authorization", format!("Bearer {token}"));
        }
        Ok(request.body(Full::from(body))?)
    }
}

/// The status of the answer, once all of it is here.
async fn exchange(
    sender: &mut SendRequest<Full<Bytes>>,
    request: Request<Full<Bytes>>,
) -> hyper::Result<u16> {
    sender.ready().await?;
    let answer = sender.send_request(request).await?;
    let status = answer.status().as_u16();
    answer.into_body().collect().await?;
    Ok(status)
}

impl Generator {
    /// Waits for the last answers; the sums.
    pub(super) fn finish(self) -> crate::error::Result<(Loaded, Histogram<u64>)> {
        let mut latencies = measure::histogram()?;
        let mut sum = Loaded {
            errors: BTreeMap::new(),
            ..Loaded::default()
        };
        for thread in self.0 {
            let part = thread
                .join()
                .map_err(|_| Error::msg("a thread of the load panicked"))??;
            sum.turns += part.turns;
            sum.acknowledged += part.acknowledged;
            sum.uncertain += part.uncertain;
            for (value, count) in part.latencies {
                latencies.saturating_record_n(value, count);
            }
            for (kind, count) in part.errors {
                *sum.errors.entry(kind).or_default() += count;
            }
        }
        Ok((sum, latencies))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses() {
        let target = |url| Target::parse(url).map(|t| (t.host, t.port)).ok();
        assert_eq!(
            target("http://localhost:8080"),
            Some(("localhost".into(), 8080))
        );
        assert_eq!(target("http://[::1]:9/"), Some(("::1".into(), 9)));
        assert_eq!(target("http://bot"), Some(("bot".into(), 80)));
        for wrong in [
            "https://bot",
            "bot:80",
            "http://bot/telegram",
            "",
            "http://",
        ] {
            assert_eq!(target(wrong), None, "{wrong}");
        }
    }
}
