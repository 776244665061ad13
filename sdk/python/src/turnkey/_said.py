"""What a bot said: a reply, or what else a turn asked for.

Given by `turn.dead_replies` and, in tests, by `Conversation` and `Program`; the functions make
the like, to compare with:

    assert bot.presses("ann", "more") == [edit("menu", "Page 2"), toast("Turned")]

Invariant: two are equal if the program would be asked for the same.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Dict, List, Mapping, NamedTuple, Optional, Tuple, Union

from ._callbacks import Delay, named
from ._reply import Message, Reply, read_target, reply_json, target

if TYPE_CHECKING:
    from typing_extensions import Unpack

    from datetime import datetime

    from ._reply import ReplyOptions, Target


class Said(Reply):
    """A `turnkey.Reply`; or, if one of the verbs here is not None, an edit, a deletion, a
    toast, a call or a reply to another dialog. A reply that is only a text equals it."""

    __slots__ = ()

    @property
    def edits(self) -> Union[None, bool, str, Message]:
        """The message in whose place it comes: its name or id, or True for the one whose
        button was pressed."""
        edits: Union[None, bool, str, Message] = read_target(self._json.get("edit"))
        return edits

    @property
    def deletes(self) -> Union[None, bool, str, Message]:
        """The message that is taken away."""
        deletes: Union[None, bool, str, Message] = read_target(self._json.get("delete"))
        return deletes

    @property
    def toast(self) -> Optional[str]:
        """The words that are shown over the chat."""
        return self._json.get("toast")

    @property
    def alert(self) -> bool:
        """The words are in a window that must be closed."""
        return self._json.get("alert", False)  # type: ignore[no-any-return]

    @property
    def calls(self) -> Optional[str]:
        """The method of the platform that is called."""
        return self._json.get("call")

    @property
    def params(self) -> Any:
        """What it is called with."""
        return self._json.get("params")

    @property
    def sent_to(self) -> Optional[Tuple[str, str]]:
        """The channel and the user of the other dialog."""
        to = self._json.get("send_to")
        return None if to is None else (to["channel"], to["user"])

    @property
    def asked_in(self) -> Optional[Tuple[str, str, str]]:
        """The channel and the user of the other dialog that is asked, and the name under which
        the answer comes back."""
        to = self._json.get("ask_in")
        return None if to is None else (to["channel"], to["user"], to["name"])

    @property
    def spans(self) -> List[Dict[str, Any]]:
        """From a `Program`: which parts of the text look how, by their bytes."""
        return self._json.get("spans", [])  # type: ignore[no-any-return]

    def __hash__(self) -> int:
        return hash(self.text)

    def __eq__(self, other: object) -> bool:
        return Reply.__eq__(self, other)

    def __repr__(self) -> str:
        json = self._json
        if json.get("delete") is not None:
            return f"delete({self.deletes!r})"
        if self.toast is not None:
            return f"toast({self.toast!r}{', alert=True' if self.alert else ''})"
        if self.calls is not None:
            name = "" if self.name is None else f", name={self.name!r}"
            return f"call({self.calls!r}, {self.params!r}{name})"
        words = self._words()
        if json.get("edit") is not None:
            return f"edit({self.edits!r}, {words})"
        if self.sent_to is not None:
            return f"send_to({self.sent_to[0]!r}, {self.sent_to[1]!r}, {words})"
        if self.asked_in is not None:
            channel, user, name = self.asked_in
            return f"ask_in({channel!r}, {user!r}, {words}, called={name!r})"
        spans = f", spans={self.spans!r}" if self.spans else ""
        return f"Reply({words}{spans})"


class DeadReply(NamedTuple):
    """A reply, or another action, that was given up."""

    #: What was to be done.
    action: Said
    #: Why it was not, the last time.
    error: str
    #: When it was given up; it knows its time zone.
    died: datetime


def read_dead(json: Dict[str, Any]) -> DeadReply:
    from datetime import datetime, timezone

    died = datetime.fromtimestamp(json["died"] / 1000, timezone.utc)
    return DeadReply(read(json["action"]), json["error"], died)


def read(json: Dict[str, Any]) -> Said:
    """One as the protocol and `POST /http` have it."""
    if not json.get("text"):
        json.pop("text", None)  # Empty ones are written by the program.
    said = Said.__new__(Said)
    said._json = json
    return said


def edit(message: Target, reply: Union[str, Reply] = "", **options: Unpack[ReplyOptions]) -> Said:
    """What `turn.edit` does; with `True` as the message, `turn.edit_pressed`."""
    json = reply_json(reply, options, "edit")
    return read({**json, "edit": target(message, "edit")})


def delete(message: Target) -> Said:
    """What `turn.delete` does."""
    return read({"delete": target(message, "delete")})


def toast(text: str, *, alert: bool = False) -> Said:
    """What `turn.toast` does."""
    return read({"toast": text, "alert": True} if alert else {"toast": text})


def call(
    method: str, params: Optional[Mapping[str, Any]] = None, *, name: Optional[str] = None
) -> Said:
    """What `turn.call` does."""
    json: Dict[str, Any] = {"call": method, "params": dict(params or {})}
    if name is not None:
        json["name"] = name
    return read(json)


def send_to(
    channel: str, user: str, reply: Union[str, Reply] = "", **options: Unpack[ReplyOptions]
) -> Said:
    """What `turn.send_to` does."""
    json = reply_json(reply, options, "send_to")
    return read({**json, "send_to": {"channel": channel, "user": user}})


def ask_in(
    channel: str,
    user: str,
    question: Union[str, Reply],
    called: str,
    *,
    valid: Optional[Delay] = None,
    **options: Unpack[ReplyOptions],
) -> Said:
    """What `turn.ask_in` does."""
    json = reply_json(question, options, "ask_in")
    return read(
        {**json, "ask_in": {"channel": channel, "user": user, **named(called, valid, "ask_in")}}
    )
