"""Async handlers, on one asyncio loop: each turn is a task.

Called by `_run.py`; the only module that needs asyncio at its start, so it is imported only
for async handlers. Invariants: everything but logging and drafts happens in the loop's thread; each
turn is answered once, by `_run`, or by `_cancel` if its task never began. Bound: as many
tasks as the worker sends turns (`concurrency`).
"""

from __future__ import annotations

import asyncio
import sys
from typing import Any, Callable, Dict, Optional

from ._answer import done_line, fail_line, refuse_result
from ._asking import Questions
from ._errors import Cancelled
from ._state import States
from ._turn import AsyncTurn, BaseTurn, goes_on
from ._wire import MAX_LINE, End, Pipes, ProtocolError, answer_of, decode, encode, number_of


#: Seconds between two answers of a process that has quick turns.
SOON = 0.001

#: Where Python can, a task begins when it is made: a turn that waits for nothing is over then, and
#: the loop need not come back to it.
EAGER: Dict[str, Any] = {"eager_start": True} if sys.version_info >= (3, 12) else {}


class InHand:
    """What we keep of a turn that runs."""

    __slots__ = ("number", "task", "begun", "asked", "count")

    def __init__(self, number: Any) -> None:
        self.number = number
        self.task: Optional[asyncio.Task[None]] = None
        self.begun = False
        self.asked: Dict[int, asyncio.Future[Any]] = {}
        self.count = 0


class Loop(Questions):
    """Runs the turns of one process."""

    _loop: asyncio.AbstractEventLoop
    _end: asyncio.Future[None]

    def __init__(self, handle: Callable[..., Any], states: States, pipes: Pipes) -> None:
        self._handle = handle
        self._states = states
        self._pipes = pipes
        self._turns: Dict[Any, AsyncTurn[Any]] = {}
        self._answered_at = 0.0
        # `_flush` is to be called in this round of the loop.
        self._flushes = False

    async def serve(self, at_end: Callable[[], None]) -> None:
        """Runs turns until the worker has no more use for us. If some are in hand then,
        calls `at_end` and cancels them: asyncio.run waits for them."""
        self._loop = asyncio.get_running_loop()
        self._end = self._loop.create_future()
        self._loop.add_reader(self._pipes.reading, self._readable)
        try:
            self._take_all()
            await self._end
        except End:
            pass
        finally:
            self._loop.remove_reader(self._pipes.reading)
            if self._turns:
                at_end()

    def _finish(self, error: Optional[BaseException]) -> None:
        if not self._end.done():
            if error is None:
                self._end.set_result(None)
            else:
                self._end.set_exception(error)

    def _readable(self) -> None:
        try:
            self._pipes.more()
            self._take_all()
        except End:
            self._finish(None)
        except BaseException as error:
            self._finish(error)

    def _take_all(self) -> None:
        lines = self._pipes.lines
        while lines:
            self._take(decode(lines.popleft()))

    def _take(self, message: Dict[str, Any]) -> None:
        if "turn" in message:
            turn: AsyncTurn[Any] = AsyncTurn(None, message["turn"], self)
            number = message["id"]
            turn._more = mine = InHand(number)
            self._turns[number] = turn
            mine.task = asyncio.Task(self._run(turn, mine), loop=self._loop, **EAGER)
        elif "cancel" in message:
            cancelled = self._turns.get(message["cancel"])
            if cancelled is not None and not goes_on(cancelled, message):
                self._cancel(cancelled)
        elif "ping" in message:
            self._pipes.send(encode({"pong": message["ping"]}))
        elif number_of(message) is not None:
            self._answered(message)
        elif "drain" not in message:
            raise ProtocolError(f"a line of an unknown kind: {', '.join(message) or '{}'}")

    def _answered(self, message: Dict[str, Any]) -> None:
        turn = self._turns.get(message.get("id"))
        asked = None if turn is None else turn._more.asked.pop(number_of(message), None)
        if asked is None or asked.done():
            return
        value, error = answer_of(message)
        if error is None:
            asked.set_result(value)
        else:
            asked.set_exception(error)

    def _cancel(self, turn: AsyncTurn[Any]) -> None:
        mine: InHand = turn._more
        turn._cancelled = True
        if mine.task is not None:
            mine.task.cancel()
        if not mine.begun:
            # It never will now, and would not answer.
            self._answer(turn, fail_line(mine.number, Cancelled(), True))

    async def _run(self, turn: AsyncTurn[Any], mine: InHand) -> None:
        mine.begun = True
        try:
            turn.state = self._states.read(turn._data.get("state"))
            result = self._handle(turn)
            if result is not None:
                if hasattr(result, "__await__"):
                    result = await result
                refuse_result(result)
            line = done_line(mine.number, turn, self._states)
        except BaseException as error:
            line = fail_line(mine.number, error, turn._cancelled)
        self._answer(turn, line)

    def _answer(self, turn: AsyncTurn[Any], line: bytes) -> None:
        turn._ended = True
        if turn._newer is not None:
            turn._newer.cancel()
        del self._turns[turn._more.number]
        # Turns that end in the same round of the loop are answered together, unless the last
        # took its time: then the next may, too.
        now = self._loop.time()
        soon = now - self._answered_at < SOON
        self._answered_at = now
        try:
            if not soon:
                self._pipes.send(line)
                return
            if not self._flushes:
                self._flushes = True
                self._loop.call_soon(self._flush)
            self._pipes.put(line)
        except End:
            self._finish(None)

    def _flush(self) -> None:
        self._flushes = False
        try:
            self._pipes.flush()
        except End:
            self._finish(None)

    def draft(self, turn: BaseTurn[Any], text: str) -> None:
        line = encode({"id": turn._more.number, "draft": text})
        # Perhaps from another thread: under this lock none comes after the answer, which needs it,
        # too, once `_ended` is true.
        with self._pipes.lock:
            if not turn._ended and not turn._cancelled and len(line) <= MAX_LINE:
                try:
                    self._pipes.send(line)
                except End:
                    pass  # Whoever reads or answers next sees it.

    async def ask_later(self, turn: AsyncTurn[Any], sort: str, fields: Dict[str, Any]) -> Any:
        mine: InHand = turn._more
        mine.count += 1
        number = mine.count
        line = encode({"id": mine.number, sort: number, **fields})
        if len(line) > MAX_LINE:
            raise ValueError(f"a question of {len(line):,} bytes; the limit is {MAX_LINE:,}")
        asked: asyncio.Future[Any] = self._loop.create_future()
        mine.asked[number] = asked
        try:
            self._pipes.send(line)
        except End:
            self._finish(None)
        return await asked
