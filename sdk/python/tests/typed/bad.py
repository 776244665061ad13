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


async def later(turn: turnkey.AsyncTurn[Visitor]) -> None:
    for row in turn.query("x"):  # BAD
        print(row)
    turn.query("x")  # BAD


async def mixed(turn: turnkey.Turn[Visitor]) -> None:
    turn.reply("x")


turnkey.run(plain)  # BAD
turnkey.run(mixed, state=Visitor)  # BAD
turnkey.run(plain, state=Visitor, concurrency="7")  # BAD
