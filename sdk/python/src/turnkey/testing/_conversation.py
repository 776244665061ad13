"""A bot's turns in memory, with no server.

For authors' tests. Invariants: states, replies and parameters take the way through JSON
that they take in earnest, so that a test meets the same errors; a turn that fails changes
nothing and raises the handler's own exception; nobody is tried again. The database is
SQLite, in memory.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import re
import sqlite3
import time
import threading
import weakref
from binascii import b2a_base64
from typing import (
    Any,
    Callable,
    Dict,
    Iterator,
    List,
    Mapping,
    Optional,
    Sequence,
    Tuple,
    Type,
    Union,
)

from .._answer import done_line, refuse_result
from .._asking import Params, Questions, Row, Rows
from .._content import Chat, Contact, File, Forwarded, Location, Quoted, Sender, write
from .._errors import PlatformError, QueryError, describe
from .._run import either, is_async
from .._state import states_of
from .._turn import AsyncTurn, BaseTurn, Turn
from .._wire import decode, encode, from_sql, to_sql
from .._said import DeadReply, Said, read

#: Seconds that a turn waits for something newer.
PATIENCE = 10.0

#: `/start`, `/start ref`, and `/start@my_bot`.
_COMMAND = re.compile(r"/(\w+)(?:@\S*)?(?:\s+(.*))?\Z", re.DOTALL)


class Conversation(Questions):
    """A bot that some users talk to.

    `handle` and `state` are what `turnkey.run` gets. `migrations` makes your own tables: a
    list of SQL texts, or the directory that has them in files that end in `.sql`, in the order
    of their names. `ask` answers `turn.ask`: a function of the method and its parameters, which
    raises to refuse. `downloads` has the bytes of files by their ids or addresses. `given_up` is
    that of `turnkey.run`.
    """

    callbacks = "https://bot.example/callback/"

    def __init__(
        self,
        handle: Callable[..., Any],
        *,
        state: Optional[Type[Any]] = None,
        migrations: Union[str, os.PathLike[str], Sequence[str]] = (),
        channel: str = "test",
        ask: Optional[Callable[[str, Dict[str, Any]], Any]] = None,
        downloads: Optional[Mapping[str, bytes]] = None,
        given_up: Optional[Callable[..., Any]] = None,
    ) -> None:
        self._handle = either(handle, given_up)
        self._platform = ask
        self._downloads = downloads or {}
        self._turn = AsyncTurn if is_async(handle) else Turn
        self._states = states_of(state)
        self._channel = channel
        self._stored: Dict[str, str] = {}
        self._count = 0
        self._timers: Dict[str, Dict[str, Dict[str, Any]]] = {}
        self._overlaps: Dict[str, Optional[str]] = {}
        # Something newer has come, for the turn that runs.
        self._newer = False
        #: Whose callback an address is, and its name.
        self._open: Dict[str, Tuple[str, str]] = {}
        #: Who asked, and the question.
        self._questions: List[Tuple[str, Dict[str, Any]]] = []
        #: What `turn.dead_replies` gives.
        self.dead_replies: List[DeadReply] = []
        #: What the last turn showed with `turn.draft`.
        self.drafts: List[str] = []
        #: What the last turn has kept with `turn.step`, by the steps' names. A turn that fails
        #: keeps it, too: `sends(…, attempt=2, steps=bot.steps)` is the next attempt.
        self.steps: Dict[str, Any] = {}
        self._loop: Optional[asyncio.AbstractEventLoop] = None
        #: Where your own tables are.
        self.database = sqlite3.connect(":memory:", isolation_level=None, check_same_thread=False)
        weakref.finalize(self, self.database.close)
        for sql in _texts(migrations):
            self.database.executescript(sql)

    def says(self, user: str, text: str) -> List[Said]:
        """A user writes; what they are answered. A reply that is only a text equals it; what
        `turn.edit`, `turn.toast` and the like do is among the answers, see `Said`."""
        return self.sends(user, text)

    def presses(self, user: str, data: str) -> List[Said]:
        """A user presses the button that carries this data."""
        return self.sends(user, data, kind="button")

    def sends(
        self,
        user: str,
        text: str = "",
        *,
        kind: str = "message",
        event: str = "",
        markup: Optional[str] = None,
        files: Sequence[File] = (),
        location: Optional[Location] = None,
        contact: Optional[Contact] = None,
        sender: Optional[Sender] = None,
        chat: Optional[Chat] = None,
        quoted: Optional[Quoted] = None,
        forwarded: Optional[Forwarded] = None,
        message: str = "",
        dialog: str = "",
        album: str = "",
        rpc: Optional[Mapping[str, Any]] = None,
        timer: Optional[Mapping[str, Any]] = None,
        called: Optional[Mapping[str, Any]] = None,
        raw: Any = None,
        attempt: int = 1,
        last_attempt: bool = False,
        given_up: Optional[str] = None,
        steps: Optional[Mapping[str, Any]] = None,
        newer: bool = False,
        channel: Optional[str] = None,
    ) -> List[Said]:
        """Anything else that can come in, by the names that a turn has for it:
        `files=[turnkey.File("photo", id="…")]`, `location=turnkey.Location(48.2, 16.4)`;
        `rpc={"method": "paid", "params": {…}}`; `raw`, the platform's own JSON; a later
        `attempt`, with the `steps` that the one before has kept, or the `last_attempt`; `given_up`,
        why it is given up: what the `given_up` of `turnkey.run` does then; another `kind`, such as `edited`
        or `opened`. With `newer` the user has sent something else meanwhile: see `turn.newer`."""
        self._count += 1
        self._newer = newer
        turn: Dict[str, Any] = {
            "channel": self._channel if channel is None else channel,
            "user": user,
            "update": str(self._count),
            "kind": kind,
            "text": text,
            "attempt": attempt,
        }
        if last_attempt:
            turn["last_attempt"] = True
        if given_up is not None:
            turn["given_up"] = {"error": given_up}
        for sort, what in (("rpc", rpc), ("timer", timer), ("callback", called)):
            if what is not None:
                turn["kind"] = sort
        command = _COMMAND.match(text.strip()) if turn["kind"] == "message" else None
        if command:
            turn["command"], turn["argument"] = command[1], command[2] or ""
        if files:
            turn["files"] = [_field(file, File) for file in files]
        for name, value, type in (
            ("location", location, Location),
            ("contact", contact, Contact),
            ("sender", sender, Sender),
            ("chat", chat, Chat),
            ("quoted", quoted, Quoted),
            ("forwarded", forwarded, Forwarded),
        ):
            if value is not None:
                turn[name] = _field(value, type)
        for name, said in (
            ("event", event),
            ("message", message),
            ("album", album),
            ("dialog", dialog),
        ):
            if said:
                turn[name] = said
        if markup is not None:
            turn["markup"] = markup
        if rpc is not None:
            turn["rpc"] = {"params": None, **rpc}
        if timer is not None:
            turn["timer"] = {"name": text, "due": round(time.time() * 1000), **timer}
        if called is not None:
            turn["called"] = {"name": text, "at": round(time.time() * 1000), **called}
        if raw is not None:
            turn["raw"] = raw
        if steps:
            turn["steps"] = dict(steps)
        turn = decode(encode(turn))
        key = self._key(user, channel)
        if key in self._stored:
            turn["state"] = json.loads(self._stored[key])
        return self._take(key, turn)

    def _key(self, user: str, channel: Optional[str]) -> str:
        return user if channel in (None, self._channel) else f"{channel}:{user}"

    def timers(self, user: str) -> List[str]:
        """The names of the user's timers that wait."""
        return sorted(self._timers.get(user, ()))

    def fires(self, user: str, name: str) -> List[Said]:
        """The user's timer of this name is due, or their schedule, which stays; what they are told
        then. A timer whose turn fails stays, too, since the program tries such a turn again: fire
        it once more."""
        timer = self._timers.get(user, {}).get(name)
        if timer is None:
            raise KeyError(f"{user} has no timer {name!r}; there are {self.timers(user)}")
        if "cron" not in timer:
            del self._timers[user][name]
        try:
            return self.sends(user, name, timer={"data": timer.get("data")})
        except BaseException:
            self._timers[user][name] = timer
            raise

    def overlap(self, user: str) -> Optional[str]:
        """What the user's turns have said of their quick messages with `turn.overlap`, last."""
        return self._overlaps.get(user)

    def ticks(self, name: str, *, late: float = 0) -> List[Said]:
        """A schedule that `turnkey.run` was given as `every` is due, so many seconds ago; what is
        said to others then."""
        due = round((time.time() - late) * 1000)
        timer = {"name": name, "due": due, "late": round(late * 1000)}
        return self.sends(name, name, timer=timer, channel="cron")

    def state(self, user: str, *, channel: Optional[str] = None) -> Any:
        """A user's state as the next turn would see it; that of a schedule with
        `channel="cron"`."""
        return self._states.read(json.loads(self._stored.get(self._key(user, channel), "null")))
    def posts(
        self, address: str, body: Any = None, *, media_type: str = "application/json"
    ) -> List[Said]:
        """Somebody posts to an address that `turn.callback` gave: a text, bytes, or what JSON
        holds; what its user is told then."""
        if address not in self._open:
            raise KeyError(f"no callback is open at {address!r}")
        user, name = self._open.pop(address)
        if isinstance(body, bytes):
            body = {"base64": b2a_base64(body, newline=False).decode()}
        return self.sends(user, name, called={"body": body, "media_type": media_type})

    def answers(self, user: str, data: str, *, sender: Optional[Sender] = None) -> List[Said]:
        """A user presses the button that carries this data, of a question that `turn.ask_in` asked
        them; what the one who asked is told then."""
        for at, (asker, question) in enumerate(self._questions):
            asked = question["ask_in"]
            if asked["user"] == user and data in _data_of(question):
                break
        else:
            raise KeyError(f"{user} was asked nothing with a button that carries {data!r}")
        del self._questions[at]
        by = {"channel": asked["channel"], "dialog": user, "user": user}
        if sender is not None:
            by["sender"] = _field(sender, Sender)
        return self.sends(asker, asked["name"], called={"body": None, "button": data, "by": by})


    def query(self, sql: str, params: Params = ()) -> List[Row]:
        """A look at your own tables, from the test."""
        return self._query(to_sql(sql, params))

    def _take(self, user: str, data: Dict[str, Any]) -> List[Said]:
        self.drafts = []
        self.steps = dict(data.get("steps", {}))
        turn: BaseTurn[Any] = self._turn(None, data, self)
        try:
            turn.state = self._states.read(data.get("state"))
            result = self._handle(turn)
            if hasattr(result, "__await__"):
                turn._awaited = self._turn is Turn
                result = self._wait_for(result, turn)
            refuse_result(result)
            done = decode(done_line(0, turn, self._states))["done"]
        finally:
            turn._ended = True
        if data["channel"] == "cron" and not all("send_to" in said for said in done.get("replies", ())):
            raise ValueError(
                "the channel 'cron' has nobody to reply to; say it to a dialog with turn.send_to"
            )
        with self._transaction():
            for sql, values in done.get("sql", ()):
                self.database.execute(sql, _values(values))
        self._stored[user] = json.dumps(done["state"])
        if "overlap" in done:
            self._overlaps[user] = done["overlap"]
        timers = self._timers.setdefault(user, {})
        for wish in done.get("timers", ()):
            if wish.get("cancel"):
                timers.pop(wish["name"], None)
            else:
                timers[wish["name"]] = wish
        for opened in done.get("callbacks", ()):
            self._open[self.callbacks + opened["token"]] = (user, opened["name"])
        replies = done.get("replies", ())
        self._questions.extend((user, said) for said in replies if "ask_in" in said)
        return [read(said) for said in replies]

    def _wait_for(self, result: Any, turn: BaseTurn[Any]) -> Any:
        """All turns have one loop, as they have in earnest."""
        if self._loop is None:
            self._loop = asyncio.new_event_loop()
            weakref.finalize(self, self._loop.close)
        loop = self._loop

        async def awaited() -> Any:
            try:
                return await result
            finally:
                if turn._newer is not None:
                    turn._newer.cancel()
                    await asyncio.wait({turn._newer})

        try:
            asyncio.get_running_loop()
        except RuntimeError:
            return loop.run_until_complete(awaited())
        # The test is async itself, and has this thread's loop.
        outcome: List[Any] = []

        def run() -> None:
            try:
                outcome.extend((loop.run_until_complete(awaited()), None))
            except BaseException as error:
                outcome.extend((None, error))

        thread = threading.Thread(target=run)
        thread.start()
        thread.join()
        if outcome[1] is not None:
            raise outcome[1]
        return outcome[0]

    @contextlib.contextmanager
    def _transaction(self) -> Iterator[None]:
        self.database.execute("BEGIN")
        try:
            yield
        except BaseException:
            self.database.execute("ROLLBACK")
            raise
        self.database.execute("COMMIT")

    def ask(self, turn: Turn[Any], sort: str, fields: Dict[str, Any]) -> Any:
        answer = self._answer(sort, fields)
        return Rows(answer) if sort == "query" else answer

    def draft(self, turn: BaseTurn[Any], text: str) -> None:
        self.drafts.append(text)

    async def ask_later(self, turn: AsyncTurn[Any], sort: str, fields: Dict[str, Any]) -> Any:
        # Others get a chance here, as they do in earnest.
        await asyncio.sleep(0)
        if sort == "newer" and fields.get("wait", True) and not self._newer:
            await asyncio.sleep(PATIENCE)
            raise TimeoutError("nothing newer comes: Conversation.sends takes newer=True")
        return self._answer(sort, fields)

    def _answer(self, sort: str, fields: Dict[str, Any]) -> Any:
        if sort == "query":
            return self._query([fields["sql"], fields["params"]])
        if sort == "download":
            return self._download(fields)
        if sort == "step":
            self.steps[fields["name"]] = fields["value"]
            return {}
        if sort == "newer":
            return self._newer
        if sort == "dead_replies":
            return [
                {
                    "action": dict(dead.action._json),
                    "error": dead.error,
                    "died": dead.died.timestamp() * 1000,
                }
                for dead in self.dead_replies
            ]
        if self._platform is None:
            raise PlatformError(
                "there is no platform in a Conversation: give it one that answers turn.ask, "
                "Conversation(handle, ask=…)"
            )
        return decode(encode({"result": self._platform(fields["method"], fields["params"])}))[
            "result"
        ]

    def _download(self, fields: Dict[str, Any]) -> int:
        file = fields["file"]
        content = self._downloads.get(file.get("id")) or self._downloads.get(file.get("url"))
        if content is None:
            raise PlatformError(
                "the file is not there: Conversation(handle, downloads={…}) has the bytes of "
                "files by their ids or addresses"
            )
        if len(content) > fields["limit"]:
            raise PlatformError(f"the file has more than {fields['limit']} bytes")
        try:
            with open(fields["path"], "xb") as written:
                return written.write(content)
        except OSError as error:
            raise PlatformError(f"cannot write {fields['path']}: {error}") from None

    def _query(self, sql: List[Any]) -> List[Row]:
        self.database.execute("PRAGMA query_only = 1")
        try:
            cursor = self.database.execute(sql[0], _values(sql[1]))
            names = [column[0] for column in cursor.description or ()]
            return [dict(zip(names, row)) for row in cursor]
        except (sqlite3.Error, sqlite3.Warning) as error:
            raise QueryError(str(error)) from None
        finally:
            self.database.execute("PRAGMA query_only = 0")


def _texts(migrations: Union[str, os.PathLike[str], Sequence[str]]) -> List[str]:
    if isinstance(migrations, (str, os.PathLike)):
        directory = os.fspath(migrations)
        names = sorted(name for name in os.listdir(directory) if name.endswith(".sql"))
        if not names:
            raise ValueError(f"no file in {directory} ends in .sql")
        texts = []
        for name in names:
            with open(os.path.join(directory, name), encoding="utf-8") as file:
                texts.append(file.read())
        return texts
    for sql in migrations:
        if not isinstance(sql, str):
            raise TypeError(f"a migration is a text of SQL, not {describe(sql)}")
    return list(migrations)


def _values(values: List[Any]) -> List[Any]:
    named = {str(n): value for n, value in enumerate(values)}
    return list(from_sql([named])[0].values())


def _data_of(question: Dict[str, Any]) -> List[str]:
    rows = (row if isinstance(row, list) else [row] for row in question["buttons"])
    return [button["data"] for row in rows for button in row if "data" in button]


def _field(value: Any, type: Any) -> Dict[str, Any]:
    if not isinstance(value, type):
        raise TypeError(f"turnkey.{type.__name__} is wanted, not {describe(value)}")
    return write(value)
