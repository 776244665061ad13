-- Migration 4 of the PostgreSQL engine: marks are no pauses. Never change it once released.

-- Where to go on asking platforms for updates.
CREATE TABLE turnkey_poll_mark (
    channel TEXT COLLATE "C" PRIMARY KEY,
    mark BIGINT NOT NULL
);
-- They were pauses of `mark:` and the channel, until 2^60 ms and as many more.
INSERT INTO turnkey_poll_mark (channel, mark)
    SELECT substr(scope, 6), until_ms - 1152921504606846976 FROM turnkey_pause
    WHERE scope LIKE 'mark:%' AND until_ms >= 1152921504606846976;
DELETE FROM turnkey_pause WHERE scope LIKE 'mark:%' AND until_ms >= 1152921504606846976;
