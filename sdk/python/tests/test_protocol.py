"""The protocol, as a worker sees it: each test starts a program with the two pipes and
talks to it. Plain and async handlers meet the same list (`Both`); what only one of them
has is in `Plain` and `Async`.
"""

from __future__ import annotations

import json
import os
import signal
import sys
import unittest

from fake import Worker, wait_until

COUNTER = """
    import turnkey

    DEF handle(turn):
        turn.state["count"] = turn.state.get("count", 0) + 1
        turn.reply(f'{turn.state["count"]}: {turn.text}')

    turnkey.run(handle)
"""


class Both:
    """`kind` is `def` or `async def`; `wait` is how such a handler waits."""

    kind = ""
    wait = ""

    def start(self, source, **options):
        """Starts a program whose handlers are written with DEF and AWAIT."""
        if isinstance(source, str):
            source = source.replace("async DEF", "async def").replace("DEF", self.kind)
            source = source.replace("AWAIT ", self.wait)
        worker = Worker(source, **options)
        self.addCleanup(worker.close)
        return worker

    def handler(self, body, more="", arguments="", **options):
        """A program with this as its handler's body."""
        lines = ["import asyncio, os, sys, threading, time, turnkey", *more.splitlines()]
        lines += ["DEF handle(turn):", *("    " + line for line in body.splitlines())]
        lines += [f"turnkey.run(handle{arguments})", "print('after run', flush=True)"]
        return self.start("\n".join(lines), **options)

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

    def test_hello_says_what_is_heard_and_nothing_by_default(self):
        self.assertEqual(self.handler("pass").hello["hears"], [])

    def test_everything_that_a_turn_has(self):
        bot = self.handler(
            "turn.reply(repr((turn.text, turn.command, turn.argument, turn.button, turn.user_id,"
            " turn.channel, turn.attempt, turn.update.id, turn.update.kind, turn.update.raw,"
            " [tuple(f)[:3] for f in turn.files], turn.rpc and tuple(turn.rpc), turn.cancelled)))"
        )
        self.assertEqual(
            bot.replies("/start ref", 1, command="start", argument="ref", raw={"x": 1}, attempt=2),
            [repr(("/start ref", "start", "ref", None, "ann", "test", 2, "u1", "message", {"x": 1}, [], None, False))],
        )
        self.assertEqual(
            bot.replies("", 2, files=[{"type": "photo", "id": "p"}, {"type": "voice", "url": "u"}], raw={"base64": "/w=="}),
            [repr(("", None, "", None, "ann", "test", 1, "u2", "message", b"\xff", [("photo", "p", None), ("voice", None, "u")], None, False))],
        )
        self.assertEqual(
            bot.replies("tea:1", 3, kind="button", later={"field": [1]}),
            [repr(("tea:1", None, "", "tea:1", "ann", "test", 1, "u3", "button", None, [], None, False))],
        )
        self.assertEqual(
            bot.replies("", 4, kind="rpc", rpc={"method": "paid", "params": [7]}),
            [repr(("", None, "", None, "ann", "test", 1, "u4", "rpc", None, [], ("paid", [7]), False))],
        )

    def test_what_came_in(self):
        bot = self.handler(
            "turn.reply(repr((turn.kind, turn.event, turn.markup, turn.files, turn.photos,"
            " turn.location, turn.contact, turn.quoted, turn.forwarded, turn.sender, turn.chat,"
            " turn.message, turn.album)))\n"
            "sender, place = turn.sender, turn.location\n"
            "turn.reply(f'{sender and sender.name} {place and place.title}')"
        )
        self.assertEqual(
            bot.replies("a *b* c_d"),
            [
                repr(("message", "", "a \\*b\\* c\\_d", [], [], None, None, None, None, None, None, "", "")),
                "None None",
            ],
        )
        full = {
            "kind": "reaction",
            "event": "message_reaction",
            "markup": "**b**",
            "files": [
                {"type": "photo", "id": "p"},
                {"type": "document", "url": "u", "name": "n", "media_type": "m", "size": 5, "later": 1},
            ],
            "location": {"latitude": 48.25, "longitude": -16, "title": "Café", "address": "Ring 1"},
            "contact": {"phone": "+43", "name": "Ann", "user_id": "7"},
            "quoted": {"message": "3", "text": "what?", "sender": "8"},
            "forwarded": {"id": "9", "name": "News"},
            "sender": {"name": "Ann B", "username": "ann", "language": "de"},
            "chat": {"id": "-1", "type": "group", "title": "Tea", "topic": "4"},
            "message": "55",
            "album": "12",
        }
        said, names = bot.replies("b", 2, **full)
        self.assertEqual(names, "Ann B Café")
        for part in (
            "('reaction', 'message_reaction', '**b**', [File(type='photo', id='p',",
            "File(type='document', id=None, url='u', name='n', media_type='m', size=5)]",
            "Location(latitude=48.25, longitude=-16, title='Café', address='Ring 1')",
            "Contact(phone='+43', name='Ann', user_id='7')",
            "Quoted(message='3', text='what?', sender='8'), Forwarded(id='9', name='News')",
            "Sender(name='Ann B', username='ann', language='de')",
            "Chat(id='-1', type='group', title='Tea', topic='4'), '55', '12')",
        ):
            self.assertIn(part, said)
        empty = {name: {} for name in ("quoted", "forwarded", "sender", "chat")}
        said, _ = bot.replies("b", 3, contact={"phone": "1"}, **empty)
        self.assertIn("Contact(phone='1', name='', user_id=None)", said)
        self.assertIn("Quoted(message='', text='', sender=None), Forwarded(id=None, name='')", said)
        self.assertIn("Sender(name='', username=None, language=None), Chat(id='', type='private',", said)

    def test_replies_are_in_order_with_all_their_parts(self):
        bot = self.handler(
            "turn.reply('one')\n"
            "turn.reply(turnkey.Reply('Tea?').button('Yes', 'tea:1').button('No', 'tea:0'))\n"
            "turn.reply(turnkey.Reply('A cat', photo='https://x/cat.jpg'))\n"
            "turn.reply(photo='id')\n"
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
                    {"text": "A cat", "files": [{"type": "photo", "url": "https://x/cat.jpg"}]},
                    {"files": [{"type": "photo", "id": "id"}]},
                ],
                "sql": [
                    ["INSERT INTO t VALUES (?1, ?2)", [1, {"base64": "/w=="}]],
                    ["DELETE FROM t", []],
                ],
            },
        )

    def test_whatever_can_be_said(self):
        bot = self.handler(
            "turn.reply('**b**', format='markup', silent=True, no_preview=True, protected=True, name='menu', quote=True,\n"
            "    buttons=[[B('a', '1'), B.link('b', 'https://b')], B.web_app('c', 'https://c'),\n"
            "        [B.phone('d', '+43')], [B.request_contact('e'), B.request_location('f')], ('g', '2'), []])\n"
            "turn.reply('Pick', keyboard=['one', ['two', B.request_contact('me')]], once=True, quote='menu')\n"
            "turn.reply('Gone', remove_keyboard=True, quote=turnkey.Message('7'))\n"
            "turn.reply('Picked', keyboard=[['one']])\n"
            "turn.reply(location=turnkey.Location(48.25, 16, 'Café'))\n"
            "turn.reply(contact=turnkey.Contact('+43', 'Ann'), quote=False)\n"
            "turn.reply('x', photo=['https://a', '/srv/b.png'], document=pathlib.Path('/srv/c.pdf'), voice='d',\n"
            "    files=[turnkey.Attachment(b'\\xff', 'audio', name='e.mp3', media_type='audio/mpeg'), turn.files[0], 'f',\n"
            "        turnkey.Attachment(turn.files[1], 'video_note', name='g')])",
            more="import pathlib\nB = turnkey.Button",
        )
        files = [{"type": "sticker", "id": "s", "url": "u", "size": 5}, {"type": "video", "url": "v"}]
        self.assertEqual(
            bot.ask(files=files)["done"]["replies"],
            [
                {
                    "text": "**b**",
                    "format": "markup",
                    "buttons": [
                        [{"label": "a", "data": "1"}, {"label": "b", "url": "https://b"}],
                        {"label": "c", "web_app": "https://c"},
                        {"label": "d", "phone": "+43"},
                        [{"label": "e", "request": "contact"}, {"label": "f", "request": "location"}],
                        {"label": "g", "data": "2"},
                    ],
                    "quote": True,
                    "silent": True,
                    "no_preview": True,
                    "protected": True,
                    "name": "menu",
                },
                {
                    "text": "Pick",
                    "keyboard": {"once": [[{"label": "one"}], [{"label": "two"}, {"label": "me", "request": "contact"}]]},
                    "quote": "menu",
                },
                {"text": "Gone", "keyboard": "remove", "quote": {"message": "7"}},
                {"text": "Picked", "keyboard": {"rows": [[{"label": "one"}]]}},
                {"location": {"latitude": 48.25, "longitude": 16, "title": "Café"}},
                {"contact": {"phone": "+43", "name": "Ann"}},
                {
                    "text": "x",
                    "files": [
                        {"type": "photo", "url": "https://a"},
                        {"type": "photo", "path": "/srv/b.png"},
                        {"type": "document", "path": "/srv/c.pdf"},
                        {"type": "voice", "id": "d"},
                        {"type": "audio", "base64": "/w==", "name": "e.mp3", "media_type": "audio/mpeg"},
                        {"type": "sticker", "id": "s"},
                        {"type": "document", "id": "f"},
                        {"type": "video_note", "url": "v", "name": "g"},
                    ],
                },
            ],
        )

    def test_other_verbs(self):
        bot = self.handler(
            "menu = turnkey.Reply('m').button('a', '1')\n"
            "turn.edit('menu', menu, )\n"
            "turn.edit(turnkey.Message('7'), 'x', buttons=[('b', '2')])\n"
            "turn.edit_pressed(menu)\n"
            "turn.edit_pressed('y', format='html')\n"
            "turn.delete('menu')\n"
            "turn.delete(True)\n"
            "turn.toast('Saved')\n"
            "turn.toast('Sure?', alert=True)\n"
            "params = {'list': (1, None)}\n"
            "turn.call('sendDice', params, name='dice')\n"
            "params['list'] = 2\n"
            "turn.call('getMe')\n"
            "turn.send_to('vk', '8', 'z', silent=True)\n"
            "turn.send_to('vk', '8', menu)\n"
            "turn.reply(menu)"
        )
        menu = {"text": "m", "buttons": [{"label": "a", "data": "1"}]}
        to = {"channel": "vk", "user": "8"}
        self.assertEqual(
            bot.ask()["done"]["replies"],
            [
                {**menu, "edit": "menu"},
                {"text": "x", "buttons": [{"label": "b", "data": "2"}], "edit": {"message": "7"}},
                {**menu, "edit": True},
                {"text": "y", "format": "html", "edit": True},
                {"delete": "menu"},
                {"delete": True},
                {"toast": "Saved"},
                {"toast": "Sure?", "alert": True},
                {"call": "sendDice", "params": {"list": [1, None]}, "name": "dice"},
                {"call": "getMe", "params": {}},
                {"text": "z", "silent": True, "send_to": to},
                {**menu, "send_to": to},
                menu,
            ],
        )

    # The platform.

    def test_the_platform_is_asked(self):
        bot = self.handler(
            "first = AWAIT turn.ask('getChatMember', {'user_id': 7})\n"
            "second = AWAIT turn.ask('getMe')\n"
            "try: AWAIT turn.ask('fail')\n"
            "except turnkey.PlatformError as error: turn.reply(str(error))\n"
            "turn.reply(repr((first, second)))"
        )
        bot.turn(3)
        asked = {"id": 3, "ask": 1, "method": "getChatMember", "params": {"user_id": 7}}
        self.assertEqual(bot.receive(), asked)
        bot.send({"id": 3, "ask": 1, "result": {"status": "member"}})
        self.assertEqual(bot.receive(), {"id": 3, "ask": 2, "method": "getMe", "params": {}})
        bot.send({"id": 3, "ask": 2, "result": None})
        bot.receive()
        bot.send({"id": 3, "ask": 3, "error": "no such method"})
        replies = bot.answer(3)["done"]["replies"]
        self.assertEqual(
            [reply["text"] for reply in replies], ["no such method", "({'status': 'member'}, None)"]
        )

    def test_files_are_fetched(self):
        bot = self.handler(
            "data = AWAIT turn.download(turn.files[0])\n"
            "size = AWAIT turn.download(turn.files[0], 'here', limit=9)\n"
            "try: AWAIT turn.download(turn.files[0], limit=1)\n"
            "except turnkey.PlatformError as error: turn.reply(str(error))\n"
            "turn.reply(repr((data, size)))"
        )
        file = {"type": "voice", "id": "v", "size": 3}
        bot.turn(3, files=[file])
        asked = bot.receive()
        path = asked.pop("path")
        self.assertEqual(asked, {"id": 3, "download": 1, "file": file, "limit": 20 * 1024 * 1024})
        with open(path, "xb") as written:
            written.write(b"\x00\xff!")
        bot.send({"id": 3, "download": 1, "path": path, "size": 3})
        asked = bot.receive()
        self.assertEqual((asked["limit"], asked["path"]), (9, os.path.abspath("here")))
        self.assertFalse(os.path.exists(os.path.dirname(path)))
        bot.send({"id": 3, "download": 2, "path": asked["path"], "size": 3})
        asked = bot.receive()
        bot.send({"id": 3, "download": 3, "error": "the file has more than 1 bytes"})
        replies = bot.answer(3)["done"]["replies"]
        self.assertEqual(
            [reply["text"] for reply in replies],
            ["the file has more than 1 bytes", "(b'\\x00\\xff!', 3)"],
        )
        self.assertFalse(os.path.exists(os.path.dirname(asked["path"])))

    def test_a_question_to_the_platform_ends_with_its_turn(self):
        bot = self.handler("AWAIT turn.download(turn.files[0])")
        bot.turn(3, files=[{"type": "voice", "id": "v"}])
        directory = os.path.dirname(bot.receive()["path"])
        bot.send({"cancel": 3})
        self.assertIn("cancelled", bot.answer(3)["fail"]["error"])
        bot.send({"id": 3, "download": 1, "error": "too late"}, {"id": 3, "ask": 9, "result": 1})
        self.assertFalse(os.path.exists(directory))

    # Queries.

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

    # Time-outs and the end.

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

    def test_the_end_while_a_query_waits(self):
        bot = self.handler("AWAIT turn.query('x')")
        bot.turn(1)
        bot.receive()
        bot.end()
        self.assertEqual((bot.wait(), bot.stderr), (0, ""))

    def test_nobody_reads_any_more(self):
        """EPIPE is the end, and quiet."""
        bot = self.handler("open(turn.text, 'w').close()")
        bot.stop_reading()
        bot.turn(1, os.path.join(bot.directory.name, "ran"))
        self.assertEqual((bot.wait(), bot.stderr), (0, ""))
        self.assertTrue(os.path.exists(os.path.join(bot.directory.name, "ran")))

    # What the worker should never send.

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

    # Text.

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

    # Failures.

    def test_an_exception_is_told_from_the_authors_first_line_on(self):
        bot = self.handler(
            "try:\n"
            "    deeper(turn.state)\n"
            "except KeyError as error:\n"
            "    if turn.text: raise ValueError('two\\nlines') from error\n"
            "    raise",
            more="def deeper(state):\n    return state['x']",
        )
        fail = bot.failure("")
        self.assertEqual(fail["error"], "KeyError: 'x'")
        lines = fail["trace"].splitlines()
        self.assertEqual(lines[0], "Traceback (most recent call last):")
        self.assertIn(f'File "{bot.script}", line ', lines[1])
        self.assertIn("in handle", lines[1])
        self.assertEqual(lines[-1], "KeyError: 'x'")
        self.assertNotIn("turnkey/_", fail["trace"])
        fail = bot.failure("x", 2)
        self.assertEqual(fail["error"], "ValueError: two lines")
        self.assertIn("direct cause", fail["trace"])
        self.assertNotIn("turnkey/_", fail["trace"])
        self.assertNotIn("asyncio", fail["trace"])

    def test_a_trace_has_a_bound(self):
        bot = self.handler("raise ValueError('ä' * 100_000)")
        fail = bot.failure()
        self.assertLessEqual(len(fail["trace"].encode()), 64 * 1024)
        self.assertLessEqual(len(fail["error"].encode()), 4 * 1024)
        self.assertTrue(fail["trace"].endswith("ä\n"))

    def test_an_exception_that_cannot_be_shown(self):
        bot = self.handler(
            "raise Bad()",
            more="class Bad(Exception):\n    def __str__(self): raise RuntimeError('no')",
        )
        self.assertEqual(bot.failure()["error"], "Bad: (an exception whose text cannot be made)")

    def test_retry_and_give_up(self):
        bot = self.handler(
            "if turn.text == 'retry': raise turnkey.Retry(1.5, 'closed\\nnow')\n"
            "if turn.text == 'plain': raise turnkey.Retry(30)\n"
            "if turn.text == 'give up': raise turnkey.GiveUp('no such order')\n"
            "if turn.text == 'exit': sys.exit(3)\n"
            "raise turnkey.Retry('30')"
        )
        fail = bot.failure("retry", 1)
        self.assertEqual((fail["error"], fail["retry_in"]), ("closed now", 1.5))
        self.assertIn("raise turnkey.Retry(1.5", fail["trace"])
        fail = bot.failure("plain", 2)
        self.assertEqual((fail["error"], fail["retry_in"]), ("try again in 30 s", 30))
        fail = bot.failure("give up", 3)
        self.assertEqual((fail["error"], fail["give_up"]), ("no such order", True))
        self.assertEqual(bot.failure("exit", 4)["error"], "SystemExit: 3")
        self.assertIn("seconds is a number, not '30' (str)", bot.failure("", 5)["error"])

    def test_mistakes_are_told_at_the_line_that_made_them(self):
        cases = (
            ("turn.reply(7)", "TypeError: turn.reply takes a str or a turnkey.Reply, not 7 (int)"),
            ("turn.reply(None)", "TypeError: turn.reply takes a str or a turnkey.Reply, not None"),
            ("turn.reply('')", "ValueError: a reply needs a text, a file, a location or a contact"),
            ("turnkey.Reply()", "ValueError: a reply needs a text, a file, a location or a contact"),
            ("turnkey.Reply('x').button(1, 'x')", "TypeError: a button's label is a str, not 1 (int)"),
            ("turnkey.Reply('x').button('x', None)", "TypeError: a button's data is a str, not None"),
            ("turn.reply(photo=b'x')", "ValueError: a photo of bytes needs a name: turnkey.Attachment(data, name=…)"),
            ("turn.reply(document=7)", "TypeError: a file is an address, a path, the platform's id, bytes, a turnkey.File or a turnkey.Attachment, not 7 (int)"),
            ("turn.reply(document=b'x' * 2**21)", "ValueError: a file of 2,097,152 bytes within a reply, which takes 1,048,576: write it to the disk, and give its path"),
            ("turn.reply(files='x')", "TypeError: a reply's files are a list of attachments, not 'x' (str)"),
            ("turnkey.Attachment('x', 'film')", "ValueError: a file's type is one of photo, document, voice, audio, video, video_note, sticker, animation, not 'film' (str)"),
            ("turn.reply('x', format='md')", "ValueError: a reply's format is plain, markup or html, not 'md' (str)"),
            ("turn.reply('x', buttons=[[7]])", "TypeError: a button is turnkey.Button(\"Yes\", \"tea:1\"), not 7 (int)"),
            ("turn.reply('x', buttons=['a'])", "TypeError: a row has turnkey.Button in it, and is not 'a' (str)"),
            ("turn.reply('x', buttons=turnkey.Button('a', 'b'))", "TypeError: buttons are rows of turnkey.Button, not Button('a', 'b') (Button)"),
            ("turn.reply('x', buttons=[[turnkey.Button('a')]])", "ValueError: the button 'a' under a message needs data, or does nothing"),
            ("turnkey.Button.link('a', None)", "TypeError: a button's url is a str, not None"),
            ("turnkey.Button('', 'a')", "ValueError: a button needs a label"),
            ("turn.reply('x', keyboard='x')", "TypeError: a keyboard is rows of texts, not 'x' (str)"),
            ("turn.reply('x', keyboard=[])", "ValueError: a keyboard needs a button; remove_keyboard=True takes it away"),
            ("turn.reply('x', once=True)", "ValueError: once is for a keyboard, and the reply has none"),
            ("turn.reply('x', location='here')", "TypeError: a location is turnkey.Location(latitude, longitude), not 'here' (str)"),
            ("turn.reply('x', location=(1, 'a'))", "TypeError: a location is in degrees, not 'a' (str)"),
            ("turn.reply('x', contact=(7,))", "TypeError: the parts of a contact are str, not 7 (int)"),
            ("turn.reply(turnkey.Reply('x'), silent=True)", "TypeError: turn.reply: give silent to turnkey.Reply, or a text instead of it"),
            ("turn.edit(7, 'x')", "TypeError: turn.edit: a message is the name that a reply had, turnkey.Message(id), or True for the one of this turn, not 7 (int)"),
            ("turn.edit('menu')", "ValueError: a reply needs a text, a file, a location or a contact"),
            ("turn.delete('')", "ValueError: the name of a message is empty"),
            ("turn.toast(None)", "TypeError: turn.toast takes a str, not None"),
            ("turn.call('x', [])", "TypeError: turn.call: the parameters are a dict, not [] (list)"),
            ("turn.call('x', {'a': {1}})", "TypeError: params[\"a\"] is {1} (set): JSON has no sets; write sorted(…), which is a list"),
            ("turn.send_to('vk', 7, 'x')", "TypeError: turn.send_to: the user is a str, not 7 (int)"),
            ("AWAIT turn.ask(7)", "TypeError: turn.ask: the method is a str, such as \"getMe\", not 7 (int)"),
            ("AWAIT turn.download('x')", "TypeError: turn.download takes a file of turn.files, not 'x' (str)"),
            ("AWAIT turn.download(turnkey.File('photo'), limit='1')", "TypeError: turn.download: limit is a number of bytes, not '1' (str)"),
            ("for n in range(1001): turn.reply('x')", "ValueError: more than 1,000 replies in one turn"),
            ("turn.execute(1)", "TypeError: the statement is text, not 1 (int)"),
            ("turn.execute('x', 'abc')", "TypeError: the parameters are a list or a tuple, such as (name,), not 'abc' (str)"),
            ("turn.execute('x', [float('nan')])", "ValueError: parameter ?1 is nan, which SQL does not have"),
            ("turn.execute('x', [1, 2**64])", "ValueError: parameter ?2 does not fit into 64 bits: 1.845e+19"),
            ("import datetime; turn.execute('x', [datetime.date(2026, 1, 2)])", "TypeError: parameter ?1 is datetime.date(2026, 1, 2) (date): write it as text, with .isoformat()"),
            ("turn.execute('x', [{}])", "TypeError: parameter ?1 is {} (dict): write it as text, with json.dumps()"),
            ("AWAIT turn.query('x', {'a': 1})", "TypeError: the parameters are a list or a tuple, such as (name,), not {'a': 1} (dict)"),
        )
        body = "".join(
            f"if turn.text == '{n}':\n    {line}\n" for n, (line, _) in enumerate(cases)
        )
        bot = self.handler(body)
        for n, (line, error) in enumerate(cases):
            with self.subTest(line):
                fail = bot.failure(str(n), n)
                self.assertEqual(fail["error"], error)
                frames = [text for text in fail["trace"].splitlines() if text.startswith("  File ")]
                self.assertTrue(all(bot.script in frame for frame in frames), fail["trace"])
                shown = line.replace("AWAIT ", self.wait)
                self.assertIn(shown.split("; ")[-1], fail["trace"])

    def test_mistakes_in_the_state_are_told_with_their_place(self):
        cases = (
            ("turn.state['visits'] = {1: 2}", 'TypeError: state["visits"] has the key 1 (int): keys are text in JSON, and it would come back as \'1\'; write str(…)'),
            ("turn.state[True] = 1", "TypeError: state has the key True (bool): keys are text in JSON, and it would come back as 'true'; write str(…)"),
            ("turn.state['a'] = [1, {'b': {1, 2}}]", 'TypeError: state["a"][1]["b"] is {1, 2} (set): JSON has no sets; write sorted(…), which is a list'),
            ("turn.state['a'] = float('nan')", 'ValueError: state["a"] is nan, which JSON does not have'),
            ("turn.state['a'] = [float('-inf')]", 'ValueError: state["a"][0] is -inf, which JSON does not have'),
            ("turn.state['a'] = b'x'", "TypeError: state[\"a\"] is b'x' (bytes): JSON has no bytes; write it as text, with base64.b64encode(…).decode()"),
            ("import datetime; turn.state['a'] = datetime.date(2026, 1, 2)", 'TypeError: state["a"] is datetime.date(2026, 1, 2) (date): JSON has no times; write it as text, with .isoformat()'),
            ("turn.state['a'] = turn.state", "ValueError: the state is nested more than 100 levels deep"),
            ("turn.state = [1]", "TypeError: turn.state is a dict, or None to forget the user; not [1] (list)"),
        )
        body = "".join(
            f"if turn.text == '{n}':\n    {line}\n" for n, (line, _) in enumerate(cases)
        )
        bot = self.handler(body + "if turn.text == 'fine': turn.state['x'] = (2**70, 1.5, True, None, [()])")
        for n, (line, error) in enumerate(cases):
            with self.subTest(line):
                self.assertTrue(bot.failure(str(n), n)["error"].startswith(error), error)
        answer = bot.ask("fine", 50)
        self.assertEqual(answer["done"]["state"], {"x": [2**70, 1.5, True, None, [[]]]})
        self.assertEqual(bot.ask("", 51, state={"x": 2**70})["done"]["state"], {"x": 2**70})
        self.assertIn("is no object", bot.failure("", 52, state=[1])["error"])

    def test_what_a_handler_returns_by_mistake(self):
        bot = self.handler("return turn.text or 7")
        self.assertIn("say it with turn.reply(…)", bot.failure("hello")["error"])
        self.assertIn("done", bot.ask("", 2))
        bot = self.handler("yield 1")
        self.assertIn("has a `yield` in it", bot.failure()["error"])

    def test_a_turn_that_has_ended_takes_nothing_more(self):
        bot = self.handler(
            "if turn.text == 'keep':\n"
            "    kept.append(turn)\n"
            "    return\n"
            "try: kept[0].reply('x')\n"
            "except RuntimeError as error: turn.reply(str(error))\n"
            "try: kept[0].execute('x')\n"
            "except RuntimeError as error: turn.reply(str(error))\n"
            "try: AWAIT kept[0].query('x')\n"
            "except RuntimeError as error: turn.reply(str(error))",
            more="kept = []",
        )
        bot.replies("keep")
        replies = bot.replies("x", 2)
        self.assertEqual(len(replies), 3)
        for reply in replies:
            self.assertIn("after the handler has returned", reply)

    # Signals.

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

    # Logging.

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

    # How it is started.

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


class Plain(Both, unittest.TestCase):
    kind, wait = "def", ""

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

    def test_no_asyncio_for_a_plain_handler(self):
        bot = self.handler("turn.reply(str('asyncio' in sys.modules))")
        bot = self.start(
            "import sys, turnkey\n"
            "turnkey.run(lambda turn: turn.reply(str('asyncio' in sys.modules)))\n"
        )
        self.assertEqual(bot.replies(), ["False"])

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


class Async(Both, unittest.TestCase):
    kind, wait = "async def", "await "

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

    def test_a_task_that_is_cancelled_before_it_begins(self):
        bot = self.start(COUNTER)
        turn = {"channel": "t", "user": "u", "update": "1", "kind": "message", "text": "x"}
        bot.send(json.dumps({"id": 1, "turn": turn}).encode() + b'\n{"cancel":1}\n')
        self.assertIn("cancelled", bot.answer(1)["fail"]["error"])
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

    def test_one_loop_for_all(self):
        bot = self.handler(
            "loops.add(asyncio.get_running_loop())\nturn.reply(str(len(loops)))",
            more="loops = set()",
        )
        for number in range(3):
            self.assertEqual(bot.replies("x", number), ["1"])


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
