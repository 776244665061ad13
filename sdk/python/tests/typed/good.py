"""What authors write, as `mypy --strict` must take it. Never run."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Dict, List, Optional

import turnkey
from turnkey.testing import Conversation, Program


@dataclass
class Visitor:
    hour: Optional[str] = None


def helper(turn: turnkey.BaseTurn[Visitor]) -> str:
    return turn.state.hour or turn.text


def bare(turn: turnkey.Turn) -> None:
    turn.state["count"] = turn.state.get("count", 0) + 1
    turn.reply(f"{turn.state['count']}: {turn.text}")


def with_dict(turn: turnkey.Turn[Dict[str, Any]]) -> None:
    turn.reply(turnkey.Reply("Tea?").button("Yes", "tea:1"))


def typed(turn: turnkey.Turn[Visitor]) -> None:
    rows = turn.query("SELECT hour FROM bookings WHERE visitor = ?1", (turn.user_id,))
    hours: List[str] = [row["hour"] for row in rows]
    turn.state.hour = hours[0] if hours else None
    turn.execute("DELETE FROM bookings WHERE hour = ?1", [helper(turn)])
    if turn.attempt > 1:
        raise turnkey.GiveUp("no")
    raise turnkey.Retry(2.5, "later")


async def async_bare(turn: turnkey.AsyncTurn) -> None:
    turn.state["x"] = turn.argument.upper()


async def async_typed(turn: turnkey.AsyncTurn[Visitor]) -> None:
    rows = await turn.query("SELECT 1")
    turn.state.hour = rows[0]["hour"]
    turn.reply(helper(turn))


class Bot:
    async def __call__(self, turn: turnkey.AsyncTurn[Visitor]) -> None:
        turn.reply(turn.command or turn.button or "")


def main() -> None:
    turnkey.run(bare)
    turnkey.run(with_dict, concurrency=4, raw=True, hears=["edited"], name="bot")
    turnkey.run(typed, state=Visitor)
    turnkey.run(async_bare)
    turnkey.run(async_typed, state=Visitor)
    turnkey.run(Bot(), state=Visitor)
    turnkey.run(lambda turn: turn.reply(turn.text))


def tests() -> None:
    bot = Conversation(typed, state=Visitor, migrations=["CREATE TABLE t (x)"])
    assert bot.says("ann", "hi") == ["1: hi"]
    with Program("bot.py", "--workers", "2") as program:
        replies: List[turnkey.Reply] = program.presses("ann", "tea:1")
        assert replies[0].buttons[0].label == "Yes"
