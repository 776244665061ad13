"""What `mypy --strict` must refuse: each line marked with `# BAD`, and no other. Never run."""

from __future__ import annotations

from dataclasses import dataclass

import turnkey


@dataclass
class Visitor:
    visits: int = 0


def plain(turn: turnkey.Turn[Visitor]) -> None:
    turn.state.visit = 1  # BAD
    turn.state.visits = "x"  # BAD
    turn.reply(7)  # BAD
    turn.execute("x", [object()])  # BAD
    turn.text = "x"  # BAD
    turn.reply("x", phto="y")  # BAD
    turn.reply("x", buttons=[7])  # BAD
    turn.edit(7, "x")  # BAD
    turnkey.Button("a", 1)  # BAD
    turn.download("x")  # BAD


async def later(turn: turnkey.AsyncTurn[Visitor]) -> None:
    for row in turn.query("x"):  # BAD
        print(row)
    turn.query("x")  # BAD
    turn.ask("x")  # BAD
    turn.download(turn.files[0])  # BAD


async def mixed(turn: turnkey.Turn[Visitor]) -> None:
    turn.reply("x")


turnkey.run(plain)  # BAD
turnkey.run(mixed, state=Visitor)  # BAD
turnkey.run(plain, state=Visitor, concurrency="7")  # BAD
