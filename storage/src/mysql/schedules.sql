-- Migration 10 of the MySQL engine: schedules. Never change it once released.
-- It may be applied again after it was cut off, and MySQL knows no ADD COLUMN IF NOT
-- EXISTS: so it looks first.

-- Timers that move on when they fire: by which schedule, and which update fired last.
SET @turnkey_change = IF(
    (SELECT COUNT(*) FROM information_schema.COLUMNS WHERE TABLE_SCHEMA = DATABASE()
        AND TABLE_NAME = 'turnkey_timer' AND COLUMN_NAME = 'schedule') > 0,
    'DO 0',
    'ALTER TABLE turnkey_timer
        ADD COLUMN schedule VARBINARY(255),
        ADD COLUMN fired VARBINARY(1024),
        ADD INDEX turnkey_timer_cron (channel, due)');
PREPARE turnkey_change FROM @turnkey_change;
EXECUTE turnkey_change;
DEALLOCATE PREPARE turnkey_change
