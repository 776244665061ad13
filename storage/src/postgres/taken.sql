-- Migration 7 of the PostgreSQL engine: refusals that come later. Never change it once released.

-- Replies that a platform took and may still refuse.
CREATE TABLE turnkey_taken (
    turn BIGINT NOT NULL,
    n INTEGER NOT NULL,
    channel TEXT COLLATE "C" NOT NULL,
    user_id TEXT COLLATE "C" NOT NULL,
    body TEXT NOT NULL,
    message TEXT NOT NULL,
    at BIGINT NOT NULL,
    PRIMARY KEY (turn, n)
);
