-- Migration 1 of the PostgreSQL engine: its tables. Never change it once released.
-- Texts are COLLATE "C": compared byte by byte, which is what a key needs.

-- Fences: one sequence for every box, so that they rise for ever.
CREATE SEQUENCE turnkey_fence;

-- One row for each dialog. `version` is the fence of the turn that wrote it: a
-- commit compares it with what the turn read. Room on each page, so that a new
-- state stays beside the old one and the index is left alone.
CREATE TABLE turnkey_dialog (
    id BIGINT GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    channel TEXT COLLATE "C" NOT NULL,
    user_id TEXT COLLATE "C" NOT NULL,
    version BIGINT NOT NULL,
    state TEXT NOT NULL,
    updated_at BIGINT NOT NULL,
    UNIQUE (user_id, channel)
) WITH (fillfactor = 70);

-- Who holds a dialog's lock, and how many wait for it. Every change to the
-- dialog's queue is made by whoever has locked this row.
CREATE TABLE turnkey_lock (
    channel TEXT COLLATE "C" NOT NULL,
    user_id TEXT COLLATE "C" NOT NULL,
    owner BIGINT NOT NULL,
    ticket BIGINT NOT NULL,
    fence BIGINT NOT NULL,
    since BIGINT NOT NULL,
    waiters INTEGER NOT NULL,
    PRIMARY KEY (user_id, channel)
) WITH (fillfactor = 50, autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 5000);

-- Who waits for a lock. `arrived` is the order of service.
CREATE TABLE turnkey_waiter (
    channel TEXT COLLATE "C" NOT NULL,
    user_id TEXT COLLATE "C" NOT NULL,
    arrived BIGINT NOT NULL,
    owner BIGINT NOT NULL,
    ticket BIGINT NOT NULL,
    PRIMARY KEY (user_id, channel, arrived, ticket, owner)
) WITH (autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 5000);

-- The processes that take turns. `renewed_at` is their lease.
CREATE TABLE turnkey_owner (
    owner BIGINT PRIMARY KEY,
    renewed_at TIMESTAMPTZ NOT NULL
) WITH (fillfactor = 50);

-- Updates that were handled, with what was answered.
CREATE TABLE turnkey_seen (
    channel TEXT COLLATE "C" NOT NULL,
    id TEXT COLLATE "C" NOT NULL,
    fence BIGINT NOT NULL,
    at BIGINT NOT NULL,
    digest BYTEA NOT NULL,
    answer BYTEA NOT NULL,
    PRIMARY KEY (id, channel)
);

-- Replies that were committed and not yet marked as sent.
CREATE TABLE turnkey_outbox (
    dialog BIGINT NOT NULL,
    turn BIGINT NOT NULL,
    n INTEGER NOT NULL,
    body TEXT NOT NULL,
    PRIMARY KEY (dialog, turn, n)
);

CREATE TABLE turnkey_history (
    id BIGINT GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    dialog BIGINT NOT NULL,
    at BIGINT NOT NULL,
    turn TEXT NOT NULL
);

-- Updates that were taken in before their turn was committed.
CREATE TABLE turnkey_inbox (
    channel TEXT COLLATE "C" NOT NULL,
    id TEXT COLLATE "C" NOT NULL,
    user_id TEXT COLLATE "C" NOT NULL,
    arrived BIGINT NOT NULL,
    due BIGINT NOT NULL,
    attempts INTEGER NOT NULL,
    error TEXT,
    body BYTEA NOT NULL,
    PRIMARY KEY (id, channel)
);
CREATE INDEX turnkey_inbox_dialog ON turnkey_inbox (user_id, channel, arrived, id);

-- Updates that were given up.
CREATE TABLE turnkey_dead (
    channel TEXT COLLATE "C" NOT NULL,
    id TEXT COLLATE "C" NOT NULL,
    user_id TEXT COLLATE "C" NOT NULL,
    arrived BIGINT NOT NULL,
    died BIGINT NOT NULL,
    attempts INTEGER NOT NULL,
    error TEXT NOT NULL,
    digest BYTEA NOT NULL,
    answer BYTEA NOT NULL,
    body BYTEA NOT NULL,
    PRIMARY KEY (id, channel)
);

-- Until when a platform asked not to be sent anything.
CREATE TABLE turnkey_pause (
    scope TEXT COLLATE "C" PRIMARY KEY,
    until_ms BIGINT NOT NULL
);
