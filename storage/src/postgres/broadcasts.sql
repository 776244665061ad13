-- Migration 6 of the PostgreSQL engine: broadcasts. Never change it once released.

-- What an operator says to many dialogs, and how far it is.
CREATE TABLE turnkey_broadcast (
    id BIGINT PRIMARY KEY,
    made_at BIGINT NOT NULL,
    channel TEXT COLLATE "C",
    filter_sql TEXT,
    in_groups BIGINT NOT NULL,
    body TEXT NOT NULL,
    rate BIGINT,
    state TEXT NOT NULL,
    trouble TEXT,
    after_user TEXT COLLATE "C" NOT NULL,
    after_channel TEXT COLLATE "C" NOT NULL,
    queued BIGINT NOT NULL,
    sent BIGINT NOT NULL,
    failed BIGINT NOT NULL
) WITH (fillfactor = 50);

-- Whom it could not reach.
CREATE TABLE turnkey_broadcast_failed (
    broadcast BIGINT NOT NULL,
    user_id TEXT COLLATE "C" NOT NULL,
    channel TEXT COLLATE "C" NOT NULL,
    reason TEXT NOT NULL,
    at BIGINT NOT NULL,
    PRIMARY KEY (broadcast, user_id, channel)
);
