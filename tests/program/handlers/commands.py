"""A bot that does what the message says: examples/commands.rs in Python, for the tests of
the whole program that run with handlers in both languages (harness/bot.rs). Its verbs and
its answers are those of the other, but for what a process in another language cannot have:
`held`.
"""

import asyncio
import json
import os
import time
from pathlib import Path

import turnkey


class Failed(Exception):
    pass


async def obey(turn: turnkey.AsyncTurn) -> None:
    turn.state["count"] = turn.state.get("count", 0) + 1
    count = turn.state["count"]
    text = turn.text
    if text.startswith("gate "):
        text = await wait_at_gate(turn, text[len("gate ") :])
    said = other_than_text(turn)
    if said is not None:
        turn.reply(f"{count}: {said}")
        return
    command, _, rest = text.partition(" ")
    if command == "sleep":
        await asyncio.sleep(int(rest) / 1000)
    elif command == "spin":
        time.sleep(int(rest) / 1000)
    elif command == "fail":
        raise Failed("told to fail" + (f": {rest}" if rest else ""))
    elif command == "panic":
        raise Failed(f"told to panic {rest}")
    elif command == "try":
        if turn.attempt < int(rest):
            raise Failed("told to fail at first")
        turn.reply(f"{count}: {text} (attempt {turn.attempt})")
        return
    elif command == "die":
        await asyncio.sleep(int(rest) / 1000)
        os.abort()
    elif command == "order":
        turn.execute("INSERT INTO orders (user_id, item) VALUES (?1, ?2)", [turn.user_id, rest])
    elif command == "orders":
        rows = await turn.query(
            "SELECT COUNT(*) AS n FROM orders WHERE user_id = ?1", [turn.user_id]
        )
        turn.reply(f"{rows[0]['n']} orders")
        return
    elif command == "many":
        for i in range(1, int(rest) + 1):
            turn.reply(f"{count}.{i}")
        return
    elif command == "silent":
        return
    elif command == "ask":
        turn.reply(turnkey.Reply(rest).button("Yes", "yes:1").button("No", "no"))
        return
    elif command == "picture":
        turn.reply(turnkey.Reply(picture=rest, caption="look").button("More", "more"))
        return
    turn.reply(f"{count}: {text}")


async def wait_at_gate(turn: turnkey.AsyncTurn, rest: str) -> str:
    """Waits until a file is there; what is to be done then."""
    file, _, rest = rest.partition(" ")
    here = Path(f"{file}.{turn.channel}.{turn.user_id}")
    here.write_text("")
    while not os.path.exists(file):
        await asyncio.sleep(0.005)
    here.unlink(missing_ok=True)
    return rest


def other_than_text(turn: turnkey.AsyncTurn) -> "str | None":
    if turn.rpc and turn.rpc.method != "fail":
        params = json.dumps(turn.rpc.params, separators=(",", ":"))
        return f"rpc {turn.rpc.method} {params}"
    if turn.button is not None:
        return f"button {turn.button}"
    if turn.update.kind in ("opened", "edited"):
        return f"{turn.update.kind} {turn.text}"
    if turn.pictures:
        first = turn.pictures[0]
        return f"{len(turn.pictures)} pictures, {first.url or first.id}, {turn.text}"
    return None


# As many as a worker has in flight.
turnkey.run(obey, concurrency=4096, hears=["edited"] if "COMMANDS_EDITS" in os.environ else [])
