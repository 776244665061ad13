"""The user's state: from the JSON that is stored to what a handler sees, and back.

`Dicts` is for authors who named no type; `_dataclasses.py` is for those who did. Invariants: what
is written comes back equal, and what would not is refused with a sentence that names its
place, such as `state["visits"]` (a tuple in a dict is the one exception: it comes back as
a list). Bound: `MAX_DEPTH` levels.
"""

from __future__ import annotations

from typing import Any

from ._errors import describe

MAX_DEPTH = 100

_SCALARS = frozenset((str, int, float, bool, type(None)))


class States:
    """How the states of this program are read and written."""

    def read(self, stored: Any) -> Any:
        """What the handler sees; None is stored for a new user, and for one that was
        forgotten (`turn.state = None`)."""
        raise NotImplementedError

    def write(self, state: Any) -> Any:
        """What is stored."""
        raise NotImplementedError


def states_of(kind: Any) -> States:
    """For what the author gave `turnkey.run` as `state`."""
    if kind is None or kind is dict:
        return Dicts()
    if hasattr(kind, "__dataclass_fields__"):
        if isinstance(kind, type):
            from ._dataclasses import Dataclasses

            return Dataclasses(kind)
        name = type(kind).__name__
        raise TypeError(f"state is the type: state={name}, not state={name}(…)")
    raise TypeError(f"state is a dataclass type, or left out for a dict; not {describe(kind)}")


class Dicts(States):
    """The state is a dict of what JSON has."""

    def read(self, stored: Any) -> Any:
        if stored is None:
            return {}
        if type(stored) is not dict:
            raise TypeError(f"the state that is stored is no object: {describe(stored)}")
        return stored

    def write(self, state: Any) -> Any:
        if isinstance(state, dict):
            try:
                if not _is_plain(state, MAX_DEPTH):
                    check(state, "state", MAX_DEPTH)
                return state
            except RuntimeError as error:  # It changed while it was read.
                raise RuntimeError(f"turn.state: {error}") from error
        if state is None:
            return None
        raise TypeError(f"turn.state is a dict, or None to forget the user; not {describe(state)}")


def _is_plain(value: Any, depth: int) -> bool:
    """Whether JSON has this value as it is. Fast; `check` says what is wrong."""
    kind = type(value)
    if kind is dict:
        for key, item in value.items():
            if type(key) is not str:
                return False
            kind = type(item)
            if kind is float:
                if item - item != 0.0:
                    return False
            elif kind not in _SCALARS and (depth == 0 or not _is_plain(item, depth - 1)):
                return False
        return True
    if kind is list or kind is tuple:
        for item in value:
            kind = type(item)
            if kind is float:
                if item - item != 0.0:
                    return False
            elif kind not in _SCALARS and (depth == 0 or not _is_plain(item, depth - 1)):
                return False
        return True
    return False


def check(value: Any, path: str, depth: int) -> None:
    """Refuses what JSON does not have, with a sentence that names its place."""
    if isinstance(value, float):
        if value - value != 0.0:
            raise ValueError(f"{path} is {value}, which JSON does not have")
    elif value is None or isinstance(value, (str, int)):
        pass
    elif depth < 0:
        raise ValueError(f"the state is nested more than {MAX_DEPTH} levels deep: {path[:60]}…")
    elif isinstance(value, dict):
        for key, item in value.items():
            if not isinstance(key, str):
                raise TypeError(
                    f"{path} has the key {describe(key)}: keys are text in JSON, and it would "
                    f"come back as {_as_key(key)!r}; write str(…)"
                )
            check(item, f'{path}["{key}"]', depth - 1)
    elif isinstance(value, (list, tuple)):
        for n, item in enumerate(value):
            check(item, f"{path}[{n}]", depth - 1)
    else:
        raise TypeError(f"{path} is {describe(value)}: {_hint(value)}")


def _as_key(key: object) -> str:
    return str(key).lower() if isinstance(key, bool) else "null" if key is None else str(key)


def _hint(value: object) -> str:
    if isinstance(value, (set, frozenset)):
        return "JSON has no sets; write sorted(…), which is a list"
    if isinstance(value, (bytes, bytearray)):
        return "JSON has no bytes; write it as text, with base64.b64encode(…).decode()"
    if hasattr(value, "isoformat"):
        return "JSON has no times; write it as text, with .isoformat()"
    if hasattr(value, "__dataclass_fields__"):
        return "write it as a dict, with dataclasses.asdict(…), or give turnkey.run its type"
    return "a state has dicts, lists, text, numbers, true, false and None"
