"""What a handler is given (`Turn`, `AsyncTurn`) and what it gives back (`Reply`).

A turn is made and taken apart by `_answer.py`. Invariants: nothing that a handler does here
takes effect before the turn is committed; whatever the worker would refuse is refused here,
at the line that wrote it. Bound: `MAX_REPLIES` replies a turn.
"""

from __future__ import annotations

from binascii import a2b_base64
from typing import (
    TYPE_CHECKING,
    Any,
    Dict,
    Generic,
    List,
    NamedTuple,
    Optional,
    Sequence,
    Tuple,
    Union,
)

from ._errors import describe
from ._wire import to_sql

if TYPE_CHECKING:
    from typing_extensions import TypeVar

    #: The type of the user's state: `turnkey.Turn` alone is one with a dict.
    S = TypeVar("S", default=Dict[str, Any])
else:
    from typing import TypeVar

    S = TypeVar("S")

MAX_REPLIES = 1000

Row = Dict[str, Any]
Params = Sequence[Union[None, bool, int, float, str, bytes, bytearray, memoryview]]


class Button(NamedTuple):
    """A button under a reply: what stands on it, and what `turn.button` is when it is
    pressed."""

    label: str
    data: str


class Picture(NamedTuple):
    """A picture that a user sent. At least one of the two is there."""

    id: Optional[str]
    url: Optional[str]


class Rpc(NamedTuple):
    """What another system asks for (JSON-RPC 2.0)."""

    method: str
    params: Any


class Update(NamedTuple):
    """The update that the turn handles."""

    id: str
    #: `message`, `button`, `opened`, `rpc` or `edited`. Treat one that you do not know as
    #: you treat `opened`.
    kind: str
    #: The platform's own JSON (bytes, if it is none); None unless `turnkey.run` was given
    #: `raw=True`.
    raw: Any


class Reply:
    """A text, or a picture with or without one, and buttons under it.

        turnkey.Reply("Tea?").button("Yes", "tea:1").button("No", "tea:0")
        turnkey.Reply(picture="https://example.org/cat.jpg", caption="A cat")

    It never changes: `button` returns another one. One that is only a text equals that
    text.
    """

    __slots__ = ("_text", "_picture", "_buttons")

    def __init__(
        self,
        text: str = "",
        *,
        picture: Optional[str] = None,
        caption: Optional[str] = None,
        buttons: Sequence[Tuple[str, str]] = (),
    ) -> None:
        if not isinstance(text, str):
            raise TypeError(f"a reply's text is a str, not {describe(text)}")
        if picture is not None and not isinstance(picture, str):
            raise TypeError(
                f"a reply's picture is a str, its address or id, not {describe(picture)}"
            )
        if caption is not None:
            if not isinstance(caption, str):
                raise TypeError(f"a reply's caption is a str, not {describe(caption)}")
            if text:
                raise TypeError("a picture's text is its caption: give one of the two")
            text = caption
        if not text and not picture:
            raise ValueError("a reply needs a text or a picture")
        self._text = text
        self._picture = picture
        self._buttons = tuple([_button(*button) for button in buttons])

    @property
    def text(self) -> str:
        """The text, or the picture's caption; empty if there is none."""
        return self._text

    @property
    def caption(self) -> str:
        """The same as `text`."""
        return self._text

    @property
    def picture(self) -> Optional[str]:
        """The picture's address, or the platform's id of it."""
        return self._picture

    @property
    def buttons(self) -> Tuple[Button, ...]:
        """The buttons, in order."""
        return self._buttons

    def button(self, label: str, data: str) -> Reply:
        """The same with one more button."""
        more = Reply(self._text, picture=self._picture)
        more._buttons = (*self._buttons, _button(label, data))
        return more

    def __eq__(self, other: object) -> bool:
        if isinstance(other, str):
            return self._text == other and not self._picture and not self._buttons
        if isinstance(other, Reply):
            return self._parts() == other._parts()
        return NotImplemented

    def __hash__(self) -> int:
        plain = not self._picture and not self._buttons
        return hash(self._text) if plain else hash(self._parts())

    def _parts(self) -> Tuple[object, ...]:
        return self._text, self._picture, self._buttons

    def __repr__(self) -> str:
        if not self._picture:
            start = f"Reply({self._text!r})"
        elif not self._text:
            start = f"Reply(picture={self._picture!r})"
        else:
            start = f"Reply(picture={self._picture!r}, caption={self._text!r})"
        return start + "".join([f".button({b.label!r}, {b.data!r})" for b in self._buttons])

    def _json(self) -> Dict[str, Any]:
        json: Dict[str, Any] = {"text": self._text} if self._text else {}
        if self._picture:
            json["picture"] = self._picture
        if self._buttons:
            json["buttons"] = [{"label": b.label, "data": b.data} for b in self._buttons]
        return json


def _button(label: str, data: str) -> Button:
    if not isinstance(label, str):
        raise TypeError(f"a button's label is a str, not {describe(label)}")
    if not isinstance(data, str):
        raise TypeError(f"a button's data is a str, not {describe(data)}")
    return Button(label, data)


class Rows(List[Row]):
    """The rows of a query. A list; awaiting it gives the list. A callable that turned out
    to be async only when it was called has a plain turn, and awaits its queries."""

    def __await__(self) -> Any:
        return self
        yield


class Questions:
    """Whom a turn asks. `_threads.py`, `_loop.py` and `turnkey.testing` have one each."""

    def ask(self, turn: Turn[Any], sql: List[Any]) -> List[Row]:
        raise NotImplementedError

    async def ask_later(self, turn: AsyncTurn[Any], sql: List[Any]) -> List[Row]:
        raise NotImplementedError


class BaseTurn(Generic[S]):
    """What `Turn` and `AsyncTurn` share: everything but `query`. For helpers that serve
    both kinds of handlers."""

    __slots__ = (
        "state", "_data", "_asked", "_replies", "_statements", "_cancelled", "_ended", "_more"
    )  # fmt: skip

    #: The user's state: a dict, or what `turnkey.run` was given as `state`. What a handler
    #: changes here takes effect when it returns, all at once, or not at all.
    state: S

    def __init__(self, state: S, data: Dict[str, Any], asked: Questions) -> None:
        self.state = state
        self._data = data
        self._asked = asked
        self._replies: List[Dict[str, Any]] = []
        self._statements: List[List[Any]] = []
        self._cancelled = False
        self._ended = False
        # Whatever runs the turn keeps its own here.
        self._more: Any = None

    @property
    def text(self) -> str:
        """The text, caption or button data; may be empty."""
        return self._data.get("text", "")  # type: ignore[no-any-return]

    @property
    def command(self) -> Optional[str]:
        """The command that the text is: `start` for `/start`, `/start ref_42` and, in
        groups, `/start@my_bot`; None for any other text."""
        return self._data.get("command")

    @property
    def argument(self) -> str:
        """What stands behind the command: `ref_42` of `/start ref_42`; empty if nothing
        does."""
        return self._data.get("argument", "")  # type: ignore[no-any-return]

    @property
    def button(self) -> Optional[str]:
        """The data of the button that was pressed; None if it was not a button."""
        return self._data.get("text", "") if self._data.get("kind") == "button" else None

    @property
    def pictures(self) -> List[Picture]:
        """The pictures that the user sent, in order."""
        pictures = self._data.get("pictures", ())
        return [Picture(picture.get("id"), picture.get("url")) for picture in pictures]

    @property
    def rpc(self) -> Optional[Rpc]:
        """What another system asks for; None for what a user did."""
        rpc = self._data.get("rpc")
        return None if rpc is None else Rpc(rpc["method"], rpc.get("params"))

    @property
    def user_id(self) -> str:
        """The user, as the channel names them."""
        return self._data["user"]  # type: ignore[no-any-return]

    @property
    def channel(self) -> str:
        """The channel's name, such as `telegram`."""
        return self._data["channel"]  # type: ignore[no-any-return]

    @property
    def update(self) -> Update:
        """The update: its id, its kind and, after `turnkey.run(…, raw=True)`, the
        platform's own JSON."""
        raw = self._data.get("raw")
        if type(raw) is dict and len(raw) == 1 and isinstance(raw.get("base64"), str):
            raw = a2b_base64(raw["base64"])
        return Update(self._data["update"], self._data.get("kind", "message"), raw)

    @property
    def attempt(self) -> int:
        """Which attempt at this update this is, from 1. A handler that calls something
        costly can do less at a later one."""
        return self._data.get("attempt", 1)  # type: ignore[no-any-return]

    @property
    def cancelled(self) -> bool:
        """Whether the turn took longer than `--turn-timeout`: it has failed, whatever the
        handler still does. A plain handler that runs long looks here now and then, and
        returns; an async one is cancelled by asyncio."""
        return self._cancelled

    def reply(self, reply: Union[str, Reply]) -> None:
        """Queues a reply. It is sent after the turn is committed, in order."""
        if self._ended:
            raise _ended("reply")
        if len(self._replies) >= MAX_REPLIES:
            raise ValueError(f"more than {MAX_REPLIES:,} replies in one turn")
        if isinstance(reply, str):
            if not reply:
                raise ValueError("a reply needs a text or a picture")
            self._replies.append({"text": reply})
        elif isinstance(reply, Reply):
            self._replies.append(reply._json())
        else:
            raise TypeError(
                f"turn.reply takes a str or a turnkey.Reply, not {describe(reply)}"
            )

    def execute(self, sql: str, params: Params = ()) -> None:
        """Adds a statement of your own to the turn's transaction: it takes effect with the
        new state, or neither does. Parameters are `?1`, `?2` …

            turn.execute("INSERT INTO bookings (hour, visitor) VALUES (?1, ?2)", (hour, name))

        It runs at the end of the turn; should it fail then, the turn fails."""
        if self._ended:
            raise _ended("execute")
        self._statements.append(to_sql(sql, params))

    def __repr__(self) -> str:
        return (
            f"<{type(self).__name__} {self.channel}:{self.user_id} "
            f"{self._data.get('kind')} {self.text!r} {self.state!r}>"
        )


class Turn(BaseTurn[S]):
    """One update of one user, for a plain handler (`def`)."""

    __slots__ = ()

    def query(self, sql: str, params: Params = ()) -> List[Row]:
        """Asks a question of your own tables; each row is a dict. All earlier turns of this
        user are seen, statements queued in this one are not yet.

        Raises `turnkey.QueryError` when the query is wrong, writes, or takes longer than
        five seconds."""
        if self._ended:
            raise _ended("query")
        return self._asked.ask(self, to_sql(sql, params))


class AsyncTurn(BaseTurn[S]):
    """One update of one user, for an async handler (`async def`)."""

    __slots__ = ()

    async def query(self, sql: str, params: Params = ()) -> List[Row]:
        """Asks a question of your own tables; each row is a dict. All earlier turns of this
        user are seen, statements queued in this one are not yet.

        Raises `turnkey.QueryError` when the query is wrong, writes, or takes longer than
        five seconds."""
        if self._ended:
            raise _ended("query")
        return await self._asked.ask_later(self, to_sql(sql, params))


def _ended(verb: str) -> RuntimeError:
    return RuntimeError(f"turn.{verb} after the handler has returned: this turn has ended")
