"""What a log shows of an exception: one line, and where in the author's code it happened.

Called by `_answer.py` when a handler has failed. Invariants: never raises; frames of this
package are left out, and what leads to the author's first one. Bounds: `MAX_ERROR` and
`MAX_TRACE` bytes.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, List, Optional, Set

if TYPE_CHECKING:
    from traceback import TracebackException

MAX_ERROR = 4 * 1024
MAX_TRACE = 64 * 1024

_OURS = os.path.dirname(os.path.abspath(__file__)) + os.sep
#: What runs an async handler, if it stands between us and the author.
_ASYNCIO = os.sep + "asyncio" + os.sep


def error_line(error: BaseException) -> str:
    """`KeyError: 'x'`, in one line."""
    kind = type(error)
    name = kind.__qualname__
    if kind.__module__ not in ("builtins", "__main__"):
        name = f"{kind.__module__}.{name}"
    text = message_of(error)
    return cut(f"{name}: {text}" if text else name, MAX_ERROR)


def message_of(error: BaseException) -> str:
    """What the exception says, in one line."""
    try:
        text = str(error)
    except Exception:
        text = "(an exception whose text cannot be made)"
    return cut(" ".join(text.split()) if "\n" in text else text.strip(), MAX_ERROR)


def trace_of(error: BaseException) -> str:
    """The traceback from the author's first line on, most recent call last, without the
    error, which is told beside it; empty if nothing of it is the author's."""
    from traceback import TracebackException

    try:
        shown = TracebackException.from_exception(error)
        if not _keep_authors(shown, set()):
            return ""
        text = "".join(_without_the_error(shown))
    except Exception as failed:  # Such as RecursionError, or a `__repr__` that raises.
        return f"(no traceback: {type(failed).__name__})"
    if len(text.encode("utf-8", "replace")) <= MAX_TRACE:
        return text
    # The end says more: it has the innermost call.
    mark = "(the beginning is left out)\n"
    kept = text[-MAX_TRACE:].encode("utf-8", "replace")[-(MAX_TRACE - len(mark)) :]
    return mark + kept.decode("utf-8", "ignore")


def _without_the_error(shown: TracebackException) -> List[str]:
    """The parts of the traceback, save what the exception says, unless that is too long for
    `error_line`. The place of a SyntaxError and an exception's notes stay."""
    parts = list(shown.format())
    says = [part for part in shown.format_exception_only() if not part.startswith(" ")][:1]
    for at in range(len(parts) - 1, -1, -1):
        if parts[at : at + 1] == says and len(says[0].encode("utf-8", "replace")) <= MAX_ERROR:
            del parts[at]
            break
    return parts


def _keep_authors(shown: Optional[TracebackException], seen: Set[int]) -> bool:
    """Takes our frames out, of its causes too; whether any is left."""
    if shown is None or id(shown) in seen:
        return False
    seen.add(id(shown))
    stack = shown.stack
    start = 0
    while start < len(stack) and _leads_there(stack[start].filename):
        start += 1
    stack[:] = [frame for frame in stack[start:] if not frame.filename.startswith(_OURS)]
    _keep_authors(shown.__cause__, seen)
    _keep_authors(shown.__context__, seen)
    for one in getattr(shown, "exceptions", None) or ():
        _keep_authors(one, seen)
    return bool(stack)


def _leads_there(filename: str) -> bool:
    return filename.startswith(_OURS) or _ASYNCIO in filename


def cut(text: str, size: int) -> str:
    """At most so many bytes of the text."""
    if len(text) * 4 <= size:
        return text
    data = text.encode("utf-8", "replace")
    return text if len(data) <= size else data[: size - 3].decode("utf-8", "ignore") + "..."
