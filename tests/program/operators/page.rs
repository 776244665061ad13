//! What the status page tells first: what is wrong and what to do, and whose bot it is.

use std::time::{Duration, Instant};

use http_body_util::Full;
use hyper::Request;
use serde_json::{Value, json};

use crate::harness::bot::{Bot, SOON, Setup, until};
use crate::harness::client::{once, say};
use crate::operators::admin::{admin_port, get, setup};

/// Has the handler fail at an update that is ours already.
async fn give_up(bot: &Bot, user: &str) {
    let body = json!({ "user_id": user, "text": "fail" }).to_string();
    let request = Request::post("/http")
        .header("host", "localhost")
        .header("content-type", "application/json")
        .header("prefer", "respond-async")
        .body(Full::from(body))
        .unwrap();
    assert_eq!(once(bot.port, request).await.status, 202);
}

async fn status(port: u16) -> Value {
    get(port, "/status.json").await.json()
}

#[tokio::test]
async fn what_is_wrong_stands_first_with_the_last_lines_of_the_log() {
    let bot = setup(Setup::commands())
        .args(&["--max-attempts", "1"])
        .env("TURNKEY_RPC_TOKEN", "secret-of-rpc-9")
        .start()
        .await;
    let port = admin_port(&bot);
    let well = status(port).await;
    assert_eq!((&well["problems"], &well["log"]), (&json!([]), &json!([])));
    let page = get(port, "/status").await.text();
    assert!(page.contains("Nothing is wrong."), "{page}");

    give_up(&bot, "secret-of-rpc-9").await;
    // Every worker tells the same, at most a second later than the other; which one answers is
    // chance.
    let deadline = Instant::now() + SOON;
    let mut same = 0;
    while same < 6 {
        let told = status(port).await;
        let Some(problem) = told["problems"].get(0) else {
            assert!(Instant::now() < deadline, "it is no dead letter yet");
            same = 0;
            tokio::time::sleep(Duration::from_millis(20)).await;
            continue;
        };
        same += 1;
        let what = problem["what"].as_str().unwrap();
        assert!(
            what.starts_with("1 update of http failed too often and was given up: "),
            "{what}"
        );
        let command = problem["command"].as_str().unwrap();
        assert!(
            command.contains(" dead list --storage sqlite:"),
            "{command}"
        );
        let log = told["log"].as_array().unwrap();
        let lines: Vec<&str> = log.iter().filter_map(|l| l["text"].as_str()).collect();
        assert!(lines.iter().any(|line| line.contains("(secret)")), "{told}");
        assert!(!told.to_string().contains("secret-of-rpc-9"), "{told}");
    }
    let page = get(port, "/status").await.text();
    let place = |part: &str| {
        page.find(part)
            .unwrap_or_else(|| panic!("no {part}: {page}"))
    };
    assert!(place("What is wrong") < place("<h2>Turns</h2>"));
    assert!(place("Last warnings and errors") < place("All lines go to standard error"));
    bot.stop().await.assert_sound();
}

#[tokio::test]
async fn the_page_says_whose_bot_it_is() {
    let bot = setup(Setup::counter())
        .args(&["--name", "Tea <shop>"])
        .start()
        .await;
    let port = admin_port(&bot);
    for user in ["ann", "ann", "bob"] {
        assert_eq!(say(bot.port, user, "hi").await.status, 200);
    }
    let told = status(port).await;
    assert_eq!(told["name"], "Tea <shop>");
    assert_eq!(told["turns"]["by_kind"], json!({ "message": 3 }));
    let channels = told["channels"].as_array().unwrap();
    let http = channels
        .iter()
        .find(|channel| channel["name"] == "http")
        .unwrap();
    assert_eq!(http["turns"], 3);
    assert!(http["last_update_ms"].is_u64(), "{told}");
    assert_eq!(http["last_error"], Value::Null);
    let talkers = &told["talkers"];
    assert!(
        talkers["dialogs"].as_u64().is_some_and(|n| n <= 2),
        "{told}"
    );
    let page = get(port, "/status").await.text();
    assert!(page.contains("Tea &lt;shop&gt;</h1>"), "{page}");
    assert!(page.contains("Channel http"), "{page}");
    assert!(page.contains("turns: message</dt><dd>3"), "{page}");
    bot.stop().await.assert_sound();
}

/// The value of a hidden field of the form on a page.
fn hidden<'a>(page: &'a str, name: &str) -> &'a str {
    let (_, rest) = page
        .split_once(&format!("name=\"{name}\" value=\""))
        .unwrap();
    rest.split_once('"').unwrap().0
}

#[tokio::test]
async fn a_dead_letter_is_dropped_by_a_form_of_ours_and_by_no_other() {
    let bot = setup(Setup::commands())
        .args(&["--max-attempts", "1"])
        .start()
        .await;
    let port = admin_port(&bot);
    give_up(&bot, "ann").await;
    let deadline = Instant::now() + SOON;
    let is_dead = async || {
        let page = get(port, "/status/dead").await.text();
        page.contains(" dead drop http ")
    };
    while !is_dead().await {
        assert!(Instant::now() < deadline, "it is no dead letter yet");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    let page = get(port, "/status/dead").await.text();
    let links = page
        .split("href=\"")
        .filter(|part| part.starts_with("/status/act?do=drop"));
    let link = links.last().unwrap().split('"').next().unwrap();
    let asked = get(port, &link.replace("&amp;", "&")).await.text();
    assert!(asked.contains("Are you sure?"), "{asked}");
    assert!(is_dead().await, "nothing is done yet");

    let post = async |token: &str, origin: &str| {
        let form: String = form_urlencoded::Serializer::new(String::new())
            .append_pair("do", "drop")
            .append_pair("channel", "http")
            .append_pair("update", hidden(&asked, "update"))
            .append_pair("token", token)
            .finish();
        let request = Request::post("/status/act")
            .header("host", "localhost")
            .header("origin", origin)
            .header("content-type", "application/x-www-form-urlencoded")
            .body(Full::from(form))
            .unwrap();
        once(port, request).await
    };
    let token = hidden(&asked, "token");
    for (token, origin) in [
        ("", "http://localhost"),
        ("0123456789abcdef0123456789abcdef", "http://localhost"),
        (token, "http://evil.example"),
    ] {
        assert_eq!(post(token, origin).await.status, 403, "{token} of {origin}");
    }
    assert!(is_dead().await, "no other form does anything");
    let done = post(token, "http://localhost").await;
    assert_eq!(done.status, 200, "{}", done.text());
    let logged = "an operator chose on the status page to throw the update";
    until("it is logged", SOON, || bot.stderr().contains(logged)).await;
    let again = post(token, "http://localhost").await;
    assert_eq!(again.status, 404, "{}", again.text());
    assert!(!is_dead().await);
    bot.stop().await.assert_sound();
}

/// The charts are of the counters that `/metrics` tells, whichever worker answers, however young it
/// is.
#[tokio::test]
async fn the_charts_show_what_the_metrics_count_for_five_minutes_an_hour_and_a_day() {
    let bot = setup(Setup::counter()).start().await;
    let port = admin_port(&bot);
    // The first look of a worker is where the charts begin.
    let begun = async || {
        !status(port).await["series"]["ages"]
            .as_array()
            .unwrap()
            .is_empty()
    };
    let deadline = Instant::now() + SOON;
    while !begun().await {
        assert!(Instant::now() < deadline, "the charts have not begun");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    for user in ["ann", "ann", "bob", "zoe", "zoe"] {
        assert_eq!(say(bot.port, user, "hi").await.status, 200);
    }
    let turns_of = async |span: &str| -> f64 {
        let told = get(port, &format!("/status.json?charts={span}"))
            .await
            .json();
        let series = &told["series"];
        assert_eq!(series["span"], span);
        let list = |name: &str| {
            let list = series[name].as_array().unwrap().iter();
            list.map(|n| n.as_f64().unwrap()).collect::<Vec<_>>()
        };
        let rates = list("turns_per_second");
        let lengths = list("lengths");
        assert_eq!(rates.len(), lengths.len());
        rates
            .iter()
            .zip(&lengths)
            .map(|(rate, length)| rate * length)
            .sum()
    };
    let worker = bot.worker(1).await;
    nix::sys::signal::kill(
        nix::unistd::Pid::from_raw(worker),
        nix::sys::signal::Signal::SIGKILL,
    )
    .unwrap();
    bot.successor("turnkey: worker 1", worker).await;
    for span in ["5m", "1h", "1d"] {
        // A step of two seconds is told of when half of it is over.
        let mut same = 0;
        while same < 6 {
            assert!(
                Instant::now() < deadline,
                "{span}: {}",
                turns_of(span).await
            );
            same = match (turns_of(span).await - 5.0).abs() < 0.01 {
                true => same + 1,
                false => 0,
            };
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }
    let metrics = get(port, "/metrics").await.text();
    assert!(metrics.contains("\nturnkey_turns_total 5\n"), "{metrics}");
    let page = get(port, "/status?charts=1d").await.text();
    assert!(page.contains("<a href=\"/status?charts=1d\" aria-current=\"true\">1 day</a>"));
    assert!(page.contains("Turns a second, the last day") && page.contains("24 h ago"));
    bot.stop().await.assert_sound();
}
