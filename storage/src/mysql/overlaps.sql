-- Migration 9 of the MySQL engine: dialogs' own overlap. Never change it once released. It may be
-- applied again after it was cut off.

-- What becomes of quick messages of a dialog whose handler has said so.
CREATE TABLE IF NOT EXISTS turnkey_overlap (
    user_id VARBINARY(1024) NOT NULL,
    channel VARBINARY(255) NOT NULL,
    overlap VARBINARY(64) NOT NULL,
    PRIMARY KEY (user_id, channel)
) ENGINE = InnoDB ROW_FORMAT = DYNAMIC DEFAULT CHARACTER SET utf8mb4 COLLATE utf8mb4_bin
