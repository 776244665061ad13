"""Bots in Python on Turnkey: one user's messages strictly one turn at a time; state,
replies and SQL of a turn are committed together.

    import turnkey

    async def handle(turn):                     # a plain `def` works too
        turn.state["count"] = turn.state.get("count", 0) + 1
        turn.reply(f'{turn.state["count"]}: {turn.text}')

    turnkey.run(handle)

Run it with `turnkey run bot.py`. Where to read on:

    help(turnkey.run)                           what a bot can be given, and how it is run
    help(turnkey.Turn), turnkey.AsyncTurn       all that a handler, plain or async, can do and see
    help(turnkey.Reply), turnkey.Button         what is said; turnkey.Attachment, turnkey.Message
    help(turnkey.Heard)                         what comes in; turnkey.File, turnkey.Sender …
    turnkey.Retry, turnkey.GiveUp               how a handler fails on purpose
    turnkey.PlatformError, QueryError …         what its calls raise
    help("turnkey.testing.Conversation")        a test talks to the bot

Authors import this module and `turnkey.testing`; every name that begins with `_` is ours.
docs/BOT.md has the code for what bots are mostly asked for, docs/HANDLERS.md the verbs and the protocol.
"""

from typing import TYPE_CHECKING, Any

from ._asking import Row
from ._content import (
    Called,
    Chat,
    Contact,
    File,
    Forwarded,
    Location,
    Presser,
    Quoted,
    Rpc,
    Sender,
    Timer,
    Update,
    escape,
)
from ._errors import Cancelled, GiveUp, PlatformError, QueryError, Retry, StepError
from ._heard import Heard
from ._reply import Attachment, Button, Message, Reply
from ._run import run
from ._turn import AsyncTurn, BaseTurn, Turn

__version__ = "0.1.0"

__all__ = [
    "AsyncTurn",
    "Attachment",
    "BaseTurn",
    "Button",
    "Called",
    "Cancelled",
    "Chat",
    "Contact",
    "DeadReply",
    "File",
    "Forwarded",
    "GiveUp",
    "Heard",
    "Location",
    "LogHandler",
    "Message",
    "PlatformError",
    "Presser",
    "QueryError",
    "Quoted",
    "Reply",
    "Retry",
    "Row",
    "Rpc",
    "Said",
    "Sender",
    "StepError",
    "Timer",
    "Turn",
    "Update",
    "escape",
    "run",
]

if TYPE_CHECKING:
    from ._log import LogHandler
    from ._said import DeadReply, Said
else:

    def __getattr__(name: str) -> Any:
        # Neither is needed for the start.
        if name == "LogHandler":
            from ._log import LogHandler

            return LogHandler
        if name in ("DeadReply", "Said"):
            from . import _said

            return getattr(_said, name)
        raise AttributeError(f"module 'turnkey' has no attribute {name!r}")
