"""What a turn asks while its handler runs: rows, methods of the platform, files.

`_turn.py` asks with it; who answers is a `Questions`. Invariant: whatever the worker would refuse
is refused here, at the line that wrote it. Bound: `MAX_DOWNLOAD`, if the author says nothing.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any, Dict, List, Mapping, Optional, Sequence, Union

from ._content import File, write
from ._errors import describe
from ._state import MAX_DEPTH, check
from ._wire import decode, encode, to_sql

if TYPE_CHECKING:
    from ._turn import AsyncTurn, BaseTurn, Turn

#: Bytes of a file that is fetched, if the author says nothing: what Telegram lets bots have.
MAX_DOWNLOAD = 20 * 1024 * 1024

Row = Dict[str, Any]
Params = Sequence[Union[None, bool, int, float, str, bytes, bytearray, memoryview]]


class Rows(List[Row]):
    """The rows of a query. A list; awaiting it gives the list. A callable that turned out
    to be async only when it was called has a plain turn, and awaits its queries."""

    def __await__(self) -> Any:
        return self
        yield


class Ready:
    """An answer for a callable that turned out to be async only when it was called."""

    def __init__(self, value: Any) -> None:
        self._value = value

    def __await__(self) -> Any:
        return self._value
        yield


class Questions:
    """Whom a turn asks. `_threads.py`, `_loop.py` and `turnkey.testing` have one each. `sort`
    is `query`, `ask`, `download`, `dead_replies`, `step` or `newer`, with the fields that the
    protocol has for it; the answer is the rows, the result, the bytes that were written, the
    replies, or the line itself."""

    #: Where the addresses of callbacks begin; None if the bot has no address of its own.
    callbacks: Optional[str] = None

    def ask(self, turn: Turn[Any], sort: str, fields: Dict[str, Any]) -> Any:
        raise NotImplementedError

    def draft(self, turn: BaseTurn[Any], text: str) -> None:
        raise NotImplementedError

    async def ask_later(self, turn: AsyncTurn[Any], sort: str, fields: Dict[str, Any]) -> Any:
        raise NotImplementedError


class Download:
    """A file that is fetched. Without a path of the author's it goes through a directory of
    its own, which is gone afterwards."""

    def __init__(
        self, file: object, path: Union[None, str, os.PathLike[str]], limit: object
    ) -> None:
        if not isinstance(file, File):
            raise TypeError(f"turn.download takes a file of turn.files, not {describe(file)}")
        if isinstance(limit, bool) or not isinstance(limit, int):
            raise TypeError(f"turn.download: limit is a number of bytes, not {describe(limit)}")
        if limit < 0:
            raise ValueError(f"turn.download: limit is a number of bytes, not {limit}")
        if path is not None and not isinstance(path, (str, os.PathLike)):
            raise TypeError(f"turn.download: path is a str or a Path, not {describe(path)}")
        self._path = path
        self._directory: Optional[str] = None
        self.fields: Dict[str, Any] = {"file": write(file), "limit": limit}

    def __enter__(self) -> None:
        path = self._path
        if path is None:
            import tempfile

            self._directory = tempfile.mkdtemp(prefix="turnkey-")
            path = os.path.join(self._directory, "file")
        self.fields["path"] = os.path.abspath(path)

    def take(self, size: int) -> Union[bytes, int]:
        """What the author is given of so many bytes."""
        if self._directory is None:
            return size
        with open(self.fields["path"], "rb") as file:
            return file.read()

    def __exit__(self, *_: object) -> None:
        if self._directory is not None:
            import shutil

            shutil.rmtree(self._directory, ignore_errors=True)


def query_of(sql: str, params: Params) -> Dict[str, Any]:
    statement = to_sql(sql, params)
    return {"sql": statement[0], "params": statement[1]}


def method_of(method: object, params: object, verb: str) -> Dict[str, Any]:
    if not isinstance(method, str) or not method:
        raise TypeError(f'{verb}: the method is a str, such as "getMe", not {describe(method)}')
    if params is None:
        return {"method": method, "params": {}}
    if not isinstance(params, Mapping):
        raise TypeError(f"{verb}: the parameters are a dict, not {describe(params)}")
    params = dict(params)
    check(params, "params", MAX_DEPTH)
    # Theirs may change; and a tuple is a list.
    return {"method": method, "params": decode(encode(params))}
