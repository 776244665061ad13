#!/usr/bin/env python3
"""SQLite through Python's sqlite3, as an engine of the laboratory: docs/ENGINES.md.

turnkey bench storage --engines sqlite-direct --in-flight 1 \\
    --engine-command 'python=python3 examples/engines/sqlite.py'

One turn after another in each process: what is in flight beyond that waits its turn.
"""
import json
import random
import sqlite3
import sys
import time


def say(line):
    print(line, flush=True)


def connect(order):
    db = sqlite3.connect(order["directory"] + "/python.db", timeout=60, isolation_level=None)
    db.execute("PRAGMA journal_mode = WAL")
    db.execute(f"PRAGMA synchronous = {order['sync']}")
    return db


def fill(db, order):
    db.execute("CREATE TABLE state (user INTEGER PRIMARY KEY, count INTEGER, pad TEXT)")
    pad = "x" * order["state_bytes"]
    db.execute("BEGIN")
    db.executemany("INSERT INTO state VALUES (?, 0, ?)", ((n, pad) for n in range(order["users"])))
    db.execute("COMMIT")


def turn(db, user, pad):
    db.execute("BEGIN IMMEDIATE")
    (count,) = db.execute("SELECT count FROM state WHERE user = ?", (user,)).fetchone()
    db.execute("UPDATE state SET count = ?, pad = ? WHERE user = ?", (count + 1, pad, user))
    db.execute("COMMIT")


def run(db, order, window):
    chance = random.Random(window["seed"])
    pad = "x" * order["state_bytes"]
    now = time.monotonic_ns
    number, lines = 0, []
    rate = window["rate"]
    while now() < window["begin"]:
        time.sleep(0.0001)
    while True:
        # On a schedule a turn's latency counts from when it was due.
        began = window["begin"] + int(number * 1e9 / rate) if rate else now()
        if max(began, now()) >= window["until"]:
            break
        while now() < began:
            time.sleep((began - now()) / 1e9 if began > now() else 0)
        turn(db, chance.randrange(order["users"]), pad)
        lines.append(f"t {began} {now()}")
        number += 1
    while rate and (due := window["begin"] + int(number * 1e9 / rate)) < window["until"]:
        lines.append(f"late {due}")
        number += 1
    say("\n".join(lines + ["done"]))


def main():
    db = order = None
    for line in sys.stdin:
        verb, _, text = line.strip().partition(" ")
        what = json.loads(text)
        if verb == "open":
            order = what
            db = connect(order)
            say("ready")
        elif verb == "fill":
            fill(db, order)
            say("filled")
        elif verb == "run":
            run(db, order, what)
        elif verb == "sum":
            say("sum %d" % db.execute("SELECT sum(count) FROM state").fetchone())


if __name__ == "__main__":
    main()
