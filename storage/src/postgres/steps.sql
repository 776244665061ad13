-- Migration 9 of the PostgreSQL engine: steps. Never change it once released.

-- Results that turns have kept before their commits.
CREATE TABLE turnkey_step (
    channel TEXT COLLATE "C" NOT NULL,
    id TEXT COLLATE "C" NOT NULL,
    name TEXT COLLATE "C" NOT NULL,
    user_id TEXT COLLATE "C" NOT NULL,
    value TEXT NOT NULL,
    at BIGINT NOT NULL,
    PRIMARY KEY (id, channel, name)
);
