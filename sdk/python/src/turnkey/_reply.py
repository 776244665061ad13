"""What a handler says: `Reply`, and what can be in one.

Made by authors and by `_turn.py`; read back by `turnkey.testing`. Invariants: none of these
changes once it is made; each has the form of the protocol in `_json`, and what the worker
would refuse whatever the platform is refused here, at the line that wrote it. Bound:
`MAX_BYTES` of a file that travels within a reply.
"""

from __future__ import annotations

import os
from binascii import a2b_base64, b2a_base64
from typing import TYPE_CHECKING, Any, Dict, List, NamedTuple, Optional, Sequence, Tuple, Union

from ._content import (
    FILE_TYPES,
    Contact,
    File,
    Location,
    read_contact,
    read_location,
    write,
)
from ._errors import describe

if TYPE_CHECKING:
    from typing import TypedDict

    from typing_extensions import Literal

#: Bytes of a file that travels within a reply: it is part of the turn's transaction.
MAX_BYTES = 1 << 20

FORMATS = ("plain", "markup", "html")

EMPTY = "a reply needs a text, a file, a location or a contact"


class Message(NamedTuple):
    """A message by the platform's id, which is what `turn.message` and
    `turn.quoted.message` are: for `edit`, `delete` and `quote`."""

    id: str


class Button:
    """A button: what stands on it, and what `turn.button` is when it is pressed.

    turnkey.Button("Yes", "tea:1")
    turnkey.Button.link("The menu", "https://example.org/menu")

    Without data it says its label, as if the user had written it: on a keyboard."""

    __slots__ = ("label", "_does", "_value")

    label: str
    _does: Optional[str]
    _value: str

    def __init__(self, label: str, data: Optional[str] = None) -> None:
        self._make(label, None if data is None else "data", data)

    def _make(self, label: object, does: Optional[str], value: object) -> None:
        if not isinstance(label, str):
            raise TypeError(f"a button's label is a str, not {describe(label)}")
        if not label:
            raise ValueError("a button needs a label")
        if does is not None and not isinstance(value, str):
            raise TypeError(f"a button's {does} is a str, not {describe(value)}")
        if does is not None and not value:
            raise ValueError(f"the {does} of the button {label!r} is empty")
        self.label, self._does = label, does
        self._value = value if isinstance(value, str) else ""

    @classmethod
    def _that(cls, label: str, does: str, value: str) -> Button:
        button = cls.__new__(cls)
        button._make(label, does, value)
        return button

    @classmethod
    def link(cls, label: str, url: str) -> Button:
        """A button that opens a page."""
        return cls._that(label, "url", url)

    @classmethod
    def web_app(cls, label: str, url: str) -> Button:
        """A button that opens a page within the app (Telegram's web apps)."""
        return cls._that(label, "web_app", url)

    @classmethod
    def phone(cls, label: str, number: str) -> Button:
        """A button that offers a call to this number."""
        return cls._that(label, "phone", number)

    @classmethod
    def request_contact(cls, label: str) -> Button:
        """A button that asks for the user's telephone number: `turn.contact`, then."""
        return cls._that(label, "request", "contact")

    @classmethod
    def request_location(cls, label: str) -> Button:
        """A button that asks where the user is: `turn.location`, then."""
        return cls._that(label, "request", "location")

    @property
    def data(self) -> Optional[str]:
        """What `turn.button` is when it is pressed."""
        return self._value if self._does == "data" else None

    @property
    def url(self) -> Optional[str]:
        """The page that it opens, in whichever way."""
        return self._value if self._does in ("url", "web_app") else None

    @property
    def _json(self) -> Dict[str, str]:
        json = {"label": self.label}
        if self._does is not None:
            json[self._does] = self._value
        return json

    def __eq__(self, other: object) -> bool:
        return self._json == other._json if isinstance(other, Button) else NotImplemented

    def __hash__(self) -> int:
        return hash((self.label, self._value))

    def __repr__(self) -> str:
        if self._does is None:
            return f"Button({self.label!r})"
        if self._does == "data":
            return f"Button({self.label!r}, {self._value!r})"
        if self._does == "request":
            return f"Button.request_{self._value}({self.label!r})"
        name = "link" if self._does == "url" else self._does
        return f"Button.{name}({self.label!r}, {self._value!r})"


class Attachment:
    """A file that is sent.

    turnkey.Attachment("https://example.org/cat.jpg", "photo")
    turnkey.Attachment(pathlib.Path("bill.pdf"), name="Your bill.pdf")
    turnkey.Attachment(data, "voice", name="answer.ogg")

    `source` is an address (`https://…`), an absolute path of the box or a `Path`, the
    platform's id of a file that it has (any other text), a `turnkey.File` that a user sent,
    or bytes, which need a name and are kept with the turn: 1 MiB at most."""

    __slots__ = ("_json",)

    def __init__(
        self,
        source: Source,
        type: Optional[str] = None,
        *,
        name: Optional[str] = None,
        media_type: Optional[str] = None,
    ) -> None:
        if type is not None and type not in FILE_TYPES:
            raise ValueError(
                f"a file's type is one of {', '.join(FILE_TYPES)}, not {describe(type)}"
            )
        for what, value in (("name", name), ("media type", media_type)):
            if value is not None and not isinstance(value, str):
                raise TypeError(f"a file's {what} is a str, not {describe(value)}")
        if isinstance(source, Attachment):
            json = dict(source._json)
        elif isinstance(source, File):
            json = {"type": source.type}
            if source.id:
                json["id"] = source.id
            elif source.url:
                json["url"] = source.url
            else:
                raise ValueError("a file that has neither id nor url cannot be sent")
        else:
            json = {"type": "document"}
            json.update(_source(source))
        if type is not None:
            json["type"] = type
        if name is not None:
            json["name"] = name
        if media_type is not None:
            json["media_type"] = media_type
        if "base64" in json and not json.get("name"):
            raise ValueError(
                f"a {json['type']} of bytes needs a name: turnkey.Attachment(data, name=…)"
            )
        self._json: Dict[str, str] = json

    @property
    def type(self) -> str:
        """`photo`, `document` and so on: how it is shown."""
        return self._json["type"]

    @property
    def url(self) -> Optional[str]:
        """Its address."""
        return self._json.get("url")

    @property
    def id(self) -> Optional[str]:
        """The platform's id of it."""
        return self._json.get("id")

    @property
    def path(self) -> Optional[str]:
        """Its path in the box."""
        return self._json.get("path")

    @property
    def data(self) -> Optional[bytes]:
        """The bytes, if they travel with it."""
        base64 = self._json.get("base64")
        return None if base64 is None else a2b_base64(base64)

    @property
    def name(self) -> Optional[str]:
        """The name that the user sees."""
        return self._json.get("name")

    @property
    def media_type(self) -> Optional[str]:
        """Such as `application/pdf`."""
        return self._json.get("media_type")

    def __eq__(self, other: object) -> bool:
        return self._json == other._json if isinstance(other, Attachment) else NotImplemented

    def __hash__(self) -> int:
        return hash((self.type, self.name))

    def __repr__(self) -> str:
        source: object = self.url or self.id or self.path
        if source is None:
            source = self.data
        more = [
            f"{field}={self._json[field]!r}"
            for field in ("name", "media_type")
            if field in self._json
        ]
        return f"Attachment({', '.join([describe_source(source), repr(self.type), *more])})"


def describe_source(source: object) -> str:
    if isinstance(source, bytes) and len(source) > 20:
        return f"<{len(source):,} bytes>"
    return repr(source)


#: Where a file that is sent comes from.
Source = Union[str, bytes, bytearray, memoryview, "os.PathLike[str]", File, Attachment]

#: Of `photo=` and the like.
Files = Union[None, Source, Sequence[Source]]

#: A button, or a row of them. A pair of texts is a button, too.
Row = Union[Button, Tuple[str, str], Sequence[Union[Button, Tuple[str, str]]]]

#: A row of a keyboard: what stands there is said.
KeyboardRow = Union[str, Button, Sequence[Union[str, Button]]]


def _source(source: object) -> Dict[str, str]:
    if isinstance(source, str):
        if not source:
            raise ValueError("the address of a file is empty")
        if source[:8].lower().startswith(("https://", "http://")):
            return {"url": source}
        return {"path" if source.startswith("/") else "id": source}
    if isinstance(source, (bytes, bytearray, memoryview)):
        size = source.nbytes if isinstance(source, memoryview) else len(source)
        if size > MAX_BYTES:
            raise ValueError(
                f"a file of {size:,} bytes within a reply, which takes {MAX_BYTES:,}: "
                "write it to the disk, and give its path"
            )
        return {"base64": b2a_base64(source, newline=False).decode()}
    if isinstance(source, os.PathLike):
        path = os.path.abspath(source)
        if isinstance(path, str):
            return {"path": path}
    raise TypeError(
        "a file is an address, a path, the platform's id, bytes, a turnkey.File or a "
        f"turnkey.Attachment, not {describe(source)}"
    )


if TYPE_CHECKING:

    class ReplyOptions(TypedDict, total=False):
        """What a reply may have beside its text: see `Reply`."""

        format: Literal["plain", "markup", "html"]
        photo: Files
        document: Files
        voice: Files
        audio: Files
        video: Files
        video_note: Files
        sticker: Files
        animation: Files
        files: Sequence[Source]
        location: Union[Location, Tuple[float, float]]
        contact: Union[Contact, Tuple[str, str]]
        buttons: Sequence[Row]
        keyboard: Sequence[KeyboardRow]
        once: bool
        remove_keyboard: bool
        quote: Union[bool, str, Message]
        silent: bool
        no_preview: bool
        protected: bool
        name: str

    Target = Union[str, Message, Literal[True]]


class Reply:
    """A text, files with or without one, a place, a contact; and buttons under it.

        turnkey.Reply("Tea?").button("Yes", "tea:1").button("No", "tea:0")
        turnkey.Reply("A cat", photo="https://example.org/cat.jpg")
        turnkey.Reply("**Tea** or coffee?", format="markup", buttons=[
            [turnkey.Button("Tea", "tea"), turnkey.Button("Coffee", "coffee")],
            [turnkey.Button.link("The menu", "https://example.org/menu")],
        ])

    `turn.reply`, `turn.edit` and `turn.send_to` take a text and the same options. It never
    changes: `button` and `row` return another one. One that is only a text equals that text.

    `format`: `plain`; `markup`, which is CommonMark; or `html`. `photo`, `document`, `voice`,
    `audio`, `video`, `video_note`, `sticker`, `animation`: what `Attachment` takes, or a list of
    those; `files` is a list of attachments. Several files are an album where the platform has
    them. `location`, `contact`: a `Location` or `Contact`. `buttons`: rows of `Button`.
    `keyboard`: rows of texts, or buttons, in place of the user's own, which go after one press
    if `once`; `remove_keyboard` takes them away. `quote`: `True` for the user's message, or
    which other. `silent`: no sound. `no_preview`: none of links. `protected`: to be neither
    forwarded nor saved. `name`: what `turn.edit` and `turn.delete` call the message, also in
    later turns.
    """

    __slots__ = ("_json",)

    def __init__(
        self,
        text: str = "",
        *,
        format: str = "plain",
        photo: Files = None,
        document: Files = None,
        voice: Files = None,
        audio: Files = None,
        video: Files = None,
        video_note: Files = None,
        sticker: Files = None,
        animation: Files = None,
        files: Sequence[Source] = (),
        location: Union[None, Location, Tuple[float, float]] = None,
        contact: Union[None, Contact, Tuple[str, str]] = None,
        buttons: Sequence[Row] = (),
        keyboard: Optional[Sequence[KeyboardRow]] = None,
        once: bool = False,
        remove_keyboard: bool = False,
        quote: Union[bool, str, Message] = False,
        silent: bool = False,
        no_preview: bool = False,
        protected: bool = False,
        name: Optional[str] = None,
    ) -> None:
        if not isinstance(text, str):
            raise TypeError(f"a reply's text is a str, not {describe(text)}")
        json: Dict[str, Any] = {"text": text} if text else {}
        if format != "plain":
            if format not in FORMATS:
                raise ValueError(
                    f"a reply's format is plain, markup or html, not {describe(format)}"
                )
            json["format"] = format
        by_type = (photo, document, voice, audio, video, video_note, sticker, animation)
        attachments: List[Attachment] = []
        for kind, sources in zip(FILE_TYPES, by_type):
            if sources is not None:
                several = isinstance(sources, (list, tuple)) and not isinstance(sources, File)
                each: Sequence[Any] = sources if several else (sources,)  # type: ignore[assignment]
                attachments.extend([Attachment(source, kind) for source in each])
        if isinstance(files, (str, bytes, File)) or not isinstance(files, Sequence):
            raise TypeError(f"a reply's files are a list of attachments, not {describe(files)}")
        attachments.extend([Attachment(source) for source in files])
        if attachments:
            json["files"] = [attachment._json for attachment in attachments]
        if location is not None:
            json["location"] = _location(location)
        if contact is not None:
            json["contact"] = _contact(contact)
        if not json.keys() & {"text", "files", "location", "contact"}:
            raise ValueError(EMPTY)
        rows = _rows(buttons)
        if rows:
            json["buttons"] = [row[0] if len(row) == 1 else row for row in rows]
        if remove_keyboard:
            if keyboard:
                raise ValueError("a reply has a keyboard or removes it, not both")
            json["keyboard"] = "remove"
        elif keyboard is not None:
            json["keyboard"] = {"once" if once else "rows": _keyboard(keyboard)}
        elif once:
            raise ValueError("once is for a keyboard, and the reply has none")
        if quote is not False and quote is not None:
            json["quote"] = target(quote, "quote")
        for flag, value in (
            ("silent", silent),
            ("no_preview", no_preview),
            ("protected", protected),
        ):
            if value:
                json[flag] = True
        if name is not None:
            json["name"] = name_of(name)
        self._json = json

    @classmethod
    def _of(cls, json: Dict[str, Any]) -> Reply:
        """One of what the protocol has, unchecked."""
        reply = cls.__new__(cls)
        reply._json = json
        return reply

    def button(self, label: str, data: str) -> Reply:
        """The same with one more button, in a row of its own."""
        return self.row(Button._that(label, "data", data))

    def row(self, *buttons: Union[Button, Tuple[str, str]]) -> Reply:
        """The same with one more row of buttons."""
        (row,) = _rows([buttons])
        more = row[0] if len(row) == 1 else row
        return Reply._of({**self._json, "buttons": [*self._json.get("buttons", ()), more]})

    @property
    def text(self) -> str:
        """The text, or what stands under the files; empty if there is none."""
        return self._json.get("text", "")  # type: ignore[no-any-return]

    @property
    def format(self) -> str:
        """`plain`, `markup` or `html`."""
        return self._json.get("format", "plain")  # type: ignore[no-any-return]

    @property
    def files(self) -> Tuple[Attachment, ...]:
        """The files, in order."""
        return tuple([_attachment(file) for file in self._json.get("files", ())])

    @property
    def location(self) -> Optional[Location]:
        """The place."""
        data = self._json.get("location")
        return None if data is None else read_location(data)

    @property
    def contact(self) -> Optional[Contact]:
        """The telephone number."""
        data = self._json.get("contact")
        return None if data is None else read_contact(data)

    @property
    def buttons(self) -> Tuple[Tuple[Button, ...], ...]:
        """The buttons, in rows."""
        return _read_rows(self._json.get("buttons", ()))

    @property
    def keyboard(self) -> Tuple[Tuple[Button, ...], ...]:
        """The rows of the keyboard in place of the user's own; empty if there is none."""
        keyboard = self._json.get("keyboard")
        if not isinstance(keyboard, dict):
            return ()
        return _read_rows(keyboard.get("rows") or keyboard.get("once") or ())

    @property
    def once(self) -> bool:
        """The keyboard goes after one press."""
        keyboard = self._json.get("keyboard")
        return isinstance(keyboard, dict) and "once" in keyboard

    @property
    def remove_keyboard(self) -> bool:
        """The user's own keyboard comes back."""
        return self._json.get("keyboard") == "remove"

    @property
    def quote(self) -> Union[bool, str, Message]:
        """The message that it answers: True for the user's, its name or id, or False."""
        quote: Union[bool, str, Message] = read_target(self._json.get("quote", False))
        return quote

    @property
    def silent(self) -> bool:
        """It makes no sound."""
        return self._json.get("silent", False)  # type: ignore[no-any-return]

    @property
    def no_preview(self) -> bool:
        """No preview of the pages that it links to."""
        return self._json.get("no_preview", False)  # type: ignore[no-any-return]

    @property
    def protected(self) -> bool:
        """It can be neither forwarded nor saved."""
        return self._json.get("protected", False)  # type: ignore[no-any-return]

    @property
    def name(self) -> Optional[str]:
        """What this dialog calls the message."""
        return self._json.get("name")

    def __eq__(self, other: object) -> bool:
        if isinstance(other, str):
            return self._json == {"text": other}
        return self._json == other._json if isinstance(other, Reply) else NotImplemented

    def __hash__(self) -> int:
        return hash(self.text)

    def __repr__(self) -> str:
        return f"Reply({self._words()})"

    def _words(self) -> str:
        words = [repr(self.text)] if self.text else []
        for option in (
            "format", "files", "location", "contact", "buttons", "keyboard", "once",
            "remove_keyboard", "quote", "silent", "no_preview", "protected", "name",
        ):  # fmt: skip
            value = getattr(self, option)
            if value and value != "plain":
                words.append(f"{option}={list(value) if type(value) is tuple else value!r}")
        return ", ".join(words)


def _attachment(json: Dict[str, str]) -> Attachment:
    attachment = Attachment.__new__(Attachment)
    attachment._json = json
    return attachment


def _location(location: object) -> Dict[str, Any]:
    if not isinstance(location, tuple) or not 2 <= len(location) <= 4:
        raise TypeError(
            f"a location is turnkey.Location(latitude, longitude), not {describe(location)}"
        )
    place = Location(*location)
    for degrees in place[:2]:
        if isinstance(degrees, bool) or not isinstance(degrees, (int, float)) or degrees - degrees:
            raise TypeError(f"a location is in degrees, not {describe(degrees)}")
    return write(place)


def _contact(contact: object) -> Dict[str, Any]:
    if not isinstance(contact, tuple) or not 1 <= len(contact) <= 3:
        raise TypeError(f"a contact is turnkey.Contact(phone, name), not {describe(contact)}")
    person = Contact(*contact)
    for part in person:
        if part is not None and not isinstance(part, str):
            raise TypeError(f"the parts of a contact are str, not {describe(part)}")
    return write(person)


def _rows(rows: object) -> List[List[Dict[str, str]]]:
    if rows == ():
        return []
    if isinstance(rows, (str, Button)) or not isinstance(rows, Sequence):
        raise TypeError(f"buttons are rows of turnkey.Button, not {describe(rows)}")
    read = []
    for row in rows:
        if isinstance(row, Button) or _is_pair(row):
            row = (row,)
        if isinstance(row, str) or not isinstance(row, Sequence):
            raise TypeError(f"a row is a list such as [turnkey.Button('Yes', 'y')], not {describe(row)}")
        if row:
            read.append([_button(button)._json for button in row])
    return read


def _is_pair(row: object) -> bool:
    return isinstance(row, tuple) and len(row) == 2 and all(isinstance(part, str) for part in row)


def _button(button: object) -> Button:
    if isinstance(button, tuple) and len(button) == 2:
        button = Button(*button)
    if not isinstance(button, Button):
        raise TypeError(f'a button is turnkey.Button("Yes", "tea:1"), not {describe(button)}')
    if button._does is None:
        raise ValueError(f"the button {button.label!r} under a message needs data, or does nothing")
    return button


def _keyboard(rows: object) -> List[List[Dict[str, str]]]:
    if isinstance(rows, str) or not isinstance(rows, Sequence):
        raise TypeError(f"a keyboard is rows of texts, not {describe(rows)}")
    read = []
    for row in rows:
        keys = (row,) if isinstance(row, (str, Button)) else row
        if not isinstance(keys, Sequence):
            raise TypeError(f"a row of a keyboard is a list of texts, not {describe(row)}")
        buttons = [Button(key) if isinstance(key, str) else key for key in keys]
        for button in buttons:
            if not isinstance(button, Button):
                raise TypeError(f"a keyboard has texts and turnkey.Button, not {describe(button)}")
        if buttons:
            read.append([button._json for button in buttons])
    if not read:
        raise ValueError("a keyboard needs a button; remove_keyboard=True takes it away")
    return read


def _read_rows(rows: Sequence[Any]) -> Tuple[Tuple[Button, ...], ...]:
    several = [row if isinstance(row, list) else [row] for row in rows]
    return tuple([tuple([_read_button(button) for button in row]) for row in several])


def _read_button(json: Dict[str, str]) -> Button:
    for does, value in json.items():
        if does != "label":
            return Button._that(json["label"], does, value)
    return Button(json["label"])


def name_of(name: object) -> str:
    if not isinstance(name, str):
        raise TypeError(f"the name of a message is a str, not {describe(name)}")
    if not name:
        raise ValueError("the name of a message is empty")
    return name


def target(message: object, verb: str) -> Any:
    """Which message is meant, as the protocol has it."""
    if message is True:
        return True
    if isinstance(message, Message):
        if not isinstance(message.id, str) or not message.id:
            raise TypeError(f"{verb}: the id of a message is a str, not {describe(message.id)}")
        return {"message": message.id}
    if isinstance(message, str):
        return name_of(message)
    raise TypeError(
        f"{verb}: a message is the name that a reply had, turnkey.Message(id), or True for "
        f"the one of this turn, not {describe(message)}"
    )


def read_target(json: Any) -> Any:
    return Message(json["message"]) if isinstance(json, dict) else json


def reply_json(reply: object, options: ReplyOptions, verb: str) -> Dict[str, Any]:
    """What a verb was given, as the protocol has it; a new dict."""
    if isinstance(reply, str):
        return Reply(reply, **options)._json
    if not isinstance(reply, Reply):
        raise TypeError(f"{verb} takes a str or a turnkey.Reply, not {describe(reply)}")
    if options:
        raise TypeError(
            f"{verb}: give {', '.join(options)} to turnkey.Reply, or a text instead of it"
        )
    return dict(reply._json)
