"""What the tests of handlers share: a handler written once, tried as a plain and as an async
function.

Used by the `test_*.py` files that have a class `Both`, whose tests meet both kinds; what only
one kind has is in their `Plain` and `Async`. Invariant: a test's processes end with it.
"""

from __future__ import annotations

from fake import Worker

COUNTER = """
    import turnkey

    DEF handle(turn):
        turn.state["count"] = turn.state.get("count", 0) + 1
        turn.reply(f'{turn.state["count"]}: {turn.text}')

    turnkey.run(handle)
"""


class Handlers:
    """`kind` is `def` or `async def`; `wait` is how such a handler waits."""

    kind = ""
    wait = ""

    def start(self, source, **options):
        """Starts a program whose handlers are written with DEF and AWAIT."""
        if isinstance(source, str):
            source = source.replace("async DEF", "async def").replace("DEF", self.kind)
            source = source.replace("AWAIT ", self.wait)
        worker = Worker(source, **options)
        self.addCleanup(worker.close)
        return worker

    def handler(self, body, more="", arguments="", **options):
        """A program with this as its handler's body."""
        lines = ["import asyncio, os, sys, threading, time, turnkey", *more.splitlines()]
        lines += ["DEF handle(turn):", *("    " + line for line in body.splitlines())]
        lines += [f"turnkey.run(handle{arguments})", "print('after run', flush=True)"]
        return self.start("\n".join(lines), **options)


class PlainHandlers(Handlers):
    kind, wait = "def", ""


class AsyncHandlers(Handlers):
    kind, wait = "async def", "await "
