//! What is wrong with a certificate or its key is said so that it can be mended.

use std::fs;

use crate::harness::bot::Setup;
use crate::harness::certificate::Authority;

#[tokio::test]
async fn each_way_to_get_a_pem_file_wrong_has_its_sentence() {
    let setup = Setup::counter();
    let authority = Authority::new();
    let (cert, key) = authority.issue(setup.dir.path());
    let write = |name: &str, bytes: &[u8]| {
        let path = setup.path(name);
        fs::write(&path, bytes).unwrap();
        path
    };
    let marked = |mark: &[u8], path: &std::path::Path| [mark, &fs::read(path).unwrap()].concat();
    let with_bom = write("bom.pem", &marked(b"\xef\xbb\xbf", &cert));
    let key_with_bom = write("bom-key.pem", &marked(b"\xef\xbb\xbf", &key));
    let wide = write("wide.pem", &marked(b"\xff\xfe", &cert));
    let encrypted = write(
        "encrypted.pem",
        b"-----BEGIN ENCRYPTED PRIVATE KEY-----\nMIGj\n-----END ENCRYPTED PRIVATE KEY-----\n",
    );
    let old = write(
        "old.pem",
        b"-----BEGIN RSA PRIVATE KEY-----\nProc-Type: 4,ENCRYPTED\nDEK-Info: AES-128-CBC,00\n\nMIGj\n-----END RSA PRIVATE KEY-----\n",
    );
    for (cert, key, parts) in [
        (&with_bom, &key, ["bom.pem", "byte order mark"]),
        (&cert, &key_with_bom, ["bom-key.pem", "byte order mark"]),
        (&wide, &key, ["wide.pem", "byte order mark"]),
        (&cert, &encrypted, ["encrypted.pem", "is encrypted"]),
        (&cert, &old, ["old.pem", "is encrypted"]),
    ] {
        let (cert, key) = (cert.to_str().unwrap(), key.to_str().unwrap());
        let setup = setup.clone().args(&["--tls-cert", cert, "--tls-key", key]);
        let ended = setup.run_to_end();
        assert_eq!(ended.code, Some(2), "{ended:?}");
        for part in parts {
            assert!(ended.stderr.contains(part), "{part}: {ended:?}");
        }
    }
}

/// It is served, since whoever reads that can put another one there meanwhile.
#[tokio::test]
async fn a_certificate_out_of_its_time_is_warned_of() {
    for (years, sentence) in [
        ((2000, 2001), "has expired on 2001-01-01"),
        ((3000, 3001), "is valid from 3000-01-01"),
    ] {
        let setup = Setup::counter();
        let authority = Authority::new();
        let (cert, key) = authority.issue_for(setup.dir.path(), years);
        let (cert, key) = (cert.to_str().unwrap(), key.to_str().unwrap());
        let bot = setup
            .args(&["--tls-cert", cert, "--tls-key", key])
            .start()
            .await;
        bot.wait_for_stderr(sentence).await;
        authority.issue(bot.setup.dir.path());
        bot.wait_for_stderr("serving the new").await;
        assert_eq!(
            bot.stderr().matches(sentence).count(),
            1,
            "{}",
            bot.stderr()
        );
        bot.stop().await;
    }
}
