//! Viber and VK as other people's libraries know them: viberbot and vkbottle read one of
//! everything that a bot says there. Skipped, and said so, where `scripts/judges install`
//! has not brought them. What the judges of the other platforms say is a matter of the
//! unit tests of the channels.

use std::io::Write;
use std::path::Path;
use std::process::Command;

use crate::harness::bot::{LATER, example, finish, skipped};

#[test]
fn viberbot_and_vkbottle_know_everything_that_is_said() {
    let scripts = Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/../../scripts"));
    let mut where_ = Command::new(scripts.join("judges"));
    where_.args(["where", "viber-vk"]);
    let found = finish(where_, LATER);
    if found.code != Some(0) {
        return skipped("the judges of viber-vk are missing (scripts/judges install)");
    }
    let python = Path::new(found.stdout.trim_end()).join("venv/bin/python");
    let mut judge = Command::new(python);
    judge
        .arg(scripts.join("judging/viber_vk.py"))
        .arg(example("anything"));
    let ended = finish(judge, LATER);
    assert_eq!(ended.code, Some(0), "{}{}", ended.stdout, ended.stderr);
    write!(std::io::stderr(), "{}", ended.stdout).unwrap();
}
