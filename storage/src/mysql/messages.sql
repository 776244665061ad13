-- Migration 4 of the MySQL engine: names of messages. Never change it once released. It may
-- be applied again after it was cut off.

-- The author's names for messages, by which they can be found again. A key of 1536 bytes is
-- the most that a server with pages of 8 KiB takes.
CREATE TABLE IF NOT EXISTS turnkey_message (
    user_id VARBINARY(1024) NOT NULL,
    channel VARBINARY(255) NOT NULL,
    name VARBINARY(200) NOT NULL,
    message LONGTEXT NOT NULL,
    at BIGINT NOT NULL,
    PRIMARY KEY (user_id, channel, name)
) ENGINE = InnoDB ROW_FORMAT = DYNAMIC DEFAULT CHARACTER SET utf8mb4 COLLATE utf8mb4_bin;
-- Until now a user had one state everywhere; with this, users in groups inherit it.
INSERT IGNORE INTO turnkey_poll_mark (channel, mark)
    SELECT 'dialogs-by-user', UNIX_TIMESTAMP() * 1000 FROM (SELECT 1 AS one) t
    WHERE EXISTS (SELECT 1 FROM turnkey_dialog)
