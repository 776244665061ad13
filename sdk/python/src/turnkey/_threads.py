"""Plain handlers, in threads: the one that reads also runs the handler.

Called by `_run.py`, which waits in the main thread. Handing each turn to a pool costs three
times as much as running it where it was read. So one thread is the reader; it runs a turn
itself, and only when that takes longer than `TICK` another thread becomes the reader. The
monitor, which sees to that, sleeps while nothing runs.

Invariants: there is at most one reader; only the reader reads. Whoever stops being the
reader finds out under `_lock`. Each turn is answered once, by the thread that ran it.
Bounds: one thread for each turn that the worker sends (`concurrency`), one to read, and the
monitor.
"""

from __future__ import annotations

import threading
import time
from typing import Any, Callable, Dict, List, Optional

from ._answer import done_line, fail_line, refuse_result
from ._asking import Questions, Rows
from ._errors import CANCELLED, Cancelled
from ._state import States
from ._turn import BaseTurn, Turn, goes_on
from ._wire import MAX_LINE, End, Pipes, ProtocolError, answer_of, encode, number_of

#: A turn that takes longer than this lets another thread read.
TICK = 0.002

#: Seconds between two looks at signals that came to another thread.
LOOK = 1.0

#: The monitor goes to sleep after so many ticks without a turn: soon, but not between two
#: turns of a busy process, since to wake it costs more than a turn.
IDLE_TICKS = 50


class Seat:
    """A thread of ours: what it waits on, and what it has been handed."""

    __slots__ = ("wake", "turn", "thread")

    def __init__(self) -> None:
        self.wake = threading.Lock()
        self.wake.acquire()
        self.turn: Optional[Dict[str, Any]] = None
        self.thread = 0


class Asked:
    """A question whose answer is not there yet."""

    __slots__ = ("ready", "value", "error")

    def __init__(self) -> None:
        self.ready = threading.Lock()
        self.ready.acquire()
        self.value: Any = None
        self.error: Optional[BaseException] = None

    def answer(self, value: Any, error: Optional[BaseException]) -> None:
        if self.ready.locked():
            self.value, self.error = value, error
            try:
                self.ready.release()
            except RuntimeError:
                pass  # Another thread did, at the end.


class InHand:
    """What we keep of a turn that runs."""

    __slots__ = ("number", "seat", "asked", "count")

    def __init__(self, number: Any, seat: Seat) -> None:
        self.number = number
        self.seat = seat
        self.asked: Dict[int, Asked] = {}
        self.count = 0


class Threads(Questions):
    """Runs the turns of one process."""

    def __init__(self, handle: Callable[..., Any], states: States, pipes: Pipes) -> None:
        self._handle = handle
        self._states = states
        self._pipes = pipes
        self._turns: Dict[Any, Turn[Any]] = {}
        self._lock = threading.Lock()
        self._reader: Optional[Seat] = None
        self._parked: List[Seat] = []
        # Of the reader: it is in a handler, and which turn of all that is.
        self._running = False
        self._beat = 0
        self._dozing: Optional[threading.Lock] = None
        self._finished = threading.Event()
        self._error: Optional[BaseException] = None

    def serve(self) -> None:
        """Runs turns until the worker has no more use for us."""
        with self._lock:
            self._reader = self._seat()
        threading.Thread(target=self._monitor, name="turnkey-monitor", daemon=True).start()
        self._reader.wake.release()
        # Handlers of signals run in this thread, which one that came to another does not wake.
        while not self._finished.wait(LOOK):
            pass
        if self._error is not None:
            raise self._error

    def is_empty(self, seconds: float) -> bool:
        """Whether no turn is in hand, or none is after so long: those that were cut off
        have seen that they are cancelled."""
        deadline = time.monotonic() + seconds
        while self._turns and time.monotonic() < deadline:
            time.sleep(0.01)
        return not self._turns

    # What each thread does.

    def _seat(self) -> Seat:
        """A parked thread, or a new one; under the lock. It runs when it is woken."""
        if self._parked:
            return self._parked.pop()
        seat = Seat()
        threading.Thread(target=self._work, args=(seat,), name="turnkey", daemon=True).start()
        return seat

    def _work(self, seat: Seat) -> None:
        seat.thread = threading.get_ident()
        while True:
            seat.wake.acquire()
            try:
                if seat.turn is not None:
                    message, seat.turn = seat.turn, None
                    self._run(message, seat)
                else:
                    self._read(seat)
            except End:
                self._finish(None)
            except BaseException as error:
                self._finish(error)
            with self._lock:
                self._parked.append(seat)

    def _read(self, seat: Seat) -> None:
        """Reads and runs turns for as long as this is the reader."""
        while True:
            message = self._next()
            if message is None:
                continue
            self._enter()
            self._run(message, seat)
            with self._lock:
                if self._reader is not seat:
                    return
                self._running = False

    def _enter(self) -> None:
        """The reader goes into a handler."""
        self._beat += 1
        self._running = True
        if self._dozing is not None:
            with self._lock:
                dozing, self._dozing = self._dozing, None
            if dozing is not None:
                dozing.release()

    def _monitor(self) -> None:
        idle = 0
        seen = self._beat
        while not self._finished.is_set():
            time.sleep(TICK)
            with self._lock:
                if self._beat != seen:
                    idle, seen = 0, self._beat
                    continue
                if self._running:
                    # A whole tick in the same turn: another one reads from now on.
                    self._running = False
                    self._reader = self._seat()
                    self._reader.wake.release()
                    slow = True
                else:
                    slow = False
                    idle += 1
                    if idle < IDLE_TICKS:
                        continue
                    self._dozing = doze = threading.Lock()
                    doze.acquire()
            if slow:
                # Answers from before it have waited long enough.
                self._flush()
                continue
            if self._beat == seen:
                doze.acquire()
            idle = 0

    def _flush(self) -> None:
        try:
            self._pipes.flush()
        except End:
            pass  # Whoever reads or answers next sees it.

    # What comes in.

    def _next(self) -> Optional[Dict[str, Any]]:
        """Reads one message. A turn is returned, anything else is done."""
        message = self._pipes.read()
        if "turn" in message:
            return message
        question = number_of(message)
        if question is not None:
            turn = self._turns.get(message.get("id"))
            asked = None if turn is None else turn._more.asked.pop(question, None)
            if asked is not None:
                asked.answer(*answer_of(message))
        elif "cancel" in message:
            turn = self._turns.get(message["cancel"])
            if turn is not None and not goes_on(turn, message):
                self._cancel(turn)
        elif "ping" in message:
            self._pipes.send(encode({"pong": message["ping"]}))
        elif "drain" not in message:
            raise ProtocolError(f"a line of an unknown kind: {', '.join(message) or '{}'}")
        return None

    def _cancel(self, turn: Turn[Any]) -> None:
        turn._cancelled = True
        for asked in list(turn._more.asked.values()):
            asked.answer(None, Cancelled(CANCELLED))

    def _finish(self, error: Optional[BaseException]) -> None:
        """The end: wakes whoever waits, and the main thread."""
        self._error = self._error or error
        for turn in list(self._turns.values()):
            self._cancel(turn)
        self._finished.set()

    # One turn.

    def _run(self, message: Dict[str, Any], seat: Seat) -> None:
        number = message["id"]
        data = message["turn"]
        turn: Turn[Any] = Turn(None, data, self)
        turn._more = InHand(number, seat)
        self._turns[number] = turn
        try:
            turn.state = self._states.read(data.get("state"))
            result = self._handle(turn)
            if result is not None:
                if hasattr(result, "__await__"):
                    turn._awaited = True
                    result = _await(result)
                refuse_result(result)
            line = done_line(number, turn, self._states)
        except BaseException as error:
            line = fail_line(number, error, turn._cancelled)
        with self._pipes.lock:
            turn._ended = True
            # First: once it is answered, another turn may come with its number.
            del self._turns[number]
            # The reader takes what it has read already: the answers go together. Should a
            # turn among them be slow, the monitor sees to it.
            if self._pipes.lines and self._reader is seat:
                self._pipes.put(line)
            else:
                self._pipes.send(line)

    def ask(self, turn: Turn[Any], sort: str, fields: Dict[str, Any]) -> Any:
        mine: InHand = turn._more
        asked = Asked()
        with self._pipes.lock:
            # Under this lock a turn is answered, and then owes and is owed nothing.
            if turn._ended:
                raise RuntimeError(f"turn.{sort} after the handler has returned")
            mine.count += 1
            number = mine.count
            mine.asked[number] = asked
            # Only now: whoever cancels looks at what is asked afterwards.
            if turn._cancelled:
                raise Cancelled(CANCELLED)
            line = encode({"id": mine.number, sort: number, **fields})
            if len(line) > MAX_LINE:
                del mine.asked[number]
                raise ValueError(f"a question of {len(line):,} bytes; the limit is {MAX_LINE:,}")
            self._pipes.send(line)
        if mine.seat is self._reader and mine.seat.thread == threading.get_ident():
            self._read_until(asked, mine.seat)
        asked.ready.acquire()
        if asked.error is not None:
            raise asked.error
        return Rows(asked.value) if sort == "query" else asked.value

    def draft(self, turn: BaseTurn[Any], text: str) -> None:
        mine: InHand = turn._more
        line = encode({"id": mine.number, "draft": text})
        with self._pipes.lock:
            if not turn._ended and not turn._cancelled and len(line) <= MAX_LINE:
                self._pipes.send(line)

    def _read_until(self, asked: Asked, seat: Seat) -> None:
        """The reader asks: it reads on itself, and hands turns that come to others."""
        with self._lock:
            if self._reader is not seat:
                return
            self._running = False
        try:
            while asked.ready.locked():
                message = self._next()
                if message is not None:
                    with self._lock:
                        other = self._seat()
                    other.turn = message
                    other.wake.release()
        except End:
            self._finish(None)
            return
        except ProtocolError as error:
            self._finish(error)
            return
        self._enter()


def _await(result: Any) -> Any:
    """For a callable that did not look async: a loop of its own, in this thread."""
    import asyncio

    async def awaited() -> Any:
        return await result

    return asyncio.run(awaited())
