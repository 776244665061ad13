"""What others come back with: the addresses of callbacks, and questions in other dialogs.

Used by `_turn.py`. Invariants: a token has 192 bits of the system's randomness, and is told to
the worker with the turn's answer alone; whatever the worker would refuse is refused here.
"""

from __future__ import annotations

import os
import re
from binascii import b2a_base64
from datetime import timedelta
from typing import Any, Dict, Optional, Tuple, Union

from ._errors import describe

#: A text such as `10m`, seconds, or a `timedelta`.
Delay = Union[str, float, timedelta]

#: Bytes.
MAX_NAME = 64

#: Bytes of a token: 32 letters of base64, none of which is a filler.
BYTES = 24

_UNITS = {"ms": 1, "s": 1000, "m": 60_000, "h": 3_600_000, "d": 24 * 3_600_000}
_TIME = re.compile("([0-9]+)(ms|s|m|h|d)")

_IN_ADDRESSES = {ord("+"): "-", ord("/"): "_"}


def delay_of(delay: object, verb: str) -> Union[str, int]:
    """A time from now on, as the protocol has it: the text, or milliseconds."""
    if isinstance(delay, str):
        return delay
    if isinstance(delay, timedelta):
        milliseconds = round(delay.total_seconds() * 1000)
    elif isinstance(delay, (int, float)) and not isinstance(delay, bool):
        milliseconds = round(delay * 1000)
    else:
        raise TypeError(
            f'turn.{verb} takes a text such as "10m", seconds or a timedelta, not {describe(delay)}'
        )
    if milliseconds < 0:
        raise ValueError(f"turn.{verb} takes a time from now on, not {delay}")
    return milliseconds


def milliseconds_of(delay: Union[str, int], verb: str) -> int:
    """How long this is, of what `delay_of` gave."""
    if isinstance(delay, int):
        return delay
    # More digits than these are too long in any unit, and slow to read.
    read = _TIME.fullmatch(delay[:40])
    if read is None or len(delay) > 40:
        raise ValueError(f"turn.{verb}: {delay[:40]!r} is no time such as 500ms, 10s, 10m, 2h or 3d")
    return int(read[1]) * _UNITS[read[2]]


def callback_of(
    base: Optional[str], name: object, valid: Optional[Delay]
) -> Tuple[str, Dict[str, Any]]:
    """An address, and what the worker is told of it. `base` is where addresses begin."""
    if base is None:
        raise RuntimeError(
            "turn.callback needs the address under which this bot is reached: set --public-url"
        )
    token = b2a_base64(os.urandom(BYTES), newline=False).decode().translate(_IN_ADDRESSES)
    return base + token, {"token": token, **named(name, valid, "callback")}


def named(name: object, valid: Optional[Delay], verb: str) -> Dict[str, Any]:
    """A callback's name, and for how long it is open."""
    if not isinstance(name, str):
        raise TypeError(f"turn.{verb}: the name is a str, not {describe(name)}")
    if not 1 <= len(name.encode("utf-8", "replace")) <= MAX_NAME:
        raise ValueError(f"turn.{verb}: a callback's name has 1 to {MAX_NAME} bytes")
    return {"name": name} if valid is None else {"name": name, "valid": delay_of(valid, verb)}


def wants_data(question: Dict[str, Any]) -> None:
    """A question has a button that can be pressed for an answer."""
    for row in question.get("buttons", ()):
        for button in row if isinstance(row, list) else (row,):
            if "data" in button:
                return
    raise ValueError("turn.ask_in: a question needs a button that has data")
