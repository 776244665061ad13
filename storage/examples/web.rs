//! A web server of pre-forked processes that write one SQLite file.
//!
//! `cargo run -p turnkey-storage --example web -- 127.0.0.1:8080` binds the address and starts
//! four workers, which accept on the same socket. `POST /anything` counts a visit and answers
//! with the number, `GET /` lists the pages. Kill a worker: it is replaced; if it was the one that
//! wrote, another goes on, and no request fails for it.

use std::convert::Infallible;
use std::error::Error;
use std::net::TcpListener;
use std::os::fd::{AsFd, OwnedFd};
use std::process::{Child, Command, Stdio};

use http_body_util::Full;
use hyper::body::{Bytes, Incoming};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Method, Request, Response};
use hyper_util::rt::TokioIo;
use turnkey_storage::sqlite::SharedDatabase;
use turnkey_storage::{Database, Write};

const WORKERS: usize = 4;

async fn answer(
    database: SharedDatabase,
    request: Request<Incoming>,
) -> turnkey_storage::Result<String> {
    if request.method() == Method::GET {
        let sql = "SELECT path || ' ' || visits FROM page ORDER BY path";
        let list = database.read(move |conn| {
            conn.prepare(sql)?
                .query_map([], |row| row.get(0))?
                .collect::<Result<Vec<String>, _>>()
        });
        return Ok(list.await?.join("\n"));
    }
    let visit = Write::new().run(
        "INSERT INTO page VALUES (?1, 1) ON CONFLICT DO UPDATE SET visits = visits + 1
         RETURNING visits",
        request.uri().path(),
    );
    let written = database.write(visit).await?;
    Ok(written[0].rows[0].get::<i64>("visits")?.to_string())
}

/// One worker: accepts on the socket that is its standard input.
#[tokio::main(flavor = "current_thread")]
async fn work() -> Result<(), Box<dyn Error>> {
    // After the fork, and in each process.
    let database = Database::open(std::env::temp_dir().join("web.db"))
        .migration("CREATE TABLE page (path TEXT PRIMARY KEY, visits INTEGER NOT NULL) STRICT")
        .await?;
    let listener = TcpListener::from(std::io::stdin().as_fd().try_clone_to_owned()?);
    listener.set_nonblocking(true)?;
    let listener = tokio::net::TcpListener::from_std(listener)?;
    loop {
        let (stream, _) = listener.accept().await?;
        let database = database.clone();
        let service = service_fn(move |request| {
            let database = database.clone();
            async move {
                let mut response = Response::new(Full::new(Bytes::new()));
                match answer(database, request).await {
                    Ok(text) => *response.body_mut() = Full::new((text + "\n").into()),
                    Err(error) => {
                        eprintln!("503: {error}");
                        *response.status_mut() = hyper::StatusCode::SERVICE_UNAVAILABLE;
                    }
                }
                Ok::<_, Infallible>(response)
            }
        });
        tokio::spawn(async move {
            // A client that hangs up.
            drop(
                http1::Builder::new()
                    .serve_connection(TokioIo::new(stream), service)
                    .await,
            );
        });
    }
}

fn main() -> Result<(), Box<dyn Error>> {
    let address = match std::env::args().nth(1).as_deref() {
        Some("work") => return work(),
        address => address.unwrap_or("127.0.0.1:8080").to_owned(),
    };
    let listener = TcpListener::bind(&address)?;
    println!("http://{}", listener.local_addr()?);
    let program = std::env::current_exe()?;
    let start = || -> std::io::Result<Child> {
        let socket = Stdio::from(OwnedFd::from(listener.try_clone()?));
        Command::new(&program).arg("work").stdin(socket).spawn()
    };
    let mut workers = Vec::new();
    for _ in 0..WORKERS {
        workers.push(start()?);
    }
    loop {
        for worker in &mut workers {
            if let Some(status) = worker.try_wait()? {
                eprintln!("a worker ended ({status}), starting another");
                *worker = start()?;
            }
        }
        std::thread::sleep(std::time::Duration::from_millis(50));
    }
}
