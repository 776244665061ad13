"""`turnkey.run`: from the pipes that the worker left open to the end of the process.

The order of a process's life is here, and only here: arguments, descriptors, signals, hello,
turns, end. Invariants: `run` is called once; what is wrong with the program or with how it
was started ends it with code 2 and a sentence, and what is wrong with the worker's lines
with code 1. Bound: turns that are cut off at the end have `GRACE` seconds to notice.
"""

from __future__ import annotations

import os
import signal
import sys
import threading
from types import FunctionType
from typing import (
    TYPE_CHECKING,
    Any,
    Awaitable,
    Callable,
    Dict,
    Iterable,
    List,
    Mapping,
    Optional,
    Tuple,
    Type,
    Union,
    overload,
)

from ._content import KINDS
from ._errors import describe
from ._state import states_of
from ._threads import Threads
from ._turn import OVERLAPS, AsyncTurn, Turn, is_overlap
from ._wire import End, Pipes, ProtocolError, encode

if TYPE_CHECKING:
    from typing import TypeVar

    S = TypeVar("S")

PROTOCOL = 1
READING, WRITING = 3, 4
MAX_CONCURRENCY = 65_536
MAX_NAME = 64
GRACE = 1.0

#: Turns at once if the author says nothing.
THREADS, TASKS = 32, 1000

#: What may have a state in a group.
DIALOGS = ("user", "chat", "user_in_chat")

#: What `inspect` calls by this name.
CO_COROUTINE = 0x80

_called = False


@overload
def run(
    handle: Callable[[AsyncTurn[Dict[str, Any]]], Awaitable[None]],
    *,
    state: None = None,
    concurrency: Optional[int] = None,
    raw: bool = False,
    hears: Iterable[str] = (),
    dialog_by: Optional[str] = None,
    overlap: Union[None, str, Dict[str, str]] = None,
    every: Optional[Mapping[str, Tuple[str, str]]] = None,
    given_up: Optional[Callable[[AsyncTurn[Dict[str, Any]], str], Any]] = None,
    name: Optional[str] = None,
) -> None: ...


@overload
def run(
    handle: Callable[[Turn[Dict[str, Any]]], None],
    *,
    state: None = None,
    concurrency: Optional[int] = None,
    raw: bool = False,
    hears: Iterable[str] = (),
    dialog_by: Optional[str] = None,
    overlap: Union[None, str, Dict[str, str]] = None,
    every: Optional[Mapping[str, Tuple[str, str]]] = None,
    given_up: Optional[Callable[[Turn[Dict[str, Any]], str], Any]] = None,
    name: Optional[str] = None,
) -> None: ...


@overload
def run(
    handle: Callable[[AsyncTurn[S]], Awaitable[None]],
    *,
    state: Type[S],
    concurrency: Optional[int] = None,
    raw: bool = False,
    hears: Iterable[str] = (),
    dialog_by: Optional[str] = None,
    overlap: Union[None, str, Dict[str, str]] = None,
    every: Optional[Mapping[str, Tuple[str, str]]] = None,
    given_up: Optional[Callable[[AsyncTurn[S], str], Any]] = None,
    name: Optional[str] = None,
) -> None: ...


@overload
def run(
    handle: Callable[[Turn[S]], None],
    *,
    state: Type[S],
    concurrency: Optional[int] = None,
    raw: bool = False,
    hears: Iterable[str] = (),
    dialog_by: Optional[str] = None,
    overlap: Union[None, str, Dict[str, str]] = None,
    every: Optional[Mapping[str, Tuple[str, str]]] = None,
    given_up: Optional[Callable[[Turn[S], str], Any]] = None,
    name: Optional[str] = None,
) -> None: ...


def run(
    handle: Callable[..., Any],
    *,
    state: Optional[Type[Any]] = None,
    concurrency: Optional[int] = None,
    raw: bool = False,
    hears: Iterable[str] = (),
    dialog_by: Optional[str] = None,
    overlap: Union[None, str, Dict[str, str]] = None,
    every: Optional[Mapping[str, Tuple[str, str]]] = None,
    given_up: Optional[Callable[..., Any]] = None,
    name: Optional[str] = None,
) -> None:
    """Runs the bot: calls `handle` with each turn, until `turnkey run` ends the process.

    `handle` is a function of one turn, plain (`def`, which gets a `turnkey.Turn`) or async
    (`async def`, which gets a `turnkey.AsyncTurn`).

    `state` is the type of a user's state, a dataclass; a dict if it is left out.
    `concurrency` is how many turns run at once in this process: 32 threads, or 1,000 tasks
    of an async handler, if it is left out. `raw=True` asks for the platform's own JSON
    (`turn.update.raw`). `hears` names the kinds of update that the handler is given, and no
    others are: `["message", "button", "edited"]`; see `turn.kind`. Left out they are messages,
    buttons, opened, joined and left. `dialog_by` says what has a state of its own in a group:
    `user_in_chat`, which it is if this is left out, `user` or `chat`. `overlap` says what becomes
    of messages of one user that come shortly after each other: a turn `each`, if it is left out;
    `albums`: one turn for the parts of an album; `burst 1500ms`: one turn for all that come until
    the user has been quiet for so long; `latest`: one for the newest of those that came during
    the turn before; `interrupt`: a message that comes while the handler runs cancels that run, and
    the handler is called again with both. `{"telegram": "burst 1500ms", "*": "each"}` says it by
    channel. `every` has the bot's own schedules, by their
    names: a cron expression and a time zone, such as
    `{"digest": ("0 9 * * MON", "Europe/Vienna")}`. Each runs a turn of the kind `timer`, of a
    dialog of its own on the channel `cron`; what is left out is gone at the next start. `given_up`
    is called when an update is given up, with its turn and why: what it does with the turn, such as
    telling the user, is done once, together with the end of the update. Should it fail, the update
    is given up all the same. `name` is how the log calls this process.

    Returns when the worker has no more use for the process. It is the last line of a
    program: under `if __name__ == "__main__":` if tests import it.
    """
    global _called
    many_tasks = is_async(handle)
    handle = either(handle, given_up)
    states = states_of(state)
    hello = _hello(handle, many_tasks, concurrency, raw, hears, dialog_by, overlap, every, name)
    if given_up is not None:
        hello["given_up"] = True
    if _called:
        raise RuntimeError("turnkey.run was called before: a process has one handler")
    _called = True
    _check_pipes()
    pipes = Pipes(READING, WRITING)
    _obey_signals()
    try:
        callbacks = _greet(pipes, encode({"hello": hello}))
        # After the hello, so that nobody waits for it.
        from . import _log

        _log.start(pipes)
        if many_tasks:
            _serve_tasks(handle, states, pipes, callbacks)
        else:
            threads = Threads(handle, states, pipes)
            threads.callbacks = callbacks
            threads.serve()
            if not threads.is_empty(GRACE):
                os._exit(0)
    except End:
        pass
    except ProtocolError as error:
        print(f"turnkey: the worker sent {error}", file=sys.stderr)
        sys.exit(1)


def is_async(handle: Any) -> bool:
    """Whether it can be seen that the handler is async: a function, a method, a
    `functools.partial` or an object whose `__call__` is. What cannot be seen is run as a
    plain one, and what it returns is awaited."""
    if not callable(handle):
        called = handle is None or hasattr(handle, "__await__")
        hint = "; leave out the parentheses" if called else ""
        raise TypeError(f"turnkey.run takes a function of one turn, not {describe(handle)}{hint}")
    if type(handle) is FunctionType and not handle.__dict__:
        return bool(handle.__code__.co_flags & CO_COROUTINE)
    # It costs a third of the start.
    import inspect

    call = getattr(handle, "__call__", None)
    return inspect.iscoroutinefunction(handle) or inspect.iscoroutinefunction(call)


def either(
    handle: Callable[..., Any], given_up: Optional[Callable[..., Any]]
) -> Callable[..., Any]:
    """One function of a turn: the handler, or what is called when its update is given up."""
    if given_up is None:
        return handle
    if not callable(given_up):
        raise TypeError(f"given_up is a function of a turn and an error, not {describe(given_up)}")
    sorry = given_up

    def run_either(turn: Any) -> Any:
        error = turn._given_up
        return handle(turn) if error is None else sorry(turn, error)

    return run_either


def _hello(
    handle: Any,
    many_tasks: bool,
    concurrency: Optional[int],
    raw: bool,
    hears: Iterable[str],
    dialog_by: Optional[str],
    overlap: Union[None, str, Dict[str, str]],
    every: Optional[Mapping[str, Tuple[str, str]]],
    name: Optional[str],
) -> Dict[str, Any]:
    if concurrency is None:
        concurrency = TASKS if many_tasks else THREADS
    if isinstance(concurrency, bool) or not isinstance(concurrency, int):
        raise TypeError(f"concurrency is a number of turns, not {describe(concurrency)}")
    if not 1 <= concurrency <= MAX_CONCURRENCY:
        raise ValueError(f"concurrency is from 1 to {MAX_CONCURRENCY:,}, not {concurrency}")
    kinds = [hears] if isinstance(hears, str) else list(hears)
    if isinstance(hears, str) or not all(isinstance(kind, str) for kind in kinds):
        raise TypeError(f'hears is a list of text, such as ["message"], not {describe(hears)}')
    for kind in kinds:
        if kind not in KINDS:
            raise ValueError(f"hears names {kind!r}; what can be heard is {', '.join(KINDS)}")
    if dialog_by is not None and dialog_by not in DIALOGS:
        raise ValueError(f"dialog_by is one of {', '.join(DIALOGS)}, not {describe(dialog_by)}")
    said = overlap.values() if isinstance(overlap, dict) else () if overlap is None else (overlap,)
    for one in said:
        if not is_overlap(one):
            raise ValueError(
                f"overlap is {OVERLAPS}, or a dict of these by channel, not {describe(one)}"
            )
    if name is None:
        name = os.path.basename(sys.argv[0] if sys.argv else "") or "python"
    hello: Dict[str, Any] = {
        "protocol": PROTOCOL,
        "name": name.encode("utf-8", "replace")[:MAX_NAME].decode("utf-8", "ignore"),
        "concurrency": concurrency,
        "raw": bool(raw),
        "hears": kinds,
    }
    if dialog_by is not None:
        hello["dialog_by"] = dialog_by
    if overlap is not None:
        hello["overlap"] = overlap
    if every is not None:
        hello["every"] = _schedules(every)
    return hello


def _schedules(every: Mapping[str, Tuple[str, str]]) -> List[Dict[str, str]]:
    """The bot's own, as the protocol has them. What is no schedule, the worker says."""
    if not hasattr(every, "items"):
        raise TypeError(f'every is such as {{"digest": ("0 9 * * MON", "UTC")}}, not {describe(every)}')
    schedules = []
    for name, when in every.items():
        words = list(when) if isinstance(when, (tuple, list)) else []
        if not isinstance(name, str) or [type(word) for word in words] != [str, str]:
            raise TypeError(
                f"every: {name!r} is a cron expression and a time zone, such as"
                f' ("0 9 * * MON", "Europe/Vienna"), not {describe(when)}'
            )
        schedules.append({"name": name, "cron": words[0], "zone": words[1]})
    return schedules


def _check_pipes() -> None:
    """Ends the program if descriptors 3 and 4 are not the worker's."""
    script = os.path.basename(sys.argv[0] if sys.argv else "") or "bot.py"
    named = os.environ.get("TURNKEY_PIPES")
    if named is None:
        print(
            f"turnkey: this is a bot's handler, which `turnkey` starts.\n"
            f"Run it with: turnkey run {script}",
            file=sys.stderr,
        )
        sys.exit(2)
    if named == f"{_inode(READING)}:{_inode(WRITING)}":
        for descriptor in (READING, WRITING):
            os.set_inheritable(descriptor, False)
        # A fork of this process must not hold them: the worker waits for their end.
        os.register_at_fork(after_in_child=_forget_pipes)
        return
    print(
        "turnkey: descriptors 3 and 4 are not the pipes that `turnkey run` made: a wrapper "
        "(npm start, uv run ...) dropped them.\n"
        f"Start Python itself: turnkey run {script}, or: turnkey run -- python {script}",
        file=sys.stderr,
    )
    sys.exit(2)


def _inode(descriptor: int) -> int:
    try:
        return os.fstat(descriptor).st_ino
    except OSError:
        return 0


def _forget_pipes() -> None:
    for descriptor in (READING, WRITING):
        try:
            os.close(descriptor)
        except OSError:
            pass


def _obey_signals() -> None:
    """The worker says when to end, by the end of the pipe: what is in hand goes on. An
    author's own handlers stay."""
    if threading.current_thread() is not threading.main_thread():
        return
    for number, default in (
        (signal.SIGTERM, signal.SIG_DFL),
        (signal.SIGINT, signal.default_int_handler),
    ):
        if signal.getsignal(number) is default:
            # Not SIG_IGN, which programs that the author starts would inherit.
            signal.signal(number, lambda number, frame: None)


def _greet(pipes: Pipes, hello: bytes) -> Optional[str]:
    """The first line of each side. Where the addresses of callbacks begin."""
    message = pipes.read()
    offered = message.get("hello")
    if not isinstance(offered, dict):
        raise ProtocolError(f"no hello as its first line, but {', '.join(message) or '{}'}")
    version = offered.get("protocol")
    if not isinstance(version, int) or version < PROTOCOL:
        raise ProtocolError(
            f"a hello with protocol {version}; this SDK speaks {PROTOCOL}: "
            "bring program and SDK to the same version"
        )
    pipes.send(hello)
    callbacks = offered.get("callbacks")
    return callbacks if isinstance(callbacks, str) else None


def _serve_tasks(
    handle: Callable[..., Any], states: Any, pipes: Pipes, callbacks: Optional[str]
) -> None:
    import asyncio

    from ._loop import Loop

    over = threading.Event()

    def leave_in_time() -> None:
        if not over.wait(GRACE):
            os._exit(0)

    def at_end() -> None:
        threading.Thread(target=leave_in_time, daemon=True).start()

    try:
        loop = Loop(handle, states, pipes)
        loop.callbacks = callbacks
        asyncio.run(loop.serve(at_end))
    finally:
        over.set()
