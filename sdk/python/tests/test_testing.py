"""`turnkey.testing`: conversations in memory, and programs that are started."""

from __future__ import annotations

import asyncio
import datetime
import gc
import os
import shlex
import sqlite3
import subprocess
import sys
import tempfile
import unittest
import warnings
from dataclasses import dataclass
from unittest import mock

import fake

sys.path.insert(0, fake.SOURCE)

import turnkey  # noqa: E402
from turnkey.testing import (  # noqa: E402
    Conversation,
    Program,
    ProgramError,
    ask_in,
    call,
    delete,
    edit,
    send_to,
    toast,
)

PHOTO = turnkey.File("photo", "p")
TABLE = "CREATE TABLE notes (user TEXT NOT NULL, note BLOB UNIQUE)"


@dataclass
class Counter:
    count: int = 0


def plain(turn):
    turn.state["count"] = turn.state.get("count", 0) + 1
    turn.reply(f'{turn.state["count"]}: {turn.text}')


async def notes(turn):
    if turn.command == "all":
        rows = await turn.query("SELECT note FROM notes WHERE user = ?1 ORDER BY rowid", [turn.user_id])
        turn.reply(str([row["note"] for row in rows]))
    else:
        turn.state["last"] = turn.text
        turn.execute("INSERT INTO notes VALUES (?1, ?2)", (turn.user_id, turn.text))
        turn.reply("Kept.")


class Conversations(unittest.TestCase):
    def test_each_user_has_a_state(self):
        bot = Conversation(plain)
        self.assertEqual(bot.says("ann", "hi"), ["1: hi"])
        self.assertEqual(bot.says("bob", "ho"), ["1: ho"])
        self.assertEqual(bot.says("ann", "again"), ["2: again"])
        self.assertEqual((bot.state("ann"), bot.state("eve")), ({"count": 2}, {}))

    def test_dataclasses(self):
        def handle(turn):
            turn.state.count += 1

        bot = Conversation(handle, state=Counter)
        self.assertEqual(bot.says("ann", "hi"), [])
        self.assertEqual((bot.state("ann"), bot.state("bob")), (Counter(1), Counter(0)))

    def test_presses_commands_files_rpc_and_raw(self):
        seen = []

        def handle(turn):
            seen.append((turn.update.kind, turn.button, turn.command, turn.argument))
            seen.append((turn.files, turn.rpc, turn.update.raw, turn.attempt))

        bot = Conversation(handle)
        bot.presses("ann", "tea:1")
        bot.says("ann", " /start@my_bot  ref 42")
        bot.sends("ann", "A cat", files=[PHOTO], raw={"x": [1]}, attempt=3)
        bot.sends("ann", rpc={"method": "paid", "params": {"order": 7}})
        bot.sends("ann", kind="opened")
        self.assertEqual(
            seen,
            [
                ("button", "tea:1", None, ""), ([], None, None, 1),
                ("message", None, "start", "ref 42"), ([], None, None, 1),
                ("message", None, None, ""), ([PHOTO], None, {"x": [1]}, 3),
                ("rpc", None, None, ""), ([], ("paid", {"order": 7}), None, 1),
                ("opened", None, None, ""), ([], None, None, 1),
            ],
        )  # fmt: skip

    def test_all_that_can_come_in(self):
        parts = {
            "kind": "reaction",
            "event": "message_reaction",
            "markup": "**b**",
            "files": [PHOTO, turnkey.File("voice", url="u", size=7)],
            "location": turnkey.Location(1.5, 2),
            "contact": turnkey.Contact("+43", "Ann", "7"),
            "sender": turnkey.Sender("Ann", "ann", None),
            "chat": turnkey.Chat("-1", "group", "Tea", None),
            "quoted": turnkey.Quoted("3", "what?", None),
            "forwarded": turnkey.Forwarded(None, "News"),
            "message": "55",
            "album": "12",
            "dialog": "ann@-1",
        }
        seen = []
        names = [{"dialog": "dialog_id"}.get(name, name) for name in parts]
        bot = Conversation(lambda turn: seen.extend(getattr(turn, name) for name in names))
        bot.sends("ann", "b", **parts)
        self.assertEqual(seen, list(parts.values()))
        with self.assertRaisesRegex(TypeError, "turnkey.File is wanted"):
            bot.sends("ann", files=[{"id": "p"}])

    def test_timers(self):
        def handle(turn):
            if turn.timer:
                turn.reply(f"{turn.timer.name} {turn.timer.data}")
            elif turn.text == "no":
                turn.cancel("tea")
            else:
                turn.after("4m", "tea", turn.text)

        bot = Conversation(handle)
        self.assertEqual(bot.says("ann", "green"), [])
        self.assertEqual(bot.says("ann", "black"), [])
        self.assertEqual((bot.timers("ann"), bot.timers("bob")), (["tea"], []))
        self.assertEqual(bot.fires("ann", "tea"), ["tea black"])
        with self.assertRaisesRegex(KeyError, "ann has no timer 'tea'"):
            bot.fires("ann", "tea")
        bot.says("ann", "green")
        bot.says("ann", "no")
        self.assertEqual(bot.timers("ann"), [])

    def test_a_timer_whose_turn_fails_stays(self):
        failures = [ValueError("no")]

        def handle(turn):
            if not turn.timer:
                turn.after("4m", "tea", "green")
            elif failures:
                raise failures.pop()
            else:
                turn.reply(f"{turn.timer.name} {turn.timer.data}")

        bot = Conversation(handle)
        bot.says("ann", "hi")
        with self.assertRaisesRegex(ValueError, "no"):
            bot.fires("ann", "tea")
        self.assertEqual(bot.timers("ann"), ["tea"])
        self.assertEqual(bot.fires("ann", "tea"), ["tea green"])
        self.assertEqual(bot.timers("ann"), [])

    def test_a_dialogs_own_overlap(self):
        bot = Conversation(lambda turn: turn.overlap(turn.text or None))
        self.assertEqual(bot.overlap("ann"), None)
        bot.says("ann", "latest")
        self.assertEqual((bot.overlap("ann"), bot.overlap("bob")), ("latest", None))
        bot.says("ann", "")
        self.assertEqual(bot.overlap("ann"), None)

    def test_something_newer(self):
        async def handle(turn):
            if turn.text == "slow":
                await turn.newer()
            other = asyncio.create_task(turn.newer())
            await asyncio.sleep(0)
            turn.reply(str(await turn.has_newer()))
            other.cancel()

        bot = Conversation(handle)
        self.assertEqual(bot.sends("ann", "slow", newer=True), ["True"])
        self.assertEqual(bot.says("ann", "quick"), ["False"])
        plain = Conversation(lambda turn: turn.reply(str(turn.has_newer())))
        self.assertEqual(plain.sends("ann", "x", newer=True), ["True"])
        self.assertEqual(plain.says("ann", "x"), ["False"])

    def test_schedules(self):
        def handle(turn):
            if turn.channel == "cron":
                turn.state["weeks"] = turn.state.get("weeks", 0) + 1
                turn.send_to("vk", "8", f"week {turn.state['weeks']}, {turn.timer.late.seconds} s late")
                if turn.timer.late.seconds > 60:
                    turn.reply("nobody")
            elif turn.timer:
                turn.reply(f"your {turn.timer.name}")
            else:
                turn.every("0 9 * * MON", "Europe/Vienna", "digest")

        bot = Conversation(handle)
        bot.says("digest", "hi")
        self.assertEqual(bot.fires("digest", "digest"), ["your digest"])
        self.assertEqual(bot.fires("digest", "digest"), ["your digest"])
        bot.ticks("digest")
        (said,) = bot.ticks("digest", late=3)
        self.assertEqual(said.text, "week 2, 3 s late")
        with self.assertRaisesRegex(ValueError, "has nobody to reply to; say it to a dialog with turn.send_to"):
            bot.ticks("digest", late=100)
        self.assertEqual(bot.state("digest", channel="cron"), {"weeks": 2})
        self.assertEqual(bot.state("digest"), {})

    def test_callbacks(self):
        def handle(turn):
            if turn.called and turn.called.by:
                turn.reply(f"{turn.called.name}: {turn.called.button} of {turn.called.by.dialog}")
            elif turn.called:
                turn.reply(f"{turn.called.name} {turn.called.body}")
            elif turn.text == "pay":
                turn.reply(turn.callback("paid"))
            else:
                buttons = [[("Yes", "1"), ("No", "0")]]
                turn.ask_in("test", "owner", "Let in?", "in", buttons=buttons)

        bot = Conversation(handle)
        (address,) = bot.says("ann", "pay")
        self.assertEqual(bot.posts(address.text, {"sum": 7}), ["paid {'sum': 7}"])
        with self.assertRaisesRegex(KeyError, "no callback is open"):
            bot.posts(address.text)
        (address,) = bot.says("ann", "pay")
        self.assertEqual(bot.posts(address.text, b"\xff"), ["paid b'\\xff'"])
        (asked,) = bot.says("ann", "in")
        self.assertEqual(asked.asked_in, ("test", "owner", "in"))
        buttons = [[("Yes", "1"), ("No", "0")]]
        self.assertEqual(asked, ask_in("test", "owner", "Let in?", "in", buttons=buttons))
        self.assertTrue(repr(asked).startswith("ask_in('test', 'owner', 'Let in?'"), repr(asked))
        with self.assertRaisesRegex(KeyError, "owner was asked nothing"):
            bot.answers("owner", "2")
        self.assertEqual(bot.answers("owner", "0"), ["in: 0 of owner"])
        with self.assertRaisesRegex(KeyError, "owner was asked nothing"):
            bot.answers("owner", "1")

    def test_what_is_said(self):
        def handle(turn):
            turn.reply("a", buttons=[[("x", "1"), ("y", "2")]], name="menu")
            turn.edit("menu", "b")
            turn.edit_pressed("c", silent=True)
            turn.delete(turnkey.Message("7"))
            turn.toast("d", alert=True)
            turn.call("sendDice", {"n": 1}, name="dice")
            turn.send_to("vk", "8", "e")

        said = Conversation(handle).says("ann", "hi")
        expected = [
            turnkey.Reply("a", buttons=[[("x", "1"), ("y", "2")]], name="menu"),
            edit("menu", "b"),
            edit(True, "c", silent=True),
            delete(turnkey.Message("7")),
            toast("d", alert=True),
            call("sendDice", {"n": 1}, name="dice"),
            send_to("vk", "8", "e"),
        ]
        self.assertEqual(said, expected)
        self.assertEqual(
            [repr(one) for one in said][1:],
            ["edit('menu', 'b')", "edit(True, 'c', silent=True)", "delete(Message(id='7'))",
             "toast('d', alert=True)", "call('sendDice', {'n': 1}, name='dice')", "send_to('vk', '8', 'e')"],
        )  # fmt: skip
        self.assertEqual((said[1].edits, said[3].deletes, said[4].alert), ("menu", turnkey.Message("7"), True))
        self.assertEqual((said[5].params, said[6].sent_to), ({"n": 1}, ("vk", "8")))
        self.assertNotEqual(said[1], "b")

    def test_drafts_and_dead_replies(self):
        def handle(turn):
            turn.draft("so")
            turn.draft("so far")
            for dead in turn.dead_replies():
                turn.reply(f"{dead.action!r} {dead.error} {dead.died:%Y}")

        bot = Conversation(handle)
        self.assertEqual((bot.says("ann", "hi"), bot.drafts), ([], ["so", "so far"]))
        died = datetime.datetime(2026, 1, 2, tzinfo=datetime.timezone.utc)
        bot.dead_replies.append(turnkey.DeadReply(edit("menu", "x"), "blocked", died))
        self.assertEqual(bot.says("ann", "hi"), ["edit('menu', 'x') blocked 2026"])

    def test_a_platform_that_the_test_brings(self):
        def answer(method, params):
            if method == "fail":
                raise turnkey.PlatformError("refused")
            return {"method": method, "params": params}

        def handle(turn):
            if turn.files:
                turn.reply(repr(turn.download(turn.files[0], limit=3)))
            else:
                turn.reply(repr(turn.ask(turn.text, {"n": (1,)})))

        async def later(turn):
            if turn.files:
                turn.reply(repr(await turn.download(turn.files[0], limit=3)))
            else:
                turn.reply(repr(await turn.ask(turn.text, {"n": (1,)})))

        for one in (handle, later, lambda turn: later(turn)):
            bot = Conversation(one, ask=answer, downloads={"p": b"\xff", "u": b"1234"})
            self.assertEqual(bot.says("ann", "x"), ["{'method': 'x', 'params': {'n': [1]}}"])
            self.assertEqual(bot.sends("ann", files=[PHOTO]), ["b'\\xff'"])
            with self.assertRaisesRegex(turnkey.PlatformError, "refused"):
                bot.says("ann", "fail")
            with self.assertRaisesRegex(turnkey.PlatformError, "more than 3 bytes"):
                bot.sends("ann", files=[turnkey.File("voice", url="u")])
            with self.assertRaisesRegex(turnkey.PlatformError, r"Conversation\(handle, downloads="):
                bot.sends("ann", files=[turnkey.File("voice", url="other")])
            with self.assertRaisesRegex(turnkey.PlatformError, r"Conversation\(handle, ask="):
                Conversation(one).says("ann", "x")

    def test_what_a_command_is(self):
        seen = []
        bot = Conversation(lambda turn: seen.append((turn.command, turn.argument)))
        for text in ("/start", "/start ref_42", "/start\nref", " /start ", "/помощь",
                     "start", "/", "/ start", "/@bot", "/etc/passwd", "say /start", ""):  # fmt: skip
            bot.says("ann", text)
        self.assertEqual(
            seen,
            [("start", ""), ("start", "ref_42"), ("start", "ref"), ("start", ""), ("помощь", "")]
            + [(None, "")] * 7,
        )

    def test_sql(self):
        for migrations in ([TABLE], self.directory(TABLE)):
            bot = Conversation(notes, migrations=migrations)
            self.assertEqual(bot.says("ann", "milk"), ["Kept."])
            self.assertEqual(bot.says("ann", "/all"), ["['milk']"])
            self.assertEqual(bot.query("SELECT count(*) AS n FROM notes"), [{"n": 1}])

    def directory(self, sql):
        directory = tempfile.TemporaryDirectory(prefix="turnkey-sdk-")
        self.addCleanup(directory.cleanup)
        with open(os.path.join(directory.name, "0001_notes.sql"), "w") as file:
            file.write(sql)
        return directory.name

    def test_a_statement_that_fails_fails_the_turn_which_changes_nothing(self):
        bot = Conversation(notes, migrations=[TABLE])
        bot.says("ann", "milk")
        with self.assertRaises(sqlite3.IntegrityError):
            bot.says("bob", "milk")
        self.assertEqual(bot.state("bob"), {})
        self.assertEqual(len(bot.query("SELECT * FROM notes")), 1)

    def test_values(self):
        rows = []

        def handle(turn):
            rows.extend(turn.query("SELECT ?1 AS a, ?2 AS b, ?3 AS c, ?4 AS d", (2**62, b"\xff", True, None)))

        Conversation(handle).says("ann", "")
        self.assertEqual(rows, [{"a": 2**62, "b": b"\xff", "c": 1, "d": None}])

    def test_a_query_may_not_write(self):
        def handle(turn):
            turn.query("DELETE FROM notes")

        with self.assertRaises(turnkey.QueryError):
            Conversation(handle, migrations=[TABLE]).says("ann", "")

    def test_failures_are_the_handlers_own(self):
        for error in (KeyError("x"), turnkey.Retry(3, "later"), turnkey.GiveUp("no")):

            def handle(turn, error=error):
                turn.state["x"] = 1
                raise error

            async def later(turn, error=error):
                await asyncio.sleep(0)
                handle(turn)

            for one in (handle, later):
                bot = Conversation(one)
                with self.assertRaises(type(error)) as caught:
                    bot.says("ann", "hi")
                self.assertIs(caught.exception, error)
                self.assertEqual(bot.state("ann"), {})

    def test_mistakes_are_met_here_too(self):
        def handle(turn):
            turn.state["x"] = {1: 2}

        with self.assertRaisesRegex(TypeError, r'state\["x"\] has the key 1'):
            Conversation(handle).says("ann", "hi")
        with self.assertRaisesRegex(TypeError, "leave out the parentheses"):
            Conversation(None)

    def test_all_turns_have_one_loop(self):
        loops = set()

        async def handle(turn):
            loops.add(asyncio.get_running_loop())

        bot = Conversation(handle)
        bot.says("ann", "hi")
        bot.says("ann", "hi")
        self.assertEqual(len(loops), 1)

    def test_from_a_test_that_is_async_itself(self):
        async def test():
            bot = Conversation(notes, migrations=[TABLE])
            self.assertEqual(bot.says("ann", "milk"), ["Kept."])
            with self.assertRaises(sqlite3.IntegrityError):
                bot.says("ann", "milk")

        asyncio.run(test())

    def test_nothing_is_left_open(self):
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            bot = Conversation(notes, migrations=[TABLE])
            bot.says("ann", "milk")
            del bot
            gc.collect()


class Programs(unittest.TestCase):
    def setUp(self):
        directory = tempfile.TemporaryDirectory(prefix="turnkey-sdk-")
        self.addCleanup(directory.cleanup)
        self.program = os.path.join(directory.name, "turnkey")
        script = os.path.join(fake.HERE, "fake_turnkey.py")
        with open(self.program, "w") as file:
            file.write(f"#!/bin/sh\nexec {shlex.quote(sys.executable)} {shlex.quote(script)} \"$@\"\n")
        os.chmod(self.program, 0o755)
        self.environment = {"TURNKEY_PROGRAM": self.program, "TURNKEY_TELEGRAM_TOKEN": "secret"}

    def test_a_conversation(self):
        with mock.patch.dict(os.environ, self.environment):
            with Program("bot.py", "--workers", "2") as bot:
                self.assertIn("['run', 'bot.py', '--listen', '127.0.0.1:0', '--storage',", bot.stderr)
                self.assertIn("'--workers', '2']", bot.stderr)
                self.assertEqual(bot.says("ann", "hi"), ["1: hi"])
                self.assertEqual(bot.presses("ann", "x"), [turnkey.Reply("2: x").button("Yes", "1")])
                bot.restart()
                self.assertEqual(bot.sends("ann", text="again", id="7"), ["3: again"])
                with self.assertRaisesRegex(ProgramError, "with 503: "):
                    bot.says("ann", "fail")

    def test_other_commands(self):
        with mock.patch.dict(os.environ, self.environment):
            with Program(["ruby", "bot.rb"], "--workers", "2") as bot:
                self.assertIn("'--workers', '2', '--', 'ruby', 'bot.rb']", bot.stderr)

    def test_one_that_does_not_start(self):
        with mock.patch.dict(os.environ, self.environment):
            with self.assertRaisesRegex(ProgramError, r"ended at its start \(1\).*\n.*no such option"):
                Program("bot.py", "--fail")
        with mock.patch.dict(os.environ, {"PATH": "/nowhere"}):
            os.environ.pop("TURNKEY_PROGRAM", None)
            with self.assertRaisesRegex(ProgramError, "no `turnkey` on PATH"):
                Program("bot.py")

    def test_the_fixture(self):
        try:
            import pytest  # noqa: F401
        except ImportError:
            self.skipTest("pytest is not installed: the fixture turnkey_bot is not tried")
        test = os.path.join(os.path.dirname(self.program), "test_it.py")
        with open(test, "w") as file:
            file.write("def test_it(turnkey_bot):\n    assert turnkey_bot('bot.py').says('ann', 'hi') == ['1: hi']\n")
        done = subprocess.run(
            [sys.executable, "-m", "pytest", "-q", "-p", "turnkey.testing.pytest_plugin", "-p", "no:cacheprovider", test],
            env={**os.environ, "TURNKEY_PROGRAM": self.program, "PYTHONPATH": fake.SOURCE},
            capture_output=True,
            text=True,
        )
        self.assertEqual(done.returncode, 0, done.stdout + done.stderr)

    def test_what_is_given_up(self):
        async def sorry(turn, error):
            turn.reply(f"sorry: {error}")

        for handler in (lambda turn: turn.reply(str(turn.is_last_attempt)), Later()):
            bot = Conversation(handler, given_up=sorry)
            self.assertEqual(bot.sends("ann", "hi", last_attempt=True), ["True"])
            self.assertEqual(bot.sends("ann", "hi", given_up="away"), ["sorry: away"])
        with self.assertRaisesRegex(TypeError, "given_up is a function of a turn and an error"):
            Conversation(sorry, given_up="sorry")


class Later:
    async def __call__(self, turn):
        turn.reply(str(turn.is_last_attempt))


if __name__ == "__main__":
    unittest.main()
