"""The protocol, as a worker sees it: hello, turns and their answers, the end of the pipe, and
lines that nobody should write.
"""

from __future__ import annotations

import json
import os
import unittest

from handlers import COUNTER, AsyncHandlers, PlainHandlers


class Both:
    def test_a_conversation(self):
        bot = self.start(COUNTER)
        self.assertEqual(bot.hello["protocol"], 1)
        self.assertEqual(bot.hello["name"], "bot.py")
        self.assertEqual(bot.replies("hi"), ["1: hi"])
        answer = bot.ask("again", 2, state={"count": 1, "kept": [1, None, {"a": "ä"}]})
        state = {"count": 2, "kept": [1, None, {"a": "ä"}]}
        self.assertEqual(answer, {"id": 2, "done": {"state": state, "replies": [{"text": "2: again"}]}})
        bot.end()
        self.assertEqual((bot.wait(), bot.stderr, bot.line()), (0, "", None))

    def test_hello_says_what_the_author_said(self):
        arguments = ", concurrency=7, raw=True, hears=['edited'], name='ä' * 40"
        bot = self.handler("pass", arguments=arguments)
        self.assertEqual(
            bot.hello,
            {"protocol": 1, "name": "ä" * 32, "concurrency": 7, "raw": True, "hears": ["edited"]},
        )

    def test_everything_that_a_turn_has(self):
        bot = self.handler(
            "turn.reply(repr((turn.text, turn.command, turn.argument, turn.button, turn.user_id,"
            " turn.channel, turn.attempt, turn.update.id, turn.update.kind, turn.update.raw,"
            " [tuple(p) for p in turn.pictures], turn.rpc and tuple(turn.rpc), turn.cancelled)))"
        )
        self.assertEqual(
            bot.replies("/start ref", 1, command="start", argument="ref", raw={"x": 1}, attempt=2),
            [repr(("/start ref", "start", "ref", None, "ann", "test", 2, "u1", "message", {"x": 1}, [], None, False))],
        )
        self.assertEqual(
            bot.replies("", 2, pictures=[{"id": "p"}, {"url": "u"}], raw={"base64": "/w=="}),
            [repr(("", None, "", None, "ann", "test", 1, "u2", "message", b"\xff", [("p", None), (None, "u")], None, False))],
        )
        self.assertEqual(
            bot.replies("tea:1", 3, kind="button", later={"field": [1]}),
            [repr(("tea:1", None, "", "tea:1", "ann", "test", 1, "u3", "button", None, [], None, False))],
        )
        self.assertEqual(
            bot.replies("", 4, kind="rpc", rpc={"method": "paid", "params": [7]}),
            [repr(("", None, "", None, "ann", "test", 1, "u4", "rpc", None, [], ("paid", [7]), False))],
        )

    def test_replies_are_in_order_with_all_their_parts(self):
        bot = self.handler(
            "turn.reply('one')\n"
            "turn.reply(turnkey.Reply('Tea?').button('Yes', 'tea:1').button('No', 'tea:0'))\n"
            "turn.reply(turnkey.Reply(picture='https://x/cat.jpg', caption='A cat'))\n"
            "turn.reply(turnkey.Reply(picture='id'))\n"
            "turn.execute('INSERT INTO t VALUES (?1, ?2)', (1, b'\\xff'))\n"
            "turn.execute('DELETE FROM t')\n"
            "turn.state = None"
        )
        self.assertEqual(
            bot.ask()["done"],
            {
                "state": None,
                "replies": [
                    {"text": "one"},
                    {
                        "text": "Tea?",
                        "buttons": [{"label": "Yes", "data": "tea:1"}, {"label": "No", "data": "tea:0"}],
                    },
                    {"text": "A cat", "picture": "https://x/cat.jpg"},
                    {"picture": "id"},
                ],
                "sql": [
                    ["INSERT INTO t VALUES (?1, ?2)", [1, {"base64": "/w=="}]],
                    ["DELETE FROM t", []],
                ],
            },
        )

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
