"""A bot that asks a language model, which is slow: a thousand users wait at once, in one
process, and none of them for another.

The model streams its words; the turn collects them, and its reply is sent once the turn is
committed. `MODEL_URL` is the model's address; `fake_model.py` is one to try it with:

    python3 fake_model.py 8099 &
    MODEL_URL=http://127.0.0.1:8099/generate turnkey run streaming.py --turn-timeout 60

Standard library only; with aiohttp or httpx `ask` would be three lines.
"""

from __future__ import annotations

import asyncio
import json
import os
from dataclasses import dataclass, field
from typing import AsyncIterator, List
from urllib.parse import urlsplit

import turnkey

#: What the model is reminded of.
REMEMBERED = 20

#: Seconds until a word must have come.
PATIENCE = 30.0


@dataclass
class Dialog:
    """The last things that were said, the user's and the model's in turn."""

    said: List[str] = field(default_factory=list)


async def handle(turn: turnkey.AsyncTurn[Dialog]) -> None:
    if turn.command == "forget":
        turn.state.said.clear()
        turn.reply("Forgotten.")
        return
    if not turn.text:
        turn.reply("Write something to me.")
        return
    words = [word async for word in ask(turn.text, turn.state.said)]
    answer = "".join(words).strip()
    turn.state.said = [*turn.state.said, turn.text, answer][-REMEMBERED:]
    turn.reply(answer or "I have nothing to say to that.")


async def ask(prompt: str, said: List[str]) -> AsyncIterator[str]:
    """The model's words, as they come. A time-out of the turn (`--turn-timeout`) is raised
    here by asyncio, and closes the connection."""
    url = urlsplit(os.environ.get("MODEL_URL", "http://127.0.0.1:8099/generate"))
    try:
        reader, writer = await asyncio.open_connection(url.hostname, url.port or 80)
    except OSError as error:
        raise turnkey.Retry(5, f"the model cannot be reached: {error}") from error
    try:
        body = json.dumps({"prompt": prompt, "said": said}).encode()
        head = f"POST {url.path} HTTP/1.0\r\nHost: {url.netloc}\r\nContent-Length: {len(body)}\r\n\r\n"
        writer.write(head.encode() + body)
        await writer.drain()
        status = (await line(reader)).split()
        if status[1:2] == [b"503"]:
            raise turnkey.Retry(7, "the model is overloaded")
        if status[1:2] != [b"200"]:
            raise RuntimeError(f"the model answered {status}")
        while (await line(reader)).strip():
            pass  # The headers.
        while text := await line(reader):
            yield json.loads(text)["token"]
    finally:
        writer.close()


async def line(reader: asyncio.StreamReader) -> bytes:
    return await asyncio.wait_for(reader.readline(), PATIENCE)


if __name__ == "__main__":
    turnkey.run(handle, state=Dialog)
