//! A bot that cannot start says why, once, and with what its interpreter said.

use crate::harness::bot::Setup;
use crate::harness::programs::has;

fn refused(setup: &Setup, expected: &[&str]) {
    let ended = setup.run_to_end();
    assert_eq!(ended.code, Some(2), "{}", ended.stderr);
    for part in expected {
        assert!(
            ended.stderr.contains(part),
            "no {part:?} in {}",
            ended.stderr
        );
    }
    assert!(!ended.stderr.contains("Serving"), "{}", ended.stderr);
}

#[test]
fn what_cannot_be_run_is_refused() {
    refused(&Setup::handled(&["none.py"]), &["none.py", "No such file"]);
    refused(&Setup::handled(&["."]), &["is no file"]);
    refused(
        &Setup::handled(&["--", "no-such-program"]),
        &["no program no-such-program"],
    );
    let setup = Setup::handled(&["bot.rb"]);
    setup.write("bot.rb", "");
    refused(&setup, &["turnkey run -- ruby bot.rb"]);
    refused(
        &Setup::in_python("").env("PATH", "/nowhere"),
        &["no python3", "apt install python3"],
    );
    let setup = Setup::counter().args(&["--migrations", "here"]);
    refused(&setup, &["--migrations is for a bot that is named"]);
}

#[test]
fn what_does_not_start_is_told_once() {
    if !has("python3") {
        return;
    }
    let setup =
        Setup::in_python("import turnkey\ndef handle(turn:\n    pass\nturnkey.run(handle)\n")
            .args(&["--workers", "3"]);
    refused(&setup, &["bot.py did not start", "SyntaxError", "line 2"]);
    assert_eq!(setup.run_to_end().stderr.matches("SyntaxError").count(), 1);
    refused(
        &Setup::in_python("print('I was here')\n"),
        &["had not called turnkey.run", "I was here"],
    );
    let slow = Setup::in_python("import time\nprint('so slow', flush=True)\ntime.sleep(60)\n")
        .args(&["--handler-start", "500ms"]);
    refused(
        &slow,
        &["no hello within 0.5 s (--handler-start)", "so slow"],
    );
    let raises =
        Setup::in_python("raise SystemExit('no model: set MODEL')\n").args(&["--single-process"]);
    refused(&raises, &["exit code 1", "no model: set MODEL"]);
}

/// The words of interpreters that an author cannot be expected to understand.
#[test]
fn a_remedy_is_named_where_it_is_known() {
    if !has("python3") {
        return;
    }
    for (said, remedy) in [
        (
            "node: --import= is not allowed in NODE_OPTIONS",
            "Node.js 18.19",
        ),
        (
            "SyntaxError: Cannot use import statement outside a module",
            "name it bot.mjs",
        ),
    ] {
        refused(
            &Setup::in_python(&format!("raise SystemExit({said:?})")),
            &[said, remedy],
        );
    }
}

#[test]
fn what_speaks_another_protocol_is_refused() {
    if !has("python3") {
        return;
    }
    for (hello, expected) in [
        (
            r#"{"hello":{"protocol":2}}"#,
            "speaks protocol 2, and this program 1",
        ),
        (
            r#"{"hello":{"protocol":1,"concurrency":0}}"#,
            "hello.concurrency is 0",
        ),
        (
            r#"{"hello":{"protocol":"1"}}"#,
            "hello.protocol: invalid type",
        ),
        (r#"{"id":1,"done":{}}"#, "a line before hello"),
        ("Hello!", "no JSON"),
    ] {
        let code = format!("import os, time\nos.write(4, b'''{hello}\\n''')\ntime.sleep(60)\n");
        refused(
            &Setup::in_python(&code),
            &["it broke the protocol", expected],
        );
    }
    // One that hears of a protocol that it does not know is told by its SDK, not by us.
    let wrapper =
        "import subprocess, sys\nsys.exit(subprocess.call([sys.executable, 'inner.py']))\n";
    let setup = Setup::in_python(wrapper);
    let inner = "import turnkey\nturnkey.run(lambda turn: None)\n";
    std::fs::write(setup.path("inner.py"), inner).expect("inner.py");
    refused(&setup, &["turnkey run -- "]);
}

#[test]
fn migrations_must_be_there() {
    if !has("python3") {
        return;
    }
    let bot = "import turnkey\nturnkey.run(lambda turn: None)\n";
    let setup = Setup::in_python(bot).args(&["--migrations", "none"]);
    refused(&setup, &["--migrations none cannot be read"]);
    let setup = Setup::in_python(bot).args(&["--migrations", "empty"]);
    std::fs::create_dir(setup.path("empty")).expect("empty");
    refused(&setup, &["has no file that ends in .sql"]);
    let setup = Setup::in_python(bot);
    std::fs::create_dir(setup.path("migrations")).expect("migrations");
    std::fs::write(setup.path("migrations/1.sql"), "CREATE TABLE (").expect("1.sql");
    refused(&setup, &["syntax error"]);
}
