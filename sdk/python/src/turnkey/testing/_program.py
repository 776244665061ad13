"""The real program with a bot, for a test: on a free port, with a new database.

Starts `turnkey run BOT`, waits until it says where it serves, talks to its `POST /http`, and
stops it. Invariants: it sees no `TURNKEY_` variable of the test's own (a token, say); after
`close`, or the end of a `with`, nothing of it is left. Bounds: `PATIENCE` seconds for the
start, each answer and the stop.
"""

from __future__ import annotations

import http.client
import json
import os
import shutil
import signal
import subprocess
import tempfile
import threading
import time
from types import TracebackType
from typing import IO, Any, Dict, List, Optional, Type, Union

from .._content import Contact, File, Location, write
from .._said import Said, read

PATIENCE = 10.0

#: Between two looks at something that takes milliseconds.
PAUSE = 0.005


class ProgramError(Exception):
    """The program did not start, answer or stop as it should; with what it wrote."""


class Program:
    """A bot that runs.

        with Program("bot.py", "--workers", "2") as bot:
            assert bot.says("ann", "hi") == ["1: hi"]
            bot.restart()                        # on the same database
            assert bot.says("ann", "again") == ["2: again"]

    `path` is the bot, or a list of words for what follows `--`. The program is the `turnkey`
    on PATH, or the one that the variable TURNKEY_PROGRAM names.
    """

    def __init__(self, path: Union[str, os.PathLike[str], List[str]], *arguments: str) -> None:
        program = os.environ.get("TURNKEY_PROGRAM") or shutil.which("turnkey")
        if not program:
            raise ProgramError(
                "there is no `turnkey` on PATH; the variable TURNKEY_PROGRAM can name it"
            )
        self._directory = tempfile.TemporaryDirectory(prefix="turnkey-")
        storage = "sqlite:" + os.path.join(self._directory.name, "bot.db")
        options = ["--listen", "127.0.0.1:0", "--storage", storage, *arguments]
        if isinstance(path, list):
            self._command = [program, "run", *options, "--", *path]
        else:
            self._command = [program, "run", os.fspath(path), *options]
        self._child: Optional[subprocess.Popen[bytes]] = None
        #: The port of its `POST /http` on 127.0.0.1.
        self.port = 0
        try:
            self._start()
        except BaseException:
            self.close()
            raise

    def says(self, user: str, text: str) -> List[Said]:
        """A user writes; what they are answered."""
        return self._post({"user_id": user, "text": text})

    def presses(self, user: str, data: str) -> List[Said]:
        """A user presses the button that carries this data."""
        return self._post({"user_id": user, "button": data})

    def sends(self, user: str, **fields: Any) -> List[Said]:
        """Any body of `POST /http`: `text`, `button`, `id`, `photo` (an address), `files`,
        `location`, `contact`, the last three as `turnkey.File` and so on."""
        return self._post({"user_id": user, **{name: _plain(f) for name, f in fields.items()}})

    @property
    def stderr(self) -> str:
        """What it has written so far: its log."""
        return b"".join(self._written).decode("utf-8", "replace")

    def restart(self) -> None:
        """Stops it as `stop` does and starts it again on the same database."""
        self.stop()
        self._start()

    def stop(self) -> None:
        """Presses Ctrl-C and waits: it must end well, with nothing cut off."""
        child = self._child
        if child is None:
            return
        os.killpg(child.pid, signal.SIGINT)
        try:
            code = child.wait(PATIENCE)
        except subprocess.TimeoutExpired:
            raise self._failed(f"did not stop within {PATIENCE:g} s") from None
        if code:
            raise self._failed(f"ended with {code}")
        self._collector.join()
        self._child = None

    def close(self) -> None:
        """Kills it if it still runs, and removes its database."""
        child, self._child = self._child, None
        if child is not None:
            try:
                os.killpg(child.pid, signal.SIGKILL)
            except ProcessLookupError:
                pass
            child.wait()
            self._collector.join()
        self._directory.cleanup()

    def __enter__(self) -> Program:
        return self

    def __exit__(
        self,
        kind: Optional[Type[BaseException]],
        error: Optional[BaseException],
        trace: Optional[TracebackType],
    ) -> None:
        try:
            if error is None:
                self.stop()
        finally:
            self.close()

    def _start(self) -> None:
        environment = {
            name: value for name, value in os.environ.items() if not name.startswith("TURNKEY_")
        }
        # A session of its own: a Ctrl-C is the tests' own, and the family can be killed.
        self._child = child = subprocess.Popen(
            self._command,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            env=environment,
            start_new_session=True,
        )
        self._written: List[bytes] = []
        assert child.stderr is not None
        self._collector = threading.Thread(
            target=_collect, args=(child.stderr, self._written), daemon=True
        )
        self._collector.start()
        deadline = time.monotonic() + PATIENCE
        while True:
            port = _announced(self.stderr)
            if port:
                self.port = port
                return
            if child.poll() is not None:
                self._collector.join()
                raise self._failed(f"ended at its start ({child.returncode})")
            if time.monotonic() > deadline:
                raise self._failed(f"did not start within {PATIENCE:g} s")
            time.sleep(PAUSE)

    def _post(self, body: Dict[str, Any]) -> List[Said]:
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=PATIENCE)
        try:
            data = json.dumps(body).encode()
            connection.request("POST", "/http", data, {"Content-Type": "application/json"})
            answer = connection.getresponse()
            content = answer.read()
        except (OSError, http.client.HTTPException) as error:
            raise self._failed(f"did not answer {body} ({error})") from error
        finally:
            connection.close()
        if answer.status != 200:
            text = content.decode("utf-8", "replace")
            raise self._failed(f"answered {body} with {answer.status}: {text}")
        return [read(said) for said in json.loads(content)["replies"]]

    def _failed(self, how: str) -> ProgramError:
        return ProgramError(f"{' '.join(self._command)} {how}; it wrote:\n{self.stderr}")


def _plain(field: Any) -> Any:
    if isinstance(field, (File, Location, Contact)):
        return write(field)
    return [_plain(item) for item in field] if isinstance(field, (list, tuple)) else field


def _collect(pipe: IO[bytes], into: List[bytes]) -> None:
    """Keeps what the program writes, to its end."""
    with pipe:
        for line in pipe:
            into.append(line)


def _announced(text: str) -> Optional[int]:
    """The port in the line that says where it serves."""
    for line in text.splitlines():
        if line.startswith("Started ") and "://" in line:
            address = line.split("://", 1)[1].split(" ", 1)[0]
            port = address.rpartition(":")[2].rstrip("/,.;")
            return int(port) if port.isdigit() else None
    return None
