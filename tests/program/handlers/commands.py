"""A bot that does what the message says: examples/commands.rs in Python, for the tests of
the whole program that run with handlers in both languages (harness/bot.rs). Its verbs and
its answers are those of the other, but for what a process in another language cannot have:
`held`.
"""

import asyncio
import json
import os
import time
from pathlib import Path

import turnkey


class Failed(Exception):
    pass


async def pay(port: int, user: str, name: str) -> str:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(f"{user} {name}\n".encode())
    receipt = (await reader.read()).decode()
    writer.close()
    if not receipt:
        raise Failed("it was not paid")
    return receipt


async def obey(turn: turnkey.AsyncTurn) -> None:
    turn.state["count"] = turn.state.get("count", 0) + 1
    count = turn.state["count"]
    text = turn.text
    if turn.channel == "cron":
        await tick(turn, count)
        return
    if len(turn.updates) > 1:
        if turn.updates[-1].text.startswith("gate "):
            await wait_at_gate(turn, turn.updates[-1].text[len("gate ") :])
        turn.reply(f"{count}: {together(turn)}")
        return
    if text.startswith("gate "):
        text = await wait_at_gate(turn, text[len("gate ") :])
    command, _, rest = text.partition(" ")
    if await say_more(turn, command, rest):
        return
    said = other_than_text(turn)
    if said is not None:
        turn.reply(f"{count}: {said}")
        return
    if command == "sleep":
        await asyncio.sleep(int(rest) / 1000)
    elif command == "spin":
        time.sleep(int(rest) / 1000)
    elif command == "fail":
        raise Failed("told to fail" + (f": {rest}" if rest else ""))
    elif command == "panic":
        raise Failed(f"told to panic {rest}")
    elif command == "try":
        if turn.attempt < int(rest):
            raise Failed("told to fail at first")
        turn.reply(f"{count}: {text} (attempt {turn.attempt})")
        return
    elif command == "die":
        await asyncio.sleep(int(rest) / 1000)
        os.abort()
    elif command == "order":
        turn.execute("INSERT INTO orders (user_id, item) VALUES (?1, ?2)", [turn.user_id, rest])
    elif command == "orders":
        rows = await turn.query(
            "SELECT COUNT(*) AS n FROM orders WHERE user_id = ?1", [turn.user_id]
        )
        turn.reply(f"{rows[0]['n']} orders")
        return
    elif command == "many":
        for i in range(1, int(rest) + 1):
            turn.reply(f"{count}.{i}")
        return
    elif command == "tell":
        channel, user, said = rest.split(" ", 2)
        turn.send_to(channel, user, said)
        text = "told"
    elif command == "silent":
        return
    elif command == "ask":
        turn.reply(turnkey.Reply(rest).button("Yes", "yes:1").button("No", "no"))
        return
    elif command == "photo":
        turn.reply(turnkey.Reply("look", photo=rest).button("More", "more"))
        return
    turn.reply(f"{count}: {text}")


async def say_more(turn: turnkey.AsyncTurn, command: str, rest: str) -> bool:
    """All that a turn can say but plain texts and questions; whether it was that."""
    Button = turnkey.Button
    by_id = turnkey.Message("7")
    if command == "rich":
        link = Button.link("Menu", "https://example.org/menu")
        turn.reply(
            rest,
            format="markup",
            buttons=[[Button("Tea", "tea"), link], [Button("More", "more")]],
            quote=by_id,
            silent=True,
            no_preview=True,
            protected=True,
            name="menu",
        )
    elif command == "html":
        turn.reply(rest, format="html")
    elif command == "keys":
        turn.reply("Pick", keyboard=["One", ["Two", Button.request_contact("Me")]], once=True)
    elif (command, rest) == ("no", "keys"):
        turn.reply("Gone", remove_keyboard=True)
    elif command == "album":
        turn.reply(
            "look",
            photo="https://example.org/1.jpg",
            document=turnkey.Attachment(Path("/srv/2.pdf"), name="two.pdf"),
            voice="three",
            audio=turnkey.Attachment(b"\x00\xff", name="4.mp3"),
        )
    elif command == "where":
        turn.reply(location=turnkey.Location(48.25, -16.5, "Café"))
    elif command == "who":
        turn.reply(contact=turnkey.Contact("+43 1 234", "Ann"))
    elif command == "edit":
        turn.edit("menu", turnkey.Reply(rest).button("More", "more"))
        turn.edit(by_id, rest)
    elif command == "pressed":
        turn.edit_pressed(rest)
    elif command == "delete":
        turn.delete("menu")
        turn.delete(by_id)
    elif command == "after":
        delay, name, data = rest.split(" ", 2)
        turn.after(delay, name, data)
    elif command == "every":
        cron, zone, name, data = rest.split(" ", 3)
        turn.every(cron.replace("_", " "), zone, name, data)
    elif command == "cancel":
        turn.cancel(rest)
    elif command == "pay":
        port, *names = rest.split(" ")
        receipts = [await turn.step(name, pay, int(port), turn.user_id, name) for name in names]
        turn.reply("paid " + " ".join(receipts))
    elif command in ("toast", "alert"):
        turn.toast(rest, alert=command == "alert")
    elif command == "call":
        turn.call(rest, {"list": [1, None]})
        turn.call(rest, {"list": [1, None]}, name="dice")
    elif command == "to":
        channel, user, text = rest.split(" ", 2)
        turn.send_to(channel, user, text, silent=True)
    elif command == "verbs":
        say_verbs(turn, *rest.split(" "))
    elif command == "overlap":
        turn.overlap(rest or None)
    elif command == "newer":
        say_that_it_waits(turn, rest)
        await turn.newer()
        turn.reply("something newer came")
    elif command == "look":
        say_that_it_waits(turn, rest)
        while not await turn.has_newer():
            await asyncio.sleep(0.005)
        turn.reply("something newer came")
    elif command == "member":
        try:
            member = await turn.ask("getChatMember", {"user_id": int(rest)})
            turn.reply(json.dumps(member, separators=(",", ":")))
        except turnkey.PlatformError as error:
            turn.reply(f"no answer: {error}")
    elif command in ("fetch", "save") and turn.files:
        file = turn.files[0]
        try:
            if command == "fetch":
                size = len(await turn.download(file, limit=1000))
            else:
                size = await turn.download(file, rest, limit=1000)
            turn.reply(f"{size} bytes")
        except turnkey.PlatformError as error:
            turn.reply(f"no file: {error}")
    elif command == "draft":
        turn.draft(rest)
        turn.reply(f"{rest}.")
    elif command == "dead":
        turn.reply(f"{len(await turn.dead_replies())} dead")
    elif command == "about":
        turn.reply(about(turn))
    else:
        return False
    return True


def say_verbs(turn: turnkey.AsyncTurn, file: str, user: str, *words: str) -> None:
    """A file, a user, and what is to be done, each of it with its name and the count."""
    for word in words:
        said = f"{turn.state['count']}.{word}"
        if word == "named":
            turn.reply(said, name="menu")
        elif word == "edited":
            turn.edit("menu", said)
        elif word == "file":
            turn.reply(said, document=turnkey.Attachment(Path(file)))
        elif word == "bytes":
            turn.reply(said, document=turnkey.Attachment(b"\x00\xff", name="two.bin"))
        elif word == "told":
            turn.send_to(turn.channel, user, said)


def about(turn: turnkey.AsyncTurn) -> str:
    """What came with a text."""
    parts = [
        turn.kind,
        turn.event,
        turn.markup,
        turn.sender.name if turn.sender else "",
        turn.chat.id if turn.chat else "",
        turn.quoted.text if turn.quoted else "",
        turn.forwarded.name if turn.forwarded else "",
        turn.message,
        turn.album,
    ]
    return "|".join(parts)


async def wait_at_gate(turn: turnkey.AsyncTurn, rest: str) -> str:
    """Waits until a file is there; what is to be done then."""
    file, _, rest = rest.partition(" ")
    here = say_that_it_waits(turn, file)
    while not os.path.exists(file):
        await asyncio.sleep(0.005)
    here.unlink(missing_ok=True)
    return rest


def say_that_it_waits(turn: turnkey.AsyncTurn, file: str) -> Path:
    here = Path(f"{file}.{turn.channel}.{turn.user_id}")
    here.write_text(str(len(turn.updates)))
    return here


def other_than_text(turn: turnkey.AsyncTurn) -> "str | None":
    if turn.rpc and turn.rpc.method != "fail":
        params = json.dumps(turn.rpc.params, separators=(",", ":"))
        return f"rpc {turn.rpc.method} {params}"
    if turn.timer:
        return f"timer {turn.timer.name} {json.dumps(turn.timer.data)}"
    if turn.button is not None:
        return f"button {turn.button}"
    if turn.kind not in ("message", "rpc"):
        return f"{turn.kind} {turn.text}"
    if turn.location:
        place = turn.location
        return f"at {place.latitude} {place.longitude} {place.title or ''}"
    if turn.contact:
        return f"contact {turn.contact.phone} {turn.contact.name}"
    files = turn.files
    if not files:
        return None
    name = files[0].url or files[0].id
    if len(turn.photos) == len(files):
        return f"{len(files)} photos, {name}, {turn.text}"
    kinds = " ".join(file.type for file in files)
    return f"{kinds}, {name}, {files[0].name or ''}, {turn.text}"


def together(turn: turnkey.AsyncTurn) -> str:
    texts = [update.text for update in turn.updates]
    if "fail" in texts:
        raise Failed("told to fail")
    text = turn.text.replace("\n", "/")
    return f"{'|'.join(texts)} as {text}, {len(turn.files)} files"


async def tick(turn: turnkey.AsyncTurn, count: int) -> None:
    name = turn.timer.name
    if name.startswith("sleep "):
        await asyncio.sleep(int(name[len("sleep ") :]) / 1000)
    if name == "reply":
        turn.reply("to nobody")
    late = ", late" if turn.timer.late.total_seconds() > 60 else ""
    turn.send_to("telegram", "7", f"tick {name} {count}{late}")


# As many as a worker has in flight.
EDITS = ["message", "button", "opened", "edited"]
NAMES = {"dialog_by": "COMMANDS_DIALOG_BY", "overlap": "COMMANDS_OVERLAP"}
MORE = {option: os.environ[name] for option, name in NAMES.items() if name in os.environ}
every = [one.split("=") for one in os.environ.get("COMMANDS_EVERY", "").split(";") if one]
if every:
    MORE["every"] = {name: (cron, zone) for name, cron, zone in every}
turnkey.run(obey, concurrency=4096, hears=EDITS if "COMMANDS_EDITS" in os.environ else [], **MORE)
