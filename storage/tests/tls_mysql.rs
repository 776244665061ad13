//! TLS to a real MariaDB server: every `ssl-mode`, with certificates that fit and some
//! that do not, and what is said then.

#![cfg(all(feature = "mysql", feature = "postgres"))]
#![allow(clippy::unwrap_used)]

mod common;

use std::fs;
use std::os::unix::fs::PermissionsExt;

use common::block_on;
use common::server::{Kind, TestServer};
use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair};
use turnkey_storage::{Error, Statement};

fn params(name: &str, host: Option<&str>) -> CertificateParams {
    let hosts: Vec<String> = host.map(str::to_owned).into_iter().collect();
    let mut params = CertificateParams::new(hosts).unwrap();
    params.distinguished_name.push(DnType::CommonName, name);
    params
}

/// The certificate of an authority, and a certificate for `host` that it signed, with
/// its key; all in PEM.
fn made(host: &str) -> [String; 3] {
    let mut authority = params("an authority", None);
    authority.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let authority_key = KeyPair::generate().unwrap();
    let root = authority.self_signed(&authority_key).unwrap();
    let key = KeyPair::generate().unwrap();
    let issuer = Issuer::new(authority, authority_key);
    let certificate = params("a server", Some(host))
        .signed_by(&key, &issuer)
        .unwrap();
    [root.pem(), certificate.pem(), key.serialize_pem()]
}

#[test]
fn every_ssl_mode_does_what_it_says() {
    let dir = tempfile::tempdir().unwrap();
    fs::set_permissions(dir.path(), fs::Permissions::from_mode(0o755)).unwrap();
    let [root, certificate, key] = made("localhost");
    let file = |name: &str, text: &str| {
        let path = dir.path().join(name);
        fs::write(&path, text).unwrap();
        path.to_str().unwrap().to_owned()
    };
    let root = file("root.pem", &root);
    let stranger = file("stranger.pem", &made("localhost")[0]);
    let certificate = format!("ssl-cert={}", file("certificate.pem", &certificate));
    let key = format!("ssl-key={}", file("key.pem", &key));
    let secure = ["--port", "-c", &certificate, "-c", &key];
    let Some(secure) = TestServer::start_with(Kind::Mysql, &secure) else {
        return;
    };
    let Some(plain) = TestServer::start_with(Kind::Mysql, &["--port", "-c", "ssl=0"]) else {
        return;
    };
    block_on(async {
        let name = secure.prepared(&[]).await;
        let by_number = secure.url(&name);
        let by_name = by_number.replace("127.0.0.1", "localhost");
        assert_ne!(by_number, by_name);
        let plain = plain.url(&plain.prepared(&[]).await);
        for (url, parameters, outcome) in [
            (&by_number, String::new(), Ok(true)),
            (&by_number, "ssl-mode=DISABLED".to_owned(), Ok(false)),
            (&by_number, "ssl-mode=preferred".to_owned(), Ok(true)),
            (&by_number, "ssl-mode=REQUIRED".to_owned(), Ok(true)),
            (&by_name, format!("ssl-ca={root}"), Ok(true)),
            (
                &by_name,
                format!("ssl-ca={stranger}"),
                Err("check ?ssl-ca="),
            ),
            (
                &by_name,
                format!("ssl-mode=VERIFY_CA&ssl-ca={root}"),
                Ok(true),
            ),
            (
                &by_number,
                format!("ssl-mode=VERIFY_IDENTITY&ssl-ca={root}"),
                Err("check ?ssl-ca="),
            ),
            (
                &by_name,
                format!("ssl-mode=VERIFY_IDENTITY&ssl-ca={root}"),
                Ok(true),
            ),
            (
                &by_name,
                format!("ssl-mode=VERIFY_CA&ssl-ca={stranger}"),
                Err("check ?ssl-ca="),
            ),
            // Nobody whom browsers trust has signed it.
            (
                &by_name,
                "ssl-mode=VERIFY_CA".to_owned(),
                Err("check ?ssl-ca="),
            ),
            (&plain, String::new(), Ok(false)),
            (
                &plain,
                "ssl-mode=REQUIRED".to_owned(),
                Err("let the server have a certificate"),
            ),
        ] {
            let url = format!("{url}?{parameters}");
            match (Kind::Mysql.prepare(&url, &[]).await, outcome) {
                (Ok(()), Ok(encrypted)) => {
                    let storage = Kind::Mysql.open(&url);
                    let cipher = "SELECT VARIABLE_VALUE <> '' AS it \
                                  FROM information_schema.SESSION_STATUS \
                                  WHERE VARIABLE_NAME = 'Ssl_cipher'";
                    let rows = storage.query(None, Statement::new(cipher, ())).await;
                    let it: bool = rows.unwrap()[0].get("it").unwrap();
                    assert_eq!(it, encrypted, "{url}");
                }
                (Err(Error::Open(why)), Err(words)) => {
                    let why = why.to_string();
                    assert!(why.contains(words), "{url}: {why}");
                }
                (got, wanted) => panic!("{url}: {got:?}, not {wanted:?}"),
            }
        }
    });
}
