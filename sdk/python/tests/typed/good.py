"""What authors write, as `mypy --strict` must take it. Never run."""

from __future__ import annotations

import pathlib
from dataclasses import dataclass
from typing import Any, Dict, List, Optional

import turnkey
from turnkey.testing import Conversation, Program, Said, edit, toast


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


def verbs(turn: turnkey.Turn) -> None:
    row = [turnkey.Button("a", "1"), turnkey.Button.link("b", "https://b")]
    turn.reply("x", format="markup", buttons=[row, ("d", "3")], photo="https://x", quote=True)
    turn.reply(photo=["a", pathlib.Path("b.png")], files=[turnkey.Attachment(b"", "voice", name="c")])
    turn.reply(location=turnkey.Location(1, 2), keyboard=[["a"], "b"], once=True)
    turn.edit("menu", "x", buttons=[row])
    turn.edit(turnkey.Message(turn.message), turnkey.Reply("x", name="menu").row(*row))
    turn.edit_pressed("x", silent=True)
    turn.delete(True)
    turn.toast("x", alert=True)
    turn.call("sendDice", {"emoji": "x"}, name="dice")
    turn.send_to("vk", turn.dialog_id, "x", no_preview=True)
    turn.draft(turn.unreachable or "so far")
    length: int = turn.step("length", len, "x")
    turn.reply("x" * length)
    for dead in turn.dead_replies():
        turn.reply(f"{dead.action.text} {dead.error} {dead.died.year}")
    member: Any = turn.ask("getChatMember", {"user_id": 7})
    for file in turn.photos + turn.files:
        data: bytes = turn.download(file)
        size: int = turn.download(file, "/tmp/x", limit=len(data))
        turn.reply(f"{size} {file.name} {member}", document=file)
    if turn.sender and turn.chat and turn.chat.type == "group":
        turn.reply(turn.sender.name + turn.markup + turn.kind + turn.event)


async def async_verbs(turn: turnkey.AsyncTurn) -> None:
    data: bytes = await turn.download(turn.files[0])
    size: int = await turn.download(turn.files[0], pathlib.Path("x"))
    turn.reply(f"{size} {data!r} {await turn.ask('getMe')}")
    receipt: str = await turn.step("charge", pay, 30)
    number: int = await turn.step("number", len, receipt)
    turn.reply(receipt * number)


async def pay(sum: int) -> str:
    return str(sum)


class Bot:
    async def __call__(self, turn: turnkey.AsyncTurn[Visitor]) -> None:
        turn.reply(turn.command or turn.button or "")


def main() -> None:
    turnkey.run(bare)
    turnkey.run(with_dict, concurrency=4, raw=True, hears=["edited"], dialog_by="chat", overlap="albums", name="bot")
    turnkey.run(typed, state=Visitor)
    turnkey.run(async_bare)
    turnkey.run(async_typed, state=Visitor)
    turnkey.run(Bot(), state=Visitor)
    turnkey.run(lambda turn: turn.reply(turn.text))


def tests() -> None:
    bot = Conversation(typed, state=Visitor, migrations=["CREATE TABLE t (x)"])
    assert bot.says("ann", "hi") == ["1: hi"]
    with Program("bot.py", "--workers", "2") as program:
        replies: List[Said] = program.presses("ann", "tea:1")
        assert replies[0].buttons[0][0].label == "Yes"
        program.sends("ann", files=[turnkey.File("photo", "p")])
    bot = Conversation(typed, ask=lambda method, params: {"ok": True}, downloads={"p": b"x"})
    bot.sends("ann", sender=turnkey.Sender("Ann", None, "de"), files=[turnkey.File("photo", "p")])
    assert bot.presses("ann", "x") == [edit(True, "y", silent=True), toast("z")]
