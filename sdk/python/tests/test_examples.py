"""The examples in `examples/handlers`: their own tests, and each as a program."""

from __future__ import annotations

import os
import subprocess
import sys
import unittest

from fake import HERE, SOURCE, Worker

EXAMPLES = os.path.join(HERE, "..", "..", "..", "examples", "handlers")


def example(name):
    return [sys.executable, os.path.join(EXAMPLES, name)]


class Examples(unittest.TestCase):
    def test_counter(self):
        with Worker(example("counter.py")) as bot:
            self.assertEqual(bot.replies("hi", state={"count": 2}), ["3: hi"])

    def test_the_examples_own_tests(self):
        done = subprocess.run(
            [sys.executable, "-m", "unittest", "test_booking", "test_desk"],
            cwd=EXAMPLES,
            env={**os.environ, "PYTHONPATH": SOURCE},
            capture_output=True,
            text=True,
        )
        self.assertEqual(done.returncode, 0, done.stderr)

    def test_booking(self):
        with Worker(example("booking.py"), env={"BOOKING_CALENDAR_MS": "1"}) as bot:
            bot.turn(1, "book Mon 10:00", kind="button")
            self.assertEqual(bot.receive()["sql"], "SELECT hour FROM bookings")
            bot.send({"id": 1, "query": 1, "rows": [{"hour": "Mon 11:00"}]})
            done = bot.answer(1)["done"]
            self.assertEqual(done["state"], {"hour": "Mon 10:00", "asked": None})
            self.assertEqual(done["sql"][0][1], ["Mon 10:00", "test:ann"])

    def test_streaming(self):
        model = subprocess.Popen(
            [*example("fake_model.py"), "0"],
            stdout=subprocess.PIPE,
            text=True,
            env={**os.environ, "FAKE_MODEL_MS": "20"},
        )
        self.addCleanup(model.stdout.close)
        self.addCleanup(model.wait)
        self.addCleanup(model.kill)
        url = model.stdout.readline().strip()
        with Worker(example("streaming.py"), env={"MODEL_URL": url}) as bot:
            for number in range(20):
                bot.turn(number, f"hello {number}", user=str(number))
            for number in range(20):
                done = bot.answer(number)["done"]
                said = [f"hello {number}", f"You said: hello {number}"]
                self.assertEqual(done["state"], {"said": said})
            self.assertEqual(bot.failure("overloaded", 50)["retry_in"], 7)
            self.assertEqual(bot.replies("/forget", 51, command="forget"), ["Forgotten."])
            model.kill()
            model.wait()
            self.assertIn("cannot be reached", bot.failure("hi", 52)["error"])


if __name__ == "__main__":
    unittest.main()
