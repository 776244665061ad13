-- Migration 12 of the MySQL engine: who talks. Never change it once released. It may be applied
-- again after it was cut off.

-- Who talks: what the platforms tell of them.
CREATE TABLE IF NOT EXISTS turnkey_person (
    user_id VARBINARY(1024) NOT NULL,
    channel VARBINARY(255) NOT NULL,
    name LONGTEXT NOT NULL,
    username LONGTEXT NOT NULL,
    language LONGTEXT NOT NULL,
    folded LONGTEXT NOT NULL,
    PRIMARY KEY (user_id, channel)
) ENGINE = InnoDB ROW_FORMAT = DYNAMIC DEFAULT CHARACTER SET utf8mb4 COLLATE utf8mb4_bin
