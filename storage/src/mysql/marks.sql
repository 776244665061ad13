-- Migration 3 of the MySQL engine: marks are no pauses. Never change it once released. It
-- may be applied again after it was cut off.

-- Where to go on asking platforms for updates.
CREATE TABLE IF NOT EXISTS turnkey_poll_mark (
    channel VARBINARY(255) NOT NULL PRIMARY KEY,
    mark BIGINT NOT NULL
) ENGINE = InnoDB ROW_FORMAT = DYNAMIC DEFAULT CHARACTER SET utf8mb4 COLLATE utf8mb4_bin;
-- They were pauses of `mark:` and the channel, until 2^60 ms and as many more.
INSERT IGNORE INTO turnkey_poll_mark (channel, mark)
    SELECT SUBSTRING(scope, 6), until_ms - 1152921504606846976 FROM turnkey_pause
    WHERE LEFT(scope, 5) = 'mark:' AND until_ms >= 1152921504606846976;
DELETE FROM turnkey_pause WHERE LEFT(scope, 5) = 'mark:' AND until_ms >= 1152921504606846976
