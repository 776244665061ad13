"""The answers that a turn is owed: `done` or `fail`, as lines.

Used by `_threads.py` and `_loop.py`. Invariant: `done_line` and `fail_line` always give a
line that the worker takes; what it would refuse becomes a `fail` that says why.
"""

from __future__ import annotations

from typing import Any, Dict

from ._errors import Cancelled, GiveUp, Retry, describe
from ._reply import Reply
from ._state import States
from ._trace import error_line, message_of, trace_of
from ._turn import BaseTurn
from ._wire import MAX_LINE, encode

TIMED_OUT = "cancelled: the turn took longer than --turn-timeout"


def done_of(turn: BaseTurn[Any], states: States) -> Dict[str, Any]:
    """What the turn leaves behind."""
    done: Dict[str, Any] = {"state": states.write(turn.state)}
    if turn._replies:
        done["replies"] = turn._replies
    if turn._statements:
        done["sql"] = turn._statements
    if turn._timers:
        done["timers"] = turn._timers
    if turn._overlap:
        done["overlap"] = turn._overlap[-1]
    if turn._callbacks:
        done["callbacks"] = turn._callbacks
    return done


def done_line(number: Any, turn: BaseTurn[Any], states: States) -> bytes:
    """The answer to a turn that ended well. Raises what the state has that JSON has not."""
    line = encode({"id": number, "done": done_of(turn, states)})
    if len(line) > MAX_LINE:
        raise ValueError(
            f"the turn's state, replies and SQL take {len(line):,} bytes as JSON; "
            f"the limit is {MAX_LINE:,}"
        )
    return line


def fail_line(number: Any, error: BaseException, cancelled: bool) -> bytes:
    """The answer to a turn that failed."""
    fail: Dict[str, Any] = {}
    if cancelled and (isinstance(error, Cancelled) or type(error).__name__ == "CancelledError"):
        fail["error"] = TIMED_OUT
    elif isinstance(error, Retry):
        fail["error"] = message_of(error)
        fail["retry_in"] = error.seconds
    elif isinstance(error, GiveUp):
        fail["error"] = message_of(error)
        fail["give_up"] = True
    else:
        fail["error"] = error_line(error)
    trace = trace_of(error)
    if trace:
        fail["trace"] = trace
    return encode({"id": number, "fail": fail})


def refuse_result(result: object) -> None:
    """For what a handler returned: nothing has to be, and most values do no harm, but some
    are a mistake that would go unseen."""
    if isinstance(result, (str, Reply)):
        raise TypeError(f"the handler returned {describe(result)}; say it with turn.reply(…)")
    if type(result).__name__ in ("generator", "async_generator"):
        raise TypeError("the handler has a `yield` in it, so nothing of it was run")
