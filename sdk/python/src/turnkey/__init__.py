"""Bots in Python on Turnkey: one user's messages strictly one turn at a time; state,
replies and SQL of a turn are committed together.

    import turnkey

    async def handle(turn):                     # a plain `def` works too
        turn.state["count"] = turn.state.get("count", 0) + 1
        turn.reply(f'{turn.state["count"]}: {turn.text}')

    turnkey.run(handle)

Run it with `turnkey run bot.py`. Authors import this module and `turnkey.testing`; every
name that begins with `_` is ours. docs/HANDLERS.md has the verbs and the protocol.
"""

from typing import TYPE_CHECKING, Any

from ._errors import Cancelled, GiveUp, QueryError, Retry
from ._run import run
from ._turn import AsyncTurn, BaseTurn, Button, Picture, Reply, Row, Rpc, Turn, Update

__version__ = "0.1.0"

__all__ = [
    "AsyncTurn",
    "BaseTurn",
    "Button",
    "Cancelled",
    "GiveUp",
    "LogHandler",
    "Picture",
    "QueryError",
    "Reply",
    "Retry",
    "Row",
    "Rpc",
    "Turn",
    "Update",
    "run",
]

if TYPE_CHECKING:
    from ._log import LogHandler
else:

    def __getattr__(name: str) -> Any:
        # `logging` is not needed for the start.
        if name == "LogHandler":
            from ._log import LogHandler

            return LogHandler
        raise AttributeError(f"module 'turnkey' has no attribute {name!r}")
