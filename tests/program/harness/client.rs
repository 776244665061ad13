//! A small HTTP/1.1 client: connections that are kept, one for each request, and
//! raw bytes for what no proper client would send.

use std::path::PathBuf;
use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::client::conn::http1::SendRequest;
use hyper::header::{HeaderName, HeaderValue};
use hyper::{HeaderMap, Request};
use hyper_util::rt::TokioIo;
use serde_json::{Value, json};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpStream, UnixStream};
use tokio::task::JoinHandle;

use crate::harness::certificate::TlsClient;

/// For one request: longer than any limit of the bots under test.
const PATIENCE: Duration = Duration::from_secs(60);

/// An answer, read whole.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Bytes,
}

impl Answer {
    pub(crate) fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    pub(crate) fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|e| panic!("{e}: {}", self.text()))
    }

    /// The texts of the replies; the turn must have succeeded.
    pub(crate) fn replies(&self) -> Vec<String> {
        assert_eq!(self.status, 200, "{}", self.text());
        let json = self.json();
        let replies = json["replies"].as_array().expect("replies");
        let text = |reply: &Value| reply["text"].as_str().expect("a text").to_owned();
        replies.iter().map(text).collect()
    }

    /// The data of the buttons under the first reply.
    pub(crate) fn buttons(&self) -> Vec<String> {
        let json = self.json();
        let buttons = json["replies"][0]["buttons"].as_array();
        let data = |button: &Value| button["data"].as_str().expect("data").to_owned();
        buttons.into_iter().flatten().map(data).collect()
    }

    /// The number that starts the first reply: the user's counter.
    pub(crate) fn number(&self) -> u64 {
        let replies = self.replies();
        let (number, _) = replies[0].split_once(':').expect("a numbered reply");
        number.parse().expect("a number")
    }

    pub(crate) fn header(&self, name: &str) -> &str {
        self.headers
            .get(name)
            .map_or("", |v| v.to_str().expect("ASCII"))
    }

    /// The sentence of an error.
    pub(crate) fn error(&self) -> String {
        self.json()["error"].as_str().expect("an error").to_owned()
    }
}

/// Where a bot is reached.
#[derive(Clone)]
pub(crate) enum Target {
    Tcp(u16),
    Tls(u16, TlsClient),
    Unix(PathBuf),
}

impl From<u16> for Target {
    fn from(port: u16) -> Self {
        Target::Tcp(port)
    }
}

pub(crate) async fn tcp(port: u16) -> std::io::Result<TcpStream> {
    let stream = TcpStream::connect(("127.0.0.1", port)).await?;
    stream.set_nodelay(true)?;
    Ok(stream)
}

/// A kept-alive connection.
pub(crate) struct Connection {
    sender: SendRequest<Full<Bytes>>,
}

pub(crate) type Failure = Box<dyn std::error::Error + Send + Sync>;

impl Connection {
    pub(crate) async fn open(port: u16) -> Self {
        Self::try_open(port).await.expect("a connection")
    }

    pub(crate) async fn try_open(port: u16) -> Result<Self, Failure> {
        Self::try_open_at(&Target::Tcp(port)).await
    }

    pub(crate) async fn try_open_at(target: &Target) -> Result<Self, Failure> {
        match target {
            Target::Tcp(port) => Self::over(tcp(*port).await?).await,
            Target::Tls(port, tls) => Self::over(tls.connect(*port).await?).await,
            Target::Unix(path) => Self::over(UnixStream::connect(path).await?).await,
        }
    }

    async fn over(
        stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
    ) -> Result<Self, Failure> {
        let (sender, connection) =
            hyper::client::conn::http1::handshake(TokioIo::new(stream)).await?;
        tokio::spawn(connection);
        Ok(Connection { sender })
    }

    pub(crate) async fn try_send(
        &mut self,
        request: Request<Full<Bytes>>,
    ) -> Result<Answer, Failure> {
        let exchange = async {
            self.sender.ready().await?;
            let response = self.sender.send_request(request).await?;
            let (head, body) = response.into_parts();
            Ok::<_, Failure>(Answer {
                status: head.status.as_u16(),
                headers: head.headers,
                body: body.collect().await?.to_bytes(),
            })
        };
        tokio::time::timeout(PATIENCE, exchange).await?
    }

    pub(crate) async fn send(&mut self, request: Request<Full<Bytes>>) -> Answer {
        self.try_send(request).await.expect("an answer")
    }

    /// A user says something.
    pub(crate) async fn say(&mut self, user: &str, text: &str) -> Answer {
        self.send(message(user, text, None)).await
    }
}

/// `POST /http` with a user's message, and perhaps its id.
pub(crate) fn message(user: &str, text: &str, id: Option<&str>) -> Request<Full<Bytes>> {
    let mut body = json!({ "user_id": user, "text": text });
    if let Some(id) = id {
        body["id"] = id.into();
    }
    post("/http", body.to_string())
}

/// A request with JSON.
pub(crate) fn post(path: &str, body: impl Into<Bytes>) -> Request<Full<Bytes>> {
    Request::post(path)
        .header("host", "localhost")
        .header("content-type", "application/json")
        .body(Full::from(body.into()))
        .expect("a request")
}

/// A request on a connection of its own.
pub(crate) async fn try_once(port: u16, request: Request<Full<Bytes>>) -> Result<Answer, Failure> {
    Connection::try_open(port).await?.try_send(request).await
}

/// The same in a task; to hang up, abort it.
pub(crate) async fn begin_request(
    port: u16,
    request: Request<Full<Bytes>>,
) -> JoinHandle<Result<Answer, Failure>> {
    let connection = Connection::try_open(port).await;
    tokio::spawn(async move { connection?.try_send(request).await })
}

/// As [`try_once`]; it must succeed.
pub(crate) async fn once(port: u16, request: Request<Full<Bytes>>) -> Answer {
    try_once(port, request).await.expect("an answer")
}

/// A user says something, on a connection of its own.
pub(crate) async fn say(port: u16, user: &str, text: &str) -> Answer {
    once(port, message(user, text, None)).await
}

/// A message that is answered once it is in the inbox, before its turn: its attempts go on,
/// whoever waits for it or not.
pub(crate) async fn hand_in(port: u16, user: &str, text: &str, id: &str) {
    let mut request = message(user, text, Some(id));
    let prefer = HeaderValue::from_static("respond-async");
    request.headers_mut().insert("prefer", prefer);
    assert_eq!(once(port, request).await.status, 202, "{text}");
}

/// A message as the bytes of its request.
pub(crate) fn raw_message(user: &str, text: &str) -> Vec<u8> {
    let body = json!({ "user_id": user, "text": text }).to_string();
    format!(
        "POST /http HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\r\n{body}",
        body.len()
    )
    .into_bytes()
}

/// A connection on which sending and receiving are two steps: once [`Split::send`]
/// returns, the kernel has every byte of the request.
pub(crate) struct Split(TcpStream);

impl Split {
    pub(crate) async fn open(port: u16) -> Self {
        Split(connect(port).await)
    }

    pub(crate) async fn send(&mut self, user: &str, text: &str) {
        let request = raw_message(user, text);
        self.0.write_all(&request).await.expect("it is read");
    }

    pub(crate) async fn answer(&mut self) -> Result<Answer, Failure> {
        tokio::time::timeout(PATIENCE, self.read()).await?
    }

    async fn read(&mut self) -> Result<Answer, Failure> {
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            head.push(self.0.read_u8().await?);
        }
        let head = String::from_utf8(head)?;
        let mut lines = head.lines();
        let status = lines.next().and_then(|line| line.split(' ').nth(1));
        let mut headers = HeaderMap::new();
        for line in lines.filter(|line| !line.is_empty()) {
            let (name, value) = line.split_once(": ").ok_or("no header")?;
            headers.insert(HeaderName::from_bytes(name.as_bytes())?, value.parse()?);
        }
        let length = headers.get("content-length").ok_or("no length")?;
        let mut body = vec![0; length.to_str()?.parse()?];
        self.0.read_exact(&mut body).await?;
        Ok(Answer {
            status: status.ok_or("no status")?.parse()?,
            headers,
            body: body.into(),
        })
    }
}

/// Sends a message on a connection of its own; the task waits for the answer.
pub(crate) async fn begin(
    port: u16,
    user: &str,
    text: &str,
) -> JoinHandle<Result<Answer, Failure>> {
    let mut connection = Split::open(port).await;
    connection.send(user, text).await;
    tokio::spawn(async move { connection.answer().await })
}

/// Opens a connection for raw bytes.
pub(crate) async fn connect(port: u16) -> TcpStream {
    let stream = TcpStream::connect(("127.0.0.1", port))
        .await
        .expect("a connection");
    stream.set_nodelay(true).expect("a socket");
    stream
}

/// Sends bytes, then reads until the other side closes.
pub(crate) async fn raw(port: u16, bytes: &[u8]) -> String {
    let mut stream = connect(port).await;
    stream.write_all(bytes).await.expect("it is read");
    read_to_end(&mut stream).await
}

/// Reads until the other side closes, in good order.
pub(crate) async fn read_to_end(stream: &mut TcpStream) -> String {
    let mut answer = Vec::new();
    let read = tokio::time::timeout(PATIENCE, stream.read_to_end(&mut answer)).await;
    read.expect("it closes").expect("it closes in good order");
    String::from_utf8_lossy(&answer).into_owned()
}

/// Waits for a task; its panic is ours.
pub(crate) async fn join<T>(task: JoinHandle<T>) -> T {
    task.await.unwrap_or_else(|e| match e.try_into_panic() {
        Ok(panic) => std::panic::resume_unwind(panic),
        Err(e) => panic!("{e}"),
    })
}
