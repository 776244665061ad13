-- Migration 11 of the PostgreSQL engine: schedules. Never change it once released.

-- Timers that move on when they fire: by which schedule, and which update fired last.
ALTER TABLE turnkey_timer
    ADD COLUMN schedule TEXT COLLATE "C",
    ADD COLUMN fired TEXT COLLATE "C";
CREATE INDEX turnkey_timer_cron ON turnkey_timer (due) WHERE channel = 'cron';
