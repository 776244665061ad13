"""The lines of the protocol and their pipe: pings and drain, the end, lines that nobody should
write, versions, and every kind of character.
"""

from __future__ import annotations

import json
import os
import unittest

from handlers import COUNTER, AsyncHandlers, PlainHandlers


class Both:
    def test_ping_and_drain(self):
        bot = self.start(COUNTER)
        bot.send({"ping": 1})
        self.assertEqual(bot.receive(), {"pong": 1})
        bot.turn(1)
        bot.send({"drain": True}, {"ping": 2})
        self.assertIn("done", bot.answer(1))
        bot.end()
        self.assertEqual(bot.wait(), 0)

    def test_what_is_in_hand_is_answered_after_drain(self):
        bot = self.handler("AWAIT turn.query('x')\nturn.reply('done')")
        bot.turn(1)
        bot.receive()
        bot.send({"drain": True})
        bot.send({"id": 1, "query": 1, "rows": []})
        self.assertEqual(bot.answer(1)["done"]["replies"], [{"text": "done"}])

    def test_the_end_of_the_pipe_is_the_end(self):
        bot = self.handler("turn.reply('x')")
        bot.replies()
        bot.end()
        self.assertEqual((bot.wait(), bot.stderr, bot.stdout), (0, "", b"after run\n"))

    def test_the_end_in_the_middle_of_a_line(self):
        bot = self.start(COUNTER)
        bot.send(b'{"id":1,"turn":{"channel"')
        bot.end()
        self.assertEqual((bot.wait(), bot.stderr), (0, ""))

    def test_the_end_before_hello(self):
        bot = self.start(COUNTER, greet=False)
        bot.end()
        self.assertEqual((bot.wait(), bot.stderr), (0, ""))

    def test_nobody_reads_any_more(self):
        """EPIPE is the end, and quiet."""
        bot = self.handler("open(turn.text, 'w').close()")
        bot.stop_reading()
        bot.turn(1, os.path.join(bot.directory.name, "ran"))
        self.assertEqual((bot.wait(), bot.stderr), (0, ""))
        self.assertTrue(os.path.exists(os.path.join(bot.directory.name, "ran")))

    def test_garbage(self):
        for line, said in (
            (b"garbage\n", "a line that is not JSON in UTF-8"),
            (b'"text"\n', "a line that is not an object: b'\"text\"'"),
            (b'{"x":"\xff"}\n', "a line that is not JSON in UTF-8"),
            (b'{"later":1}\n', "a line of an unknown kind: later"),
            (b"\n", "a line that is not JSON in UTF-8"),
        ):
            with self.subTest(line):
                bot = self.start(COUNTER)
                bot.send(line)
                self.assertEqual(bot.wait(), 1)
                self.assertTrue(bot.stderr.startswith(f"turnkey: the worker sent {said}"), bot.stderr)
                self.assertEqual(bot.stderr.count("\n"), 1, bot.stderr)

    def test_other_versions(self):
        bot = self.start(COUNTER, greet=False)
        bot.send({"hello": {"protocol": 9, "program": "turnkey 9", "worker": 0, "new": 1}})
        self.assertEqual(bot.receive()["hello"]["protocol"], 1)
        for hello in ({"protocol": 0}, {}, {"protocol": "1"}, 7):
            with self.subTest(hello):
                bot = self.start(COUNTER, greet=False)
                bot.send({"hello": hello})
                self.assertEqual(bot.wait(), 1)
                self.assertIn("hello", bot.stderr)
                self.assertNotIn("Traceback", bot.stderr)

    def test_a_megabyte_of_every_kind_of_character(self):
        text = "aä\u4e2d\U0001f600\u2028\"\\\n\x00" * 70_000
        bot = self.start(COUNTER)
        self.assertEqual(bot.replies(text), ["1: " + text])

    def test_nothing_in_a_line_looks_like_its_end(self):
        text = "a\nb\rc\x0bd\x0ce\x1cf\x85g\u2028h\u2029i"
        bot = self.handler("turn.state = {turn.text: turn.text}\nturn.reply(turn.text)")
        bot.turn(1, text)
        line = bot.line()
        self.assertEqual(len(line.decode().splitlines()), 1)
        self.assertEqual(json.loads(line)["done"], {"state": {text: text}, "replies": [{"text": text}]})

    def test_lone_surrogates(self):
        bot = self.handler(
            "turn.state = {'\\udc00': ['\\ud800x']}\n"
            "turn.reply('\\ud83d' + '\\ude00 \\ud83d')\n"
            "turn.execute('\\udfff', ['\\udfff'])\n"
            "if turn.text: raise ValueError('\\ud800')"
        )
        self.assertEqual(
            bot.ask("")["done"],
            {
                "state": {"\ufffd": ["\ufffdx"]},
                "replies": [{"text": "\U0001f600 \ufffd"}],
                "sql": [["\ufffd", ["\ufffd"]]],
            },
        )
        self.assertEqual(bot.failure("x", 2)["error"], "ValueError: \ufffd")

    def test_a_turn_that_would_need_too_long_a_line_fails(self):
        bot = self.handler("turn.state = {'x': 'y' * int(turn.text)}")
        fail = bot.failure(str(16 * 1024 * 1024))
        self.assertIn("the limit is 16,777,216", fail["error"])
        answer = bot.ask(str(16 * 1024 * 1024 - 40), 2)
        self.assertEqual(len(answer["done"]["state"]["x"]), 16 * 1024 * 1024 - 40)


class Plain(Both, PlainHandlers, unittest.TestCase):
    pass


class Async(Both, AsyncHandlers, unittest.TestCase):
    pass


if __name__ == "__main__":
    unittest.main()
