"""What a handler can raise, and what the SDK raises in it.

Handlers raise `Retry` and `GiveUp`; `QueryError`, `PlatformError`, `StepError` and `Cancelled`
come out of `turn.query`, `turn.ask`, `turn.download` and `turn.step`. Any other exception fails the turn too: it is tried again after the usual
pause. Bound: a pause of at most `MAX_PAUSE` seconds.
"""

from __future__ import annotations

MAX_PAUSE = 86_400


class Retry(Exception):
    """Fails the turn; it is tried again after this many seconds.

    raise turnkey.Retry(30, "the calendar is closed for maintenance")
    """

    def __init__(self, seconds: float, message: str = "") -> None:
        if isinstance(seconds, bool) or not isinstance(seconds, (int, float)):
            raise TypeError(
                f"turnkey.Retry(seconds, message): seconds is a number, not {describe(seconds)}"
            )
        if not 0 <= seconds <= MAX_PAUSE:
            raise ValueError(f"turnkey.Retry: seconds is from 0 to {MAX_PAUSE}, not {seconds}")
        super().__init__(message or f"try again in {seconds:g} s")
        self.seconds = seconds


class GiveUp(Exception):
    """Fails the turn for good: the update becomes a dead letter at once."""

    def __init__(self, message: str = "given up") -> None:
        super().__init__(message)


class QueryError(Exception):
    """The database refused a `turn.query`; the message is the database's."""


class PlatformError(Exception):
    """The platform refused a `turn.ask` or `turn.download`, or was away; the message says
    which."""


class StepError(Exception):
    """The result of a `turn.step` could not be kept; the message says why."""


class Cancelled(BaseException):
    """The turn took longer than `--turn-timeout`: what `turn.query` and the like raise in a
    plain handler from then on. Like `asyncio.CancelledError`, which an async handler sees, it is
    no `Exception`, so that `except Exception` lets it pass."""


def describe(value: object) -> str:
    """What a value of the wrong type is, for a sentence: `7 (int)`."""
    if value is None:
        return "None"
    try:
        text = repr(value)
    except Exception:
        text = "something"
    if len(text) > 60:
        text = text[:57] + "..."
    return f"{text} ({type(value).__name__})"
