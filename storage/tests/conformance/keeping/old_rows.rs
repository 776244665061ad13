//! How old rows go.

use turnkey_storage::Commit;
use turnkey_storage::retention::{Kept, Sweep};

use crate::common::{begin, dialog, last};
use crate::engine::Engine;
use crate::keeping::now_ms;
use crate::steps::count;

async fn a_sweep_deletes_what_is_old_and_comes_to_an_end(engine: &dyn Engine) {
    let client = engine.open();
    for n in 0..1100 {
        let kept = Commit {
            history: Some(n.to_string()),
            ..last(&format!("u{n:04}"), "1")
        };
        let mut grant = begin(&*client, &dialog(n % 7), &kept.update)
            .await
            .grant
            .unwrap();
        client.commit(&mut grant, kept).await.unwrap();
    }
    let round = async |kept, cutoff| {
        let mut sweep = Sweep::of(kept);
        let (mut gone, mut steps) = (0, 0);
        loop {
            let step = sweep.step(&*client, cutoff).await.unwrap();
            gone += step.gone;
            steps += 1;
            assert!(steps < 10, "it does not end");
            if step.over {
                return (gone, steps);
            }
        }
    };
    // Young rows stay.
    assert_eq!(round(Kept::Updates, 1000).await, (0, 3));
    assert_eq!(round(Kept::History, 1000).await, (0, 1));
    assert_eq!(count(&client, "turnkey_seen").await, 1100);
    let later = now_ms() + 60_000;
    assert_eq!(round(Kept::Updates, later).await, (1100, 3));
    assert_eq!(round(Kept::History, later).await, (1100, 3));
    assert_eq!(count(&client, "turnkey_seen").await, 0);
    assert_eq!(count(&client, "turnkey_history").await, 0);
    assert_eq!(round(Kept::Updates, later).await, (0, 1));
}

on_every_engine! {
    a_sweep_deletes_what_is_old_and_comes_to_an_end
}
