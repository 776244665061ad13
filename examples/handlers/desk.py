"""A support desk on Telegram: customers write to the bot in private, and the people who answer
sit in a group with topics, one topic for each customer.

It has what a larger bot has: a menu that is changed in place, languages, files both ways, a
group, a table of its own. Nothing here thinks of crashes, of messages that come twice or of
two people at the same moment. `examples/desk.rs` is the same bot in Rust; `test_desk.py` has
its tests.

    DESK_GROUP=-1001234567890 TURNKEY_TELEGRAM_TOKEN=12345:ABC… turnkey run desk.py

The bot must be an administrator of that group who may manage topics.
"""

from __future__ import annotations

import os
import sys
from dataclasses import dataclass
from typing import NamedTuple, Optional

import turnkey

#: The id of the group with topics.
GROUP = os.environ.get("DESK_GROUP", "")


class Words(NamedTuple):
    """What the desk says in a language."""

    name: str
    welcome: str
    language: str
    saved: str
    back: str
    received: str


LANGUAGES = {
    "en": Words(
        name="English",
        welcome="Write what you would like to know, or send a photo or a document.",
        language="Language",
        saved="Saved",
        back="Back",
        received="Thank you. Somebody will answer here.",
    ),
    "de": Words(
        name="Deutsch",
        welcome="Schreiben Sie uns, was Sie wissen möchten, oder schicken Sie ein Foto oder ein "
        "Dokument.",
        language="Sprache",
        saved="Gespeichert",
        back="Zurück",
        received="Danke. Sie bekommen hier Antwort.",
    ),
}


@dataclass
class Customer:
    """What the desk remembers of a customer."""

    language: Optional[str] = None
    #: The topic in which they are answered.
    topic: Optional[str] = None

    @property
    def words(self) -> Words:
        return LANGUAGES.get(self.language or "en", LANGUAGES["en"])


Turn = turnkey.AsyncTurn[Customer]


async def answer(turn: Turn) -> None:
    chat = turn.chat
    if chat is not None and chat.type != "private":
        # Not in another group, and not talk beside the topics.
        if chat.id == GROUP and chat.topic is not None:
            await to_customer(turn, chat.topic)
        return
    # They opened the chat, or blocked the bot.
    if turn.kind not in ("message", "button"):
        return
    if turn.state.language is None and turn.sender is not None:
        turn.state.language = turn.sender.language
    if turn.button is not None:
        press(turn, turn.button)
    elif turn.command == "start":
        # One menu at a time.
        turn.delete("menu")
        turn.reply(menu(turn.state.words, name="menu"))
    else:
        await to_group(turn)


def press(turn: Turn, button: str) -> None:
    verb, _, language = button.partition(" ")
    if verb == "languages":
        rows = [turnkey.Button(words.name, f"language {code}") for code, words in LANGUAGES.items()]
        back = turnkey.Button(turn.state.words.back, "menu")
        turn.edit_pressed(turn.state.words.language, buttons=[*rows, back])
    elif verb == "menu":
        turn.edit_pressed(menu(turn.state.words))
    elif verb == "language":
        turn.state.language = language
        turn.toast(turn.state.words.saved)
        turn.edit_pressed(menu(turn.state.words))


def menu(words: Words, name: Optional[str] = None) -> turnkey.Reply:
    buttons = [turnkey.Button(words.language, "languages")]
    return turnkey.Reply(f"**{words.welcome}**", format="markup", buttons=buttons, name=name)


async def to_group(turn: Turn) -> None:
    """What a customer says is copied into their topic."""
    topic = turn.state.topic or await open_topic(turn)
    copy = {
        "chat_id": GROUP,
        "message_thread_id": int(topic),
        "from_chat_id": turn.user_id,
        "message_id": int(turn.message),
    }
    turn.call("copyMessage", copy)
    turn.reply(turn.state.words.received, silent=True)


async def open_topic(turn: Turn) -> str:
    """Opens a topic for a customer who has none."""
    name = turn.sender.name if turn.sender is not None else ""
    # It is opened at once. Should this turn fail after that, the next attempt opens another
    # one: the first stays empty, and nothing is lost.
    opened = await turn.ask(
        "createForumTopic", {"chat_id": GROUP, "name": f"{name} ({turn.user_id})"}
    )
    topic = str(opened["message_thread_id"])
    turn.execute("INSERT INTO topics (topic, customer) VALUES (?1, ?2)", (topic, turn.user_id))
    turn.state.topic = topic
    return topic


async def to_customer(turn: Turn, topic: str) -> None:
    """What is said in a topic goes to its customer."""
    rows = await turn.query("SELECT customer FROM topics WHERE topic = ?1", [topic])
    files = [file for file in turn.files if file.id]
    if rows and (turn.text or files):
        reply = turnkey.Reply(turn.markup, format="markup", files=files)
        turn.send_to("telegram", rows[0]["customer"], reply)


if __name__ == "__main__":
    if not GROUP:
        sys.exit("set DESK_GROUP to the id of the group with topics, such as -1001234567890")
    turnkey.run(answer, state=Customer)
