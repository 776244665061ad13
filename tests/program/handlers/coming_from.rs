//! docs/COMING_FROM.md: what it says is called so in Turnkey is what runs, in each language. The
//! cells of Python and JavaScript are handlers; those of Rust are compiled by the library's own
//! tests (`src/guide/coming_from.rs`).

use std::fs;
use std::path::Path;

use serde_json::json;

use crate::harness::bot::Setup;
use crate::harness::programs::has;

/// What stands in the last column of a section's table and is about a turn.
fn cells(section: &str, least: usize) -> Vec<String> {
    let page = Path::new(concat!(
        env!("CARGO_MANIFEST_DIR"),
        "/../../docs/COMING_FROM.md"
    ));
    let page = fs::read_to_string(page).expect("the page");
    let (_, page) = page.split_once(section).expect("the section");
    let page = page.split("\n## ").next().unwrap_or_default();
    let rows = page.lines().filter(|line| line.starts_with("| "));
    let last = rows.filter_map(|row| row.trim_end_matches(" |").rsplit(" | ").next());
    let spans = last.flat_map(|cell| cell.split('`').skip(1).step_by(2).map(str::to_owned));
    let about = |span: &String| span.starts_with("turn.") || span.starts_with("await turn.");
    let found: Vec<_> = spans.filter(about).collect();
    assert!(found.len() >= least, "{found:?}");
    found
}

/// Runs a script with the SDK that the program carries.
fn run(interpreter: &str, name: &str, script: &str) {
    if !has(interpreter) {
        return;
    }
    let setup = Setup::counter();
    let file = setup.path(name);
    fs::write(&file, script).expect("a file");
    let file = file.to_str().expect("a path");
    let ended = setup.bare(&["handler", "exec", "--", interpreter, file]);
    assert_eq!(ended.code, Some(0), "{}{}", ended.stdout, ended.stderr);
}

#[test]
fn what_python_is_told_runs() {
    let mut all = cells("## aiogram", 25);
    all.extend(cells("## MaxBot", 12));
    let handlers: Vec<_> = all
        .iter()
        .map(|cell| format!("async def handle(turn):\n    {cell}\nrun(handle)\n"))
        .collect();
    let script = format!(
        "from turnkey import File\nfrom turnkey.testing import Conversation\n\
         id, file = '7', File('photo', id='1')\n\
         def run(handle):\n    \
             bot = Conversation(handle, ask=lambda *_: {{}}, downloads={{'1': b'x'}})\n    \
             bot.presses('ann', 'y')\n{}",
        handlers.concat()
    );
    run("python3", "page.py", &script);
}

#[test]
fn what_javascript_is_told_runs() {
    let script = format!(
        "import {{ Conversation }} from 'turnkey/testing'\n\
         const [id, file] = ['7', {{ type: 'photo', id: '1' }}]\n\
         const Handler = (async () => {{}}).constructor\n\
         for (const cell of {}) {{\n  \
             const handle = new Handler('turn', 'id', 'file', cell)\n  \
             const options = {{ ask: () => ({{}}), downloads: {{ 1: Buffer.from('x') }} }}\n  \
             await new Conversation((turn) => handle(turn, id, file), options).presses('ann', 'y')\n}}\n",
        json!(cells("## grammY", 25))
    );
    run("node", "page.mjs", &script);
}
