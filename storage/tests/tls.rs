//! TLS to a real PostgreSQL server: every `sslmode` against every kind of
//! certificate, and what is said when it does not fit.

#![cfg(feature = "postgres")]
#![allow(clippy::unwrap_used)]

mod common;

use std::fs;
use std::os::unix::fs::{PermissionsExt, chown};
use std::path::{Path, PathBuf};

use common::block_on;
use common::server::{Kind, TestServer};
use nix::unistd::{User, geteuid};
use rcgen::{BasicConstraints, Certificate, CertificateParams, IsCa, Issuer, KeyPair};
use turnkey_storage::postgres::{Server, connect, prepare};
use turnkey_storage::{Error, Statement, Storage, Sync};

/// A server that also listens on TCP, and what it was given.
struct Secure {
    _server: TestServer,
    port: u16,
    dir: tempfile::TempDir,
}

/// A certificate and its key.
struct Made {
    certificate: Certificate,
    key: KeyPair,
}

/// One that signs others, or itself.
fn authority(name: &str, names: &[&str]) -> (Made, CertificateParams) {
    let mut params =
        CertificateParams::new(Vec::from_iter(names.iter().map(|n| (*n).to_owned()))).unwrap();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params
        .distinguished_name
        .push(rcgen::DnType::CommonName, name);
    let key = KeyPair::generate().unwrap();
    let certificate = params.self_signed(&key).unwrap();
    (Made { certificate, key }, params)
}

fn signed_by(authority: (Made, CertificateParams), names: &[&str]) -> Made {
    let params =
        CertificateParams::new(Vec::from_iter(names.iter().map(|n| (*n).to_owned()))).unwrap();
    let key = KeyPair::generate().unwrap();
    let issuer = Issuer::new(authority.1, authority.0.key);
    let certificate = params.signed_by(&key, &issuer).unwrap();
    Made { certificate, key }
}

impl Secure {
    /// None when there is no server on this machine.
    fn start(made: Option<&Made>) -> Option<Self> {
        let dir = tempfile::tempdir().unwrap();
        let open = |path: &Path, mode| fs::set_permissions(path, fs::Permissions::from_mode(mode));
        open(dir.path(), 0o755).unwrap();
        let write = |name: &str, text: &str| {
            let path = dir.path().join(name);
            fs::write(&path, text).unwrap();
            path
        };
        let rules = "local all all trust\n\
                     hostssl all scram all scram-sha-256\n\
                     hostnossl all plain all trust\n\
                     hostssl all plain all reject\n\
                     host all turnkey all trust\n";
        let mut parameters = vec![format!("hba_file={}", write("hba.conf", rules).display())];
        if let Some(made) = made {
            let certificate = write("server.crt", &made.certificate.pem());
            let key = write("server.key", &made.key.serialize_pem());
            open(&key, 0o600).unwrap();
            if geteuid().is_root() {
                // As whom scripts/services starts the server.
                let user = ["postgres", "nobody"]
                    .into_iter()
                    .find_map(|name| User::from_name(name).unwrap())
                    .unwrap();
                chown(&key, Some(user.uid.as_raw()), None).unwrap();
            }
            parameters.push("ssl=on".to_owned());
            parameters.push(format!("ssl_cert_file={}", certificate.display()));
            parameters.push(format!("ssl_key_file={}", key.display()));
        }
        let mut arguments = vec!["--port"];
        for parameter in &parameters {
            arguments.extend(["-c", parameter]);
        }
        let server = TestServer::start_with(Kind::Postgres, &arguments)?;
        let url = server.url("");
        let port = url
            .rsplit_once(':')?
            .1
            .trim_end_matches('/')
            .parse()
            .unwrap();
        Some(Secure {
            _server: server,
            port,
            dir,
        })
    }

    fn file(&self, name: &str, text: &str) -> PathBuf {
        let path = self.dir.path().join(name);
        fs::write(&path, text).unwrap();
        path
    }

    fn url(&self, user: &str, host: &str, rest: &str) -> String {
        format!("postgres://{user}@{host}:{}/postgres?{rest}", self.port)
    }

    /// Whether the connection is encrypted, or why there is none.
    async fn try_as(&self, user: &str, host: &str, rest: &str) -> Result<bool, String> {
        let sentence = |error: Error| match error {
            Error::Open(why) => why.to_string(),
            other => panic!("{other:?}"),
        };
        let server = Server::parse(&self.url(user, host, rest)).map_err(sentence)?;
        prepare(&server, Sync::Full, &[]).await.map_err(sentence)?;
        let storage = connect(&server, Sync::Full).unwrap();
        let ask = "SELECT ssl FROM pg_stat_ssl WHERE pid = pg_backend_pid()";
        let rows = storage.query(None, Statement::new(ask, ())).await.unwrap();
        Ok(rows[0].get("ssl").unwrap())
    }

    async fn attempt(&self, host: &str, rest: &str) -> Result<bool, String> {
        self.try_as("turnkey", host, rest).await
    }

    async fn refused(&self, host: &str, rest: &str, words: &str) {
        let sentence = self.attempt(host, rest).await.unwrap_err();
        assert!(sentence.contains(words), "{rest}: {sentence}");
        assert_eq!(sentence.lines().count(), 1, "{sentence}");
    }
}

#[test]
fn every_mode_with_a_certificate_that_an_authority_signed() {
    let root = authority("root", &[]);
    let root_pem = root.0.certificate.pem();
    let other_pem = authority("other", &[]).0.certificate.pem();
    let Some(server) = Secure::start(Some(&signed_by(root, &["localhost"]))) else {
        return;
    };
    block_on(async {
        let root = format!(
            "sslrootcert={}",
            server.file("root.crt", &root_pem).display()
        );
        let other = format!(
            "sslrootcert={}",
            server.file("other.crt", &other_pem).display()
        );
        for (rest, encrypted) in [
            (String::new(), true),
            ("sslmode=disable".to_owned(), false),
            ("sslmode=prefer".to_owned(), true),
            ("sslmode=require".to_owned(), true),
            (format!("sslmode=prefer&{other}"), true),
            (format!("sslmode=require&{root}"), true),
            (format!("sslmode=verify-ca&{root}"), true),
            (format!("sslmode=verify-full&{root}"), true),
        ] {
            assert_eq!(
                server.attempt("localhost", &rest).await,
                Ok(encrypted),
                "{rest}"
            );
        }
        // The certificate has the name, not the number.
        let by_number = format!("sslmode=verify-ca&{root}");
        assert_eq!(server.attempt("127.0.0.1", &by_number).await, Ok(true));
        let by_number = format!("sslmode=verify-full&{root}");
        server
            .refused("127.0.0.1", &by_number, "verify-ca to let any name pass")
            .await;
        for rest in [
            format!("sslmode=require&{other}"),
            format!("sslmode=verify-ca&{other}"),
            format!("sslmode=verify-full&{other}"),
            "sslmode=verify-ca".to_owned(),
            "sslmode=verify-full".to_owned(),
            "sslmode=verify-full&sslrootcert=system".to_owned(),
            "sslrootcert=system".to_owned(),
        ] {
            server
                .refused("localhost", &rest, "?sslrootcert=PATH")
                .await;
        }
        let garbage = server.file("garbage.crt", "-----BEGIN CERTIFICATE-----\nxxxx\n");
        let garbage = format!("sslmode=verify-ca&sslrootcert={}", garbage.display());
        server
            .refused("localhost", &garbage, "is not a file of certificates")
            .await;
    });
}

#[test]
fn a_certificate_that_is_its_own_root_can_be_named() {
    let own = authority("localhost", &["localhost"]).0;
    let Some(server) = Secure::start(Some(&own)) else {
        return;
    };
    block_on(async {
        let root = server.file("root.crt", &own.certificate.pem());
        let root = format!("sslmode=verify-full&sslrootcert={}", root.display());
        assert_eq!(server.attempt("localhost", &root).await, Ok(true));
        server
            .refused("127.0.0.1", &root, "certificate has it")
            .await;
        server
            .refused("localhost", "sslmode=verify-ca", "?sslrootcert=PATH")
            .await;
    });
}

#[test]
fn a_certificate_that_is_over_is_refused() {
    let key = KeyPair::generate().unwrap();
    let mut params = CertificateParams::new(vec!["localhost".to_owned()]).unwrap();
    params.not_after = rcgen::date_time_ymd(2020, 1, 1);
    let own = Made {
        certificate: params.self_signed(&key).unwrap(),
        key,
    };
    let Some(server) = Secure::start(Some(&own)) else {
        return;
    };
    block_on(async {
        let root = server.file("root.crt", &own.certificate.pem());
        let root = format!("sslmode=verify-ca&sslrootcert={}", root.display());
        server.refused("localhost", &root, "in force").await;
        assert_eq!(
            server.attempt("localhost", "sslmode=require").await,
            Ok(true)
        );
    });
}

#[test]
fn a_server_without_tls_is_refused_when_it_is_asked_for() {
    let Some(server) = Secure::start(None) else {
        return;
    };
    block_on(async {
        assert_eq!(server.attempt("localhost", "").await, Ok(false));
        for rest in [
            "sslmode=require",
            "sslmode=verify-ca",
            "sslmode=verify-full",
        ] {
            server
                .refused("localhost", rest, "ssl = on in postgresql.conf")
                .await;
        }
    });
}

#[test]
fn passwords_are_bound_to_the_channel_and_prefer_takes_what_there_is() {
    let Some(server) = Secure::start(Some(&signed_by(authority("root", &[]), &["localhost"])))
    else {
        return;
    };
    block_on(async {
        let (client, connection) = tokio_postgres::connect(
            &server.url("turnkey", "localhost", ""),
            tokio_postgres::NoTls,
        )
        .await
        .unwrap();
        tokio::spawn(connection);
        let users = "CREATE USER scram SUPERUSER PASSWORD 'right'; CREATE USER plain SUPERUSER";
        client.batch_execute(users).await.unwrap();
        let bound = "sslmode=require&channel_binding=require";
        assert_eq!(
            server.try_as("scram:right", "localhost", bound).await,
            Ok(true)
        );
        let wrong = server
            .try_as("scram:wrong", "localhost", bound)
            .await
            .unwrap_err();
        assert!(wrong.contains("check the user and the password"), "{wrong}");
        // Its rule lets nobody in who comes with TLS.
        assert_eq!(server.try_as("plain", "localhost", "").await, Ok(false));
        let required = server.try_as("plain", "localhost", "sslmode=require").await;
        assert!(required.unwrap_err().contains("pg_hba.conf"));
    });
}
