"""What authors test their bots with.

    from turnkey.testing import Conversation

    def test_it_counts():
        bot = Conversation(handle)
        assert bot.says("ann", "hi") == ["1: hi"]

`Conversation` runs turns in memory, with no server; `Program` starts the real program and
talks to it over HTTP; pytest's fixture `turnkey_bot` makes and stops such programs.
"""

from ._conversation import Conversation
from ._program import Program, ProgramError

__all__ = ["Conversation", "Program", "ProgramError"]
