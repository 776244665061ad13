"""The protocol, as a worker sees it: hello, turns and their answers, and what they ask of the
platform. Lines and the end of the pipe are in `test_lines.py`.
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

    def test_hello_says_what_has_a_state_in_a_group(self):
        hello = self.handler("pass", arguments=", dialog_by='chat'").hello
        self.assertEqual(hello["dialog_by"], "chat")

    def test_hello_says_what_is_one_turn(self):
        hello = self.handler("pass", arguments=", overlap='burst 1500ms'").hello
        self.assertEqual(hello["overlap"], "burst 1500ms")
        by_channel = {"telegram": "burst 2m", "*": "interrupt"}
        hello = self.handler("pass", arguments=f", overlap={by_channel}").hello
        self.assertEqual(hello["overlap"], by_channel)

    def test_what_is_given_up_goes_to_its_own_function(self):
        hello = self.handler("pass").hello
        self.assertNotIn("given_up", hello)
        sorry = ", given_up=lambda turn, error: turn.reply(f'sorry: {error}')"
        bot = self.handler("turn.reply(str(turn.is_last_attempt))", arguments=sorry)
        self.assertIs(bot.hello["given_up"], True)
        self.assertEqual(bot.replies("hi", 1), ["False"])
        self.assertEqual(bot.replies("hi", 2, last_attempt=True), ["True"])
        self.assertEqual(bot.replies("hi", 3, given_up={"error": "away"}), ["sorry: away"])

    def test_hello_says_which_schedules_there_are(self):
        hello = self.handler("pass").hello
        self.assertNotIn("every", hello)
        every = "{'digest': ('0 9 * * MON', 'Europe/Vienna')}"
        hello = self.handler("pass", arguments=f", every={every}").hello
        digest = {"name": "digest", "cron": "0 9 * * MON", "zone": "Europe/Vienna"}
        self.assertEqual(hello["every"], [digest])

    def test_a_dialogs_own_overlap(self):
        bot = self.handler("turn.overlap(turn.text or None)\nif turn.text == 'latest': turn.overlap('burst 2m')")
        for said, overlap in (("interrupt", "interrupt"), ("latest", "burst 2m"), ("", None)):
            bot.turn(1, said)
            self.assertEqual(bot.answer(1)["done"], {"state": {}, "overlap": overlap})
        bot.turn(2, "bursts")
        error = 'turn.overlap takes each, albums, latest, interrupt or burst with a time, such as "burst 1500ms", or None, not \'bursts\' (str)'
        self.assertIn(error, bot.answer(2)["fail"]["error"])

    def test_a_look_at_whether_something_newer_came(self):
        bot = self.handler("turn.reply(str(AWAIT turn.has_newer()))")
        bot.turn(1)
        self.assertEqual(bot.receive(), {"id": 1, "newer": 1, "wait": False})
        bot.send({"id": 1, "newer": 1, "result": True})
        self.assertEqual(bot.answer(1)["done"]["replies"], [{"text": "True"}])

    def test_messages_of_one_turn(self):
        bot = self.handler(
            "turn.reply(repr((turn.text, [(u.text, u.update.id, u.photos and u.photos[0].id) for u in turn.updates])))"
        )
        self.assertEqual(bot.replies("hi", 1), [repr(("hi", [("hi", "u1", [])]))])
        parts = [
            {"update": "a", "kind": "message", "text": "x", "later": 1},
            {"update": "b", "kind": "message", "text": "", "files": [{"type": "photo", "id": "p"}]},
        ]
        self.assertEqual(
            bot.replies("x", 2, updates=parts), [repr(("x", [("x", "a", []), ("", "b", "p")]))]
        )

    def test_timers(self):
        bot = self.handler(
            "import datetime as d\n"
            "turn.after('10m', 'tea', {'a': [1]})\n"
            "turn.after(1.5, 'b')\n"
            "turn.after(d.timedelta(minutes=1), 'c', 'x')\n"
            "turn.after('3653d', 'h')\n"
            "turn.at(d.datetime(2030, 1, 1, tzinfo=d.timezone.utc), 'd')\n"
            "turn.at(1.25, 'e')\n"
            "turn.every('0 9 * * MON', 'Europe/Vienna', 'g', 7)\n"
            "turn.cancel('f')\n"
            "turn.reply(repr(turn.timer))"
        )
        done = bot.ask("hi", 1)["done"]
        self.assertEqual(
            done["timers"],
            [
                {"name": "tea", "after": "10m", "data": {"a": [1]}},
                {"name": "b", "after": 1500},
                {"name": "c", "after": 60000, "data": "x"},
                {"name": "h", "after": "3653d"},
                {"name": "d", "at": 1893456000000},
                {"name": "e", "at": 1250},
                {"name": "g", "cron": "0 9 * * MON", "zone": "Europe/Vienna", "data": 7},
                {"name": "f", "cancel": True},
            ],
        )
        self.assertEqual(done["replies"], [{"text": "None"}])
        timer = {"name": "tea", "due": 1893456000500, "late": 1500, "data": {"a": 1}}
        said = bot.replies("tea", 2, kind="timer", timer=timer)[0]
        self.assertTrue(said.startswith("Timer(name='tea', due=datetime.datetime(2030, 1, 1, 0, 0, 0, 500000, "), said)
        self.assertTrue(said.endswith("data={'a': 1}, late=datetime.timedelta(seconds=1, microseconds=500000))"), said)

    def test_timers_that_are_none(self):
        for call, error in (
            ("turn.after(-1, 'x')", "turn.after takes a time from now on, not -1"),
            ("turn.after(None, 'x')", 'turn.after takes a text such as "10m", seconds or a timedelta, not None'),
            ("turn.after('soon', 'x')", "turn.after: 'soon' is no time such as 500ms, 10s, 10m, 2h or 3d"),
            ("turn.after('2 h', 'x')", "turn.after: '2 h' is no time such as"),
            ("turn.after('4000d', 'x')", "turn.after: '4000d' (str) is more than ten years"),
            ("turn.after(4e8, 'x')", "turn.after: 400000000.0 (float) is more than ten years"),
            ("turn.after('1s', '')", "turn.after: a timer's name has 1 to 64 bytes"),
            ("turn.after('1s', 'x' * 65)", "turn.after: a timer's name has 1 to 64 bytes"),
            ("turn.after('1s', 7)", "turn.after: the name is a str, not 7 (int)"),
            ("turn.after('1s', 'x', {1})", "turn.after: the data is JSON:"),
            ("turn.at(__import__('datetime').datetime.now(), 'x')", "turn.at takes a datetime with its time zone"),
            ("turn.at('soon', 'x')", "turn.at takes a datetime or seconds, not 'soon' (str)"),
            ("turn.every('0 9 * *', 'UTC', 'x')", "turn.every takes five fields such as \"0 9 * * MON\", not '0 9 * *'"),
            ("turn.every('0 9 * * *', 'UTC', '')", "turn.every: a timer's name has 1 to 64 bytes"),
            ("turn.every('0 9 * * *', 'UTC', 'x' * 65)", "turn.every: a timer's name has 1 to 64 bytes"),
            ("turn.every(9, 'UTC', 'x')", "turn.every: the schedule is a str, not 9 (int)"),
            ("turn.every('0 9 * * *', None, 'x')", "turn.every: the time zone is a str, not None"),
            ("turn.cancel(None)", "turn.cancel: the name is a str, not None"),
        ):
            with self.subTest(call):
                self.assertIn(error, self.handler(call).failure()["error"])

    def test_callbacks(self):
        bot = self.handler(
            "import datetime as d\n"
            "turn.reply(turn.callback('paid'))\n"
            "turn.reply(turn.callback('done', valid='2d'))\n"
            "turn.callback('x', valid=1.5), turn.callback('y', valid=d.timedelta(minutes=1))\n"
            "turn.reply(repr(turn.called))"
        )
        done = bot.ask("hi", 1)["done"]
        opened = done["callbacks"]
        tokens = [callback.pop("token") for callback in opened]
        self.assertEqual(
            opened,
            [{"name": "paid"}, {"name": "done", "valid": "2d"}, {"name": "x", "valid": 1500},
             {"name": "y", "valid": 60000}],
        )
        for token in tokens:
            self.assertRegex(token, r"\A[A-Za-z0-9_-]{32}\Z")
        self.assertEqual(len(set(tokens)), 4)
        said = [reply["text"] for reply in done["replies"]]
        base = "https://bot.example/callback/"
        self.assertEqual(said, [base + tokens[0], base + tokens[1], "None"])

    def test_what_comes_back(self):
        bot = self.handler("turn.reply(repr(turn.called))")
        posted = {"name": "paid", "at": 1893456000500, "body": {"a": [1]}, "media_type": "a/b"}
        said = bot.replies("paid", 1, kind="callback", called=posted)[0]
        self.assertIn("Called(name='paid', at=datetime.datetime(2030, 1, 1,", said)
        self.assertIn("body={'a': [1]}, media_type='a/b', button=None, by=None)", said)
        posted["body"] = {"base64": "/wA="}
        said = bot.replies("paid", 2, kind="callback", called=posted)[0]
        self.assertIn("body=b'\\xff\\x00'", said)
        by = {"channel": "vk", "dialog": "8", "user": "9", "sender": {"name": "Bob"}}
        pressed = {"name": "ok", "at": 0, "body": None, "button": "yes", "by": by}
        said = bot.replies("ok", 3, kind="callback", called=pressed)[0]
        self.assertIn("button='yes', by=Presser(channel='vk', dialog='8', user='9', sender=", said)

    def test_questions_in_other_dialogs(self):
        bot = self.handler(
            "B = turnkey.Button\n"
            "turn.ask_in('vk', '8', 'Let in?', 'ok', buttons=[[B('Yes', '1'), B('No', '2')]])\n"
            "turn.ask_in('vk', '8', turnkey.Reply('Sure?').button('Yes', '1'), 'sure', valid=60)"
        )
        buttons = [{"label": "Yes", "data": "1"}, {"label": "No", "data": "2"}]
        asked = {"channel": "vk", "user": "8"}
        self.assertEqual(
            bot.ask("hi", 1)["done"]["replies"],
            [
                {"text": "Let in?", "buttons": [buttons], "ask_in": {**asked, "name": "ok"}},
                {"text": "Sure?", "buttons": buttons[:1],
                 "ask_in": {**asked, "name": "sure", "valid": 60000}},
            ],
        )

    def test_callbacks_that_are_none(self):
        for call, error in (
            ("turn.callback('')", "turn.callback: a callback's name has 1 to 64 bytes"),
            ("turn.callback(7)", "turn.callback: the name is a str, not 7 (int)"),
            ("turn.callback('x', valid=-1)", "turn.callback takes a time from now on, not -1"),
            ("turn.ask_in('vk', '8', 'a', 'x')", "a question needs a button that has data"),
            ("turn.ask_in('vk', 8, 'a', 'x')", "turn.ask_in: the user is a str, not 8 (int)"),
            (
                "turn.ask_in('vk', '8', turnkey.Reply('a').button('b', 'c'), '')",
                "turn.ask_in: a callback's name",
            ),
        ):
            with self.subTest(call):
                self.assertIn(error, self.handler(call).failure()["error"])

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
            " turn.message, turn.album, turn.dialog_id, turn.unreachable)))\n"
            "sender, place = turn.sender, turn.location\n"
            "turn.reply(f'{sender and sender.name} {place and place.title}')"
        )
        self.assertEqual(
            bot.replies("a *b* c_d"),
            [
                repr(("message", "", "a \\*b\\* c\\_d", [], [], None, None, None, None, None, None, "", "", "ann", None)),
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
            "chat": {"id": "-1", "type": "group", "title": "Tea", "topic": "4", "was": "-2"},
            "message": "55",
            "album": "12",
            "dialog": "ann@-1",
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
            "Chat(id='-1', type='group', title='Tea', topic='4', was='-2'), '55', '12', 'ann@-1', None)",
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

    def test_a_user_who_is_gone(self):
        bot = self.handler("turn.reply(turn.unreachable or '-')")
        gone = {"kind": "left", "event": "unreachable"}
        self.assertEqual(bot.replies("blocked", **gone), ["blocked"])
        self.assertEqual(bot.replies("blocked", 2, kind="left"), ["-"])

    def test_drafts_from_other_threads_never_come_after_the_answer(self):
        bot = self.handler(
            "def work():\n"
            "    try:\n"
            "        while True: turn.draft('x')\n"
            "    except RuntimeError: pass\n"
            "threading.Thread(target=work, daemon=True).start()\n"
            "time.sleep(0.01)"
        )
        for number in range(5):
            bot.turn(number)
            while "draft" in (message := bot.receive()):
                self.assertEqual(message["id"], number)
            self.assertIn("done", message)

    def test_drafts(self):
        bot = self.handler("turn.draft('so')\nturn.draft('so far')\nturn.reply('so far, so good')")
        bot.turn(3)
        self.assertEqual(bot.receive(), {"id": 3, "draft": "so"})
        self.assertEqual(bot.receive(), {"id": 3, "draft": "so far"})
        self.assertEqual(bot.answer(3)["done"]["replies"], [{"text": "so far, so good"}])

    def test_dead_replies(self):
        bot = self.handler(
            "for dead in AWAIT turn.dead_replies():\n"
            "    turn.reply(repr((dead.action, dead.error, dead.died.isoformat())))"
        )
        bot.turn(3)
        self.assertEqual(bot.receive(), {"id": 3, "dead_replies": 1})
        replies = [
            {"action": {"text": "hi"}, "error": "blocked", "died": 1_700_000_000_500},
            {"action": {"edit": "menu", "text": "x"}, "error": "gone", "died": 0},
        ]
        bot.send({"id": 3, "dead_replies": 1, "replies": replies})
        said = [reply["text"] for reply in bot.answer(3)["done"]["replies"]]
        self.assertEqual(said[0], "(Reply('hi'), 'blocked', '2023-11-14T22:13:20.500000+00:00')")
        self.assertEqual(said[1], "(edit('menu', 'x'), 'gone', '1970-01-01T00:00:00+00:00')")

    def test_a_question_to_the_platform_ends_with_its_turn(self):
        bot = self.handler("AWAIT turn.download(turn.files[0])")
        bot.turn(3, files=[{"type": "voice", "id": "v"}])
        directory = os.path.dirname(bot.receive()["path"])
        bot.send({"cancel": 3})
        self.assertIn("cancelled", bot.answer(3)["fail"]["error"])
        bot.send({"id": 3, "download": 1, "error": "too late"}, {"id": 3, "ask": 9, "result": 1})
        self.assertFalse(os.path.exists(directory))


class Plain(Both, PlainHandlers, unittest.TestCase):
    pass


class Async(Both, AsyncHandlers, unittest.TestCase):
    pass


if __name__ == "__main__":
    unittest.main()
