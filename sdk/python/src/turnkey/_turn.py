"""What a handler is given: `Turn`, `AsyncTurn`.

A turn is made and taken apart by `_answer.py`. Invariants: nothing that a handler does here
takes effect before the turn is committed, but for `ask`, `download` and `step`; whatever the worker
would refuse is refused here, at the line that wrote it; what came in is looked at when the
handler does. Bound: `MAX_REPLIES` replies and other actions a turn.
"""

from __future__ import annotations

import os
import re
import sys
from datetime import datetime, timedelta
from typing import (
    TYPE_CHECKING,
    Any,
    Awaitable,
    Callable,
    Coroutine,
    Dict,
    Generic,
    List,
    Mapping,
    Optional,
    Union,
    overload,
)

from ._asking import MAX_DOWNLOAD, Download, Params, Questions, Ready, Row, method_of, query_of
from ._callbacks import Delay, callback_of, delay_of, milliseconds_of, named, wants_data
from ._content import File
from ._errors import describe
from ._heard import Heard
from ._reply import Reply, name_of, reply_json, target
from ._wire import decode, encode, to_sql

if TYPE_CHECKING:
    from typing_extensions import TypeVar, Unpack

    from ._reply import ReplyOptions, Target
    from ._said import DeadReply
    from ._steps import Step, Steps

    #: The type of the user's state: `turnkey.Turn` alone is one with a dict.
    S = TypeVar("S", default=Dict[str, Any])
    #: What a step gives.
    R = TypeVar("R")
else:
    from typing import TypeVar

    S = TypeVar("S")
    R = TypeVar("R")

MAX_REPLIES = 1000

#: Bytes.
MAX_TIMER_NAME = 64

#: Milliseconds: ten years, and the days of the leap years.
LONGEST_TIMER = 3653 * 24 * 3600 * 1000

#: What can be said of messages that come shortly after each other.
OVERLAPS = 'each, albums, latest, interrupt or burst with a time, such as "burst 1500ms"'
_OVERLAP = re.compile("each|albums|latest|interrupt|burst [0-9]+(ms|s|m)")


def is_overlap(value: object) -> bool:
    return isinstance(value, str) and _OVERLAP.fullmatch(value) is not None


class BaseTurn(Heard, Generic[S]):
    """What `Turn` and `AsyncTurn` share: everything but `query`, `ask` and `download`. For
    helpers that serve both kinds of handlers."""

    __slots__ = (
        "state", "_asked", "_replies", "_statements", "_timers", "_overlap", "_callbacks",
        "_cancelled", "_ended", "_awaited", "_more", "_steps", "_newer",
    )  # fmt: skip

    #: The user's state: a dict, or what `turnkey.run` was given as `state`. What a handler
    #: changes here takes effect when it returns, all at once, or not at all.
    state: S

    def __init__(self, state: S, data: Dict[str, Any], asked: Questions) -> None:
        super().__init__(data)
        self.state = state
        self._asked = asked
        self._replies: List[Dict[str, Any]] = []
        self._statements: List[List[Any]] = []
        self._timers: List[Dict[str, Any]] = []
        # One for each call: the last one counts.
        self._overlap: List[Optional[str]] = []
        self._callbacks: List[Dict[str, Any]] = []
        self._cancelled = False
        self._ended = False
        # A plain turn that is awaited after all.
        self._awaited = False
        # Whatever runs the turn keeps its own here.
        self._more: Any = None
        self._steps: Optional[Steps] = None
        # What waits for something newer.
        self._newer: Any = None

    @property
    def updates(self) -> List[Heard]:
        """The messages that this turn handles, in order: one, unless `turnkey.run` was given
        an `overlap` that makes one turn of several. Then `turn.text` has their texts, each
        with a line of its own, and `turn.files` all files (with `latest`: the newest's)."""
        return [Heard(data) for data in self._data.get("updates", (self._data,))]

    @property
    def user_id(self) -> str:
        """The user, as the channel names them."""
        return self._data["user"]  # type: ignore[no-any-return]

    @property
    def dialog_id(self) -> str:
        """What this dialog is called: the user, or, in a group, what `turnkey.run` was given
        as `dialog_by`. `turn.send_to` takes it."""
        return self._data.get("dialog") or self._data["user"]  # type: ignore[no-any-return]

    @property
    def unreachable(self) -> Optional[str]:
        """Why nothing reaches this user any more, if that is what this turn is about: of the
        kind `left`, after a platform refused a reply since the user blocked the bot or is
        gone. What is said in such a turn is most likely refused, too."""
        gone = self.kind == "left" and self.event == "unreachable"
        return self.text if gone else None

    @property
    def channel(self) -> str:
        """The channel's name, such as `telegram`."""
        return self._data["channel"]  # type: ignore[no-any-return]

    @property
    def attempt(self) -> int:
        """Which attempt at this update this is, from 1. A handler that calls something
        costly can do less at a later one."""
        return self._data.get("attempt", 1)  # type: ignore[no-any-return]

    @property
    def is_last_attempt(self) -> bool:
        """Whether this is the last attempt at this update: after another failure it is given
        up. A handler may do less than all then, rather than nothing."""
        return self._data.get("last_attempt", False)  # type: ignore[no-any-return]

    @property
    def _given_up(self) -> Optional[str]:
        """Why the update is given up, in a call of the `given_up` of `turnkey.run`; else None."""
        of: Dict[str, str] = self._data.get("given_up") or {}
        return of.get("error")

    @property
    def cancelled(self) -> bool:
        """Whether the turn took longer than `--turn-timeout`, and has failed; or, with the
        overlap `interrupt`, a newer message has come, and the handler is called again with both
        once it has returned; not once it has begun a step. Whatever it still does is ignored. A plain handler that runs long
        looks here now and then, and returns; an async one is cancelled by asyncio."""
        return self._cancelled

    def reply(self, reply: Union[str, Reply] = "", **options: Unpack[ReplyOptions]) -> None:
        """Queues a reply: a text, with what `turnkey.Reply` takes beside one, or such a
        `Reply`. It is sent after the turn is committed, in order.

            turn.reply("Tea?", buttons=[[turnkey.Button("Yes", "1"), turnkey.Button("No", "0")]])
            turn.reply("Your bill", document=pathlib.Path("bills/7.pdf"))"""
        if type(reply) is str and reply and not options:
            self._say("reply", {"text": reply})
        else:
            self._say("reply", reply_json(reply, options, "turn.reply"))

    def edit(
        self, message: Target, reply: Union[str, Reply] = "", **options: Unpack[ReplyOptions]
    ) -> None:
        """Puts another text, other buttons or another file in the place of the message that
        this dialog named so (`turn.reply("…", name="menu")`), in this turn or an earlier one;
        `turnkey.Message(id)` is one by the platform's id. It must fit one message. One that
        is gone is reported in the log, and no error."""
        json = reply_json(reply, options, "turn.edit")
        json["edit"] = target(message, "turn.edit")
        self._say("edit", json)

    def edit_pressed(self, reply: Union[str, Reply] = "", **options: Unpack[ReplyOptions]) -> None:
        """As `edit`, the message whose button was pressed."""
        json = reply_json(reply, options, "turn.edit_pressed")
        json["edit"] = True
        self._say("edit_pressed", json)

    def delete(self, message: Target) -> None:
        """Takes away the message that this dialog named so; `turnkey.Message(id)` is one by
        the platform's id, True the one of this turn. One that is gone is reported in the log,
        and no error."""
        self._say("delete", {"delete": target(message, "turn.delete")})

    def toast(self, text: str, *, alert: bool = False) -> None:
        """Shows a few words over the chat to the user who pressed a button; with `alert` in a
        window that they must close."""
        if not isinstance(text, str):
            raise TypeError(f"turn.toast takes a str, not {describe(text)}")
        self._say("toast", {"toast": text, "alert": True} if alert else {"toast": text})

    def call(
        self, method: str, params: Optional[Mapping[str, Any]] = None, *, name: Optional[str] = None
    ) -> None:
        """Calls any method of the platform, such as Telegram's `sendInvoice`, in order with the
        replies and tried again like them. Where the method sends to a chat and the parameters
        name none, it is this one. The message that it sends has this name from now on."""
        json = method_of(method, params, "turn.call")
        if name is not None:
            json["name"] = name_of(name)
        json["call"] = json.pop("method")
        self._say("call", json)

    def send_to(
        self,
        channel: str,
        user: str,
        reply: Union[str, Reply] = "",
        **options: Unpack[ReplyOptions],
    ) -> None:
        """Says something to another dialog. It is part of this turn's transaction, and is sent
        in that dialog's order. `user` is what `turn.dialog_id` is there: in private the user's
        id."""
        for what, value in (("channel", channel), ("user", user)):
            if not isinstance(value, str) or not value:
                raise TypeError(f"turn.send_to: the {what} is a str, not {describe(value)}")
        json = reply_json(reply, options, "turn.send_to")
        json["send_to"] = {"channel": channel, "user": user}
        self._say("send_to", json)

    def callback(self, name: str, *, valid: Optional[Delay] = None) -> str:
        """A one-time address under `--public-url`, for a payment provider, say, or a long job:
        who posts to it starts a turn of the kind `callback` in this dialog, and `turn.called` has
        the name and what was posted. It is open once this turn is committed, for seven days or
        as long as `valid` says, at most a year. Whoever has the address may post to it."""
        if self._ended:
            raise _ended("callback")
        address, opened = callback_of(self._asked.callbacks, name, valid)
        self._callbacks.append(opened)
        return address

    def ask_in(
        self,
        channel: str,
        user: str,
        question: Union[str, Reply],
        called: str,
        *,
        valid: Optional[Delay] = None,
        **options: Unpack[ReplyOptions],
    ) -> None:
        """Asks something of another dialog, such as the bot's owner: the first press of one of
        the question's buttons, by whoever is in that conversation, comes back as a turn of the
        kind `callback` in this dialog, and `turn.called` has its name, which is `called`, the
        data of the button and who pressed it. It is part of this turn's transaction, as
        `send_to`; it may be answered for seven days or as long as `valid` says. A question is
        one message, with a button that has data:

            buttons = [[turnkey.Button("Yes", "1"), turnkey.Button("No", "0")]]
            turn.ask_in("telegram", "42", "Let Ann in?", "let in", buttons=buttons)
        """
        for what, value in (("channel", channel), ("user", user)):
            if not isinstance(value, str) or not value:
                raise TypeError(f"turn.ask_in: the {what} is a str, not {describe(value)}")
        json = reply_json(question, options, "turn.ask_in")
        wants_data(json)
        json["ask_in"] = {"channel": channel, "user": user, **named(called, valid, "ask_in")}
        self._say("ask_in", json)

    def draft(self, text: str) -> None:
        """Shows a text that still grows, such as a language model's answer so far; a later one
        takes its place, and the turn's reply takes the last one's. Call it as often as you like:
        the newest is shown every second and a half. Best effort: it is never stored, and nothing
        happens on platforms that show no drafts."""
        if not isinstance(text, str):
            raise TypeError(f"turn.draft takes a str, not {describe(text)}")
        if self._ended:
            raise _ended("draft")
        self._asked.draft(self, text)

    def _say(self, verb: str, json: Dict[str, Any]) -> None:
        if self._ended:
            raise _ended(verb)
        if len(self._replies) >= MAX_REPLIES:
            raise ValueError(f"more than {MAX_REPLIES:,} replies in one turn")
        self._replies.append(json)

    def execute(self, sql: str, params: Params = ()) -> None:
        """Adds a statement of your own to the turn's transaction: it takes effect with the
        new state, or neither does. Parameters are `?1`, `?2` …

            turn.execute("INSERT INTO bookings (hour, visitor) VALUES (?1, ?2)", (hour, name))

        It runs at the end of the turn; should it fail then, the turn fails."""
        if self._ended:
            raise _ended("execute")
        self._statements.append(to_sql(sql, params))

    def after(self, delay: Union[str, float, timedelta], name: str, data: Any = None) -> None:
        """Sets a timer of this dialog: once that time has passed since the end of this turn, a
        turn of the kind `timer` runs, and `turn.timer` has the name and the data, which is what
        JSON holds. It is part of this turn's transaction, and survives restarts; what was due
        while nothing ran is due at the next start. One of the same name is replaced. `delay` is
        a text such as `"10m"`, with the units ms, s, m, h and d; seconds; or a `timedelta`.

            turn.after("4m", "tea", {"sort": "green"})

        A name has 1 to 64 bytes, and no timer is more than ten years off: what is not so, and a text
        that is no time, raises a ValueError here. More than 100 timers of a dialog fail the turn."""
        after = delay_of(delay, "after")
        if milliseconds_of(after, "after") > LONGEST_TIMER:
            raise ValueError(f"turn.after: {describe(delay)} is more than ten years")
        self._time("after", name, {"after": after}, data)

    def at(self, moment: Union[datetime, float], name: str, data: Any = None) -> None:
        """As `after`, at a moment of the wall clock: a `datetime` with its time zone, or seconds
        since 1970. One that is past is due at once."""
        if isinstance(moment, datetime):
            if moment.tzinfo is None:
                raise ValueError("turn.at takes a datetime with its time zone")
            moment = moment.timestamp()
        if isinstance(moment, bool) or not isinstance(moment, (int, float)):
            raise TypeError(f"turn.at takes a datetime or seconds, not {describe(moment)}")
        self._time("at", name, {"at": round(moment * 1000)}, data)

    def every(self, cron: str, zone: str, name: str, data: Any = None) -> None:
        """Sets a timer that comes again and again, until it is cancelled: at the moments of a cron
        expression of five fields (minute, hour, day of the month, month, day of the week) in a time
        zone. Otherwise as `after`. Where the zone's clock is set, each moment still comes once;
        what came while nothing ran comes once at the next start.

            turn.every("0 9 * * MON", "Europe/Vienna", "digest")"""
        for what, value in (("schedule", cron), ("time zone", zone)):
            if not isinstance(value, str):
                raise TypeError(f"turn.every: the {what} is a str, not {describe(value)}")
        if len(cron.split()) != 5:
            raise ValueError(f'turn.every takes five fields such as "0 9 * * MON", not {cron!r}')
        self._time("every", name, {"cron": cron, "zone": zone}, data)

    def cancel(self, name: str) -> None:
        """Takes a timer or schedule of this dialog away, if there is one of this name."""
        self._time("cancel", name, {"cancel": True}, None)

    def overlap(self, overlap: Optional[str]) -> None:
        """From the end of this turn on, what becomes of messages of this dialog that come shortly
        after each other, by the names that `turnkey.run` takes; None is again what was given
        there. It is part of this turn's transaction, and holds until it is said anew, or the
        dialog is forgotten.

            turn.overlap("burst 10s")"""
        if self._ended:
            raise _ended("overlap")
        if overlap is not None and not is_overlap(overlap):
            raise ValueError(f"turn.overlap takes {OVERLAPS}, or None, not {describe(overlap)}")
        self._overlap = [overlap]

    def _time(self, verb: str, name: str, wish: Dict[str, Any], data: Any) -> None:
        if self._ended:
            raise _ended(verb)
        if not isinstance(name, str):
            raise TypeError(f"turn.{verb}: the name is a str, not {describe(name)}")
        if not 1 <= len(name.encode("utf-8", "replace")) <= MAX_TIMER_NAME:
            raise ValueError(f"turn.{verb}: a timer's name has 1 to {MAX_TIMER_NAME} bytes")
        if data is not None:
            try:
                wish["data"] = decode(encode({"data": data}))["data"]
            except (TypeError, ValueError) as error:
                raise type(error)(f"turn.{verb}: the data is JSON: {error}") from None
        self._timers.append({"name": name, **wish})

    def _begin_step(self, name: str) -> Step:
        if self._ended:
            raise _ended("step")
        if self._steps is None:
            from ._steps import Steps

            self._steps = Steps(self._data.get("steps", {}))
        # Of whoever called `step`, which called this.
        return self._steps.begin(name, sys._getframe(2))

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
        return self._ask("query", query_of(sql, params))  # type: ignore[no-any-return]

    def ask(self, method: str, params: Optional[Mapping[str, Any]] = None) -> Any:
        """Calls a method of the platform now; its result, such as that of Telegram's
        `getChatMember`. It is no part of the turn: what it changes stays changed if the turn
        fails, and happens again when the turn is tried again.

        Raises `turnkey.PlatformError` when the platform refuses, is away, or does not answer
        within 10 seconds."""
        result = self._ask("ask", method_of(method, params, "turn.ask"))
        return Ready(result) if self._awaited else result

    @overload
    def download(self, file: File, *, limit: int = MAX_DOWNLOAD) -> bytes: ...

    @overload
    def download(
        self, file: File, path: Union[str, os.PathLike[str]], *, limit: int = MAX_DOWNLOAD
    ) -> int: ...

    def download(
        self,
        file: File,
        path: Union[None, str, os.PathLike[str]] = None,
        *,
        limit: int = MAX_DOWNLOAD,
    ) -> Union[bytes, int]:
        """Fetches a file that the user sent, at most `limit` bytes of it: its bytes, or,
        written to `path`, where nothing may be yet, their number.

        Raises `turnkey.PlatformError` when it is larger, is not there any more, or the
        platform is away. Then nothing is left at `path`."""
        fetching = Download(file, path, limit)
        with fetching:
            fetched = fetching.take(self._ask("download", fetching.fields))
        return Ready(fetched) if self._awaited else fetched  # type: ignore[return-value]

    def dead_replies(self) -> List[DeadReply]:
        """The replies of this dialog that were given up, the oldest first; at most 1,000."""
        replies = _dead(self._ask("dead_replies", {}))
        return Ready(replies) if self._awaited else replies  # type: ignore[return-value]

    def step(self, name: str, func: Callable[..., R], *args: Any, **kwargs: Any) -> R:
        """Does something that costs, such as a payment: calls `func(*args)` and keeps its result
        at once. A later attempt at this update is given the result, and does not call it. It is
        called at least once: it is called again if the process dies before the result is kept.
        The result is what JSON holds. What the function raises is not kept.

            receipt = turn.step("charge", pay, 30)

        The names of a turn's steps differ. Once the first result is kept the update is in the inbox,
        its platform is answered, and a caller of `POST /http` waits through the attempts; a failure
        before that, the function's own for one, is answered to that caller with 503, and is not
        tried again. The commit takes the steps away; an update that is given up keeps
        them. Raises `turnkey.StepError` when the result cannot be kept: the storage is away, the
        inbox is full, or it has more than 64 KiB."""
        step = self._begin_step(name)
        if self._awaited:
            asked = self._ask_awaited
            return _stepped(step, func, args, kwargs, asked)  # type: ignore[return-value]
        if step.is_kept:
            return step.result  # type: ignore[no-any-return]
        with step:
            value = func(*args, **kwargs)
            if hasattr(value, "__await__"):
                if hasattr(value, "close"):
                    value.close()
                raise TypeError(
                    "turn.step: an async function is awaited; its handler is an `async def`, too"
                )
            return step.take(  # type: ignore[no-any-return]
                self._ask("step", step.question(value))
            )

    def has_newer(self) -> bool:
        """Whether the user has sent something newer in this dialog, for a handler that looks
        between two steps of its work. What it replies then is this turn's end all the same; the
        newer update has a turn of its own. At the first look what came before may not be known
        yet; from then on it is."""
        has = self._ask("newer", {"wait": False})
        return Ready(has) if self._awaited else has  # type: ignore[return-value]

    def _ask(self, sort: str, fields: Dict[str, Any]) -> Any:
        if self._ended:
            raise _ended(sort)
        return self._asked.ask(self, sort, fields)

    async def _ask_awaited(self, sort: str, fields: Dict[str, Any]) -> Any:
        return self._ask(sort, fields)


class AsyncTurn(BaseTurn[S]):
    """One update of one user, for an async handler (`async def`)."""

    __slots__ = ()

    async def query(self, sql: str, params: Params = ()) -> List[Row]:
        """Asks a question of your own tables; each row is a dict. All earlier turns of this
        user are seen, statements queued in this one are not yet.

        Raises `turnkey.QueryError` when the query is wrong, writes, or takes longer than
        five seconds."""
        return await self._ask("query", query_of(sql, params))  # type: ignore[no-any-return]

    async def ask(self, method: str, params: Optional[Mapping[str, Any]] = None) -> Any:
        """Calls a method of the platform now; its result, such as that of Telegram's
        `getChatMember`. It is no part of the turn: what it changes stays changed if the turn
        fails, and happens again when the turn is tried again.

        Raises `turnkey.PlatformError` when the platform refuses, is away, or does not answer
        within 10 seconds."""
        return await self._ask("ask", method_of(method, params, "turn.ask"))

    @overload
    async def download(self, file: File, *, limit: int = MAX_DOWNLOAD) -> bytes: ...

    @overload
    async def download(
        self, file: File, path: Union[str, os.PathLike[str]], *, limit: int = MAX_DOWNLOAD
    ) -> int: ...

    async def download(
        self,
        file: File,
        path: Union[None, str, os.PathLike[str]] = None,
        *,
        limit: int = MAX_DOWNLOAD,
    ) -> Union[bytes, int]:
        """Fetches a file that the user sent, at most `limit` bytes of it: its bytes, or,
        written to `path`, where nothing may be yet, their number.

        Raises `turnkey.PlatformError` when it is larger, is not there any more, or the
        platform is away. Then nothing is left at `path`."""
        fetching = Download(file, path, limit)
        with fetching:
            return fetching.take(await self._ask("download", fetching.fields))

    async def dead_replies(self) -> List[DeadReply]:
        """The replies of this dialog that were given up, the oldest first; at most 1,000."""
        return _dead(await self._ask("dead_replies", {}))

    def step(
        self, name: str, func: Callable[..., Union[Awaitable[R], R]], *args: Any, **kwargs: Any
    ) -> Coroutine[Any, Any, R]:
        """Does something that costs, such as a payment: calls `func(*args)`, awaits it if it is
        async, and keeps its result at once. A later attempt at this update is given the result,
        and does not call it. It is called at least once: it is called again if the process dies
        before the result is kept. The result is what JSON holds. What the function raises is not
        kept.

            receipt = await turn.step("charge", pay, 30)

        The names of a turn's steps differ. Once the first result is kept the update is in the inbox,
        its platform is answered, and a caller of `POST /http` waits through the attempts; a failure
        before that, the function's own for one, is answered to that caller with 503, and is not
        tried again. The commit takes the steps away; an update that is given up keeps
        them. Raises `turnkey.StepError` when the result cannot be kept: the storage is away, the
        inbox is full, or it has more than 64 KiB."""
        return _stepped(self._begin_step(name), func, args, kwargs, self._ask)

    async def newer(self) -> None:
        """Waits until the user has sent something newer in this dialog, to whichever worker: a
        handler that is busy for long can look for itself whether it goes on.

            model, newer = asyncio.create_task(ask(turn.text)), asyncio.create_task(turn.newer())
            await asyncio.wait({model, newer}, return_when=asyncio.FIRST_COMPLETED)

        What it replies then is this turn's end all the same; the newer update has a turn of its
        own. To be called again with both there is the overlap `interrupt`. By `POST /http` nothing
        newer comes. What still waits when the handler returns is cancelled."""
        import asyncio

        if self._newer is None:
            # One question, however often it is waited for.
            self._newer = asyncio.ensure_future(self._ask("newer", {}))
        await asyncio.shield(self._newer)

    async def has_newer(self) -> bool:
        """Whether `newer` would return at once. At the first look what came before may not be
        known yet; from then on it is."""
        return await self._ask("newer", {"wait": False})  # type: ignore[no-any-return]

    async def _ask(self, sort: str, fields: Dict[str, Any]) -> Any:
        if self._ended:
            raise _ended(sort)
        return await self._asked.ask_later(self, sort, fields)


def goes_on(turn: BaseTurn[Any], cancel: Dict[str, Any]) -> bool:
    """Whether a turn is not to be cancelled: by a newer message, once it has begun a step. What
    was paid stays what it was paid for."""
    return cancel.get("reason") == "newer" and turn._steps is not None


async def _stepped(
    step: Step, func: Any, args: Any, kwargs: Any, ask: Callable[..., Awaitable[Any]]
) -> Any:
    """A step that is awaited."""
    if step.is_kept:
        return step.result
    with step:
        value = func(*args, **kwargs)
        if hasattr(value, "__await__"):
            value = await value
        return step.take(await ask("step", step.question(value)))


def _dead(replies: List[Dict[str, Any]]) -> List[DeadReply]:
    from ._said import read_dead

    return [read_dead(reply) for reply in replies]


def _ended(verb: str) -> RuntimeError:
    return RuntimeError(f"turn.{verb} after the handler has returned: this turn has ended")
