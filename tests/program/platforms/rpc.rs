//! `POST /rpc/{channel}/{user_id}`: another system starts turns, by JSON-RPC 2.0.

use bytes::Bytes;
use http_body_util::Full;
use hyper::Request;
use serde_json::{Value, json};

use crate::harness::api::Api;
use crate::harness::bot::{Bot, SOON, Setup, until};
use crate::harness::client::{Answer, once, post};

const TOKEN: &str = "token of the shop";

fn call(path: &str, body: impl Into<Bytes>) -> Request<Full<Bytes>> {
    let mut request = post(path, body);
    let token = format!("Bearer {TOKEN}").parse().unwrap();
    request.headers_mut().insert("authorization", token);
    request
}

fn body(id: Value, method: &str, params: Value) -> Value {
    json!({"jsonrpc": "2.0", "id": id, "method": method, "params": params})
}

async fn ask(bot: &Bot, path: &str, body: &Value) -> Value {
    let answer = once(bot.port, call(path, body.to_string())).await;
    assert_eq!(answer.status, 200, "{}", answer.text());
    answer.json()
}

async fn start(api: &Api) -> Bot {
    let setup = Setup::commands().args(&["--workers", "2"]);
    let setup = setup.env("TURNKEY_RPC_TOKEN", TOKEN);
    api.configure(setup).start().await
}

#[tokio::test]
async fn a_call_is_a_turn_and_its_replies_are_sent() {
    let api = Api::start();
    let bot = start(&api).await;
    assert!(bot.stderr().contains(", /rpc/…."), "{}", bot.stderr());
    let paid = body(json!("order-7"), "paid", json!({"order": 7}));
    let first = ask(&bot, "/rpc/telegram/7", &paid).await;
    assert_eq!(
        first,
        json!({"jsonrpc": "2.0", "id": "order-7",
            "result": {"update": "rpc:7:\"order-7\"", "replies": 1}})
    );
    until("a reply", SOON, || api.accepted() == 1).await;
    assert_eq!(api.received("7"), [r#"1: rpc paid {"order":7}"#]);
    // The same call has no second effect, also after a restart.
    assert_eq!(ask(&bot, "/rpc/telegram/7", &paid).await, first);
    let bot = bot.kill_all().await.start().await;
    assert_eq!(ask(&bot, "/rpc/telegram/7", &paid).await, first);
    let other = body(json!("order-7"), "paid", json!({"order": 8}));
    let refused = ask(&bot, "/rpc/telegram/7", &other).await;
    assert_eq!(refused["error"]["code"], -32002);
    // Another user's id is another's, and so is 1 beside "1".
    for (user, id) in [("8", json!("order-7")), ("8", json!(1)), ("8", json!("1"))] {
        let answer = ask(
            &bot,
            &format!("/rpc/telegram/{user}"),
            &body(id, "x", json!([])),
        )
        .await;
        assert_eq!(answer["result"]["replies"], 1, "{answer}");
    }
    // Viber's ids have characters that a path has not.
    let viber = body(json!(1), "x", json!([1]));
    ask(&bot, "/rpc/viber/0123%2F%2B567890A%3D", &viber).await;
    until("it is sent", SOON, || {
        api.received("0123/+567890A=").len() == 1
    })
    .await;
    // Where there is nobody to send to, the replies are in the result.
    let plain = ask(&bot, "/rpc/http/ann", &body(json!(1), "x", json!([]))).await;
    assert_eq!(plain["result"]["replies"], json!([{"text": "1: rpc x []"}]));
    let setup = bot.stop().await;
    assert_eq!((setup.count("7"), setup.count("8")), (1, 3));
    setup.assert_sound();
}

#[tokio::test]
async fn errors_are_those_of_the_standard() {
    let api = Api::start();
    let bot = start(&api).await;
    let path = "/rpc/telegram/7";
    for (sent, code, id) in [
        ("{", -32700, Value::Null),
        ("", -32700, Value::Null),
        ("[]", -32600, Value::Null),
        ("1", -32600, Value::Null),
        ("{}", -32600, Value::Null),
        (r#"{"jsonrpc":"1.0","method":"x","id":1}"#, -32600, json!(1)),
        // Whoever sent it finds the answer by its id, whatever else is wrong.
        (r#"{"jsonrpc":"2.0","method":1,"id":1}"#, -32600, json!(1)),
        (r#"{"method":"x","id":"a"}"#, -32600, json!("a")),
        (r#"{"jsonrpc":2.0,"method":"x","id":7}"#, -32600, json!(7)),
        (r#"{"jsonrpc":null,"id":7}"#, -32600, json!(7)),
        (r#"{"jsonrpc":"2.0","id":-1}"#, -32600, json!(-1)),
        (r#"{"jsonrpc":"2.0","method":"x"}x"#, -32700, Value::Null),
        (
            r#"{"jsonrpc":"2.0","method":"x","params":1,"id":1}"#,
            -32600,
            json!(1),
        ),
        (
            r#"{"jsonrpc":"2.0","method":"x","id":[]}"#,
            -32600,
            Value::Null,
        ),
        (
            r#"{"jsonrpc":"2.0","method":"fail","id":"a"}"#,
            -32000,
            json!("a"),
        ),
    ] {
        let answer = once(bot.port, call(path, sent.to_owned())).await;
        assert_eq!(answer.status, 200, "{sent}");
        let answer = answer.json();
        assert_eq!(answer["error"]["code"], code, "{sent}: {answer}");
        assert_eq!(answer["id"], id, "{sent}: {answer}");
        assert_eq!(answer["jsonrpc"], "2.0");
    }
    let without = |request: Request<Full<Bytes>>| once(bot.port, request);
    let sent = body(json!(1), "x", json!([])).to_string();
    assert_eq!(without(post(path, sent.clone())).await.status, 401);
    assert_eq!(
        without(call("/rpc/other/7", sent.clone())).await.status,
        404
    );
    assert_eq!(
        without(call("/rpc/telegram/", sent.clone())).await.status,
        400
    );
    let mut get = call(path, sent.clone());
    *get.method_mut() = hyper::Method::GET;
    assert_eq!(without(get).await.status, 405);
    let large = call(path, vec![b' '; 2 << 20]);
    assert_eq!(without(large).await.status, 413);
    bot.stop().await;
    assert!(api.calls().is_empty());
    // Nothing is served without a token.
    let bot = Setup::counter().start().await;
    assert_eq!(
        once(bot.port, call("/rpc/http/ann", sent)).await.status,
        404
    );
    bot.stop().await;
}

#[tokio::test]
async fn notifications_and_batches() {
    let api = Api::start();
    let bot = start(&api).await;
    let path = "/rpc/vk/7";
    let note = json!({"jsonrpc": "2.0", "method": "note"});
    for _ in 0..2 {
        let Answer { status, body, .. } = once(bot.port, call(path, note.to_string())).await;
        assert_eq!((status, body.len()), (204, 0));
    }
    let batch = json!([
        body(json!(1), "one", json!([])),
        note,
        {"jsonrpc": "2.0"},
        body(json!(2), "two", json!([])),
    ]);
    let answers = ask(&bot, path, &batch).await;
    let ids: Vec<_> = answers
        .as_array()
        .unwrap()
        .iter()
        .map(|a| &a["id"])
        .collect();
    assert_eq!(ids, [&json!(1), &Value::Null, &json!(2)]);
    assert_eq!(answers[1]["error"]["code"], -32600);
    until("5 replies", SOON, || api.received("7").len() == 5).await;
    let [one, three, two] = ["3: rpc one []", "4: rpc note null", "5: rpc two []"];
    assert_eq!(api.received("7")[2..], [one, three, two], "in order");
    let only = json!([note, note]);
    assert_eq!(
        once(bot.port, call(path, only.to_string())).await.status,
        204
    );
    bot.stop().await.assert_sound();
}

/// No reading and writing changes an id or a number: not the one beyond 2^53, which is a
/// neighbour's as a float.
#[tokio::test]
async fn ids_and_numbers_of_any_size_stay_as_they_are() {
    let api = Api::start();
    let bot = start(&api).await;
    let ids = [
        "123456789012345678901234567890",
        "123456789012345678901234567891",
        "9007199254740993",
        "9007199254740992",
        "1.0",
        "1",
        "1e400",
        "-0",
        r#""1""#,
        r#""\ud800""#,
    ];
    let calls: Vec<String> = ids
        .iter()
        .map(|id| format!(r#" {{ "jsonrpc": "2.0", "method": "m", "id": {id} }}"#))
        .collect();
    let batch = format!("[{}]", calls.join(","));
    let answers = once(bot.port, call("/rpc/telegram/7", batch.clone())).await;
    let text = answers.text();
    for (place, id) in ids.iter().enumerate() {
        assert_eq!(
            text.matches(&format!(r#""id":{id}}}"#)).count(),
            1,
            "{id}: {text}"
        );
        assert!(answers.text().contains(r#""result":"#), "{place}: {text}");
    }
    assert!(!text.contains("error"), "{text}");
    until("a turn each", SOON, || api.received("7").len() == ids.len()).await;
    // Again, and nothing happens again.
    assert_eq!(
        once(bot.port, call("/rpc/telegram/7", batch)).await.text(),
        text
    );
    // Calls that differ in a number only are different calls.
    let with = |number: &str| {
        format!(r#"{{"jsonrpc":"2.0","method":"m","id":"n","params":{{"b":[{number}], "a":1}}}}"#)
    };
    let first = once(
        bot.port,
        call("/rpc/telegram/7", with("12345678901234567890123")),
    )
    .await;
    assert!(first.text().contains("result"), "{}", first.text());
    let other = once(
        bot.port,
        call("/rpc/telegram/7", with("12345678901234567890124")),
    )
    .await;
    assert_eq!(other.json()["error"]["code"], -32002);
    // The same in another way of writing it is the same.
    let same = r#"{"id":"n","params":{"a":1,"b":[12345678901234567890123]},"method":"\u006d","jsonrpc":"2.0"}"#;
    assert_eq!(
        once(bot.port, call("/rpc/telegram/7", same)).await.text(),
        first.text()
    );
    let deep = format!(
        r#"{{"jsonrpc":"2.0","method":"m","id":"d","params":{}1{}}}"#,
        "[".repeat(400_000),
        "]".repeat(400_000)
    );
    let answer = once(bot.port, call("/rpc/telegram/7", deep)).await;
    assert_eq!(answer.json()["error"]["code"], -32600);
    let setup = bot.stop().await;
    assert_eq!(setup.count("7"), ids.len() as u64 + 1);
}
