"""What the SDK costs: turns a second of one process, and its processor time a turn.

Run by hand: `python3 sdk/python/tests/bench.py [TURNS]`. The worker here is the tests' own, so
turns a second are a lower bound; the processor time is the handler process's alone, its
start subtracted.
"""

from __future__ import annotations

import json
import os
import sys
import time

from fake import Worker

COUNTER = """
import turnkey
{kind} handle(turn):
    turn.state["count"] = turn.state.get("count", 0) + 1
    turn.reply(f'{{turn.state["count"]}}: {{turn.text}}')
turnkey.run(handle)
"""


def lines(first, count):
    turn = {"channel": "http", "user": "ann", "update": "9001", "kind": "message"}
    turn.update(text="hi", attempt=1, state={"count": 3})
    return [
        json.dumps({"id": n, "turn": turn}, separators=(",", ":")).encode() + b"\n"
        for n in range(first, first + count)
    ]


def measure(kind, turns, window):
    with Worker(COUNTER.format(kind=kind)) as bot:
        bot.stop_reading_in_a_thread()
        start = processor_time(bot.pid)
        began = time.perf_counter()
        batch = lines(0, window)
        answered = 0
        while answered < turns:
            bot.send(*batch)
            missing = window
            while missing:
                chunk = os.read(bot.reading, 1 << 20)
                if not chunk:
                    sys.exit(f"it ended with {bot.wait()}: {bot.stderr}")
                missing -= chunk.count(b"\n")
            answered += window
        took = time.perf_counter() - began
        spent = processor_time(bot.pid) - start
        return answered / took, spent / answered * 1e6


def processor_time(pid):
    """In seconds, all threads, to the nanosecond."""
    total = 0
    for task in os.listdir(f"/proc/{pid}/task"):
        with open(f"/proc/{pid}/task/{task}/schedstat") as file:
            total += int(file.read().split()[0])
    return total / 1e9


def main():
    turns = int(sys.argv[1]) if len(sys.argv) > 1 else 100_000
    print(f"Python {sys.version.split()[0]}, {turns:,} turns each")
    for kind in ("def", "async def"):
        for window in (1, 32, 128):
            rate, cost = measure(kind, turns if window > 1 else turns // 5, window)
            print(f"{kind:9} {window:4} at once: {rate:9,.0f} turns/s, {cost:5.1f} us a turn")


if __name__ == "__main__":
    main()
