"""Questions to the database: their rows, those that are refused, and turns that wait for them.
"""

from __future__ import annotations

import unittest

from handlers import COUNTER, AsyncHandlers, PlainHandlers


class Both:
    def test_queries(self):
        bot = self.handler(
            "first = AWAIT turn.query('SELECT ?1, ?2, ?3, ?4', (2**53, b'\\x00', True, None))\n"
            "second = AWAIT turn.query('SELECT 2')\n"
            "turn.reply(repr(first))\n"
            "turn.reply(repr(second))"
        )
        bot.turn(7)
        self.assertEqual(
            bot.receive(),
            {
                "id": 7,
                "query": 1,
                "sql": "SELECT ?1, ?2, ?3, ?4",
                "params": [{"integer": "9007199254740992"}, {"base64": "AA=="}, 1, None],
            },
        )
        row = {"n": {"integer": "9007199254740993"}, "b": {"base64": "AP8="}, "t": "ä", "z": None}
        bot.send({"id": 7, "query": 1, "rows": [row, {"n": 1.5}]})
        self.assertEqual(bot.receive()["query"], 2)
        bot.send({"id": 7, "query": 2, "rows": []})
        replies = bot.answer(7)["done"]["replies"]
        row = {"n": 2**53 + 1, "b": b"\x00\xff", "t": "ä", "z": None}
        self.assertEqual([r["text"] for r in replies], [repr([row, {"n": 1.5}]), "[]"])

    def test_a_query_that_the_database_refuses_fails_at_its_line(self):
        bot = self.handler("x = AWAIT turn.query('SELEC')")
        bot.turn(1)
        bot.receive()
        bot.send({"id": 1, "query": 1, "error": 'near "SELEC": syntax error'})
        fail = bot.answer(1)["fail"]
        self.assertEqual(fail["error"], 'turnkey._errors.QueryError: near "SELEC": syntax error')
        self.assertIn("turn.query('SELEC')", fail["trace"].splitlines()[2])

    def test_while_one_waits_for_rows_others_run(self):
        bot = self.handler(
            "if turn.text == 'ask':\n"
            "    turn.reply(str(AWAIT turn.query('SELECT 1')))\n"
            "else:\n"
            "    turn.reply(turn.text)"
        )
        for number in (1, 2, 3):
            bot.turn(number, "ask")
        asked = {bot.receive()["id"] for _ in range(3)}
        self.assertEqual(asked, {1, 2, 3})
        self.assertEqual(bot.replies("quick", 4), ["quick"])
        for number in (3, 1, 2):
            bot.send({"id": number, "query": 1, "rows": [{"n": number}]})
            self.assertEqual(bot.answer(number)["done"]["replies"], [{"text": f"[{{'n': {number}}}]"}])
        self.assertEqual(bot.replies("after", 5), ["after"])

    def test_many_turns_with_queries(self):
        """Readers that ask, readers that are replaced, and quick turns, all mixed."""
        bot = self.handler(
            "total = 0\n"
            "for n in range(int(turn.text)):\n"
            "    total += (AWAIT turn.query('SELECT ?1', [n]))[0]['n']\n"
            "turn.reply(str(total))"
        )
        waiting = {}
        for number in range(1, 25):
            bot.turn(number, str(number % 5))
            waiting[number] = str(sum(range(number % 5)))
        while waiting:
            message = bot.receive()
            if "query" in message:
                rows = [{"n": message["params"][0]}]
                bot.send({"id": message["id"], "query": message["query"], "rows": rows})
            else:
                (reply,) = message["done"]["replies"]
                self.assertEqual(reply["text"], waiting.pop(message["id"]))

    def test_rows_that_nobody_waits_for_do_no_harm(self):
        bot = self.start(COUNTER)
        bot.send({"id": 99, "query": 1, "rows": []}, {"cancel": 98})
        self.assertEqual(bot.replies(), ["1: hi"])

    def test_a_query_that_is_cancelled(self):
        bot = self.handler("try:\n    AWAIT turn.query('x')\nexcept Exception:\n    turn.reply('no')")
        bot.turn(5)
        self.assertEqual(bot.receive()["query"], 1)
        bot.send({"cancel": 5})
        fail = bot.answer(5)["fail"]
        self.assertEqual(fail["error"], "cancelled: the turn took longer than --turn-timeout")
        bot.send({"id": 5, "query": 1, "rows": []})
        bot.turn(6)
        bot.receive()
        bot.send({"id": 6, "query": 1, "rows": []})
        self.assertIn("done", bot.answer(6))

    def test_the_end_while_a_query_waits(self):
        bot = self.handler("AWAIT turn.query('x')")
        bot.turn(1)
        bot.receive()
        bot.end()
        self.assertEqual((bot.wait(), bot.stderr), (0, ""))


class Plain(Both, PlainHandlers, unittest.TestCase):
    def test_a_query_from_a_thread_of_the_authors(self):
        bot = self.handler(
            "rows = []\n"
            "thread = threading.Thread(target=lambda: rows.extend(turn.query('x')))\n"
            "thread.start()\n"
            "thread.join()\n"
            "turn.reply(str(rows))"
        )
        bot.turn(1)
        self.assertEqual(bot.receive()["query"], 1)
        bot.send({"id": 1, "query": 1, "rows": [{"n": 1}]})
        self.assertEqual(bot.answer(1)["done"]["replies"], [{"text": "[{'n': 1}]"}])


class Async(Both, AsyncHandlers, unittest.TestCase):
    def test_queries_at_once(self):
        bot = self.handler(
            "one, two = await asyncio.gather(turn.query('1'), turn.query('2'))\n"
            "turn.reply(str((one, two)))"
        )
        bot.turn(1)
        asked = {bot.receive()["query"]: bot.receive()["query"]}
        self.assertEqual(asked, {1: 2})
        bot.send({"id": 1, "query": 2, "rows": [{"n": 2}]}, {"id": 1, "query": 1, "rows": [{"n": 1}]})
        self.assertEqual(bot.answer(1)["done"]["replies"], [{"text": "([{'n': 1}], [{'n': 2}])"}])


if __name__ == "__main__":
    unittest.main()
