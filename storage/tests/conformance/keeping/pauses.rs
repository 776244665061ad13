//! Pauses of replies, and the marks of what polls.

use turnkey_storage::{marks, pauses};

use crate::engine::Engine;
use crate::keeping::now_ms;
use crate::steps::count;

async fn pauses_are_kept_until_they_are_over(engine: &dyn Engine) {
    let client = engine.open();
    let soon = now_ms() + 600_000;
    pauses::set(&*client, "telegram", soon).await.unwrap();
    pauses::set(&*client, "telegram:1", soon + 1).await.unwrap();
    pauses::set(&*client, "telegram", soon + 2).await.unwrap();
    pauses::set(&*client, "over", 1000).await.unwrap();
    let wanted = [
        ("telegram".to_owned(), soon + 2),
        ("telegram:1".to_owned(), soon + 1),
    ];
    assert_eq!(pauses::all(&*engine.open()).await.unwrap(), wanted);
    assert_eq!(count(&client, "turnkey_pause").await, 2);
}

async fn marks_are_kept_for_each_channel(engine: &dyn Engine) {
    let client = engine.open();
    assert_eq!(marks::get(&*client, "vk").await.unwrap(), None);
    for (channel, mark) in [("vk", 7), ("other", u64::MAX), ("vk", 8), ("zero", 0)] {
        marks::set(&*client, channel, mark).await.unwrap();
    }
    let again = engine.open();
    for (channel, mark) in [("vk", 8), ("other", u64::MAX), ("zero", 0)] {
        assert_eq!(marks::get(&*again, channel).await.unwrap(), Some(mark));
    }
    assert!(pauses::all(&*again).await.unwrap().is_empty());
}

on_every_engine! {
    pauses_are_kept_until_they_are_over
    marks_are_kept_for_each_channel
}
