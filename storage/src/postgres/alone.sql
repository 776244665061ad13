-- Migration 14 of the PostgreSQL engine: a turn that travels alone. Never change it once
-- released.
--
-- What turnkey_begin and turnkey_commit do, for a lane that has one order: a third of the time
-- of the one was arrays with one element, and a third of the other what only some turns need.
-- What both have in common stands here again: functions.sql was released and stays as it is.

-- Takes one lock, or a place in its queue. `status` as in turnkey_begin. `more`: there is
-- something in the outbox or the inbox, for which turnkey_read is to be asked.
CREATE FUNCTION turnkey_begin_one(
    p_owner BIGINT, p_max_waiters INTEGER, p_ticket BIGINT, p_channel TEXT, p_user TEXT,
    p_update TEXT, p_arrived BIGINT,
    OUT status INTEGER, OUT fence BIGINT, OUT version BIGINT, OUT state TEXT, OUT digest BYTEA,
    OUT answer BYTEA, OUT more BOOLEAN
) LANGUAGE plpgsql VOLATILE AS $$
DECLARE
    setting TEXT;
    holder BIGINT;
    held BIGINT;
    server_us BIGINT;
BEGIN
    -- A simple assignment runs no query.
    setting := set_config('synchronous_commit', 'off', true);
    INSERT INTO turnkey_lock AS l (channel, user_id, owner, ticket, fence, since, waiters)
    VALUES (p_channel, p_user, p_owner, p_ticket, nextval('turnkey_fence'),
        (date_part('epoch', clock_timestamp()) * 1000)::bigint, 0)
    ON CONFLICT ON CONSTRAINT turnkey_lock_pkey
        DO UPDATE SET waiters = l.waiters + 1 WHERE l.waiters < p_max_waiters
    RETURNING l.owner, l.ticket, l.fence INTO holder, held, fence;
    IF holder = p_owner AND held = p_ticket THEN
        status := 0;
        -- A statement of its own: it sees what the last holder left.
        SELECT d.version, d.state, s.digest, s.answer,
            EXISTS (SELECT FROM turnkey_outbox b WHERE b.dialog = d.id)
            OR EXISTS (
                SELECT FROM turnkey_inbox i WHERE i.user_id = p_user AND i.channel = p_channel
            )
        INTO version, state, digest, answer, more
        FROM (VALUES (1)) AS one
        LEFT JOIN turnkey_seen s ON s.id = p_update AND s.channel = p_channel
        LEFT JOIN turnkey_dialog d ON d.user_id = p_user AND d.channel = p_channel;
        RETURN;
    END IF;
    status := 2;
    IF holder IS NOT NULL THEN
        status := 1;
        server_us := (date_part('epoch', clock_timestamp()) * 1000000)::bigint;
        INSERT INTO turnkey_waiter (channel, user_id, arrived, owner, ticket)
        VALUES (p_channel, p_user,
            least(greatest(p_arrived, server_us - 1000000), server_us), p_owner, p_ticket);
    END IF;
END $$;

-- Writes one turn when all is as it nearly always is; does what turnkey_commit does when the
-- lock is not just to be freed; and fails when anything else is not as it should be, after
-- which turnkey_commit is to be asked.
CREATE FUNCTION turnkey_commit_one(
    p_channel TEXT, p_user TEXT, p_fence BIGINT, p_version BIGINT, p_update TEXT, p_digest BYTEA,
    p_answer BYTEA, p_state TEXT, p_history TEXT, p_end BOOLEAN, p_replies TEXT[],
    p_pending BOOLEAN
) RETURNS INTEGER LANGUAGE plpgsql VOLATILE AS $$
DECLARE
    row_id BIGINT;
    now_ms BIGINT := (date_part('epoch', clock_timestamp()) * 1000)::bigint;
BEGIN
    -- First, as everybody does: until the end nobody else gets at the dialog.
    IF p_end THEN
        DELETE FROM turnkey_lock l
        WHERE l.user_id = p_user AND l.channel = p_channel AND l.fence = p_fence
            AND l.waiters = 0;
    END IF;
    IF NOT p_end OR NOT FOUND THEN
        RETURN turnkey_commit(p_channel, p_user, p_fence, p_version, p_update, p_digest,
            p_answer, p_state, p_history, p_end, p_replies, p_pending);
    END IF;
    INSERT INTO turnkey_seen (channel, id, fence, at, digest, answer)
    VALUES (p_channel, p_update, p_fence, now_ms, p_digest, p_answer);
    IF p_version = 0 THEN
        INSERT INTO turnkey_dialog AS d (channel, user_id, version, state, updated_at)
        VALUES (p_channel, p_user, p_fence, p_state, now_ms)
        RETURNING d.id INTO row_id;
    ELSE
        UPDATE turnkey_dialog d SET version = p_fence, state = p_state, updated_at = now_ms
        WHERE d.user_id = p_user AND d.channel = p_channel AND d.version = p_version
        RETURNING d.id INTO row_id;
        IF NOT FOUND THEN RAISE 'not so simple' USING ERRCODE = 'TK001'; END IF;
    END IF;
    IF cardinality(p_replies) > 0 THEN
        INSERT INTO turnkey_outbox (dialog, turn, n, body)
        SELECT row_id, p_fence, b.n - 1, b.body
        FROM unnest(p_replies) WITH ORDINALITY AS b (body, n);
    END IF;
    IF p_history IS NOT NULL THEN
        INSERT INTO turnkey_history (dialog, at, turn) VALUES (row_id, now_ms, p_history);
    END IF;
    IF p_pending THEN
        DELETE FROM turnkey_inbox i WHERE i.id = p_update AND i.channel = p_channel;
    END IF;
    RETURN 0;
END $$;
