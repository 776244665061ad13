-- Migration 3 of the PostgreSQL engine: replies have an end. Never change it once released.

-- How often a reply that waits has failed, from when its age counts (0: from its
-- dialog's last turn), and why it failed last.
ALTER TABLE turnkey_outbox
    ADD COLUMN attempts BIGINT NOT NULL DEFAULT 0,
    ADD COLUMN since BIGINT NOT NULL DEFAULT 0,
    ADD COLUMN error TEXT;

-- Replies that were given up.
CREATE TABLE turnkey_dead_reply (
    turn BIGINT NOT NULL,
    n INTEGER NOT NULL,
    channel TEXT COLLATE "C" NOT NULL,
    user_id TEXT COLLATE "C" NOT NULL,
    body TEXT NOT NULL,
    error TEXT NOT NULL,
    attempts BIGINT NOT NULL,
    since BIGINT NOT NULL,
    died BIGINT NOT NULL,
    PRIMARY KEY (turn, n)
);
