"""A worker for the tests of the SDK: starts a program with the two pipes, as `turnkey run`
does, and speaks the protocol with it.

Invariants: descriptors 3 and 4 are the pipes and nothing else is passed on; each wait has
a deadline; `close` leaves no process behind. Used by every `test_*.py` here and by
`bench.py`.
"""

from __future__ import annotations

import fcntl
import json
import os
import queue
import select
import signal
import sys
import tempfile
import textwrap
import threading
import time

HERE = os.path.dirname(os.path.abspath(__file__))
SOURCE = os.path.join(os.path.dirname(HERE), "src")

#: For what must happen.
PATIENCE = 20.0


def wait_until(happened, what):
    """Waits until `happened()` is true."""
    deadline = time.monotonic() + PATIENCE
    while not happened():
        if time.monotonic() > deadline:
            raise AssertionError(f"not within {PATIENCE} s: {what}")
        time.sleep(0.002)


def _high_pipe():
    """A pipe whose descriptors are out of the way of 3 and 4."""
    ends = os.pipe()
    high = [fcntl.fcntl(end, fcntl.F_DUPFD_CLOEXEC, 20) for end in ends]
    for end in ends:
        os.close(end)
    return high


class Worker:
    """One process and what was said. `program` is Python source, or a list of words to
    run."""

    def __init__(self, program, *, greet=True, env=None, pipes=None, without=()):
        self.directory = tempfile.TemporaryDirectory(prefix="turnkey-sdk-")
        if isinstance(program, str):
            self.script = os.path.join(self.directory.name, "bot.py")
            with open(self.script, "w", encoding="utf-8") as file:
                file.write(textwrap.dedent(program))
            program = [sys.executable, self.script]
        their_reading, self.writing = _high_pipe()
        self.reading, their_writing = _high_pipe()
        self.inodes = [os.fstat(end).st_ino for end in (their_reading, their_writing)]
        environment = {
            name: value
            for name, value in os.environ.items()
            if not name.startswith(("TURNKEY_", "PYTHON"))
        }
        environment.update(
            TURNKEY_PROTOCOL="1",
            TURNKEY_PIPES=":".join(map(str, self.inodes)) if pipes is None else pipes,
            PYTHONUNBUFFERED="1",
            PYTHONPATH=SOURCE,
        )
        environment.update(env or {})
        for name in without:
            del environment[name]
        self.out = os.path.join(self.directory.name, "out")
        self.err = os.path.join(self.directory.name, "err")
        write = os.O_WRONLY | os.O_CREAT
        self.pid = os.posix_spawn(
            program[0],
            program,
            environment,
            file_actions=[
                (os.POSIX_SPAWN_OPEN, 0, os.devnull, os.O_RDONLY, 0),
                (os.POSIX_SPAWN_OPEN, 1, self.out, write, 0o600),
                (os.POSIX_SPAWN_OPEN, 2, self.err, write, 0o600),
                (os.POSIX_SPAWN_DUP2, their_reading, 3),
                (os.POSIX_SPAWN_DUP2, their_writing, 4),
            ],
            setpgroup=0,
            setsigdef=[signal.SIGINT, signal.SIGTERM, signal.SIGPIPE],
        )
        os.close(their_reading)
        os.close(their_writing)
        self.code = None
        self.usage = None
        self.received = queue.Queue()
        self.kept = []
        self.quit = _high_pipe()
        self.collector = threading.Thread(target=self._collect, daemon=True)
        self.collector.start()
        self.hello = None
        if greet:
            base = "https://bot.example/callback/"
            hello = {"protocol": 1, "program": "turnkey test", "worker": 0, "callbacks": base}
            self.send({"hello": hello})
            self.hello = self.receive()["hello"]

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    def _collect(self):
        parts = []
        while True:
            # Not for ever in `read`: whoever closes it should not have to wait.
            ready, _, _ = select.select([self.reading, self.quit[0]], [], [])
            chunk = b"" if self.quit[0] in ready else os.read(self.reading, 1 << 20)
            if not chunk:
                break
            parts.append(chunk)
            if b"\n" in chunk:
                *lines, rest = b"".join(parts).split(b"\n")
                parts = [rest]
                for line in lines:
                    self.received.put(line + b"\n")
        self.received.put(None)

    def stop_reading_in_a_thread(self):
        """From now on whoever calls reads `reading`."""
        if self.collector.is_alive():
            os.write(self.quit[1], b"x")
        self.collector.join()

    def stop_reading(self):
        """Closes the other pipe: what the program writes reaches nobody."""
        self.stop_reading_in_a_thread()
        if self.reading is not None:
            os.close(self.reading)
            self.reading = None

    def send(self, *lines):
        """Writes whole lines; bytes are sent as they are."""
        data = b"".join(
            line if isinstance(line, bytes) else json.dumps(line).encode() + b"\n"
            for line in lines
        )
        while data:
            data = data[os.write(self.writing, data) :]

    def turn(self, number, text="hi", user="ann", **fields):
        """Sends a turn."""
        turn = {"channel": "test", "user": user, "update": f"u{number}", "kind": "message"}
        turn.update(text=text, attempt=1)
        turn.update(fields)
        self.send({"id": number, "turn": turn})

    def line(self):
        """The next line as it came; None at the end."""
        try:
            return self.received.get(timeout=PATIENCE)
        except queue.Empty:
            raise AssertionError(f"no line within {PATIENCE} s; stderr: {self.stderr}") from None

    def receive(self):
        """The next message."""
        line = self.line()
        if line is None:
            raise AssertionError(f"it ended with {self.wait()}; stderr: {self.stderr}")
        return json.loads(line)

    def answer(self, number):
        """The answer to a turn, whichever comes before it."""
        for n, message in enumerate(self.kept):
            if message.get("id") == number and "query" not in message:
                return self.kept.pop(n)
        while True:
            message = self.receive()
            if message.get("id") == number and "query" not in message:
                return message
            self.kept.append(message)

    def ask(self, text="hi", number=1, **fields):
        """Sends a turn; its answer."""
        self.turn(number, text, **fields)
        return self.answer(number)

    def replies(self, text="hi", number=1, **fields):
        """Sends a turn that must end well; the texts of its replies."""
        answer = self.ask(text, number, **fields)
        if "done" not in answer:
            raise AssertionError(answer["fail"])
        return [reply["text"] for reply in answer["done"].get("replies", [])]

    def failure(self, text="hi", number=1, **fields):
        """Sends a turn that must fail."""
        return self.ask(text, number, **fields)["fail"]

    @staticmethod
    def _read(path):
        """What was printed so far."""
        with open(path, "rb") as file:
            return file.read()

    @property
    def stderr(self):
        return self._read(self.err).decode("utf-8", "replace")

    @property
    def stdout(self):
        return self._read(self.out)

    def end(self):
        """Ends the pipe: the worker has no more use for the process."""
        if self.writing is not None:
            os.close(self.writing)
            self.writing = None

    def has_ended(self):
        if self.code is None:
            pid, status, usage = os.wait4(self.pid, os.WNOHANG)
            if pid:
                self.code = os.WEXITSTATUS(status) if os.WIFEXITED(status) else -os.WTERMSIG(status)
                self.usage = usage
        return self.code is not None

    def wait(self):
        """Waits for the end of the process; its exit code, or minus its signal."""
        wait_until(self.has_ended, "the end of the process")
        return self.code

    def signal(self, number):
        os.kill(self.pid, number)

    def close(self):
        if self.quit is None:
            return
        self.end()
        if not self.has_ended():
            os.killpg(self.pid, signal.SIGKILL)
            self.wait()
        self.stop_reading()
        for end in self.quit:
            os.close(end)
        self.quit = None
        self.directory.cleanup()
