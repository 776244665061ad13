-- Migration 13 of the PostgreSQL engine: who talks. Never change it once released.

-- Who talks: what the platforms tell of them.
CREATE TABLE turnkey_person (
    user_id TEXT COLLATE "C" NOT NULL,
    channel TEXT COLLATE "C" NOT NULL,
    name TEXT COLLATE "C" NOT NULL,
    username TEXT COLLATE "C" NOT NULL,
    language TEXT COLLATE "C" NOT NULL,
    folded TEXT COLLATE "C" NOT NULL,
    PRIMARY KEY (user_id, channel)
);
