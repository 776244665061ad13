-- Migration 11 of the MySQL engine: callbacks. Never change it once released. It may be applied
-- again after it was cut off.

-- What others may start a turn of a dialog with, once: by the hash of a secret.
CREATE TABLE IF NOT EXISTS turnkey_callback (
    hash VARBINARY(64) NOT NULL,
    user_id VARBINARY(1024) NOT NULL,
    channel VARBINARY(255) NOT NULL,
    name VARBINARY(64) NOT NULL,
    expires BIGINT NOT NULL,
    taken VARBINARY(2048) NOT NULL,
    body LONGBLOB NOT NULL,
    PRIMARY KEY (hash),
    INDEX turnkey_callback_dialog (user_id, channel)
) ENGINE = InnoDB ROW_FORMAT = DYNAMIC DEFAULT CHARACTER SET utf8mb4 COLLATE utf8mb4_bin
