-- Migration 5 of the MySQL engine: broadcasts. Never change it once released. It may be
-- applied again after it was cut off.

-- What an operator says to many dialogs, and how far it is.
CREATE TABLE IF NOT EXISTS turnkey_broadcast (
    id BIGINT NOT NULL PRIMARY KEY,
    made_at BIGINT NOT NULL,
    channel VARBINARY(255),
    filter_sql LONGTEXT,
    in_groups BIGINT NOT NULL,
    body LONGTEXT NOT NULL,
    rate BIGINT,
    state VARCHAR(20) NOT NULL,
    trouble LONGTEXT,
    after_user VARBINARY(1024) NOT NULL,
    after_channel VARBINARY(255) NOT NULL,
    queued BIGINT NOT NULL,
    sent BIGINT NOT NULL,
    failed BIGINT NOT NULL
) ENGINE = InnoDB ROW_FORMAT = DYNAMIC DEFAULT CHARACTER SET utf8mb4 COLLATE utf8mb4_bin;

-- Whom it could not reach.
CREATE TABLE IF NOT EXISTS turnkey_broadcast_failed (
    broadcast BIGINT NOT NULL,
    user_id VARBINARY(1024) NOT NULL,
    channel VARBINARY(255) NOT NULL,
    reason LONGTEXT NOT NULL,
    at BIGINT NOT NULL,
    PRIMARY KEY (broadcast, user_id, channel)
) ENGINE = InnoDB ROW_FORMAT = DYNAMIC DEFAULT CHARACTER SET utf8mb4 COLLATE utf8mb4_bin
