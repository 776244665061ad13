"""Lines of the protocol (docs/HANDLERS.md) and the values in them.

Used by whatever talks to the worker, and by `turnkey.testing`, which sends everything
through here so that tests meet the same errors. Invariants: what `encode` returns is one
line of JSON in UTF-8 with nothing in it that a reader could take for the end of a line;
a lone surrogate becomes U+FFFD; NaN is never written. Bound: `MAX_LINE` bytes, checked by
`Pipes.send`.
"""

from __future__ import annotations

import binascii
import json
import os
import select
import threading
from collections import deque
from typing import Any, Deque, Dict, List, Optional, Sequence, Tuple, Union

from ._errors import PlatformError, QueryError, StepError, describe

MAX_LINE = 16 * 1024 * 1024

#: Bytes of one read: more than a pipe holds.
CHUNK = 1 << 18

#: Bytes of answers that wait to be written together: what a pipe holds.
TOGETHER = 1 << 16

#: The integers that JavaScript can read.
MAX_SAFE = 2**53 - 1

#: The integers that SQL has.
MAX_SQL = 2**63 - 1

_encode = json.JSONEncoder(
    ensure_ascii=False, allow_nan=False, check_circular=False, separators=(",", ":")
).encode
_decode = json.JSONDecoder().decode

#: Line feeds to Unicode; escaped, because some readers of lines split there.
_SEPARATORS = (("\u2028", "\\u2028"), ("\u2029", "\\u2029"), ("\x85", "\\u0085"))


class ProtocolError(Exception):
    """The worker sent what docs/HANDLERS.md does not have."""


class End(Exception):
    """The worker has gone, or has no more use for this process."""


def encode(message: Any) -> bytes:
    """One message as a line."""
    text = _encode(message)
    if not text.isascii():
        for found, escaped in _SEPARATORS:
            if found in text:
                text = text.replace(found, escaped)
        try:
            return text.encode() + b"\n"
        except UnicodeEncodeError:
            # Two halves of a pair that stand side by side become their character.
            halves = text.encode("utf-16-le", "surrogatepass")
            text = halves.decode("utf-16-le", "replace")
    return text.encode() + b"\n"


def decode(line: bytes) -> Dict[str, Any]:
    """The message in a line."""
    try:
        message = _decode(line.decode())
    except (ValueError, RecursionError) as error:
        raise ProtocolError(f"a line that is not JSON in UTF-8 ({error}): {_start(line)}") from None
    if type(message) is not dict:
        raise ProtocolError(f"a line that is not an object: {_start(line)}")
    return message


def _start(line: bytes) -> str:
    return repr(line[:80]) + ("..." if len(line) > 80 else "")


def to_sql(sql: object, params: object) -> List[Any]:
    """A statement and its parameters as JSON; refused here, at the line of the handler
    that wrote them, if the database could not take them."""
    if not isinstance(sql, str):
        raise TypeError(f"the statement is text, not {describe(sql)}")
    if type(params) is not tuple and type(params) is not list:
        if isinstance(params, (str, bytes, dict, set)) or not isinstance(params, Sequence):
            raise TypeError(
                f"the parameters are a list or a tuple, such as (name,), not {describe(params)}"
            )
    return [sql, [_to_value(value, n) for n, value in enumerate(params, 1)]]


def _to_value(value: Any, n: int) -> Any:
    if value is None or isinstance(value, str):
        return value
    if isinstance(value, int):  # A bool is one, and is written as one.
        value = int(value)
        if -MAX_SAFE <= value <= MAX_SAFE:
            return value
        if -MAX_SQL - 1 <= value <= MAX_SQL:
            return {"integer": str(value)}
        raise ValueError(f"parameter ?{n} does not fit into 64 bits: {value:.3e}")
    if isinstance(value, float):
        if value - value == 0.0:
            return float(value)
        raise ValueError(f"parameter ?{n} is {value}, which SQL does not have")
    if isinstance(value, (bytes, bytearray, memoryview)):
        return {"base64": binascii.b2a_base64(value, newline=False).decode()}
    if hasattr(value, "isoformat"):
        hint = "write it as text, with .isoformat()"
    elif isinstance(value, (dict, list, tuple)):
        hint = "write it as text, with json.dumps()"
    else:
        hint = "SQL takes None, numbers, text and bytes"
    raise TypeError(f"parameter ?{n} is {describe(value)}: {hint}")


def from_sql(rows: List[Dict[str, Any]]) -> List[Dict[str, Any]]:
    """The rows of an answer, with their bytes and large integers; changes `rows`."""
    for row in rows:
        for name, value in row.items():
            if type(value) is dict:
                row[name] = _from_value(value)
    return rows


def _from_value(value: Dict[str, Any]) -> Any:
    if "base64" in value:
        return binascii.a2b_base64(value["base64"])
    if "integer" in value:
        return int(value["integer"])
    raise ProtocolError(f"a value that is none: {describe(value)}")


def answer_of(message: Dict[str, Any]) -> Tuple[Any, Optional[Exception]]:
    """What a question of a turn was answered with, and why there is no such thing."""
    if "query" in message:
        if "rows" in message:
            return from_sql(message["rows"]), None
        return None, QueryError(str(message.get("error")))
    if "step" in message:
        return message, StepError(str(message["error"])) if "error" in message else None
    if "error" in message:
        return None, PlatformError(str(message["error"]))
    if "dead_replies" in message:
        return message["replies"], None
    return message.get("size" if "download" in message else "result"), None


def number_of(message: Dict[str, Any]) -> Any:
    """The number of the question that this answers; None if it answers none."""
    for sort in ("query", "ask", "download", "dead_replies", "step"):
        if sort in message:
            return message[sort]
    return None


class Pipes:
    """The two descriptors. `read` and `more` are for one thread at a time, `send`, `put` and
    `flush` for any; `lock` is held while a line is written. A line that was `put` is written
    with the next that is sent, or before `read` waits: a write wakes the worker, which costs
    more than a small turn. Whoever puts one has it flushed if neither comes soon."""

    def __init__(self, reading: int, writing: int) -> None:
        self.reading = reading
        self.writing = writing
        self.lock = threading.RLock()
        #: Whole lines that were read and are not taken yet.
        self.lines: Deque[bytes] = deque()
        # Of a line that is not whole yet.
        self._parts: List[bytes] = []
        # Lines that wait for the next one that is written.
        self._waiting: List[bytes] = []
        self._waiting_bytes = 0

    def read(self) -> Dict[str, Any]:
        """Waits for the next message. Raises `End`."""
        while not self.lines:
            if self._waiting:
                self.flush()
            self.more()
        return decode(self.lines.popleft())

    def more(self) -> None:
        """Reads once. Raises `End` at the end, also in the middle of a line."""
        try:
            chunk = os.read(self.reading, CHUNK)
        except OSError as error:
            raise End() from error
        if not chunk:
            raise End()
        if b"\n" not in chunk:
            self._parts.append(chunk)
            return
        if self._parts:
            self._parts.append(chunk)
            chunk = b"".join(self._parts)
            self._parts.clear()
        lines = chunk.split(b"\n")
        rest = lines.pop()
        if rest:
            self._parts.append(rest)
        self.lines.extend(lines)

    def put(self, line: bytes) -> None:
        """Leaves one line to be written with others. Raises `End` as `send` does."""
        with self.lock:
            self._waiting.append(line)
            self._waiting_bytes += len(line)
            if self._waiting_bytes > TOGETHER:
                self.flush()

    def flush(self) -> None:
        """Writes what was put. Raises `End` when nobody reads any more."""
        self.send(b"")

    def send(self, line: bytes) -> None:
        """Writes one line whole, after those that were put. Raises `End` when nobody reads any
        more."""
        with self.lock:
            if self._waiting:
                self._waiting.append(line)
                line = b"".join(self._waiting)
                self._waiting.clear()
                self._waiting_bytes = 0
            if line:
                self._write(line)

    def _write(self, rest: Union[bytes, memoryview]) -> None:
        while True:
            try:
                written = os.write(self.writing, rest)
            except BlockingIOError:
                select.select([], [self.writing], [])
                continue
            except OSError as error:
                raise End() from error
            if written == len(rest):
                return
            rest = memoryview(rest)[written:]
