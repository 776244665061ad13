"""What can be in an update: files, places, people.

Made by `_turn.py` of what the worker sent, when the handler looks; `File`, `Location` and
`Contact` can be sent, too (`_reply.py`). Invariant: a field that a platform left out is None,
or empty where it is a text that every platform should have.
"""

from __future__ import annotations

from datetime import datetime, timedelta, timezone
from typing import Any, Dict, List, NamedTuple, Optional, Tuple

#: What sort of file one is.
FILE_TYPES = (
    "photo", "document", "voice", "audio", "video", "video_note", "sticker", "animation"
)  # fmt: skip

#: What can be heard, and what is if the author says nothing.
KINDS = (
    "message", "button", "opened", "joined", "left", "edited", "reaction", "inline", "payment",
    "join_request", "business", "other",
)  # fmt: skip


class File(NamedTuple):
    """A file that a user sent. `turn.download` fetches it, and on the same platform a reply
    sends it again."""

    #: `photo`, `document`, `voice`, `audio`, `video`, `video_note`, `sticker` or `animation`.
    type: str
    #: The platform's own name for it, such as Telegram's `file_id`.
    id: Optional[str] = None
    #: Where it can be fetched, mostly for a limited time. At least one of the two is there.
    url: Optional[str] = None
    #: Its name, as whoever sent it wrote it: no path that can be trusted.
    name: Optional[str] = None
    #: Such as `application/pdf`, as whoever sent it says.
    media_type: Optional[str] = None
    #: Bytes, as the platform says.
    size: Optional[int] = None


class Location(NamedTuple):
    """A place on the earth, in degrees north and east."""

    latitude: float
    longitude: float
    #: What is there, such as a café's name.
    title: Optional[str] = None
    #: Its postal address.
    address: Optional[str] = None


class Contact(NamedTuple):
    """Somebody's telephone number."""

    phone: str
    #: Whose it is.
    name: str = ""
    #: The platform's id of that person. It is the sender's own number only if this is
    #: `turn.user_id`.
    user_id: Optional[str] = None


class Quoted(NamedTuple):
    """The message that a message answers."""

    #: The platform's id of it.
    message: str
    #: Its text, or the part that was quoted; empty where the platform does not say.
    text: str
    #: The id of whoever wrote it.
    sender: Optional[str]


class Forwarded(NamedTuple):
    """Where a forwarded message comes from."""

    #: The id of whoever wrote it first, unless that is hidden.
    id: Optional[str]
    #: Their name, or that of the channel or group.
    name: str


class Sender(NamedTuple):
    """Who sent it. Their id is `turn.user_id`."""

    #: The full name.
    name: str
    #: The user name, without `@`.
    username: Optional[str]
    #: The language of their app, such as `de` or `pt-br`.
    language: Optional[str]


class Chat(NamedTuple):
    """The conversation that a message is part of."""

    #: The platform's id of it.
    id: str
    #: `private`, `group` or `channel`.
    type: str
    #: A group's or channel's title.
    title: Optional[str]
    #: The topic within it.
    topic: Optional[str]
    #: The id that this group had until it became a supergroup, in the message that says so.
    was: Optional[str] = None


class Rpc(NamedTuple):
    """What another system asks for (JSON-RPC 2.0)."""

    method: str
    params: Any


class Timer(NamedTuple):
    """A timer that is due."""

    #: The name that it was set under.
    name: str
    #: When it was to be due.
    due: datetime
    #: What it was set with.
    data: Any
    #: How long after that it fired: milliseconds in most cases, hours if nothing ran.
    late: timedelta = timedelta(0)


class Update(NamedTuple):
    """The update that the turn handles."""

    id: str
    #: See `turn.kind`.
    kind: str
    #: The platform's own JSON (bytes, if it is none); None unless `turnkey.run` was given
    #: `raw=True`.
    raw: Any


Data = Dict[str, Any]


def read_files(files: List[Data]) -> List[File]:
    return [
        File(f.get("type", "photo"), f.get("id"), f.get("url"), f.get("name"),
             f.get("media_type"), f.get("size"))
        for f in files
    ]  # fmt: skip


def read_timer(data: Data) -> Timer:
    due = datetime.fromtimestamp(data["due"] / 1000, timezone.utc)
    return Timer(data["name"], due, data.get("data"), timedelta(milliseconds=data.get("late", 0)))


def read_location(data: Data) -> Location:
    return Location(data["latitude"], data["longitude"], data.get("title"), data.get("address"))


def read_contact(data: Data) -> Contact:
    return Contact(data["phone"], data.get("name", ""), data.get("user_id"))


def read_quoted(data: Data) -> Quoted:
    return Quoted(data.get("message", ""), data.get("text", ""), data.get("sender"))


def read_forwarded(data: Data) -> Forwarded:
    return Forwarded(data.get("id"), data.get("name", ""))


def read_sender(data: Data) -> Sender:
    return Sender(data.get("name", ""), data.get("username"), data.get("language"))


def read_chat(data: Data) -> Chat:
    return Chat(
        data.get("id", ""),
        data.get("type", "private"),
        data.get("title"),
        data.get("topic"),
        data.get("was"),
    )


def write(value: Tuple[Any, ...]) -> Data:
    """One of these as the protocol has it: what is not there is left out."""
    fields: Data = value._asdict()  # type: ignore[attr-defined]
    return {name: field for name, field in fields.items() if field is not None}


#: What may mean something in markup.
_SIGNS = {ord(c): "\\" + c for c in "!#&()*+-.:<=>[\\]^_`{|}~"}


def escape(text: str) -> str:
    """A text as markup that shows just that."""
    return text.translate(_SIGNS)
