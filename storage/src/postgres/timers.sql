-- Migration 8 of the PostgreSQL engine: timers. Never change it once released.

-- Updates of dialogs that are due at a time of the author's.
CREATE TABLE turnkey_timer (
    channel TEXT COLLATE "C" NOT NULL,
    user_id TEXT COLLATE "C" NOT NULL,
    name TEXT COLLATE "C" NOT NULL,
    due BIGINT NOT NULL,
    id TEXT COLLATE "C" NOT NULL,
    body BYTEA NOT NULL,
    PRIMARY KEY (user_id, channel, name)
);
CREATE INDEX turnkey_timer_due ON turnkey_timer (due);
