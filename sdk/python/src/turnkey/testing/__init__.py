"""What authors test their bots with.

    from turnkey.testing import Conversation

    def test_it_counts():
        bot = Conversation(handle)
        assert bot.says("ann", "hi") == ["1: hi"]

`Conversation` runs turns in memory, with no server; `Program` starts the real program and
talks to it over HTTP; pytest's fixture `turnkey_bot` makes and stops such programs. What they
give are lists of `Said`, which `edit`, `delete`, `toast`, `call`, `send_to` and `ask_in` make,
too, to compare with.
"""

from ._conversation import Conversation
from ._program import Program, ProgramError
from .._said import Said, ask_in, call, delete, edit, send_to, toast

__all__ = [
    "Conversation",
    "Program",
    "ProgramError",
    "Said",
    "ask_in",
    "call",
    "delete",
    "edit",
    "send_to",
    "toast",
]
