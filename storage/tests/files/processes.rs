//! A process that holds a lock, or has no rights, is this binary again: the test [`child`] is
//! its body.

use std::io::BufRead;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use turnkey_storage::sqlite::{Files, prepare};
use turnkey_storage::{Error, Sync};

/// Names the child's task and the database.
const TASK: &str = "TURNKEY_TEST_TASK";

const PATH: &str = "TURNKEY_TEST_PATH";

pub(crate) fn as_child(task: &str, path: &Path) -> Command {
    let mut command = Command::new(std::env::current_exe().unwrap());
    command
        .args(["processes::child", "--exact", "--nocapture"])
        .env(TASK, task)
        .env(PATH, path)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped());
    command
}

/// Not a test: the body of a process that a test starts.
#[test]
pub(crate) fn child() {
    let Ok(task) = std::env::var(TASK) else {
        return;
    };
    let path = PathBuf::from(std::env::var_os(PATH).unwrap());
    match task.as_str() {
        "lock" => {
            let lock = Files::of(&path).lock().unwrap();
            println!("\nanswer: locked");
            // Until the parent hangs up or says so.
            let _ = std::io::stdin().read_line(&mut String::new());
            drop(lock);
        }
        "prepare" => {
            let files = Files::of(&path);
            let outcome = prepare(&path, Sync::Full, &[]);
            println!("\nanswer: {:?} {:?}", outcome, files.lock().map(drop));
        }
        other => panic!("{other}"),
    }
}

pub(crate) fn answer(from: &mut impl BufRead) -> String {
    loop {
        let mut line = String::new();
        assert!(
            from.read_line(&mut line).unwrap() > 0,
            "the child said nothing"
        );
        if let Some(answer) = line.strip_prefix("answer: ") {
            return answer.trim_end().to_owned();
        }
    }
}

pub(crate) fn refusal(path: &Path, author: &[&str]) -> String {
    let author: Vec<String> = author.iter().map(|sql| (*sql).to_owned()).collect();
    match prepare(path, Sync::Full, &author) {
        Err(Error::Open(why)) => {
            let sentence = why.to_string();
            assert!(sentence.contains(&*path.to_string_lossy()), "{sentence}");
            sentence
        }
        other => panic!("{other:?}"),
    }
}
