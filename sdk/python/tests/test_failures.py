"""Handlers that fail: what the log is told of an exception, and mistakes in what is said to a
turn, told at the line that made them.
"""

from __future__ import annotations

import sys
import unittest

from handlers import AsyncHandlers, PlainHandlers


class Both:
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
        self.assertIn("in deeper", fail["trace"])
        self.assertNotIn("KeyError", fail["trace"])
        self.assertNotIn("turnkey/_", fail["trace"])
        fail = bot.failure("x", 2)
        self.assertEqual(fail["error"], "ValueError: two lines")
        self.assertIn("KeyError: 'x'\n\nThe above exception was the direct cause", fail["trace"])
        self.assertNotIn("ValueError: two", fail["trace"])
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

    def test_what_an_error_says_beside_its_message_is_in_the_trace(self):
        bot = self.handler(
            "if turn.text == 'code': compile('1 +', 'rules.txt', 'eval')\n"
            "error = ValueError('no')\n"
            "error.__notes__ = ['table 7']\n"
            "raise error"
        )
        self.assertIn('File "rules.txt", line 1\n', bot.failure("code")["trace"])
        trace = bot.failure("note", 2)["trace"]
        self.assertNotIn("ValueError: no", trace)
        if sys.version_info >= (3, 11):
            self.assertTrue(trace.endswith("table 7\n"), trace)

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
        self.assertNotIn("Retry: closed", fail["trace"])
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
            ("turn.reply('x', buttons=['a'])", "TypeError: a row is a list such as [turnkey.Button('Yes', 'y')], not 'a' (str)"),
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


class Plain(Both, PlainHandlers, unittest.TestCase):
    pass


class Async(Both, AsyncHandlers, unittest.TestCase):
    pass


if __name__ == "__main__":
    unittest.main()
