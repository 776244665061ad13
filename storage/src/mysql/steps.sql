-- Migration 8 of the MySQL engine: steps. Never change it once released. It may be applied
-- again after it was cut off.

-- Results that turns have kept before their commits.
CREATE TABLE IF NOT EXISTS turnkey_step (
    id VARBINARY(1024) NOT NULL,
    channel VARBINARY(255) NOT NULL,
    name VARBINARY(64) NOT NULL,
    user_id VARBINARY(1024) NOT NULL,
    value LONGTEXT NOT NULL,
    at BIGINT NOT NULL,
    PRIMARY KEY (id, channel, name)
) ENGINE = InnoDB ROW_FORMAT = DYNAMIC DEFAULT CHARACTER SET utf8mb4 COLLATE utf8mb4_bin
