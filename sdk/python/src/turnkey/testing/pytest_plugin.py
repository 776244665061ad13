"""pytest's fixture `turnkey_bot`, which the package registers by itself (`pytest11`).

    def test_it_counts(turnkey_bot):
        bot = turnkey_bot("bot.py", "--workers", "2")
        assert bot.says("ann", "hi") == ["1: hi"]

Invariant: whatever becomes of the test, its programs are gone afterwards.
"""

from __future__ import annotations

import contextlib
from typing import Callable, Iterator

import pytest

from ._program import Program


@pytest.fixture
def turnkey_bot() -> Iterator[Callable[..., Program]]:
    """Starts programs: `turnkey_bot(path, *arguments)` is a `turnkey.testing.Program`."""
    with contextlib.ExitStack() as programs:

        def start(path: str, *arguments: str) -> Program:
            program = Program(path, *arguments)
            programs.callback(program.close)
            return program

        yield start
