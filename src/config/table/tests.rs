//! How a row works: in the file, at its bounds, at a reload, on the status page.

use std::collections::HashMap;
use std::ffi::OsString;

use super::super::secrets::variable;
use super::super::settings::described;
use super::super::times::{age, written};
use super::super::*;

fn config(settings: Settings) -> crate::StartResult<Config> {
    settings.validate(false)
}

fn refused(settings: Settings) -> String {
    config(settings).unwrap_err().to_string()
}

#[test]
fn an_unknown_setting_in_the_file_is_named() {
    for (text, says) in [
        (
            "wokers = 3",
            "line 1, wokers: there is no such setting; did you mean workers?",
        ),
        (
            "\nhttp_token = \"hush\"",
            "line 2, http_token: there is no such setting; did you mean http-token?",
        ),
        ("TURNKEY_WORKERS = 2", "did you mean workers?"),
        ("config = \"a\"", "run --help lists them"),
        ("[workers]\nhush = 1", "line 1"),
    ] {
        let error = parse(text).unwrap_err();
        assert!(error.contains(says), "{error}");
        assert!(
            !error.contains("hush") && !error.contains("`port`"),
            "{error}"
        );
    }
}

/// The name that the file knows is serde's, all others are the table's.
#[test]
fn the_file_knows_each_setting_by_its_name() {
    for row in described() {
        let wrong = format!("{} = {{}}", row.name);
        let error = parse(&wrong).unwrap_err();
        assert!(
            error.starts_with(&format!("line 1, {}: ", row.name)),
            "{error}"
        );
        assert!(!error.contains("no such setting"), "{error}");
    }
}

#[test]
fn each_setting_is_refused_by_its_bounds_wherever_it_stands() {
    for (text, says) in [
        ("workers = 257", "--workers takes 1 to 256, not 257"),
        (
            "max-header = 8191",
            "--max-header takes at least 8192, not 8191",
        ),
        ("max-attempts = 0", "--max-attempts takes at least 1, not 0"),
        (
            "telegram-rate = 100001",
            "--telegram-rate takes 1 to 100000, not 100001",
        ),
        (
            "worker-timeout = \"2s\"",
            "--worker-timeout takes at least 3s: workers give",
        ),
        (
            "vk-api-url = \"vk.com\"",
            "--vk-api-url takes an address such as http",
        ),
        (
            "http-token = \"\"",
            "http-token (TURNKEY_HTTP_TOKEN) is empty",
        ),
    ] {
        let refused = refused(parse(text).unwrap());
        assert!(refused.contains(says), "{refused}");
    }
    let many = config(parse("max-turns = 2000000\nrate-per-user = 2000000").unwrap()).unwrap();
    assert_eq!(
        (many.max_turns, many.rates.user),
        (1_000_000, Some(1_000_000))
    );
}

#[test]
fn a_reload_takes_what_it_can() {
    let old = config(parse("admin = \"127.0.0.1:1\"\nstorage = \"sqlite:a\"").unwrap()).unwrap();
    let new = "workers = 3\nport = 1\nstorage = \"sqlite:b\"\nsync = \"normal\"\nhistory = true\nlog = \"json\"
        user = \"bot\"\nlog-file = \"l\"\nadmin = \"0.0.0.0:2\"\nadmin-token = \"t\"\nhttp-token = \"h\"
        tls-cert = \"c\"\ntls-key = \"k\"";
    let mut new = config(parse(new).unwrap()).unwrap();
    let mut changed = new.keep_fixed(&old);
    changed.sort();
    assert_eq!(
        changed,
        [
            "--admin",
            "--log",
            "--log-file",
            "--port",
            "--storage",
            "--sync",
            "--tls-cert or --tls-domain",
            "--user"
        ]
    );
    assert_eq!(
        (&new.listen, &new.tls, new.sync),
        (&old.listen, &old.tls, old.sync)
    );
    assert_eq!((new.log, &new.log_file, &new.user), (old.log, &None, &None));
    assert_eq!(new.database.as_ref().unwrap().to_string(), "a");
    let admin = new.admin.as_ref().unwrap();
    assert_eq!(
        (&admin.listen, &admin.token),
        (&Listen::parse("--admin", "127.0.0.1:1").unwrap(), &None)
    );
    assert_eq!(new.processes, Processes::Workers(3));
    assert!(new.history && new.http.token.is_some());
    // Nothing is left to say about what stayed.
    assert_eq!(new.clone().keep_fixed(&new), [""; 0]);
}

/// A bot that only asks has no socket, until a restart.
#[test]
fn tokens_beside_polling_take_a_restart() {
    let of = |more: &str| config(parse(&format!("telegram-token = \"t\"\n{more}")).unwrap());
    let listen = |config: &Config| {
        let mut shown = config.shown().into_iter();
        shown.find(|(name, _)| name == "listen").unwrap().1
    };
    let (alone, called) = (of("").unwrap(), of("rpc-token = \"r\"").unwrap());
    assert_eq!(listen(&alone), "nowhere");
    assert_eq!(listen(&called), "localhost:8080");
    let says = ["TURNKEY_RPC_TOKEN or TURNKEY_HTTP_TOKEN beside polling"];
    assert_eq!(called.clone().keep_fixed(&alone), says);
    assert_eq!(alone.clone().keep_fixed(&called), says);
    let both = of("rpc-token = \"r\"\nhttp-token = \"h\"").unwrap();
    assert_eq!(both.clone().keep_fixed(&called), [""; 0]);
}

#[test]
fn an_operator_is_shown_what_is_in_force() {
    let text = "fast = true\nadmin = \"[::1]:1\"\nhttp-token = \"hush\"\nkeep-history = \"90d\"";
    let config = config(parse(text).unwrap()).unwrap();
    let shown = config.shown();
    let of = |name: &str| {
        let line = shown.iter().find(|(shown, _)| shown == name);
        line.map(|(_, value)| value.as_str())
    };
    assert_eq!(of("workers"), Some(&*num_cpus::get().to_string()));
    assert_eq!(of("listen"), Some("localhost:8080"));
    assert_eq!((of("host"), of("updater")), (None, Some("webhooks")));
    assert_eq!((of("grace"), of("keep-seen")), (Some("8s"), Some("72h")));
    assert_eq!(of("keep-names"), Some("365d"));
    assert_eq!(
        (of("keep-history"), of("max-age")),
        (Some("90d"), Some("never"))
    );
    assert_eq!(
        (of("http-token"), of("vk-token")),
        (Some("set"), Some("not set"))
    );
    assert_eq!(of("admin"), Some("[::1]:1"));
}

/// Also of one that is added later: it is of the type `Secret`.
#[test]
fn no_secret_is_ever_shown() {
    let text = "admin = \"127.0.0.1:0\"\nwhatsapp-phone-number-id = \"1\"";
    let mut settings = parse(text).unwrap();
    let names: Vec<String> = settings
        .secrets()
        .into_iter()
        .map(|(row, _)| row.name)
        .collect();
    assert!(
        names.contains(&"facebook-verify-token".to_owned()),
        "{names:?}"
    );
    let values: HashMap<String, String> = names
        .iter()
        .map(|name| (variable(name), format!("hush-{name}")))
        .collect();
    let proxy = "http://bot:pa55word@proxy:3128";
    let get = |name: &str| match name {
        "TURNKEY_PLATFORM_PROXY" => Some(OsString::from(proxy)),
        name => values.get(name).map(OsString::from),
    };
    let url = match cfg!(feature = "postgres") {
        true => "postgres://bot:pa55word@db/bot",
        false => "sqlite:bot.db",
    };
    settings.storage = Some(url.into());
    settings.read_secrets(&get).unwrap();
    assert_eq!(settings.storage.as_deref(), Some(url), "a flag wins");
    assert_eq!(settings.platform_proxy.as_deref(), Some(proxy));
    let config = config(settings.clone()).unwrap();
    let token = config.rpc_token.as_deref();
    assert_eq!(token, Some("hush-rpc-token"), "it was read");
    let shown = format!("{settings:?} {config:?} {config:#?} {:?}", config.shown());
    for (name, secret) in &values {
        assert!(!shown.contains(secret), "{name} is shown");
    }
    assert!(
        !shown.contains("pa55word"),
        "the password of the database or the proxy is shown"
    );
    let line = ("platform-proxy".to_owned(), "http://proxy:3128".to_owned());
    assert!(config.shown().contains(&line));
}

#[test]
fn times_are_written_as_they_are_read() {
    for text in ["500ms", "1500ms", "8s", "60s", "1h", "72h", "90d", "7d"] {
        assert_eq!(written(age(text).unwrap()), text);
    }
}
