"""The counter as an author would write it with aiohttp and SQLite: a transaction a turn.

As durable as Turnkey at full sync. It keeps only the counter: an update that comes again
counts again, and nothing keeps a user's messages in order. Run by gunicorn.
"""

import os
import sqlite3

from aiohttp import web

DB = web.AppKey("db", sqlite3.Connection)


def connect():
    db = sqlite3.connect(os.environ["DATABASE"], isolation_level=None, timeout=30)
    db.execute("PRAGMA journal_mode = WAL")
    db.execute("PRAGMA synchronous = FULL")
    db.execute("CREATE TABLE IF NOT EXISTS users (id TEXT PRIMARY KEY, count INTEGER NOT NULL)")
    return db


async def message(request):
    update = await request.json()
    user, text = update["user_id"], update["text"]
    # Nothing is awaited before the end of the transaction: one connection will do.
    db = request.app[DB]
    db.execute("BEGIN IMMEDIATE")
    try:
        row = db.execute("SELECT count FROM users WHERE id = ?", (user,)).fetchone()
        count = row[0] + 1 if row else 1
        if row:
            db.execute("UPDATE users SET count = ? WHERE id = ?", (count, user))
        else:
            db.execute("INSERT INTO users VALUES (?, ?)", (user, count))
        db.execute("COMMIT")
    except BaseException:
        db.execute("ROLLBACK")
        raise
    return web.json_response({"replies": [{"text": f"{count}: {text}"}]})


async def app():
    application = web.Application()
    application[DB] = connect()
    application.router.add_post("/http", message)
    return application
