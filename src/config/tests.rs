//! Settings become a configuration, or a sentence that says what is wrong.

use super::table::Age;
use super::times::age;
use super::*;

fn config(settings: Settings) -> crate::StartResult<Config> {
    settings.validate(false)
}

fn tcp(host: &str, port: u16) -> Listen {
    Listen::Tcp {
        host: host.to_owned(),
        port,
    }
}

fn refused(settings: Settings) -> String {
    config(settings).unwrap_err().to_string()
}

#[test]
fn defaults_are_those_of_the_help() {
    let config = config(Settings::default()).unwrap();
    assert_eq!(config.processes, Processes::Workers(1));
    assert_eq!(config.listen, tcp("localhost", 8080));
    assert_eq!(config.grace, Duration::from_secs(8));
    assert_eq!(config.sync, Sync::Full);
}

#[test]
fn conflicting_flags_are_refused_by_name() {
    let both = Settings {
        workers: Some(2),
        fast: Some(true),
        ..Settings::default()
    };
    assert!(refused(both).contains("--workers and --fast"));
    let both = Settings {
        workers: Some(2),
        single_process: Some(true),
        ..Settings::default()
    };
    assert!(refused(both).contains("--single-process"));
    let both = Settings {
        fast: Some(true),
        single_process: Some(true),
        ..Settings::default()
    };
    assert!(refused(both).contains("opposites"));
    let none = Settings {
        workers: Some(0),
        ..Settings::default()
    };
    assert!(refused(none).contains("1 to 256"));
}

#[test]
fn a_flag_silences_the_files_choice_of_processes() {
    let file: Settings = toml::from_str("workers = 3\nport = 1234\ngrace = \"2m\"").unwrap();
    let flags = Settings {
        fast: Some(true),
        ..Settings::default()
    };
    let config = config(flags.over(file)).unwrap();
    assert_eq!(config.processes, Processes::Workers(num_cpus::get()));
    assert_eq!(config.listen, tcp("localhost", 1234));
    assert_eq!(config.grace.as_secs(), 120);
}

#[test]
fn a_channel_needs_all_of_its_secrets() {
    let some = Settings {
        facebook_token: Some("t0ken".into()),
        facebook_verify_token: Some("v".into()),
        ..Settings::default()
    };
    let reason = refused(some);
    assert!(reason.contains("TURNKEY_FACEBOOK_SECRET"), "{reason}");
    assert!(!reason.contains("t0ken"), "{reason}");
    let vk = Settings {
        vk_token: Some("t".into()),
        vk_secret: Some("s".into()),
        ..Settings::default()
    };
    let config = config(vk).unwrap();
    assert_eq!(config.updater, Updater::Webhooks);
    assert!(config.vk.is_some() && config.viber.is_none() && config.facebook.is_none());
}

#[test]
fn two_tokens_may_mean_polling() {
    let both = Settings {
        telegram_token: Some("t0ken".into()),
        vk_token: Some("t0ken".into()),
        ..Settings::default()
    };
    let sentence = refused(both.clone());
    assert!(sentence.contains("TURNKEY_VK_SECRET"), "{sentence}");
    assert!(sentence.contains("--updater polling"), "{sentence}");
    let polled = Settings {
        updater: Some(Updater::Polling),
        ..both.clone()
    };
    assert_eq!(config(polled).unwrap().updater, Updater::Polling);
    // Where it would be refused it is not recommended.
    let posted = Settings {
        port: Some(8080),
        ..both
    };
    assert!(!refused(posted).contains("polling"));
}

#[test]
fn one_token_and_nothing_else_is_polled() {
    let telegram = Settings {
        telegram_token: Some("t0ken".into()),
        ..Settings::default()
    };
    let vk = Settings {
        vk_token: Some("t0ken".into()),
        ..Settings::default()
    };
    let of = |settings: &Settings| config(settings.clone()).unwrap().updater;
    assert_eq!(of(&telegram), Updater::Polling);
    assert_eq!(of(&vk), Updater::Polling);
    assert_eq!(of(&Settings::default()), Updater::Webhooks);
    let with_channels = telegram.clone().validate(true).unwrap();
    assert_eq!(with_channels.updater, Updater::Webhooks);
    let of_web_side: [fn(&mut Settings); 7] = [
        |s| s.host = Some("::1".to_owned()),
        |s| s.port = Some(0),
        |s| s.public_url = Some("https://a".to_owned()),
        |s| s.workers = Some(1),
        |s| s.fast = Some(true),
        |s| s.single_process = Some(true),
        |s| s.viber_token = Some("v".into()),
    ];
    for set in of_web_side {
        let mut settings = telegram.clone();
        set(&mut settings);
        assert_eq!(of(&settings), Updater::Webhooks, "{settings:?}");
        settings.updater = Some(Updater::Polling);
        assert!(config(settings).is_err());
    }
    // Other systems may call a bot that polls: their tokens change nothing else.
    let of_calls: [fn(&mut Settings); 2] = [
        |s| s.rpc_token = Some("r".into()),
        |s| s.http_token = Some("h".into()),
    ];
    for set in of_calls {
        let mut settings = telegram.clone();
        assert!(!config(settings.clone()).unwrap().listens());
        set(&mut settings);
        assert_eq!(of(&settings), Updater::Polling);
        assert!(config(settings.clone()).unwrap().listens());
        settings.port = Some(0);
        assert_eq!(of(&settings), Updater::Webhooks);
        settings.updater = Some(Updater::Polling);
        assert_eq!(of(&settings), Updater::Polling);
        settings.workers = Some(2);
        assert!(refused(settings).contains("--port, --workers"));
    }
    let both = Settings {
        vk_token: Some("t0ken".into()),
        vk_secret: Some("s".into()),
        ..telegram.clone()
    };
    assert_eq!(of(&both), Updater::Webhooks);
    let both = Settings {
        updater: Some(Updater::Polling),
        ..both
    };
    assert_eq!(of(&both), Updater::Polling);
    let reason = refused(Settings {
        port: Some(1),
        fast: Some(true),
        ..both
    });
    assert!(reason.contains("--port, --fast"), "{reason}");
}

#[test]
fn storage_addresses() {
    let shown = |url| database(url).unwrap().to_string();
    assert_eq!(shown("sqlite:bot.db"), "bot.db");
    assert_eq!(shown("sqlite:///var/bot.db"), "/var/bot.db");
    for secret in [
        "mysql://a:secret@b",
        "oracle://a:secret@b/c",
        "postgre:a:secret@b/c",
        "a:secret@b/c",
        "a:secret",
        "secret@b",
        "a:s@secret@b/c",
        "postgres://a:s@secret@b/c",
        "postgres://a:s/secret@b/c",
        "postgres://a:s?secret=1@b/c",
        "postgres:a:secret=1",
        "postgres://b/c?user=a&password=s@secret",
        "mysql://a:s@secret@b/c",
        "mariadb://a:s#secret@b/c",
        "mysql:a:secret@b/c",
    ] {
        let refused = database(secret).unwrap_err().to_string();
        assert!(!refused.contains("secret"), "{refused}");
    }
    assert!(
        database("bot.db")
            .unwrap_err()
            .to_string()
            .contains("sqlite:bot.db")
    );
    assert!(database("sqlite:").is_err());
    for odd in [
        "sqlite::memory:",
        "sqlite:bot.db?mode=rwc",
        "sqlite:///var/bot.db?cache=shared",
        "sqlite:file::memory:?cache=shared",
        "sqlite:file:bot.db",
        "sqlite:bot.db#1",
    ] {
        let refused = database(odd).unwrap_err().to_string();
        assert!(refused.contains("write sqlite:bot.db"), "{odd}: {refused}");
    }
}

#[cfg(all(feature = "mysql", feature = "postgres"))]
#[test]
fn a_password_is_not_shown() {
    for engine in ["postgres", "mysql", "mariadb"] {
        let settings = Settings {
            storage: Some(format!("{engine}://ann:hunter2@db/bot").into()),
            ..Settings::default()
        };
        let config = config(settings).unwrap();
        assert!(!format!("{config:?}").contains("hunter2"));
    }
}

#[test]
fn what_is_kept_outlives_the_platforms_patience() {
    assert_eq!(age("90d"), Ok(Duration::from_secs(90 * 86400)));
    assert_eq!(age("48h"), Ok(Duration::from_secs(48 * 3600)));
    assert!(age("0d").is_err() && age("4000d").is_err() && age("xd").is_err());
    let keep = |hours: u64| Settings {
        keep_seen: Some(Age(Duration::from_secs(hours * 3600))),
        ..Settings::default()
    };
    assert!(refused(keep(35)).contains("--keep-seen takes at least 36h"));
    assert!(config(keep(36)).is_ok());
    let names = Settings {
        keep_names: Some(Age(Duration::from_secs(47 * 3600))),
        ..Settings::default()
    };
    assert!(refused(names).contains("--keep-names takes at least 48h"));
}

#[test]
fn times_need_a_unit() {
    assert_eq!(duration("500ms"), Ok(Duration::from_millis(500)));
    assert_eq!(duration("1.5s"), Ok(Duration::from_millis(1500)));
    assert!(duration("8").unwrap_err().contains("unit"));
    assert!(duration("soon").is_err());
}

#[test]
fn addresses_to_listen_on() {
    let of = |text: &str| Listen::parse("--listen", text);
    assert_eq!(of("0.0.0.0:80").unwrap(), tcp("0.0.0.0", 80));
    assert_eq!(of("[::1]:0").unwrap(), tcp("::1", 0));
    assert_eq!(of("unix:/run/b").unwrap(), Listen::Unix("/run/b".into()));
    for wrong in ["8080", ":8080", "::1:8080", "unix:", "a:b", "a:70000"] {
        let reason = of(wrong).unwrap_err().to_string();
        assert!(reason.contains("--listen"), "{wrong}: {reason}");
    }
    for (text, is_local) in [
        ("localhost:1", true),
        ("127.0.0.2:1", true),
        ("[::1]:1", true),
        ("unix:a", true),
        ("0.0.0.0:1", false),
        ("bot.example.org:1", false),
    ] {
        assert_eq!(of(text).unwrap().is_local(), is_local, "{text}");
    }
}

#[test]
fn settings_of_one_thing_come_together() {
    type Set = fn(&mut Settings);
    let cases: &[(&str, Set)] = &[
        ("--listen says it all", |s| {
            s.listen = Some("a:1".to_owned());
            s.port = Some(1);
        }),
        ("also needs --tls-key", |s| s.tls_cert = Some("c".into())),
        ("also needs --tls-cert", |s| s.tls_key = Some("k".into())),
        ("--acme-dir", |s| {
            s.tls_domain = Some("a.example".to_owned())
        }),
        ("leave it to the proxy", |s| {
            s.listen = Some("unix:a".to_owned());
            s.tls_cert = Some("c".into());
        }),
        ("leave out --tls-cert", |s| {
            s.tls_domain = Some("a.example".to_owned());
            s.tls_cert = Some("c".into());
        }),
        ("--acme-contact is for", |s| {
            s.acme_contact = Some("a@b".to_owned())
        }),
        ("not \"*.example.org\"", |s| {
            s.tls_domain = Some("*.example.org".to_owned())
        }),
        ("not \"10.0.0.1\"", |s| {
            s.tls_domain = Some("10.0.0.1".to_owned())
        }),
        ("TURNKEY_ADMIN_TOKEN, or", |s| {
            s.admin = Some("0.0.0.0:81".to_owned())
        }),
        ("for --admin ADDRESS", |s| s.admin_token = Some("t".into())),
        ("are for --backup-dir", |s| s.backup_keep = Some(1)),
        ("--storage sqlite:bot.db too", |s| {
            s.backup_dir = Some("b".into())
        }),
        ("--rate-per-user takes", |s| s.rate_per_user = Some(0)),
    ];
    for (reason, set) in cases {
        let mut settings = Settings::default();
        set(&mut settings);
        let refused = refused(settings);
        assert!(refused.contains(reason), "{refused}");
    }
}
