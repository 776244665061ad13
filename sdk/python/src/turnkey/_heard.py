"""What came in: `Heard`, one update and all that is in it.

Every turn is one, and so is each message of a turn that has several (`turn.updates`). Invariant:
what the worker wrote is looked at when the handler does.
"""

from __future__ import annotations

from binascii import a2b_base64
from typing import Any, Callable, Dict, List, Optional, TypeVar

from ._content import (
    Called,
    Chat,
    Contact,
    File,
    Forwarded,
    Location,
    Quoted,
    Rpc,
    Sender,
    Timer,
    Update,
    escape,
    read_called,
    read_chat,
    read_contact,
    read_files,
    read_forwarded,
    read_location,
    read_quoted,
    read_sender,
    read_timer,
)

#: What a part of an update is read as.
P = TypeVar("P")


class Heard:
    """One update: what the user wrote, sent, pressed."""

    __slots__ = ("_data",)

    def __init__(self, data: Dict[str, Any]) -> None:
        self._data = data

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
    def kind(self) -> str:
        """What sort of update it is: `message`, `button`, `opened`, `joined`, `left`, `rpc`,
        `timer` or `callback`; also, if `turnkey.run` was given them as `hears`, `edited`,
        `reaction`, `inline`, `payment`, `join_request`, `business` or `other`. Treat one that
        you do not know as you treat `opened`."""
        return self._data.get("kind", "message")  # type: ignore[no-any-return]

    @property
    def event(self) -> str:
        """The platform's own name for what happened, such as Telegram's `my_chat_member`;
        may be empty."""
        return self._data.get("event", "")  # type: ignore[no-any-return]

    @property
    def markup(self) -> str:
        """The text with its formatting, as `format="markup"` takes it: what would mean
        something there is escaped."""
        markup = self._data.get("markup")
        return escape(self.text) if markup is None else markup

    @property
    def files(self) -> List[File]:
        """The files that the user sent, photos included, in order."""
        return read_files(self._data.get("files", ()))

    @property
    def photos(self) -> List[File]:
        """The photos that the user sent: each is there once, in the largest size that there is."""
        return [file for file in self.files if file.type == "photo"]

    def _part(self, name: str, read: Callable[[Any], P]) -> Optional[P]:
        data = self._data.get(name)
        return None if data is None else read(data)

    @property
    def location(self) -> Optional[Location]:
        """The place that the user sent."""
        return self._part("location", read_location)

    @property
    def contact(self) -> Optional[Contact]:
        """The telephone number that the user sent."""
        return self._part("contact", read_contact)

    @property
    def quoted(self) -> Optional[Quoted]:
        """The message that this one answers."""
        return self._part("quoted", read_quoted)

    @property
    def forwarded(self) -> Optional[Forwarded]:
        """Where it comes from, if it was forwarded."""
        return self._part("forwarded", read_forwarded)

    @property
    def sender(self) -> Optional[Sender]:
        """The user's name, user name and language, as far as the platform tells."""
        return self._part("sender", read_sender)

    @property
    def chat(self) -> Optional[Chat]:
        """The conversation; None where a platform has only private ones."""
        return self._part("chat", read_chat)

    @property
    def message(self) -> str:
        """The platform's id of the message: of this one, or of the one whose button was
        pressed or that was reacted to; empty where there is none. `turnkey.Message(…)` of
        it can be quoted and deleted."""
        return self._data.get("message", "")  # type: ignore[no-any-return]

    @property
    def album(self) -> str:
        """The same for all messages that were sent together; mostly empty."""
        return self._data.get("album", "")  # type: ignore[no-any-return]

    @property
    def timer(self) -> Optional[Timer]:
        """The timer that is due, if that is what this is about: of the kind `timer`."""
        return self._part("timer", read_timer)

    @property
    def called(self) -> Optional[Called]:
        """Who came with the address of a callback, or pressed a button of a question, if that is
        what this is about: of the kind `callback`."""
        return self._part("called", read_called)

    @property
    def rpc(self) -> Optional[Rpc]:
        """What another system asks for; None for what a user did."""
        rpc = self._data.get("rpc")
        return None if rpc is None else Rpc(rpc["method"], rpc.get("params"))

    @property
    def update(self) -> Update:
        """The update: its id, its kind and, after `turnkey.run(…, raw=True)`, the
        platform's own JSON."""
        raw = self._data.get("raw")
        if type(raw) is dict and len(raw) == 1 and isinstance(raw.get("base64"), str):
            raw = a2b_base64(raw["base64"])
        return Update(self._data["update"], self.kind, raw)
