-- Migration 2 of the PostgreSQL engine: each phase of a turn as one function, so
-- that it is one round trip and one transaction. Never change it once released.
--
-- Every statement of a VOLATILE function sees what was committed when it starts
-- (at READ COMMITTED): what is read after a lock was taken is what the last
-- holder left, although all of it is one call.
-- Those that take arrays work on many turns at once. Their callers sort them by
-- (user_id, channel): so two calls never wait for each other in a circle.

-- What a turn needs to know. To be called under the lock.
CREATE FUNCTION turnkey_read(
    p_tickets BIGINT[], p_fences BIGINT[], p_channels TEXT[], p_users TEXT[], p_updates TEXT[]
) RETURNS TABLE (
    ticket BIGINT, fence BIGINT, version BIGINT, state TEXT, digest BYTEA, answer BYTEA,
    turns BIGINT[], numbers INTEGER[], bodies TEXT[],
    pending TEXT, arrived BIGINT, due BIGINT, attempts INTEGER, error TEXT, body BYTEA
) LANGUAGE plpgsql VOLATILE AS $$
BEGIN
    RETURN QUERY
    SELECT r.ticket, r.fence, d.version, d.state, s.digest, s.answer, o.turns, o.numbers, o.bodies,
        i.id, i.arrived, i.due, i.attempts, i.error, i.body
    FROM unnest(p_tickets, p_fences, p_channels, p_users, p_updates)
        AS r (ticket, fence, channel, user_id, update_id)
    LEFT JOIN turnkey_seen s ON s.id = r.update_id AND s.channel = r.channel
    LEFT JOIN turnkey_dialog d ON d.user_id = r.user_id AND d.channel = r.channel
    LEFT JOIN LATERAL (
        SELECT array_agg(b.turn ORDER BY b.turn, b.n) AS turns,
            array_agg(b.n ORDER BY b.turn, b.n) AS numbers,
            array_agg(b.body ORDER BY b.turn, b.n) AS bodies
        FROM turnkey_outbox b WHERE b.dialog = d.id
    ) o ON true
    LEFT JOIN LATERAL (
        SELECT p.id, p.arrived, p.due, p.attempts, p.error, p.body FROM turnkey_inbox p
        WHERE p.user_id = r.user_id AND p.channel = r.channel
        ORDER BY p.user_id, p.channel, p.arrived, p.id LIMIT 1
    ) i ON true;
END $$;

-- Takes locks, or places in their queues. A lock row need not survive a crash of
-- the server: the sessions of those who held it do not either. So this does not
-- wait for the disk.
-- One pass in the order of the keys, each with one statement that finds the lock
-- free or counts itself among its waiters: two calls whose keys overlap never wait
-- for each other in a circle, and nobody can slip in between.
-- `status`: 0 granted, 1 queued, 2 refused.
CREATE FUNCTION turnkey_begin(
    p_owner BIGINT, p_max_waiters INTEGER, p_tickets BIGINT[], p_channels TEXT[],
    p_users TEXT[], p_updates TEXT[], p_arrived BIGINT[]
) RETURNS TABLE (
    status INTEGER, ticket BIGINT, fence BIGINT, version BIGINT, state TEXT, digest BYTEA,
    answer BYTEA, turns BIGINT[], numbers INTEGER[], bodies TEXT[],
    pending TEXT, arrived BIGINT, due BIGINT, attempts INTEGER, error TEXT, body BYTEA
) LANGUAGE plpgsql VOLATILE AS $$
DECLARE
    places INTEGER[] := '{}';
    fences BIGINT[] := '{}';
    k RECORD;
    server_us BIGINT;
    now_ms BIGINT := (date_part('epoch', clock_timestamp()) * 1000)::bigint;
BEGIN
    PERFORM set_config('synchronous_commit', 'off', true);
    FOR i IN 1 .. cardinality(p_tickets) LOOP
        INSERT INTO turnkey_lock AS l (channel, user_id, owner, ticket, fence, since, waiters)
        VALUES (p_channels[i], p_users[i], p_owner, p_tickets[i], nextval('turnkey_fence'), now_ms, 0)
        ON CONFLICT ON CONSTRAINT turnkey_lock_pkey
            DO UPDATE SET waiters = l.waiters + 1 WHERE l.waiters < p_max_waiters
        RETURNING l.owner, l.ticket, l.fence INTO k;
        IF FOUND AND k.owner = p_owner AND k.ticket = p_tickets[i] THEN
            places := places || i;
            fences := fences || k.fence;
            CONTINUE;
        END IF;
        status := 2;
        IF FOUND THEN
            status := 1;
            -- The order of arrival, as far as clocks can be believed: a box whose
            -- clock is wrong gains or loses a second at most.
            server_us := (date_part('epoch', clock_timestamp()) * 1000000)::bigint;
            INSERT INTO turnkey_waiter (channel, user_id, arrived, owner, ticket)
            VALUES (p_channels[i], p_users[i],
                least(greatest(p_arrived[i], server_us - 1000000), server_us),
                p_owner, p_tickets[i]);
        END IF;
        ticket := p_tickets[i];
        RETURN NEXT;
    END LOOP;
    IF places <> '{}' THEN
        RETURN QUERY
        SELECT 0, f.*
        FROM (
            SELECT array_agg(p_tickets[i]) AS tickets, array_agg(p_channels[i]) AS channels,
                array_agg(p_users[i]) AS users, array_agg(p_updates[i]) AS updates
            FROM unnest(places) AS p (i)
        ) g, turnkey_read(g.tickets, fences, g.channels, g.users, g.updates) f;
    END IF;
END $$;

-- Gives a lock back, and to the first in the queue. Nothing happens when the
-- grant with this fence does not hold it (any more).
CREATE FUNCTION turnkey_release(p_channel TEXT, p_user TEXT, p_fence BIGINT)
RETURNS VOID LANGUAGE plpgsql VOLATILE AS $$
DECLARE
    w RECORD;
    f BIGINT;
BEGIN
    DELETE FROM turnkey_lock l
    WHERE l.user_id = p_user AND l.channel = p_channel AND l.fence = p_fence AND l.waiters = 0;
    IF FOUND THEN RETURN; END IF;
    PERFORM 1 FROM turnkey_lock l
    WHERE l.user_id = p_user AND l.channel = p_channel AND l.fence = p_fence FOR UPDATE;
    IF NOT FOUND THEN RETURN; END IF;
    SELECT * INTO w FROM turnkey_waiter q
    WHERE q.user_id = p_user AND q.channel = p_channel
    ORDER BY q.arrived, q.ticket, q.owner LIMIT 1;
    IF NOT FOUND THEN
        DELETE FROM turnkey_lock l WHERE l.user_id = p_user AND l.channel = p_channel;
        RETURN;
    END IF;
    DELETE FROM turnkey_waiter q
    WHERE q.user_id = p_user AND q.channel = p_channel AND q.arrived = w.arrived
        AND q.owner = w.owner AND q.ticket = w.ticket;
    f := nextval('turnkey_fence');
    UPDATE turnkey_lock l SET owner = w.owner, ticket = w.ticket, fence = f,
        since = (date_part('epoch', clock_timestamp()) * 1000)::bigint, waiters = l.waiters - 1
    WHERE l.user_id = p_user AND l.channel = p_channel;
    PERFORM pg_notify('turnkey_' || w.owner, w.ticket || ' ' || f);
END $$;

-- Gives up a place in a queue, or the lock if it was granted meanwhile.
CREATE FUNCTION turnkey_cancel(
    p_owner BIGINT, p_tickets BIGINT[], p_channels TEXT[], p_users TEXT[]
) RETURNS VOID LANGUAGE plpgsql VOLATILE AS $$
DECLARE
    r RECORD;
    h RECORD;
    gone INTEGER;
BEGIN
    FOR r IN SELECT * FROM unnest(p_tickets, p_channels, p_users) AS a (ticket, channel, user_id) LOOP
        SELECT l.owner, l.ticket, l.fence INTO h FROM turnkey_lock l
        WHERE l.user_id = r.user_id AND l.channel = r.channel FOR UPDATE;
        CONTINUE WHEN NOT FOUND;
        IF h.owner = p_owner AND h.ticket = r.ticket THEN
            PERFORM turnkey_release(r.channel, r.user_id, h.fence);
            CONTINUE;
        END IF;
        DELETE FROM turnkey_waiter q WHERE q.user_id = r.user_id AND q.channel = r.channel
            AND q.owner = p_owner AND q.ticket = r.ticket;
        GET DIAGNOSTICS gone = ROW_COUNT;
        IF gone > 0 THEN
            UPDATE turnkey_lock l SET waiters = l.waiters - gone
            WHERE l.user_id = r.user_id AND l.channel = r.channel;
        END IF;
    END LOOP;
END $$;

-- What a commit would meet: 0 it may go on, 1 the update was committed by another
-- turn, 2 the lock was lost, 3 it was committed by this very turn.
CREATE FUNCTION turnkey_look(p_channel TEXT, p_user TEXT, p_fence BIGINT, p_update TEXT)
RETURNS INTEGER LANGUAGE plpgsql VOLATILE AS $$
DECLARE
    before BIGINT;
BEGIN
    SELECT s.fence INTO before FROM turnkey_seen s WHERE s.id = p_update AND s.channel = p_channel;
    IF FOUND THEN
        RETURN CASE WHEN before = p_fence THEN 3 ELSE 1 END;
    END IF;
    PERFORM 1 FROM turnkey_lock l
    WHERE l.user_id = p_user AND l.channel = p_channel AND l.fence = p_fence;
    RETURN CASE WHEN FOUND THEN 0 ELSE 2 END;
END $$;

-- Writes one turn, or finds out why not: 0 done (now or before), 1 the update was
-- committed by another turn, 2 the lock was lost.
CREATE FUNCTION turnkey_commit(
    p_channel TEXT, p_user TEXT, p_fence BIGINT, p_version BIGINT, p_update TEXT, p_digest BYTEA,
    p_answer BYTEA, p_state TEXT, p_history TEXT, p_end BOOLEAN, p_replies TEXT[],
    p_pending BOOLEAN
) RETURNS INTEGER LANGUAGE plpgsql VOLATILE AS $$
DECLARE
    before BIGINT;
    row_id BIGINT;
    now_ms BIGINT := (date_part('epoch', clock_timestamp()) * 1000)::bigint;
BEGIN
    PERFORM 1 FROM turnkey_lock l
    WHERE l.user_id = p_user AND l.channel = p_channel AND l.fence = p_fence FOR UPDATE;
    IF NOT FOUND THEN
        SELECT s.fence INTO before FROM turnkey_seen s
        WHERE s.id = p_update AND s.channel = p_channel;
        RETURN CASE WHEN before = p_fence THEN 0 ELSE 2 END;
    END IF;
    INSERT INTO turnkey_seen (channel, id, fence, at, digest, answer)
    VALUES (p_channel, p_update, p_fence, now_ms, p_digest, p_answer)
    ON CONFLICT DO NOTHING;
    IF NOT FOUND THEN
        SELECT s.fence INTO before FROM turnkey_seen s
        WHERE s.id = p_update AND s.channel = p_channel;
        IF before IS DISTINCT FROM p_fence THEN RETURN 1; END IF;
        IF p_end THEN PERFORM turnkey_release(p_channel, p_user, p_fence); END IF;
        RETURN 0;
    END IF;
    IF p_version = 0 THEN
        INSERT INTO turnkey_dialog AS d (channel, user_id, version, state, updated_at)
        VALUES (p_channel, p_user, p_fence, p_state, now_ms)
        ON CONFLICT DO NOTHING RETURNING d.id INTO row_id;
    ELSE
        UPDATE turnkey_dialog d SET version = p_fence, state = p_state, updated_at = now_ms
        WHERE d.user_id = p_user AND d.channel = p_channel AND d.version = p_version
        RETURNING d.id INTO row_id;
    END IF;
    IF row_id IS NULL THEN
        DELETE FROM turnkey_seen s WHERE s.id = p_update AND s.channel = p_channel;
        RETURN 2;
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
    IF p_end THEN PERFORM turnkey_release(p_channel, p_user, p_fence); END IF;
    RETURN 0;
END $$;

-- Writes many turns with one statement for each table, or none of them: when
-- anything is not as it should be, it fails, and they are written one by one.
CREATE FUNCTION turnkey_commit_all(
    p_channels TEXT[], p_users TEXT[], p_fences BIGINT[], p_versions BIGINT[], p_updates TEXT[],
    p_digests BYTEA[], p_answers BYTEA[], p_states TEXT[], p_histories TEXT[], p_ends BOOLEAN[],
    p_reply_fences BIGINT[], p_reply_numbers INTEGER[], p_reply_bodies TEXT[],
    p_pendings BOOLEAN[]
) RETURNS VOID LANGUAGE plpgsql VOLATILE AS $$
DECLARE
    wanted INTEGER := cardinality(p_fences);
    now_ms BIGINT := (date_part('epoch', clock_timestamp()) * 1000)::bigint;
    freed BIGINT[];
    rest INTEGER;
    done INTEGER;
    made INTEGER;
    r RECORD;
BEGIN
    -- In the order of the keys, as everybody does; and until the end nobody can join
    -- a queue, so who has no waiters keeps none.
    PERFORM 1
    FROM unnest(p_channels, p_users, p_fences) WITH ORDINALITY AS a (channel, user_id, fence, n)
    JOIN turnkey_lock l ON l.user_id = a.user_id AND l.channel = a.channel AND l.fence = a.fence
    ORDER BY a.n
    FOR UPDATE OF l;
    GET DIAGNOSTICS done = ROW_COUNT;
    IF done <> wanted THEN RAISE 'not so simple' USING ERRCODE = 'TK001'; END IF;
    WITH gone AS (
        DELETE FROM turnkey_lock l
        USING unnest(p_channels, p_users, p_fences, p_ends) AS a (channel, user_id, fence, ends)
        WHERE l.user_id = a.user_id AND l.channel = a.channel AND l.fence = a.fence
            AND a.ends AND l.waiters = 0
        RETURNING l.fence
    )
    SELECT array_agg(gone.fence) INTO freed FROM gone;
    rest := wanted - coalesce(cardinality(freed), 0);
    INSERT INTO turnkey_seen (channel, id, fence, at, digest, answer)
    SELECT a.channel, a.update_id, a.fence, now_ms, a.digest, a.answer
    FROM unnest(p_channels, p_updates, p_fences, p_digests, p_answers)
        AS a (channel, update_id, fence, digest, answer)
    ON CONFLICT DO NOTHING;
    GET DIAGNOSTICS done = ROW_COUNT;
    IF done <> wanted THEN RAISE 'not so simple' USING ERRCODE = 'TK001'; END IF;
    UPDATE turnkey_dialog d SET version = a.fence, state = a.state, updated_at = now_ms
    FROM unnest(p_channels, p_users, p_fences, p_versions, p_states)
        AS a (channel, user_id, fence, version, state)
    WHERE d.user_id = a.user_id AND d.channel = a.channel AND d.version = a.version;
    GET DIAGNOSTICS done = ROW_COUNT;
    IF done < wanted THEN
        INSERT INTO turnkey_dialog (channel, user_id, version, state, updated_at)
        SELECT a.channel, a.user_id, a.fence, a.state, now_ms
        FROM unnest(p_channels, p_users, p_fences, p_versions, p_states)
            AS a (channel, user_id, fence, version, state)
        WHERE a.version = 0
        ON CONFLICT DO NOTHING;
        GET DIAGNOSTICS made = ROW_COUNT;
        IF done + made <> wanted THEN RAISE 'not so simple' USING ERRCODE = 'TK001'; END IF;
    END IF;
    IF cardinality(p_reply_fences) > 0 THEN
        INSERT INTO turnkey_outbox (dialog, turn, n, body)
        SELECT d.id, b.fence, b.n, b.body
        FROM unnest(p_reply_fences, p_reply_numbers, p_reply_bodies) AS b (fence, n, body)
        JOIN unnest(p_channels, p_users, p_fences) AS a (channel, user_id, fence) ON a.fence = b.fence
        JOIN turnkey_dialog d ON d.user_id = a.user_id AND d.channel = a.channel;
    END IF;
    IF true = ANY (p_pendings) THEN
        DELETE FROM turnkey_inbox i
        USING unnest(p_channels, p_updates, p_pendings) AS a (channel, update_id, pending)
        WHERE i.id = a.update_id AND i.channel = a.channel AND a.pending;
    END IF;
    IF array_remove(p_histories, NULL) <> '{}' THEN
        INSERT INTO turnkey_history (dialog, at, turn)
        SELECT d.id, now_ms, a.history
        FROM unnest(p_channels, p_users, p_histories) AS a (channel, user_id, history)
        JOIN turnkey_dialog d ON d.user_id = a.user_id AND d.channel = a.channel
        WHERE a.history IS NOT NULL;
    END IF;
    IF rest > 0 THEN
        FOR r IN
            SELECT * FROM unnest(p_channels, p_users, p_fences, p_ends) WITH ORDINALITY
                AS a (channel, user_id, fence, ends, n)
            WHERE a.ends AND (freed IS NULL OR a.fence <> ALL (freed))
            ORDER BY a.n
        LOOP
            PERFORM turnkey_release(r.channel, r.user_id, r.fence);
        END LOOP;
    END IF;
END $$;

-- Forgets replies that were sent, and gives locks back.
CREATE FUNCTION turnkey_sent(
    p_reply_channels TEXT[], p_reply_users TEXT[], p_reply_turns BIGINT[], p_reply_numbers INTEGER[],
    p_channels TEXT[], p_users TEXT[], p_fences BIGINT[]
) RETURNS VOID LANGUAGE plpgsql VOLATILE AS $$
DECLARE
    r RECORD;
BEGIN
    IF cardinality(p_reply_turns) > 0 THEN
        DELETE FROM turnkey_outbox o
        USING unnest(p_reply_channels, p_reply_users, p_reply_turns, p_reply_numbers)
            AS a (channel, user_id, turn, n), turnkey_dialog d
        WHERE d.user_id = a.user_id AND d.channel = a.channel
            AND o.dialog = d.id AND o.turn = a.turn AND o.n = a.n;
    END IF;
    FOR r IN SELECT * FROM unnest(p_channels, p_users, p_fences) AS a (channel, user_id, fence) LOOP
        PERFORM turnkey_release(r.channel, r.user_id, r.fence);
    END LOOP;
END $$;

-- Renews a process's lease and frees what dead ones held: those whose session is
-- gone (its advisory lock is free) or whose lease ran out. How many were freed.
CREATE FUNCTION turnkey_beat(p_owner BIGINT, p_lease_ms BIGINT)
RETURNS INTEGER LANGUAGE plpgsql VOLATILE AS $$
DECLARE
    dead RECORD;
    k RECORD;
    h RECORD;
    n INTEGER;
    freed INTEGER := 0;
BEGIN
    INSERT INTO turnkey_owner VALUES (p_owner, clock_timestamp())
    ON CONFLICT (owner) DO UPDATE SET renewed_at = excluded.renewed_at;
    FOR dead IN
        SELECT c.owner, o.renewed_at < clock_timestamp() - p_lease_ms * INTERVAL '1 ms' AS expired
        FROM (
            SELECT owner FROM turnkey_owner UNION SELECT owner FROM turnkey_lock
            UNION SELECT owner FROM turnkey_waiter
        ) c LEFT JOIN turnkey_owner o ON o.owner = c.owner
        WHERE c.owner <> p_owner
        ORDER BY c.owner
    LOOP
        -- One who looks after the dead is enough, and the others need not wait.
        CONTINUE WHEN NOT pg_try_advisory_xact_lock(hashtext('turnkey reap'), hashint8(dead.owner));
        CONTINUE WHEN NOT coalesce(dead.expired, false) AND NOT pg_try_advisory_xact_lock(dead.owner);
        freed := freed + 1;
        FOR k IN
            SELECT l.user_id, l.channel FROM turnkey_lock l WHERE l.owner = dead.owner
            UNION SELECT q.user_id, q.channel FROM turnkey_waiter q WHERE q.owner = dead.owner
            ORDER BY user_id, channel
        LOOP
            SELECT l.owner, l.fence INTO h FROM turnkey_lock l
            WHERE l.user_id = k.user_id AND l.channel = k.channel FOR UPDATE;
            DELETE FROM turnkey_waiter q WHERE q.user_id = k.user_id AND q.channel = k.channel
                AND q.owner = dead.owner;
            GET DIAGNOSTICS n = ROW_COUNT;
            IF n > 0 THEN
                UPDATE turnkey_lock l SET waiters = l.waiters - n
                WHERE l.user_id = k.user_id AND l.channel = k.channel;
            END IF;
            IF h.owner = dead.owner THEN
                PERFORM turnkey_release(k.channel, k.user_id, h.fence);
            END IF;
        END LOOP;
        DELETE FROM turnkey_owner o WHERE o.owner = dead.owner;
    END LOOP;
    RETURN freed;
END $$;
