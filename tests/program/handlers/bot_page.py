"""Runs the Python of docs/BOT.md: each piece is a whole bot, and each is talked to.

Called by `pages.rs` with the page's path. A piece is known by what only it says: every one
of these sentences has to come.
"""

import re
import sys
import types
import unittest
from pathlib import Path

import turnkey
from turnkey.testing import Conversation

TABLE = (
    "CREATE TABLE people (number INTEGER PRIMARY KEY, channel VARCHAR(20) NOT NULL, "
    "user_id VARCHAR(64) NOT NULL, UNIQUE (channel, user_id))"
)

EXPECTED = [
    "**Welcome!** What would you like?",
    "tea, cup 1. More?",
    "That is no longer on offer.",
    "4 bytes. Here it is again:",
    "Our prices",
    "In 20m, then.",
    "Do not forget: tea",
    "Like this: /remind 20m tea (or 2h, or 3d)",
    "Do not forget: the bread",
    "Let ann in?",
    "You are in.",
    "ann: hello",
    "What shall I say?",
    "Sent.",
    "You will hear from us.",
    "Fresh bread!",
    "Everybody has it.",
    "The oven does not answer today.",
    "I am asking the oven.",
    "The oven has not answered five times.",
    "Sorry, that did not work.",
]


def talk(handle, options):
    """What a bot says to Ann, and to the operator."""
    bot = Conversation(handle, channel="telegram", migrations=[TABLE], downloads={"p": b"four"})
    said = []

    def take(act, *arguments, **fields):
        try:
            said.extend(act(*arguments, **fields))
        except turnkey.Retry:
            pass

    def fire(user):
        for name in bot.timers(user):
            take(bot.fires, user, name)

    for word in ("/start", "made", "/remind soon", "/remind 20m tea"):
        take(bot.says, "ann", word)
    fire("ann")
    take(bot.says, "ann", "/daily")
    fire("ann")
    take(bot.says, "ann", "/stop")
    assert not bot.timers("ann")
    take(bot.sends, "ann", files=[turnkey.File("photo", id="p")])
    take(bot.presses, "ann", "tea")
    take(bot.presses, "ann", "of last year")
    take(bot.says, "ann", "hello")
    if any(what.asked_in for what in said):
        take(bot.answers, "4242", "yes")
    take(bot.presses, "4242", "answer telegram ann")
    take(bot.says, "4242", "We are open.")
    take(bot.says, "4242", "/all Fresh bread!")
    fire("4242")
    take(bot.sends, "ann", "degrees?", last_attempt=True)
    take(bot.says, "ann", "/oven")
    for _attempt in range(5):
        fire("ann")
    assert not bot.timers("ann")
    if "given_up" in options:
        again = Conversation(handle, channel="telegram", given_up=options["given_up"])
        take(again.sends, "ann", "degrees?", given_up="no answer")
    return said


def run_tests(piece, tested):
    """Runs the page's tests, with this piece as the module `bot`."""
    sys.modules["bot"] = module = types.ModuleType("bot")
    turnkey.run = lambda handle, **options: None
    exec(compile(tested, "docs/BOT.md", "exec"), module.__dict__)
    tests = types.ModuleType("test_bot")
    exec(compile(piece, "docs/BOT.md", "exec"), tests.__dict__)
    result = unittest.TestResult()
    unittest.defaultTestLoader.loadTestsFromModule(tests).run(result)
    assert result.testsRun and result.wasSuccessful(), result.errors + result.failures


def main():
    page = Path(sys.argv[1]).read_text(encoding="utf-8")
    pieces = re.findall(r"^```python\n(.*?)^```", page, re.S | re.M)
    said = []
    for piece in pieces:
        if "import unittest" in piece:
            run_tests(piece, next(bot for bot in pieces if "/remind" in bot))
            continue
        bots = []
        turnkey.run = lambda handle, **options: bots.append((handle, options))
        exec(compile(piece, "docs/BOT.md", "exec"), {"__name__": "bot"})
        (bot,) = bots
        said += talk(*bot)
    texts = {what.text for what in said}
    missing = [text for text in EXPECTED if text not in texts]
    assert not missing, f"{missing} are not among {sorted(filter(None, texts))}"


main()
