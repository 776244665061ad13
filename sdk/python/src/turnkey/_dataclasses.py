"""A user's state as an instance of a dataclass.

Used by `_state.py`, and imported only for authors who gave `turnkey.run` such a type.
Invariants: what is read and what is written has the types that the class says, all the way
down; what has not is refused with its place, such as `state.cart[2].price`. Bound: what
reads and writes a type is made once, at the start.
"""

from __future__ import annotations

import dataclasses
import enum
import sys
import typing
from typing import Any, Callable, Dict, List, Tuple, Type, Union

from ._errors import describe
from ._state import MAX_DEPTH, States, check

#: From a value and its place to what it becomes.
Convert = Callable[[Any, str], Any]


class Dataclasses(States):
    """The state is an instance of a dataclass.

    Stored keys that the class does not have are dropped with the next turn that succeeds;
    fields that are not stored have their defaults, so every field of the class needs one.
    A field that is stored with another type than the class says fails the turn."""

    def __init__(self, kind: Type[Any]) -> None:
        self.kind = kind
        self._read, self._write = Shapes().of(kind, kind.__name__)
        try:
            kind()
        except TypeError as error:
            raise TypeError(
                f"every field of {kind.__name__} needs a default, for new users: {error}"
            ) from None

    def read(self, stored: Any) -> Any:
        return self.kind() if stored is None else self._read(stored, "state")

    def write(self, state: Any) -> Any:
        return None if state is None else self._write(state, "state")


class Shapes:
    """Makes, once at the start, what reads and writes each type. A type may contain
    itself."""

    def __init__(self) -> None:
        self._classes: Dict[Type[Any], Tuple[Convert, Convert]] = {}

    def of(self, kind: Any, where: str) -> Tuple[Convert, Convert]:
        """How a value of this type is read, and how it is written."""
        origin, arguments = typing.get_origin(kind), typing.get_args(kind)
        if kind is Any or kind is object:
            return _same, _checked
        if kind is None or kind is type(None):
            return _scalar("None", type(None))
        if isinstance(kind, type) and origin is None:
            if dataclasses.is_dataclass(kind):
                return self._class(kind)
            if issubclass(kind, enum.Enum):
                return _enum(kind)
        if kind is bool:
            return _scalar("bool", bool)
        if kind is int:
            return _scalar("int", int)
        if kind is str:
            return _scalar("str", str)
        if kind is float:
            return _float, _float
        if kind in (list, List) or origin is list:
            return _list(*self.of((arguments or (Any,))[0], where))
        if kind in (dict, Dict) or origin is dict:
            key, value = arguments or (str, Any)
            if key is not str:
                raise TypeError(f"{where}: keys are text in JSON: Dict[str, …], not {kind}")
            return _dict(*self.of(value, where))
        if origin is tuple:
            return self._tuple(arguments, where)
        if origin is Union or (sys.version_info >= (3, 10) and _is_new_union(kind)):
            return _union([self.of(one, where) for one in arguments], kind)
        if origin is typing.Literal:
            return _literal(arguments)
        raise TypeError(
            f"{where} is {getattr(kind, '__name__', kind)}: a state has dataclasses, lists, "
            "dicts, str, int, float, bool and Optional of these"
        )

    def _class(self, kind: Type[Any]) -> Tuple[Convert, Convert]:
        known = self._classes.get(kind)
        if known is not None:
            return known
        # Entered before its fields are looked at, which may be of this very type.
        readers: List[Tuple[str, bool, Convert]] = []
        writers: List[Tuple[str, Convert]] = []
        self._classes[kind] = both = _dataclass(kind, readers, writers)
        try:
            hints = typing.get_type_hints(kind)
        except Exception as error:
            old = " (Python 3.9 has Optional[int], not int | None)" if _is_old() else ""
            raise TypeError(f"cannot read the types of {kind.__name__}: {error}{old}") from None
        for field in dataclasses.fields(kind):
            read, write = self.of(hints[field.name], f"{kind.__name__}.{field.name}")
            readers.append((field.name, field.init, read))
            writers.append((field.name, write))
        return both

    def _tuple(self, arguments: Tuple[Any, ...], where: str) -> Tuple[Convert, Convert]:
        if len(arguments) == 2 and arguments[1] is Ellipsis:
            read, write = _list(*self.of(arguments[0], where), of=tuple)
            return (lambda value, path: tuple(read(value, path))), write
        parts = [self.of(one, where) for one in arguments if one != ()]

        def convert(side: int, value: Any, path: str) -> List[Any]:
            if not isinstance(value, (list, tuple)) or len(value) != len(parts):
                raise _wrong(value, path, f"{len(parts)} values")
            return [
                part[side](item, f"{path}[{n}]") for n, (part, item) in enumerate(zip(parts, value))
            ]

        return (
            lambda value, path: tuple(convert(0, value, path)),
            lambda value, path: convert(1, value, path),
        )


def _is_old() -> bool:
    return sys.version_info < (3, 10)


def _is_new_union(kind: Any) -> bool:
    return type(kind).__name__ in ("UnionType", "Union")


def _wrong(value: object, path: str, wanted: str) -> TypeError:
    return TypeError(f"{path} is {describe(value)}, and not {wanted}")


def _same(value: Any, path: str) -> Any:
    return value


def _checked(value: Any, path: str) -> Any:
    check(value, path, MAX_DEPTH)
    return value


def _scalar(name: str, kind: Type[Any]) -> Tuple[Convert, Convert]:
    number = kind is int

    def convert(value: Any, path: str) -> Any:
        if type(value) is kind:
            return value
        if isinstance(value, kind) and not (number and isinstance(value, bool)):
            return value
        raise _wrong(value, path, name)

    return convert, convert


def _float(value: Any, path: str) -> Any:
    if type(value) is float:
        if value - value != 0.0:
            raise ValueError(f"{path} is {value}, which JSON does not have")
        return value
    if isinstance(value, (int, float)) and not isinstance(value, bool):
        return _float(float(value), path)
    raise _wrong(value, path, "float")


def _enum(kind: Type[enum.Enum]) -> Tuple[Convert, Convert]:
    def read(value: Any, path: str) -> Any:
        try:
            return kind(value)
        except ValueError:
            raise _wrong(value, path, f"a value of {kind.__name__}") from None

    def write(value: Any, path: str) -> Any:
        if not isinstance(value, kind):
            raise _wrong(value, path, kind.__name__)
        check(value.value, path, MAX_DEPTH)
        return value.value

    return read, write


def _literal(values: Tuple[Any, ...]) -> Tuple[Convert, Convert]:
    def convert(value: Any, path: str) -> Any:
        if value not in values:
            raise _wrong(value, path, "one of " + ", ".join(map(repr, values)))
        return value

    return convert, convert


def _list(read: Convert, write: Convert, of: Type[Any] = list) -> Tuple[Convert, Convert]:
    def reading(value: Any, path: str) -> Any:
        if type(value) is not list:
            raise _wrong(value, path, "a list")
        return [read(item, f"{path}[{n}]") for n, item in enumerate(value)]

    def writing(value: Any, path: str) -> Any:
        if not isinstance(value, of):
            raise _wrong(value, path, f"a {of.__name__}")
        return [write(item, f"{path}[{n}]") for n, item in enumerate(value)]

    return reading, writing


def _dict(read: Convert, write: Convert) -> Tuple[Convert, Convert]:
    def reading(value: Any, path: str) -> Any:
        if type(value) is not dict:
            raise _wrong(value, path, "a dict")
        return {key: read(item, f'{path}["{key}"]') for key, item in value.items()}

    def writing(value: Any, path: str) -> Any:
        if not isinstance(value, dict):
            raise _wrong(value, path, "a dict")
        for key in value:
            if not isinstance(key, str):
                check({key: None}, path, MAX_DEPTH)
        return {key: write(item, f'{path}["{key}"]') for key, item in value.items()}

    return reading, writing


def _union(parts: List[Tuple[Convert, Convert]], kind: Any) -> Tuple[Convert, Convert]:
    name = str(kind).replace("typing.", "")

    def first(side: int, value: Any, path: str) -> Any:
        inner = None
        for part in parts:
            try:
                return part[side](value, path)
            except (TypeError, ValueError) as error:
                if not str(error).startswith(f"{path} is "):
                    inner = error  # It is of this type, and something in it is wrong.
        raise inner or _wrong(value, path, name)

    return (
        lambda value, path: first(0, value, path),
        lambda value, path: first(1, value, path),
    )


def _dataclass(
    kind: Type[Any],
    readers: List[Tuple[str, bool, Convert]],
    writers: List[Tuple[str, Convert]],
) -> Tuple[Convert, Convert]:
    def read(stored: Any, path: str) -> Any:
        if type(stored) is not dict:
            raise _wrong(stored, path, kind.__name__)
        given, later = {}, []
        for name, init, convert in readers:
            if name in stored:
                value = convert(stored[name], f"{path}.{name}")
                if init:
                    given[name] = value
                else:
                    later.append((name, value))
        try:
            made = kind(**given)
        except TypeError as error:
            raise TypeError(f"{path} cannot be made of what is stored: {error}") from error
        for name, value in later:
            object.__setattr__(made, name, value)
        return made

    def write(value: Any, path: str) -> Any:
        if not isinstance(value, kind):
            raise _wrong(value, path, kind.__name__)
        return {name: convert(getattr(value, name), f"{path}.{name}") for name, convert in writers}

    return read, write
