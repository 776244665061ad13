"""`logging` that reaches Turnkey's log with its level.

`turnkey.run` puts a `LogHandler` on the root logger if nobody has configured `logging` by
then; the root logger's level (WARNING, unless the author sets another) stays as it is.
Invariant: never raises into the author's code. Bound: `MAX_TEXT` bytes a line.
"""

from __future__ import annotations

import logging
import sys
from typing import Optional

from ._trace import cut
from ._wire import End, Pipes, encode

MAX_TEXT = 64 * 1024

#: Where log lines go while `turnkey.run` runs.
_pipes: Optional[Pipes] = None


class LogHandler(logging.Handler):
    """Sends what is logged to Turnkey's log, with its level. Without a worker (in tests, say)
    it writes to standard error.

        logging.getLogger().addHandler(turnkey.LogHandler())
    """

    def emit(self, record: logging.LogRecord) -> None:
        try:
            text = self.format(record)
            if _pipes is None:
                sys.stderr.write(text + "\n")
            else:
                log = {"level": _level(record.levelno), "text": cut(text, MAX_TEXT)}
                _pipes.send(encode({"log": log}))
        except End:
            pass
        except Exception:
            self.handleError(record)


def _level(number: int) -> str:
    if number >= logging.ERROR:
        return "error"
    if number >= logging.WARNING:
        return "warn"
    return "info" if number >= logging.INFO else "debug"


def start(pipes: Pipes) -> None:
    """Log lines go to the worker from now on."""
    global _pipes
    _pipes = pipes
    if not logging.getLogger().handlers:
        handler = LogHandler()
        handler.setFormatter(logging.Formatter("%(name)s: %(message)s"))
        logging.getLogger().addHandler(handler)
