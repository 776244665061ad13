"""Steps: results that a turn keeps at once, so that a later attempt need not work for them again.

`_turn.py` has a `Steps` for each turn that has steps. Invariants: a name is used once in a turn,
unless its function failed; what a handler is given is what a later attempt would be given, as JSON
has it. Bounds: `MAX_STEPS`, `MAX_NAME`; those of the results are the worker's.
"""

from __future__ import annotations

from types import FrameType, TracebackType
from typing import Any, Dict, Optional, Type

from ._errors import describe
from ._state import MAX_DEPTH, check
from ._wire import decode, encode

MAX_STEPS = 100

#: Bytes.
MAX_NAME = 64


class Steps:
    """Those of a turn: what is kept, by name, and where each name was used."""

    def __init__(self, kept: Dict[str, Any]) -> None:
        self.kept = dict(kept)
        self.used: Dict[str, str] = {}

    def begin(self, name: str, frame: FrameType) -> Step:
        """Uses a name, at this place of the author's."""
        if not isinstance(name, str):
            raise TypeError(f"turn.step: the name is a str, not {describe(name)}")
        if not 1 <= len(name.encode("utf-8", "replace")) <= MAX_NAME:
            raise ValueError(f"turn.step: a step's name has 1 to {MAX_NAME} bytes")
        place = f"{frame.f_code.co_filename}:{frame.f_lineno}"
        before = self.used.get(name)
        if before is not None:
            raise ValueError(
                f"turn.step: {name!r} is used twice in this turn, at {before} and at {place}: "
                "each has a name of its own"
            )
        if name not in self.kept and len(self.kept.keys() | self.used.keys()) >= MAX_STEPS:
            raise ValueError(f"turn.step: {name!r} is one more than {MAX_STEPS} steps in a turn")
        self.used[name] = place
        return Step(self, name)


class Step:
    """One that is under way. Used with `with`: what fails in there frees the name."""

    __slots__ = ("_steps", "name", "_own", "_asked")

    def __init__(self, steps: Steps, name: str) -> None:
        self._steps = steps
        self.name = name
        self._own: Any = None
        self._asked = False

    @property
    def is_kept(self) -> bool:
        return self.name in self._steps.kept

    @property
    def result(self) -> Any:
        return self._steps.kept[self.name]

    def question(self, value: Any) -> Dict[str, Any]:
        """What the worker is asked, so that this result is kept."""
        check(value, f"the result of step {self.name!r}", MAX_DEPTH)
        self._own = decode(encode({"value": value}))["value"]
        self._asked = True
        return {"name": self.name, "value": self._own}

    def take(self, answer: Dict[str, Any]) -> Any:
        """What stands: this result, or one that another attempt kept before."""
        self._steps.kept[self.name] = answer.get("value", self._own)
        return self._steps.kept[self.name]

    def __enter__(self) -> None:
        pass

    def __exit__(
        self,
        kind: Optional[Type[BaseException]],
        error: Optional[BaseException],
        trace: Optional[TracebackType],
    ) -> None:
        if error is not None and not self._asked:
            del self._steps.used[self.name]
