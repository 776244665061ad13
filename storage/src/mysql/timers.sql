-- Migration 7 of the MySQL engine: timers. Never change it once released. It may be applied
-- again after it was cut off.

-- Updates of dialogs that are due at a time of the author's.
CREATE TABLE IF NOT EXISTS turnkey_timer (
    user_id VARBINARY(1024) NOT NULL,
    channel VARBINARY(255) NOT NULL,
    name VARBINARY(64) NOT NULL,
    due BIGINT NOT NULL,
    id VARBINARY(1024) NOT NULL,
    body LONGBLOB NOT NULL,
    PRIMARY KEY (user_id, channel, name),
    INDEX turnkey_timer_due (due)
) ENGINE = InnoDB ROW_FORMAT = DYNAMIC DEFAULT CHARACTER SET utf8mb4 COLLATE utf8mb4_bin
