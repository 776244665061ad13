-- Migration 1 of the MySQL engine: its tables. Never change it once released.
-- MySQL commits each CREATE by itself, so each may find its table made by a start that
-- was killed.
-- Keys are bytes: compared one by one, trailing spaces included, on every server and
-- whatever the database's collation. Each table is in the order of its key, which is
-- checked without the locks on gaps that a second unique index takes.

-- Fences: each row that was ever made stands for 1024 of them, given to the locks that
-- one transaction grants. The number of the last row is what counts; old ones go.
CREATE TABLE IF NOT EXISTS turnkey_fence (
    n BIGINT UNSIGNED NOT NULL AUTO_INCREMENT PRIMARY KEY
) ENGINE = InnoDB;

-- One row for each dialog. `version` is the fence of the turn that wrote it: a commit
-- compares it with what the turn read. `id` is the order of the first messages.
CREATE TABLE IF NOT EXISTS turnkey_dialog (
    user_id VARBINARY(1024) NOT NULL,
    channel VARBINARY(255) NOT NULL,
    id BIGINT UNSIGNED NOT NULL AUTO_INCREMENT,
    version BIGINT UNSIGNED NOT NULL,
    state LONGTEXT NOT NULL,
    updated_at BIGINT NOT NULL,
    PRIMARY KEY (user_id, channel),
    KEY (id)
) ENGINE = InnoDB ROW_FORMAT = DYNAMIC DEFAULT CHARACTER SET utf8mb4 COLLATE utf8mb4_bin;

-- Who holds a dialog's lock, and how many wait for it. Every change to the dialog's
-- queue is made by whoever has locked this row.
CREATE TABLE IF NOT EXISTS turnkey_lock (
    user_id VARBINARY(1024) NOT NULL,
    channel VARBINARY(255) NOT NULL,
    owner BIGINT UNSIGNED NOT NULL,
    ticket BIGINT UNSIGNED NOT NULL,
    fence BIGINT UNSIGNED NOT NULL,
    since BIGINT NOT NULL,
    waiters INT NOT NULL,
    PRIMARY KEY (user_id, channel)
) ENGINE = InnoDB ROW_FORMAT = DYNAMIC;

-- Who waits for a lock. `arrived` is the order of service.
CREATE TABLE IF NOT EXISTS turnkey_waiter (
    user_id VARBINARY(1024) NOT NULL,
    channel VARBINARY(255) NOT NULL,
    arrived BIGINT NOT NULL,
    owner BIGINT UNSIGNED NOT NULL,
    ticket BIGINT UNSIGNED NOT NULL,
    PRIMARY KEY (user_id, channel, arrived, ticket, owner)
) ENGINE = InnoDB ROW_FORMAT = DYNAMIC;

-- The processes that take turns. `renewed_at` is their lease, in milliseconds.
CREATE TABLE IF NOT EXISTS turnkey_owner (
    owner BIGINT UNSIGNED NOT NULL PRIMARY KEY,
    renewed_at BIGINT NOT NULL
) ENGINE = InnoDB;

-- Updates that were handled, with what was answered.
CREATE TABLE IF NOT EXISTS turnkey_seen (
    id VARBINARY(1024) NOT NULL,
    channel VARBINARY(255) NOT NULL,
    fence BIGINT UNSIGNED NOT NULL,
    at BIGINT NOT NULL,
    digest LONGBLOB NOT NULL,
    answer LONGBLOB NOT NULL,
    PRIMARY KEY (id, channel)
) ENGINE = InnoDB ROW_FORMAT = DYNAMIC;

-- Replies that were committed and not yet marked as sent.
CREATE TABLE IF NOT EXISTS turnkey_outbox (
    user_id VARBINARY(1024) NOT NULL,
    channel VARBINARY(255) NOT NULL,
    turn BIGINT UNSIGNED NOT NULL,
    n INT UNSIGNED NOT NULL,
    body LONGTEXT NOT NULL,
    PRIMARY KEY (user_id, channel, turn, n)
) ENGINE = InnoDB ROW_FORMAT = DYNAMIC DEFAULT CHARACTER SET utf8mb4 COLLATE utf8mb4_bin;

CREATE TABLE IF NOT EXISTS turnkey_history (
    id BIGINT UNSIGNED NOT NULL AUTO_INCREMENT PRIMARY KEY,
    user_id VARBINARY(1024) NOT NULL,
    channel VARBINARY(255) NOT NULL,
    at BIGINT NOT NULL,
    turn LONGTEXT NOT NULL
) ENGINE = InnoDB ROW_FORMAT = DYNAMIC DEFAULT CHARACTER SET utf8mb4 COLLATE utf8mb4_bin;

-- Updates that were taken in before their turn was committed.
CREATE TABLE IF NOT EXISTS turnkey_inbox (
    id VARBINARY(1024) NOT NULL,
    channel VARBINARY(255) NOT NULL,
    user_id VARBINARY(1024) NOT NULL,
    arrived BIGINT NOT NULL,
    due BIGINT NOT NULL,
    attempts INT NOT NULL,
    error LONGTEXT,
    body LONGBLOB NOT NULL,
    PRIMARY KEY (id, channel),
    KEY turnkey_inbox_dialog (user_id, channel, arrived)
) ENGINE = InnoDB ROW_FORMAT = DYNAMIC DEFAULT CHARACTER SET utf8mb4 COLLATE utf8mb4_bin;

-- Updates that were given up.
CREATE TABLE IF NOT EXISTS turnkey_dead (
    id VARBINARY(1024) NOT NULL,
    channel VARBINARY(255) NOT NULL,
    user_id VARBINARY(1024) NOT NULL,
    arrived BIGINT NOT NULL,
    died BIGINT NOT NULL,
    attempts INT NOT NULL,
    error LONGTEXT NOT NULL,
    digest LONGBLOB NOT NULL,
    answer LONGBLOB NOT NULL,
    body LONGBLOB NOT NULL,
    PRIMARY KEY (id, channel)
) ENGINE = InnoDB ROW_FORMAT = DYNAMIC DEFAULT CHARACTER SET utf8mb4 COLLATE utf8mb4_bin;

-- Until when a platform asked not to be sent anything.
CREATE TABLE IF NOT EXISTS turnkey_pause (
    scope VARBINARY(1024) NOT NULL PRIMARY KEY,
    until_ms BIGINT NOT NULL
) ENGINE = InnoDB ROW_FORMAT = DYNAMIC
