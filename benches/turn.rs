//! Criterion: the whole turn, from a client's request to its answer, over HTTP
//! against the real program: two workers, a writer, a database on the disk that
//! holds the target directory, an answer only after the sync.
//!
//! `cargo bench --bench turn`. `scripts/bench` measures more, under full load.

#![allow(missing_docs, clippy::unwrap_used)] // A benchmark may panic.

use std::io::{BufRead, BufReader};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use bytes::Bytes;
use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use http_body_util::{BodyExt, Full};
use hyper::client::conn::http1::{self, SendRequest};
use hyper::{Request, StatusCode};
use hyper_util::rt::TokioIo;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use tokio::net::TcpStream;
use tokio::runtime::Runtime;
use tokio::task::JoinSet;

/// Users of the bot; each message is from the next one.
const USERS: u64 = 10_000;

/// `turnkey run`, stopped when dropped.
struct Server {
    process: Child,
    port: u16,
    _directory: tempfile::TempDir,
}

impl Server {
    fn start() -> Self {
        let directory = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
        let database = directory.path().join("bot.db");
        let mut process = Command::new(env!("CARGO_BIN_EXE_turnkey"))
            .args([
                "run",
                "--workers",
                "2",
                "--host",
                "127.0.0.1",
                "--port",
                "0",
            ])
            .arg("--storage")
            .arg(format!("sqlite:{}", database.display()))
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(process.stderr.take().unwrap()).lines();
        let started = lines.next().unwrap().unwrap();
        let port = started
            .split_once("http://127.0.0.1:")
            .and_then(|(_, rest)| rest.split(' ').next()?.parse().ok())
            .unwrap_or_else(|| panic!("no port in {started:?}"));
        // What else it says is shown; a pipe that nobody reads would stop it.
        std::thread::spawn(move || {
            lines
                .map_while(Result::ok)
                .for_each(|line| eprintln!("{line}"))
        });
        Server {
            process,
            port,
            _directory: directory,
        }
    }

    async fn connect(&self) -> Client {
        let stream = TcpStream::connect(("127.0.0.1", self.port)).await.unwrap();
        stream.set_nodelay(true).unwrap();
        let (sender, connection) = http1::handshake(TokioIo::new(stream)).await.unwrap();
        tokio::spawn(connection);
        Client { sender }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let pid = Pid::from_raw(self.process.id().try_into().unwrap());
        kill(pid, Signal::SIGTERM).unwrap();
        assert!(self.process.wait().unwrap().success());
    }
}

/// A connection that is kept alive.
struct Client {
    sender: SendRequest<Full<Bytes>>,
}

impl Client {
    /// One turn: the message with this number.
    async fn turn(&mut self, number: u64) {
        let user = number % USERS;
        let body = format!(r#"{{"user_id":"u{user}","text":"hi","id":"m{number}"}}"#);
        let request = Request::post("/http")
            .header("host", "localhost")
            .header("content-type", "application/json")
            .body(Full::from(body))
            .unwrap();
        self.sender.ready().await.unwrap();
        let response = self.sender.send_request(request).await.unwrap();
        assert_eq!(response.status(), StatusCode::OK);
        response.into_body().collect().await.unwrap();
    }
}

fn turns(criterion: &mut Criterion) {
    let server = Server::start();
    let runtime = client_runtime();
    let mut number = 0;
    let mut group = criterion.benchmark_group("turn over HTTP");
    for clients in [1, 64] {
        let mut idle: Vec<Client> = runtime.block_on(async {
            let mut connected = Vec::new();
            for _ in 0..clients {
                connected.push(server.connect().await);
            }
            connected
        });
        group.throughput(Throughput::Elements(clients));
        group.bench_function(format!("{clients} at once"), |bencher| {
            bencher.iter(|| {
                runtime.block_on(async {
                    let mut busy = JoinSet::new();
                    for mut client in idle.drain(..) {
                        number += 1;
                        busy.spawn(async move {
                            client.turn(number).await;
                            client
                        });
                    }
                    idle = busy.join_all().await;
                });
            });
        });
    }
    group.finish();
}

fn client_runtime() -> Runtime {
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap()
}

fn short() -> Criterion {
    Criterion::default()
        .warm_up_time(Duration::from_secs(1))
        .measurement_time(Duration::from_secs(5))
        .sample_size(30)
}

criterion_group! { name = benches; config = short(); targets = turns }
criterion_main!(benches);
