-- Migration 2 of the MySQL engine: replies have an end. Never change it once released.
-- It may be applied again after it was cut off, and MySQL knows no ADD COLUMN IF NOT
-- EXISTS: so it looks first.

-- How often a reply that waits has failed, from when its age counts (0: from its
-- dialog's last turn), and why it failed last.
SET @turnkey_change = IF(
    (SELECT COUNT(*) FROM information_schema.COLUMNS WHERE TABLE_SCHEMA = DATABASE()
        AND TABLE_NAME = 'turnkey_outbox' AND COLUMN_NAME = 'attempts') > 0,
    'DO 0',
    'ALTER TABLE turnkey_outbox
        ADD COLUMN attempts BIGINT NOT NULL DEFAULT 0,
        ADD COLUMN since BIGINT NOT NULL DEFAULT 0,
        ADD COLUMN error LONGTEXT');
PREPARE turnkey_change FROM @turnkey_change;
EXECUTE turnkey_change;
DEALLOCATE PREPARE turnkey_change;

-- Replies that were given up.
CREATE TABLE IF NOT EXISTS turnkey_dead_reply (
    turn BIGINT UNSIGNED NOT NULL,
    n INT UNSIGNED NOT NULL,
    channel VARBINARY(255) NOT NULL,
    user_id VARBINARY(1024) NOT NULL,
    body LONGTEXT NOT NULL,
    error LONGTEXT NOT NULL,
    attempts BIGINT NOT NULL,
    since BIGINT NOT NULL,
    died BIGINT NOT NULL,
    PRIMARY KEY (turn, n)
) ENGINE = InnoDB ROW_FORMAT = DYNAMIC DEFAULT CHARACTER SET utf8mb4 COLLATE utf8mb4_bin
