"""The process of a bot: how it is started, what it prints and logs, signals, programs that it
starts, and the arguments of `run`.
"""

from __future__ import annotations

import os
import signal
import sys
import unittest

from fake import Worker
from handlers import COUNTER, AsyncHandlers, PlainHandlers


class Both:
    def test_whatever_is_printed_is_the_handlers_own(self):
        bot = self.handler(
            "print('{\"id\":1}')\n"
            "sys.stdout.flush()\n"
            "sys.stdout.buffer.write(b'\\xff\\xfe\\x00\\n')\n"
            "sys.stdout.flush()\n"
            "os.write(1, b'raw')\n"
            "os.system('echo from a program')\n"
            "turn.reply('fine')"
        )
        self.assertEqual(bot.replies(), ["fine"])
        self.assertEqual(bot.stdout, b'{"id":1}\n\xff\xfe\x00\nrawfrom a program\n')

    def test_signals_let_what_is_in_hand_end(self):
        for number in (signal.SIGTERM, signal.SIGINT):
            with self.subTest(number):
                bot = self.handler("AWAIT turn.query('x')\nturn.reply('done')")
                bot.turn(1)
                bot.receive()
                bot.signal(number)
                bot.signal(number)
                bot.send({"id": 1, "query": 1, "rows": []})
                self.assertEqual(bot.answer(1)["done"]["replies"], [{"text": "done"}])
                bot.signal(number)
                bot.send({"ping": 1})
                self.assertEqual(bot.receive(), {"pong": 1})
                bot.end()
                self.assertEqual((bot.wait(), bot.stderr), (0, ""))

    def test_the_authors_own_signal_handlers_stay(self):
        bot = self.handler(
            "turn.reply('x')",
            more="import signal\nsignal.signal(signal.SIGTERM, lambda *_: os._exit(7))",
        )
        bot.replies()
        bot.signal(signal.SIGTERM)
        self.assertEqual(bot.wait(), 7)

    def test_logging_reaches_the_log_with_its_level(self):
        bot = self.handler(
            "log.debug('no')\nlog.info('no')\nlog.warning('w %s', 1)\nlog.error('e\\n\\u2028')\n"
            "log.critical('c' * 100_000)\nturn.reply('x')",
            more="import logging\nlog = logging.getLogger('shop')",
        )
        bot.turn(1)
        self.assertEqual(bot.receive(), {"log": {"level": "warn", "text": "shop: w 1"}})
        self.assertEqual(bot.receive(), {"log": {"level": "error", "text": "shop: e\n\u2028"}})
        long = bot.receive()["log"]
        self.assertEqual((long["level"], len(long["text"])), ("error", 64 * 1024))
        self.assertIn("done", bot.receive())
        self.assertEqual(bot.stderr, "")

    def test_logging_that_the_author_configured_is_left_alone(self):
        bot = self.handler(
            "logging.info('seen')\nturn.reply('x')",
            more="import logging\nlogging.basicConfig(level=logging.INFO, format='%(message)s')",
        )
        bot.turn(1)
        self.assertIn("done", bot.receive())
        self.assertEqual(bot.stderr, "seen\n")

    def test_a_log_handler_of_the_authors(self):
        bot = self.handler(
            "logging.debug('seen')\nturn.reply('x')",
            more="import logging\nlogging.basicConfig(level=logging.DEBUG, format='%(message)s', handlers=[turnkey.LogHandler()])\n"
            "logging.warning('before run')",
        )
        self.assertIn("before run", bot.stderr)
        bot.turn(1)
        while True:  # asyncio says at this level which selector it uses.
            message = bot.receive()
            if message.get("log", {}).get("text") != "Using selector: EpollSelector":
                break
        self.assertEqual(message, {"log": {"level": "debug", "text": "seen"}})

    def test_programs_that_the_author_starts_do_not_hold_the_pipes(self):
        bot = self.handler(
            "held = subprocess.run(['ls', '-l', '/proc/self/fd'], close_fds=False, stdout=-1).stdout\n"
            "turn.reply(held.decode())",
            more="import subprocess",
        )
        (listing,) = bot.replies()
        for inode in bot.inodes:
            self.assertNotIn(f"pipe:[{inode}]", listing)

    def test_a_fork_does_not_hold_the_pipes(self):
        bot = self.handler(
            "pid = os.fork()\n"
            "if not pid:\n"
            "    try:\n"
            "        os.execvp('sh', ['sh', '-c', 'ls -l /proc/self/fd > ' + turn.text])\n"
            "    finally:\n"
            "        os._exit(1)\n"
            "os.waitpid(pid, 0)\n",
        )
        path = os.path.join(bot.directory.name, "held")
        bot.replies(path)
        with open(path) as file:
            listing = file.read()
        for inode in bot.inodes:
            self.assertNotIn(f"pipe:[{inode}]", listing)

    def test_two_runs(self):
        bot = self.start(COUNTER + "    turnkey.run(handle)\n")
        bot.replies()
        bot.end()
        self.assertEqual(bot.wait(), 1)
        self.assertIn("RuntimeError: turnkey.run was called before", bot.stderr)

    def test_callables_of_every_kind(self):
        for given in (
            "Bot()",
            "Bot().method",
            "functools.partial(two, 1)",
            "lambda turn: two(1, turn)",
            "functools.wraps(one)(lambda turn: one(turn))",
        ):
            with self.subTest(given):
                bot = self.start(
                    "import functools, turnkey\n"
                    "DEF two(first, turn):\n"
                    "    rows = AWAIT turn.query('x')\n"
                    "    turn.reply(str(rows))\n"
                    "DEF one(turn):\n"
                    "    AWAIT two(1, turn)\n"
                    "class Bot:\n"
                    "    DEF __call__(self, turn):\n"
                    "        AWAIT two(1, turn)\n"
                    "    DEF method(self, turn):\n"
                    "        AWAIT two(1, turn)\n"
                    f"turnkey.run({given})\n"
                )
                bot.turn(1)
                self.assertEqual(bot.receive()["query"], 1)
                bot.send({"id": 1, "query": 1, "rows": [{"n": 1}]})
                self.assertEqual(bot.answer(1)["done"]["replies"], [{"text": "[{'n': 1}]"}])


class Plain(Both, PlainHandlers, unittest.TestCase):
    def test_no_asyncio_for_a_plain_handler(self):
        bot = self.handler("turn.reply(str('asyncio' in sys.modules))")
        bot = self.start(
            "import sys, turnkey\n"
            "turnkey.run(lambda turn: turn.reply(str('asyncio' in sys.modules)))\n"
        )
        self.assertEqual(bot.replies(), ["False"])


class Async(Both, AsyncHandlers, unittest.TestCase):
    pass


class Started(unittest.TestCase):
    """How it was started, and arguments of `run`: what a person must mend is code 2 or a
    sentence."""

    def failed(self, program, **options):
        with Worker(program, greet=False, **options) as bot:
            return bot.wait(), bot.stderr

    def test_by_hand(self):
        code, said = self.failed(COUNTER.replace("DEF", "def"), without=("TURNKEY_PIPES",))
        self.assertEqual(code, 2)
        self.assertIn("Run it with: turnkey run bot.py\n", said)
        self.assertNotIn("Traceback", said)

    def test_behind_a_wrapper_that_drops_the_descriptors(self):
        source = COUNTER.replace("DEF", "def")
        with Worker(source, greet=False) as first:
            wrapper = ["/bin/sh", "-c", f"exec {sys.executable} {first.script} 3<&- 4>&-"]
            for program in (wrapper, ["/bin/sh", "-c", wrapper[2].replace("3<&- 4>&-", "3</dev/null 4>/dev/null")]):
                code, said = self.failed(program)
                self.assertEqual(code, 2)
                self.assertIn("turnkey run -- python bot.py\n", said)
                self.assertNotIn("Traceback", said)
            code, said = self.failed(source, pipes="1:2")
            self.assertEqual(code, 2)

    def test_behind_a_wrapper_that_keeps_them(self):
        with Worker(COUNTER.replace("DEF", "def"), greet=False) as first:
            with Worker(["/bin/sh", "-c", f"{sys.executable} {first.script}; exit $?"]) as bot:
                self.assertEqual(bot.replies(), ["1: hi"])
                bot.end()
                self.assertEqual(bot.wait(), 0)

    def test_arguments(self):
        for arguments, sentence in (
            ("None", "TypeError: turnkey.run takes a function of one turn, not None; leave out the parentheses"),
            ("7", "TypeError: turnkey.run takes a function of one turn, not 7 (int)"),
            ("handle, concurrency=0", "ValueError: concurrency is from 1 to 65,536, not 0"),
            ("handle, concurrency='2'", "TypeError: concurrency is a number of turns, not '2' (str)"),
            ("handle, hears='edited'", "TypeError: hears is a list of text"),
            ("handle, dialog_by='group'", "ValueError: dialog_by is one of user, chat, user_in_chat, not 'group' (str)"),
            ("handle, overlap='burst'", 'ValueError: overlap is each, albums, latest, interrupt or burst with a time, such as "burst 1500ms", or a dict of these by channel, not \'burst\' (str)'),
            ("handle, overlap={'vk': 7}", 'ValueError: overlap is each, albums, latest, interrupt or burst with a time, such as "burst 1500ms", or a dict of these by channel, not 7 (int)'),
            ("handle, every=['a']", """TypeError: every is such as {"digest": ("0 9 * * MON", "UTC")}, not ['a'] (list)"""),
            ("handle, every={'a': '0 9 * * MON'}", """TypeError: every: 'a' is a cron expression and a time zone, such as ("0 9 * * MON", "Europe/Vienna"), not '0 9 * * MON' (str)"""),
            ("handle, hears=['edits']", "ValueError: hears names 'edits'; what can be heard is message, button, opened, joined, left, edited,"),
            ("handle, state=7", "TypeError: state is a dataclass type, or left out for a dict; not 7 (int)"),
            ("handle, state=V()", "TypeError: state is the type: state=V, not state=V(…)"),
            ("handle, state=Needs", "TypeError: every field of Needs needs a default, for new users:"),
            ("handle, state=Time", "TypeError: Time.when is datetime: a state has dataclasses,"),
        ):
            with self.subTest(arguments):
                code, said = self.failed(
                    "import dataclasses, datetime, typing, turnkey\n"
                    "@dataclasses.dataclass\nclass V:\n    a: int = 0\n"
                    "@dataclasses.dataclass\nclass Needs:\n    a: int\n"
                    "@dataclasses.dataclass\n"
                    "class Time:\n    when: typing.Optional[datetime.datetime] = None\n"
                    "def handle(turn): pass\n"
                    f"turnkey.run({arguments})\n"
                )
                self.assertEqual(code, 1)
                self.assertIn(sentence, said.splitlines()[-1])


if __name__ == "__main__":
    unittest.main()
