-- Migration 12 of the PostgreSQL engine: callbacks. Never change it once released.

-- What others may start a turn of a dialog with, once: by the hash of a secret.
CREATE TABLE turnkey_callback (
    hash TEXT COLLATE "C" NOT NULL,
    user_id TEXT COLLATE "C" NOT NULL,
    channel TEXT COLLATE "C" NOT NULL,
    name TEXT COLLATE "C" NOT NULL,
    expires BIGINT NOT NULL,
    taken TEXT COLLATE "C" NOT NULL,
    body BYTEA NOT NULL,
    PRIMARY KEY (hash)
);
CREATE INDEX turnkey_callback_dialog ON turnkey_callback (user_id, channel);
