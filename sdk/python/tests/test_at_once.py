"""Turns that run at once: threads for plain handlers, one loop for async ones, and how each is
cancelled and cut off.
"""

from __future__ import annotations

import json
import os
import sys
import unittest

from fake import wait_until
from handlers import COUNTER, AsyncHandlers, PlainHandlers


def together(*turns):
    """Turns that come with one read."""
    turn = {"channel": "t", "user": "u", "update": "1", "kind": "message"}
    lines = (json.dumps({"id": n, "turn": {**turn, "text": text}}) for n, text in turns)
    return "".join(f"{line}\n" for line in lines).encode()


#: Says how often something was written.
COUNTS_WRITES = """
import os
write, writes = os.write, []
def counted(descriptor, line):
    if descriptor == 4: writes.append(line)
    return write(descriptor, line)
os.write = counted
"""


class Both:
    def test_answers_of_quick_turns_are_written_together(self):
        bot = self.handler("turn.reply(str(len(writes)))", more=COUNTS_WRITES)
        bot.send(together(*((n, "") for n in range(50))))
        self.assertEqual([bot.receive()["id"] for _ in range(50)], list(range(50)))
        self.assertLess(int(bot.replies("", 100)[0]), 50)


class Plain(Both, PlainHandlers, unittest.TestCase):
    def test_a_slow_turn_keeps_no_answer_back(self):
        bot = self.handler(
            "if turn.text: barrier.wait(20)\n"
            "turn.reply(turn.text)",
            more="barrier = threading.Barrier(2)",
        )
        bot.send(together((1, ""), (2, "slow")))
        self.assertEqual(bot.receive()["id"], 1)
        bot.turn(3, "it ends")
        self.assertEqual(sorted(bot.receive()["id"] for _ in range(2)), [2, 3])

    def test_turns_run_at_once(self):
        """All 32 threads are in their handlers, and somebody still reads."""
        bot = self.handler(
            "if turn.text == 'wait':\n"
            "    barrier.wait(20)\n"
            "turn.reply(turn.text)",
            more="barrier = threading.Barrier(32)",
        )
        self.assertEqual(bot.hello["concurrency"], 32)
        for number in range(31):
            bot.turn(number, "wait")
        self.assertEqual(bot.replies("quick", 100), ["quick"])
        bot.turn(31, "wait")
        for number in range(32):
            self.assertIn("done", bot.answer(number))

    def test_a_long_turn_sees_that_it_is_cancelled(self):
        bot = self.handler(
            "if turn.text: return\n"
            "print('in', flush=True)\n"
            "while not turn.cancelled: time.sleep(0.001)\n"
            "turn.reply('late')",
            arguments=", concurrency=1",
        )
        bot.turn(1, "")
        wait_until(lambda: bot.stdout, "the handler to begin")
        bot.send({"ping": 1})
        self.assertEqual(bot.receive(), {"pong": 1})
        bot.send({"cancel": 1})
        self.assertEqual(bot.receive()["done"]["replies"], [{"text": "late"}])
        self.assertIn("done", bot.ask("next", 2))

    def test_turns_are_answered_in_their_order_by_one_thread(self):
        bot = self.start(COUNTER)
        for number in range(500):
            bot.turn(number, str(number))
        texts = [bot.receive()["done"]["replies"][0]["text"] for _ in range(500)]
        self.assertEqual(sorted(texts), sorted(f"1: {number}" for number in range(500)))

    def test_the_end_cuts_off_a_turn_that_runs(self):
        bot = self.handler("print('in', flush=True)\nwhile True: time.sleep(1)")
        bot.turn(1)
        wait_until(lambda: bot.stdout, "the handler to begin")
        bot.end()
        self.assertEqual((bot.wait(), bot.stderr), (0, ""))

    def test_sleeping_costs_nothing(self):
        """The monitor sleeps while nothing runs: no processor time goes by."""
        bot = self.start(COUNTER)
        bot.replies()

        def switches():
            total = 0
            for task in os.listdir(f"/proc/{bot.pid}/task"):
                with open(f"/proc/{bot.pid}/task/{task}/status") as file:
                    total += sum(int(line.split()[1]) for line in file if "ctxt_switches" in line)
            return total

        seen = [switches()]

        def is_still():
            seen.append(switches())
            # Fifty looks, each 2 ms after the last.
            return len(seen) > 50 and len(set(seen[-50:])) == 1

        wait_until(is_still, "no thread of an idle process to run")
        self.assertEqual(bot.replies("again", 2), ["1: again"])


class Async(Both, AsyncHandlers, unittest.TestCase):
    def test_a_slow_turn_keeps_no_answer_back(self):
        bot = self.handler("if turn.text: await asyncio.sleep(1000)")
        bot.send(together((1, ""), (2, "slow"), (3, "")))
        self.assertEqual([bot.receive()["id"] for _ in range(2)], [1, 3])
        bot.end()

    def test_a_thousand_turns_at_once(self):
        bot = self.handler(
            "global inside, full\n"
            "full = full or asyncio.Event()\n"
            "inside += 1\n"
            "if inside == 1000: full.set()\n"
            "await full.wait()\n"
            "turn.reply(turn.text)",
            more="inside, full = 0, None",
        )
        self.assertEqual(bot.hello["concurrency"], 1000)
        for number in range(1000):
            bot.turn(number, str(number))
        texts = {}
        for _ in range(1000):
            message = bot.receive()
            texts[message["id"]] = message["done"]["replies"][0]["text"]
        self.assertEqual(texts, {number: str(number) for number in range(1000)})

    def test_a_task_is_cancelled(self):
        bot = self.handler(
            "try:\n"
            "    if turn.text == 'sleep': await asyncio.sleep(1000)\n"
            "    turn.reply(turn.text)\n"
            "finally:\n"
            "    print(turn.cancelled, flush=True)"
        )
        bot.turn(1, "sleep")
        self.assertEqual(bot.replies("quick", 2), ["quick"])
        bot.send({"cancel": 1})
        fail = bot.answer(1)["fail"]
        self.assertEqual(fail["error"], "cancelled: the turn took longer than --turn-timeout")
        self.assertIn("await asyncio.sleep(1000)", fail["trace"])
        self.assertEqual(bot.stdout, b"False\nTrue\n")

    def test_what_waits_for_something_newer(self):
        bot = self.handler(
            "model = asyncio.create_task(asyncio.sleep(0 if turn.text == 'quick' else 1000))\n"
            "newer = asyncio.create_task(turn.newer())\n"
            "await asyncio.wait({model, newer}, return_when=asyncio.FIRST_COMPLETED)\n"
            "model.cancel()\n"
            "if turn.text == 'slow': await turn.newer()\n"
            "turn.reply(f'{newer.done()}')"
        )
        bot.turn(1, "slow")
        self.assertEqual(bot.receive(), {"id": 1, "newer": 1})
        bot.send({"id": 1, "newer": 1, "result": True})
        self.assertEqual(bot.answer(1)["done"]["replies"], [{"text": "True"}])
        # It waits no more once the turn has ended, and nothing is said of that.
        bot.turn(2, "quick")
        self.assertEqual(bot.receive(), {"id": 2, "newer": 1})
        self.assertEqual(bot.answer(2)["done"]["replies"], [{"text": "False"}])
        bot.turn(3, "cancelled")
        bot.receive()
        bot.send({"cancel": 3, "reason": "newer"})
        self.assertIn("fail", bot.answer(3))
        bot.end()
        self.assertEqual((bot.wait(), bot.stderr), (0, ""))

    def test_a_newer_message_does_not_cancel_a_step(self):
        bot = self.handler(
            "async def pay():\n"
            "    print('pays', flush=True)\n"
            "    await asyncio.sleep(0.05)\n"
            "    return 'paid'\n"
            "turn.reply(await turn.step('charge', pay))"
        )
        bot.turn(1)
        while not bot.stdout:
            pass
        bot.send({"cancel": 1, "reason": "newer"})
        self.assertEqual(bot.receive(), {"id": 1, "step": 1, "name": "charge", "value": "paid"})
        bot.send({"id": 1, "step": 1})
        self.assertEqual(bot.answer(1)["done"]["replies"], [{"text": "paid"}])

    def test_a_task_that_is_cancelled_before_it_begins(self):
        bot = self.start(COUNTER)
        turn = {"channel": "t", "user": "u", "update": "1", "kind": "message", "text": "x"}
        bot.send(json.dumps({"id": 1, "turn": turn}).encode() + b'\n{"cancel":1}\n')
        answer = bot.answer(1)
        if sys.version_info >= (3, 12):
            # It began when it was made, and waited for nothing.
            self.assertEqual(answer["done"]["replies"], [{"text": "1: x"}])
        else:
            self.assertIn("cancelled", answer["fail"]["error"])
        self.assertEqual(bot.replies("x", 2), ["1: x"])

    def test_a_handler_that_will_not_be_cancelled(self):
        bot = self.handler(
            "try:\n"
            "    await asyncio.sleep(1000)\n"
            "except asyncio.CancelledError:\n"
            "    turn.reply('late')"
        )
        bot.turn(1)
        bot.send({"ping": 1})
        bot.receive()
        bot.send({"cancel": 1})
        self.assertIn("done", bot.answer(1))

    def test_the_authors_own_cancellation_is_a_failure(self):
        bot = self.handler("raise asyncio.CancelledError('mine')")
        self.assertIn("CancelledError: mine", bot.failure()["error"])

    def test_the_end_cuts_off_what_runs(self):
        for body in (
            "await asyncio.sleep(1000)",
            "while True:\n    try: await asyncio.sleep(1000)\n    except asyncio.CancelledError: pass",
            "await asyncio.get_running_loop().run_in_executor(None, time.sleep, 1000)",
        ):
            with self.subTest(body):
                bot = self.handler(body)
                bot.turn(1)
                bot.send({"ping": 1})
                self.assertEqual(bot.receive(), {"pong": 1})
                bot.end()
                self.assertEqual((bot.wait(), bot.stderr), (0, ""))

    def test_one_loop_for_all(self):
        bot = self.handler(
            "loops.add(asyncio.get_running_loop())\nturn.reply(str(len(loops)))",
            more="loops = set()",
        )
        for number in range(3):
            self.assertEqual(bot.replies("x", number), ["1"])


if __name__ == "__main__":
    unittest.main()
