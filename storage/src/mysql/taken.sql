-- Migration 6 of the MySQL engine: refusals that come later. Never change it once released. It
-- may be applied again after it was cut off.

-- Replies that a platform took and may still refuse.
CREATE TABLE IF NOT EXISTS turnkey_taken (
    turn BIGINT UNSIGNED NOT NULL,
    n INT UNSIGNED NOT NULL,
    channel VARBINARY(255) NOT NULL,
    user_id VARBINARY(1024) NOT NULL,
    body LONGTEXT NOT NULL,
    message LONGTEXT NOT NULL,
    at BIGINT NOT NULL,
    PRIMARY KEY (turn, n)
) ENGINE = InnoDB ROW_FORMAT = DYNAMIC DEFAULT CHARACTER SET utf8mb4 COLLATE utf8mb4_bin
