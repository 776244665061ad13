"""Steps: what is kept, what is not done again, and what is refused."""

from __future__ import annotations

import asyncio
import sys
import unittest

import fake
from handlers import AsyncHandlers, PlainHandlers

sys.path.insert(0, fake.SOURCE)

import turnkey  # noqa: E402
from turnkey.testing import Conversation  # noqa: E402

PAY = "paid = []\ndef pay(sum, **more):\n    paid.append(sum)\n    return {'sum': sum, 'by': ('card',), **more}\n"


class Both:
    def test_a_step_is_kept_and_its_result_is_as_a_later_attempt_sees_it(self):
        bot = self.handler(
            "turn.reply(repr(AWAIT turn.step('charge', pay, 30, to='ann')))\n"
            "turn.reply(repr(AWAIT turn.step('none', lambda: None)))",
            more=PAY,
        )
        bot.turn(7)
        result = {"sum": 30, "by": ["card"], "to": "ann"}
        self.assertEqual(bot.receive(), {"id": 7, "step": 1, "name": "charge", "value": result})
        bot.send({"id": 7, "step": 1})
        self.assertEqual(bot.receive(), {"id": 7, "step": 2, "name": "none", "value": None})
        bot.send({"id": 7, "step": 2})
        replies = bot.answer(7)["done"]["replies"]
        self.assertEqual([r["text"] for r in replies], [repr(result), "None"])

    def test_what_is_kept_is_not_done_again(self):
        bot = self.handler(
            "turn.reply(repr([AWAIT turn.step('charge', pay, 30), AWAIT turn.step('x', pay, 1), paid]))",
            more=PAY,
        )
        replies = bot.replies("hi", 1, attempt=2, steps={"charge": {"id": 5}, "x": None})
        self.assertEqual(replies, ["[{'id': 5}, None, []]"])

    def test_a_result_that_was_kept_before_stands(self):
        bot = self.handler("turn.reply(AWAIT turn.step('charge', lambda: 'mine'))")
        bot.turn(1)
        bot.receive()
        bot.send({"id": 1, "step": 1, "value": "first"})
        self.assertEqual(bot.answer(1)["done"]["replies"], [{"text": "first"}])

    def test_a_name_is_used_once_unless_its_function_failed(self):
        bot = self.handler(
            "for n in range(3):\n"
            "    try:\n"
            "        AWAIT turn.step('charge', fail, n)\n"
            "    except ZeroDivisionError:\n"
            "        pass\n"
            "AWAIT turn.step('charge', pay, 1)",
            more=PAY + "def fail(n):\n    return 1 / n\n",
        )
        bot.turn(1)
        self.assertEqual(bot.receive()["value"], 1.0)
        bot.send({"id": 1, "step": 1})
        error = bot.answer(1)["fail"]["error"]
        self.assertRegex(error, r"turn.step: 'charge' is used twice in this turn, at \S+:\d+ and at \S+:\d+: each has")

    def test_two_places_are_named(self):
        bot = self.handler("AWAIT turn.step('charge', lambda: 1)\n" "AWAIT turn.step('charge', lambda: 2)")
        bot.turn(1)
        bot.receive()
        bot.send({"id": 1, "step": 1})
        error = bot.answer(1)["fail"]["error"]
        first, second = [int(part.split(":")[-1]) for part in error.split(": each")[0].split(", at ")[1].split(" and at ")]
        self.assertEqual(second, first + 1, error)

    def test_a_step_that_cannot_be_kept_fails_at_its_line(self):
        bot = self.handler("AWAIT turn.step('charge', lambda: 1)")
        bot.turn(1)
        bot.receive()
        bot.send({"id": 1, "step": 1, "error": "step \"charge\" is not kept: the storage is away"})
        fail = bot.answer(1)["fail"]
        self.assertEqual(
            fail["error"], 'turnkey._errors.StepError: step "charge" is not kept: the storage is away'
        )

    def test_steps_that_are_none(self):
        for call, error in (
            ("turn.step('', print)", "turn.step: a step's name has 1 to 64 bytes"),
            ("turn.step('ä' * 33, print)", "turn.step: a step's name has 1 to 64 bytes"),
            ("turn.step(7, print)", "turn.step: the name is a str, not 7 (int)"),
            ("turn.step('x', lambda: {1})", "the result of step 'x' is {1} (set): JSON has no sets"),
            ("turn.step('x', lambda: float('nan'))", "the result of step 'x' is nan, which JSON does not have"),
        ):
            with self.subTest(call):
                self.assertIn(error, self.handler(f"AWAIT {call}").failure()["error"])
        many = {f"s{n}": n for n in range(100)}
        bot = self.handler("AWAIT turn.step('s7', print)\nAWAIT turn.step('more', print)")
        bot.turn(1, steps=many)
        self.assertIn("'more' is one more than 100 steps in a turn", bot.answer(1)["fail"]["error"])


class Plain(Both, PlainHandlers, unittest.TestCase):
    def test_an_async_function_is_refused(self):
        more = "async def pay():\n    return 1\n"
        error = self.handler("turn.step('x', pay)", more=more).failure()["error"]
        self.assertIn("turn.step: an async function is awaited; its handler is an `async def`", error)


class Async(Both, AsyncHandlers, unittest.TestCase):
    def test_an_async_function_is_awaited(self):
        more = "async def pay(n):\n    await asyncio.sleep(0)\n    return n\n"
        body = "turn.reply(repr(await asyncio.gather(turn.step('a', pay, 1), turn.step('b', pay, 2))))"
        bot = self.handler(body, more=more)
        bot.turn(1)
        self.assertEqual([bot.receive()["value"], bot.receive()["value"]], [1, 2])
        bot.send({"id": 1, "step": 2})
        bot.send({"id": 1, "step": 1})
        self.assertEqual(bot.answer(1)["done"]["replies"], [{"text": "[1, 2]"}])


class Conversations(unittest.TestCase):
    def test_steps_in_memory(self):
        paid = []

        def pay(sum):
            paid.append(sum)
            return f"receipt {len(paid)}"

        def handle(turn):
            receipt = turn.step("charge", pay, 30)
            if turn.attempt == 1:
                raise ZeroDivisionError
            turn.reply(receipt)

        async def handle_async(turn):
            receipt = await turn.step("charge", pay, 30)
            if turn.attempt == 1:
                raise ZeroDivisionError
            turn.reply(receipt)

        class Late:
            def __call__(self, turn):
                return handle_async(turn)

        for handler in (handle, handle_async, Late()):
            paid.clear()
            bot = Conversation(handler)
            with self.assertRaises(ZeroDivisionError):
                bot.says("ann", "buy")
            self.assertEqual(bot.steps, {"charge": "receipt 1"})
            self.assertEqual(bot.sends("ann", "buy", attempt=2, steps=bot.steps), ["receipt 1"])
            self.assertEqual(paid, [30])
            self.assertEqual(bot.sends("bob", "buy", attempt=2), ["receipt 2"])

    def test_an_ended_turn_has_no_step(self):
        kept = []
        Conversation(kept.append).says("ann", "hi")
        with self.assertRaisesRegex(RuntimeError, "turn.step after the handler has returned"):
            kept[0].step("x", print)

    def test_the_name_of_a_failed_step_is_free_in_async_functions(self):
        async def fail():
            await asyncio.sleep(0)
            raise turnkey.Retry(5)

        async def handle(turn):
            try:
                await turn.step("x", fail)
            except turnkey.Retry:
                turn.reply(str(await turn.step("x", lambda: 7)))

        self.assertEqual(Conversation(handle).says("ann", "hi"), ["7"])


if __name__ == "__main__":
    unittest.main()
