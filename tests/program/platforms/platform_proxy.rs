//! `--platform-proxy` and the variables that say the same: every call to a platform goes
//! through it, and nobody sees its password.

use std::sync::{Arc, Mutex};

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

use crate::harness::api::{Api, TOKEN};
use crate::harness::bot::{SOON, Setup, until};
use crate::harness::telegram::text;
use crate::platforms::polling::telegram;

/// What a proxy was asked for: `api.test:80 for me:s@cret`.
type Asked = Arc<Mutex<Vec<String>>>;

/// A proxy for everything, which leads to one port of this machine wherever it is asked
/// for, and lets in who has this password.
async fn proxy(to: u16, password: &'static str) -> (u16, Asked) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let asked = Asked::default();
    let noted = asked.clone();
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let noted = noted.clone();
            tokio::spawn(async move { serve(stream, to, password, noted).await });
        }
    });
    (port, asked)
}

async fn serve(mut stream: TcpStream, to: u16, password: &str, noted: Asked) -> Option<()> {
    let mut first = [0];
    stream.peek(&mut first).await.ok()?;
    match first[0] {
        5 => socks(&mut stream, password, noted).await?,
        _ => connect(&mut stream, password, noted).await?,
    }
    let mut target = TcpStream::connect(("127.0.0.1", to)).await.ok()?;
    tokio::io::copy_bidirectional(&mut stream, &mut target)
        .await
        .ok()?;
    Some(())
}

async fn connect(stream: &mut TcpStream, password: &str, noted: Asked) -> Option<()> {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(stream.read_u8().await.ok()?);
    }
    let head = String::from_utf8(head).unwrap();
    let target = head.strip_prefix("CONNECT ")?.split(' ').next()?;
    let user = head
        .lines()
        .find_map(|line| line.strip_prefix("Proxy-Authorization: Basic "))
        .map(|pair| String::from_utf8(BASE64_STANDARD.decode(pair).unwrap()).unwrap())
        .unwrap_or_default();
    noted.lock().unwrap().push(format!("{target} for {user}"));
    let is_right = user.ends_with(&format!(":{password}"));
    let answer = match is_right {
        true => "HTTP/1.1 200 Connection established\r\n\r\n",
        false => "HTTP/1.1 407 Proxy Authentication Required\r\nContent-Length: 0\r\n\r\n",
    };
    stream.write_all(answer.as_bytes()).await.ok()?;
    is_right.then_some(())
}

/// RFC 1928 and 1929.
async fn socks(stream: &mut TcpStream, password: &str, noted: Asked) -> Option<()> {
    let mut head = [0; 2];
    stream.read_exact(&mut head).await.ok()?;
    let mut methods = vec![0; head[1].into()];
    stream.read_exact(&mut methods).await.ok()?;
    assert!(
        methods.contains(&2),
        "no user and password are offered: {methods:?}"
    );
    stream.write_all(&[5, 2]).await.ok()?;
    let text = async |stream: &mut TcpStream| {
        let length = stream.read_u8().await.ok()?;
        let mut text = vec![0; length.into()];
        stream.read_exact(&mut text).await.ok()?;
        String::from_utf8(text).ok()
    };
    assert_eq!(stream.read_u8().await.ok()?, 1);
    let user = text(stream).await?;
    let given = text(stream).await?;
    let is_right = given == password;
    stream.write_all(&[1, u8::from(!is_right)]).await.ok()?;
    if !is_right {
        return None;
    }
    let mut request = [0; 4];
    stream.read_exact(&mut request).await.ok()?;
    assert_eq!(request, [5, 1, 0, 3], "CONNECT, to a name");
    let host = text(stream).await?;
    let port = stream.read_u16().await.ok()?;
    noted
        .lock()
        .unwrap()
        .push(format!("{host}:{port} for {user}:{given}"));
    stream
        .write_all(&[5, 0, 0, 1, 127, 0, 0, 1, 0, 1])
        .await
        .ok()?;
    Some(())
}

/// A bot that polls an API which only the proxy can reach.
fn behind() -> Setup {
    Setup::counter()
        .without_port()
        .args(&["--telegram-api-url", "http://api.test:8081", "-vv"])
        .env("TURNKEY_TELEGRAM_TOKEN", TOKEN)
}

#[tokio::test]
async fn calls_go_through_the_proxy_and_its_password_is_not_shown() {
    for scheme in ["http", "socks5"] {
        let api = Api::start();
        let (port, asked) = proxy(api.port, "s@cret").await;
        let address = format!("{scheme}://me:s%40cret@127.0.0.1:{port}");
        for (name, others) in [
            (
                "TURNKEY_PLATFORM_PROXY",
                Some(("ALL_PROXY", "http://127.0.0.1:1")),
            ),
            ("all_proxy", None),
        ] {
            let mut setup = behind().env(name, &*address);
            if let Some((name, value)) = others {
                setup = setup.env(name, value);
            }
            let bot = setup.start().await;
            let before = api.received("7").len();
            api.queues.push([text(before as u64 + 1, 7, "hi")]);
            until("a reply", SOON, || api.received("7").len() > before).await;
            let said = bot.stderr();
            assert!(
                !said.contains("s@cret") && !said.contains("s%40cret"),
                "{said}"
            );
            bot.stop().await;
        }
        let asked = asked.lock().unwrap();
        assert!(!asked.is_empty());
        for one in asked.iter() {
            assert_eq!(one, "api.test:8081 for me:s@cret", "{scheme}");
        }
    }
}

#[tokio::test]
async fn a_proxy_that_refuses_is_named_and_no_proxy_is_obeyed() {
    let api = Api::start();
    let (port, asked) = proxy(api.port, "right").await;
    let address = format!("http://me:wr0ng@127.0.0.1:{port}");
    let bot = behind().args(&["--platform-proxy", &address]).start().await;
    bot.wait_for_stderr("proxy authorization required").await;
    let said = bot.stderr();
    assert!(said.contains(&format!("127.0.0.1:{port}")), "{said}");
    assert!(!said.contains("wr0ng"), "{said}");
    bot.stop().await;
    asked.lock().unwrap().clear();
    // What NO_PROXY names is reached directly.
    let bot = telegram(&api, Setup::counter())
        .env("ALL_PROXY", address)
        .env("NO_PROXY", "127.0.0.0/8")
        .start()
        .await;
    api.queues.push([text(1, 7, "hi")]);
    until("a reply", SOON, || api.received("7").len() == 1).await;
    bot.stop().await;
    assert!(asked.lock().unwrap().is_empty(), "{asked:?}");
    // One that is none is a mistake at the start, and is not repeated.
    let ended = behind()
        .env("HTTPS_PROXY", "http://me:wr0ng@x@proxy:1")
        .run_to_end();
    assert_eq!(ended.code, Some(2), "{ended:?}");
    assert!(ended.stderr.contains("HTTPS_PROXY"), "{ended:?}");
    assert!(ended.stderr.contains("%40"), "{ended:?}");
    assert!(!ended.stderr.contains("wr0ng"), "{ended:?}");
}
