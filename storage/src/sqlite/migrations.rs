//! The tables of a file, as the migrations that make them.
//!
//! Applied by `schema.rs`, all that are due in one transaction.

/// Turnkey's own migrations, oldest first. Never change one that was released.
pub(super) const MIGRATIONS: &[&str] = &[
    // Keys start with what differs: SQLite compares the first column of a text
    // key on a short path, and the channel is the same for most rows.
    // One row for each dialog. `version` is the fence of the turn that wrote it:
    // a commit compares it with what the turn read.
    "CREATE TABLE turnkey_dialog (
        id INTEGER PRIMARY KEY,
        channel TEXT NOT NULL,
        user_id TEXT NOT NULL,
        version INTEGER NOT NULL,
        state TEXT NOT NULL,
        updated_at INTEGER NOT NULL,
        UNIQUE (user_id, channel)
    ) STRICT;
    -- Who holds a dialog's lock. Small, and a table of its own: a column in the
    -- dialog's row would dirty that row's page twice a turn.
    CREATE TABLE turnkey_lock (
        channel TEXT NOT NULL,
        user_id TEXT NOT NULL,
        owner INTEGER NOT NULL,
        fence INTEGER NOT NULL,
        since INTEGER NOT NULL,
        PRIMARY KEY (user_id, channel)
    ) STRICT, WITHOUT ROWID;
    -- Updates that were handled, with what was answered.
    CREATE TABLE turnkey_seen (
        channel TEXT NOT NULL,
        id TEXT NOT NULL,
        fence INTEGER NOT NULL,
        at INTEGER NOT NULL,
        digest BLOB NOT NULL,
        answer BLOB NOT NULL,
        PRIMARY KEY (id, channel)
    ) STRICT, WITHOUT ROWID;
    -- Replies that were committed and not yet marked as sent.
    CREATE TABLE turnkey_outbox (
        dialog INTEGER NOT NULL,
        turn INTEGER NOT NULL,
        n INTEGER NOT NULL,
        body TEXT NOT NULL,
        PRIMARY KEY (dialog, turn, n)
    ) STRICT, WITHOUT ROWID;
    -- Append-only, without a second index: one would halve the speed of all.
    CREATE TABLE turnkey_history (
        id INTEGER PRIMARY KEY,
        dialog INTEGER NOT NULL,
        at INTEGER NOT NULL,
        turn TEXT NOT NULL
    ) STRICT;
    -- Updates that were answered before their turn was committed.
    CREATE TABLE turnkey_inbox (
        channel TEXT NOT NULL,
        id TEXT NOT NULL,
        user_id TEXT NOT NULL,
        arrived INTEGER NOT NULL,
        body BLOB NOT NULL,
        attempts INTEGER NOT NULL,
        due INTEGER NOT NULL,
        error TEXT,
        PRIMARY KEY (id, channel)
    ) STRICT, WITHOUT ROWID;
    CREATE INDEX turnkey_inbox_order ON turnkey_inbox (user_id, channel, arrived);
    -- Updates that were given up.
    CREATE TABLE turnkey_dead (
        channel TEXT NOT NULL,
        id TEXT NOT NULL,
        user_id TEXT NOT NULL,
        arrived INTEGER NOT NULL,
        digest BLOB NOT NULL,
        answer BLOB NOT NULL,
        body BLOB NOT NULL,
        error TEXT NOT NULL,
        attempts INTEGER NOT NULL,
        died INTEGER NOT NULL,
        PRIMARY KEY (id, channel)
    ) STRICT, WITHOUT ROWID;
    -- Until when platforms asked us to wait.
    CREATE TABLE turnkey_pause (
        scope TEXT PRIMARY KEY NOT NULL,
        until_ms INTEGER NOT NULL
    ) STRICT, WITHOUT ROWID;
    -- The lives of the writer; the number of the last one starts its fences.
    CREATE TABLE turnkey_generation (
        number INTEGER PRIMARY KEY AUTOINCREMENT,
        started_at INTEGER NOT NULL
    ) STRICT;",
    // How often a reply that waits has failed, from when its age counts (0: from its
    // dialog's last turn), and why it failed last.
    "ALTER TABLE turnkey_outbox ADD COLUMN attempts INTEGER NOT NULL DEFAULT 0;
    ALTER TABLE turnkey_outbox ADD COLUMN since INTEGER NOT NULL DEFAULT 0;
    ALTER TABLE turnkey_outbox ADD COLUMN error TEXT;
    -- Replies that were given up.
    CREATE TABLE turnkey_dead_reply (
        turn INTEGER NOT NULL,
        n INTEGER NOT NULL,
        channel TEXT NOT NULL,
        user_id TEXT NOT NULL,
        body TEXT NOT NULL,
        error TEXT NOT NULL,
        attempts INTEGER NOT NULL,
        since INTEGER NOT NULL,
        died INTEGER NOT NULL,
        PRIMARY KEY (turn, n)
    ) STRICT, WITHOUT ROWID;",
    // Where to go on asking platforms for updates. These were pauses of `mark:` and the
    // channel, until 2^60 ms and as many more.
    "CREATE TABLE turnkey_poll_mark (
        channel TEXT PRIMARY KEY NOT NULL,
        mark INTEGER NOT NULL
    ) STRICT, WITHOUT ROWID;
    INSERT INTO turnkey_poll_mark (channel, mark)
        SELECT substr(scope, 6), until_ms - 1152921504606846976 FROM turnkey_pause
        WHERE scope LIKE 'mark:%' AND until_ms >= 1152921504606846976;
    DELETE FROM turnkey_pause WHERE scope LIKE 'mark:%' AND until_ms >= 1152921504606846976;",
    // The author's names for messages, by which they can be found again.
    "CREATE TABLE turnkey_message (
        channel TEXT NOT NULL,
        user_id TEXT NOT NULL,
        name TEXT NOT NULL,
        message TEXT NOT NULL,
        at INTEGER NOT NULL,
        PRIMARY KEY (user_id, channel, name)
    ) STRICT, WITHOUT ROWID;
    -- Until now a user had one state everywhere; with this, users in groups inherit it.
    INSERT INTO turnkey_poll_mark (channel, mark)
        SELECT 'dialogs-by-user', CAST(strftime('%s', 'now') AS INTEGER) * 1000
        WHERE EXISTS (SELECT 1 FROM turnkey_dialog);",
    // What an operator says to many dialogs, and how far it is.
    "CREATE TABLE turnkey_broadcast (
        id INTEGER PRIMARY KEY,
        made_at INTEGER NOT NULL,
        channel TEXT,
        filter_sql TEXT,
        in_groups INTEGER NOT NULL,
        body TEXT NOT NULL,
        rate INTEGER,
        state TEXT NOT NULL,
        trouble TEXT,
        after_user TEXT NOT NULL,
        after_channel TEXT NOT NULL,
        queued INTEGER NOT NULL,
        sent INTEGER NOT NULL,
        failed INTEGER NOT NULL
    ) STRICT;
    -- Whom it could not reach.
    CREATE TABLE turnkey_broadcast_failed (
        broadcast INTEGER NOT NULL,
        user_id TEXT NOT NULL,
        channel TEXT NOT NULL,
        reason TEXT NOT NULL,
        at INTEGER NOT NULL,
        PRIMARY KEY (broadcast, user_id, channel)
    ) STRICT, WITHOUT ROWID;",
    // Replies that a platform took and may still refuse.
    "CREATE TABLE turnkey_taken (
        turn INTEGER NOT NULL,
        n INTEGER NOT NULL,
        channel TEXT NOT NULL,
        user_id TEXT NOT NULL,
        body TEXT NOT NULL,
        message TEXT NOT NULL,
        at INTEGER NOT NULL,
        PRIMARY KEY (turn, n)
    ) STRICT, WITHOUT ROWID;",
    // Updates of dialogs that are due at a time of the author's.
    "CREATE TABLE turnkey_timer (
        channel TEXT NOT NULL,
        user_id TEXT NOT NULL,
        name TEXT NOT NULL,
        due INTEGER NOT NULL,
        id TEXT NOT NULL,
        body BLOB NOT NULL,
        PRIMARY KEY (user_id, channel, name)
    ) STRICT, WITHOUT ROWID;
    CREATE INDEX turnkey_timer_due ON turnkey_timer (due);",
    // Results that turns have kept before their commits.
    "CREATE TABLE turnkey_step (
        channel TEXT NOT NULL,
        id TEXT NOT NULL,
        name TEXT NOT NULL,
        user_id TEXT NOT NULL,
        value TEXT NOT NULL,
        at INTEGER NOT NULL,
        PRIMARY KEY (id, channel, name)
    ) STRICT, WITHOUT ROWID;",
    // What becomes of quick messages of a dialog whose handler has said so.
    "CREATE TABLE turnkey_overlap (
        channel TEXT NOT NULL,
        user_id TEXT NOT NULL,
        overlap TEXT NOT NULL,
        PRIMARY KEY (user_id, channel)
    ) STRICT, WITHOUT ROWID;",
    // Timers that move on when they fire: by which schedule, and which update fired last.
    "ALTER TABLE turnkey_timer ADD COLUMN schedule TEXT;
    ALTER TABLE turnkey_timer ADD COLUMN fired TEXT;
    CREATE INDEX turnkey_timer_cron ON turnkey_timer (due) WHERE channel = 'cron';",
    // What others may start a turn of a dialog with, once: by the hash of a secret.
    "CREATE TABLE turnkey_callback (
        hash TEXT NOT NULL,
        user_id TEXT NOT NULL,
        channel TEXT NOT NULL,
        name TEXT NOT NULL,
        expires INTEGER NOT NULL,
        taken TEXT NOT NULL,
        body BLOB NOT NULL,
        PRIMARY KEY (hash)
    ) STRICT, WITHOUT ROWID;
    CREATE INDEX turnkey_callback_dialog ON turnkey_callback (user_id, channel);",
    // Who talks: what the platforms tell of them.
    "CREATE TABLE turnkey_person (
        user_id TEXT NOT NULL,
        channel TEXT NOT NULL,
        name TEXT NOT NULL,
        username TEXT NOT NULL,
        language TEXT NOT NULL,
        folded TEXT NOT NULL,
        PRIMARY KEY (user_id, channel)
    ) STRICT, WITHOUT ROWID;",
];
