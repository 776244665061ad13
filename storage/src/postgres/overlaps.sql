-- Migration 10 of the PostgreSQL engine: dialogs' own overlap. Never change it once released.

-- What becomes of quick messages of a dialog whose handler has said so.
CREATE TABLE turnkey_overlap (
    channel TEXT COLLATE "C" NOT NULL,
    user_id TEXT COLLATE "C" NOT NULL,
    overlap TEXT COLLATE "C" NOT NULL,
    PRIMARY KEY (user_id, channel)
);
