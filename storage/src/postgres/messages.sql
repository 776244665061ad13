-- Migration 5 of the PostgreSQL engine: names of messages. Never change it once released.

-- The author's names for messages, by which they can be found again.
CREATE TABLE turnkey_message (
    channel TEXT COLLATE "C" NOT NULL,
    user_id TEXT COLLATE "C" NOT NULL,
    name TEXT COLLATE "C" NOT NULL,
    message TEXT NOT NULL,
    at BIGINT NOT NULL,
    PRIMARY KEY (user_id, channel, name)
);
-- Until now a user had one state everywhere; with this, users in groups inherit it.
INSERT INTO turnkey_poll_mark (channel, mark)
    SELECT 'dialogs-by-user', (extract(epoch FROM now()) * 1000)::bigint
    WHERE EXISTS (SELECT 1 FROM turnkey_dialog);
