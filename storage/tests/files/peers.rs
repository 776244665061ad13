//! The writer's socket: where it can be, and who is cut off.

use std::fs;
use std::io::{Read, Write};
use std::os::unix::net::UnixStream;

use turnkey_storage::Owner;
use turnkey_storage::sqlite::check;

use crate::common::{Served, block_on, dialog, turn};

#[test]
fn a_deep_directory_is_no_obstacle() {
    let dir = tempfile::tempdir().unwrap();
    let deep = dir.path().join("d".repeat(100)).join("é".repeat(100));
    fs::create_dir_all(&deep).unwrap();
    let mut served = Served::at(&deep.join("bot.db"), &[]);
    served.start_writer(Vec::new());
    block_on(async {
        let client = served.open();
        turn(&client, &dialog(1), "u1", "1").await;
        assert_eq!(check(&served.files.database).await.unwrap(), []);
    });
    served.finish();
}

/// A greeting's bytes, as [`turnkey_storage`]'s protocol has them.
fn greeting(version: u32, owner: u64, resends: u32) -> Vec<u8> {
    let mut body = Vec::new();
    body.extend(0_u64.to_le_bytes());
    body.push(0);
    body.extend(version.to_le_bytes());
    body.extend(owner.to_le_bytes());
    body.extend(resends.to_le_bytes());
    body.extend(0_u32.to_le_bytes());
    framed(&body)
}

fn framed(body: &[u8]) -> Vec<u8> {
    [&(body.len() as u32).to_le_bytes(), body].concat()
}

#[test]
fn a_peer_that_talks_nonsense_is_cut_off() {
    let mut served = Served::start(&[]);
    let nonsense = framed(&[99; 20]);
    let closed = |bytes: &[u8]| {
        let mut stream = UnixStream::connect(&served.files.socket).unwrap();
        stream.set_read_timeout(Some(crate::common::LONG)).unwrap();
        stream.write_all(bytes).unwrap();
        let read = stream.read(&mut [0; 100]);
        assert!(matches!(read, Ok(0)), "{read:?}");
    };
    block_on(async {
        let client = served.open();
        turn(&client, &dialog(0), "u0", "1").await;
        for (n, bytes) in [
            vec![0xff; 100],
            nonsense.clone(),
            greeting(99, 7, 0),
            [greeting(1, 7, 0), nonsense.clone()].concat(),
            [greeting(1, 7, 1), framed(&[])].concat(),
        ]
        .iter()
        .enumerate()
        {
            closed(bytes);
            turn(&client, &dialog(n), &format!("{n}"), "1").await;
        }
    });
    // While a new writer waits for the workers of the last one.
    served.stop_writer().unwrap();
    served.start_writer(vec![Owner(7)]);
    let greeted = [greeting(1, 7, 1), nonsense].concat();
    let mut stream = UnixStream::connect(&served.files.socket).unwrap();
    stream.set_read_timeout(Some(crate::common::LONG)).unwrap();
    stream.write_all(&greeted).unwrap();
    assert!(matches!(stream.read(&mut [0; 100]), Ok(0)));
    block_on(async {
        turn(&served.open(), &dialog(1), "u1", "1").await;
    });
    served.finish();
}
