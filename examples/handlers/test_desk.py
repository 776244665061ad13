"""Tests of the support desk, with no server: `turnkey handler exec -- python3 -m unittest test_desk`."""

import os
import unittest

import desk
from desk import LANGUAGES, Customer
from turnkey import Attachment, Chat, File, Sender
from turnkey.testing import Conversation, call, delete, edit, send_to, toast

HERE = os.path.dirname(os.path.abspath(__file__))
GROUP = "-1001234567890"
EN, DE = LANGUAGES["en"], LANGUAGES["de"]


class Desk(unittest.TestCase):
    def setUp(self) -> None:
        desk.GROUP = GROUP
        self.asked = []

        def platform(method, params):
            self.asked.append((method, params))
            return {"message_thread_id": 40 + len(self.asked), "name": params["name"]}

        migrations = os.path.join(HERE, "migrations")
        self.bot = Conversation(desk.answer, state=Customer, migrations=migrations, ask=platform)

    def writes(self, user, text="", message="1", **more):
        """A customer writes."""
        sender = Sender(user.title(), None, "de")
        return self.bot.sends(user, text, message=message, sender=sender, **more)

    def answers(self, topic, text="", group=GROUP, **more):
        """Somebody answers in the group."""
        return self.bot.sends("eve", text, chat=Chat(group, "group", "Desk", topic), **more)

    def test_the_menu_is_changed_in_its_place(self) -> None:
        self.assertEqual(
            self.bot.says("ann", "/start"), [delete("menu"), desk.menu(EN, name="menu")]
        )
        (languages,) = self.bot.presses("ann", "languages")
        self.assertEqual((languages.edits, languages.text), (True, "Language"))
        data = [row[0].data for row in languages.buttons]
        self.assertEqual(data, ["language en", "language de", "menu"])
        self.assertEqual(self.bot.presses("ann", "menu"), [edit(True, desk.menu(EN))])
        self.assertEqual(
            self.bot.presses("ann", "language de"),
            [toast("Gespeichert"), edit(True, desk.menu(DE))],
        )
        self.assertEqual(self.bot.state("ann").language, "de")

    def test_a_topic_for_each_customer(self) -> None:
        copied = self.writes("7", "Hallo?", message="5")
        copy = {"chat_id": GROUP, "message_thread_id": 41, "from_chat_id": "7", "message_id": 5}
        self.assertEqual(copied[0], call("copyMessage", copy))
        self.assertEqual((copied[1].text, copied[1].silent), (DE.received, True))
        copied = self.writes("7", message="6", files=[File("photo", id="shoe")])
        self.assertEqual(copied[0], call("copyMessage", {**copy, "message_id": 6}))
        self.writes("8", "Hello?")
        names = [("createForumTopic", {"chat_id": GROUP, "name": f"{n} ({n})"}) for n in "78"]
        self.assertEqual(self.asked, names)
        self.assertEqual(
            self.bot.query("SELECT * FROM topics ORDER BY topic"),
            [{"topic": "41", "customer": "7"}, {"topic": "42", "customer": "8"}],
        )

    def test_what_is_said_in_a_topic_goes_to_its_customer(self) -> None:
        self.writes("7", "Hallo?")
        self.assertEqual(
            self.answers("41", "at 10", markup="at **10**"),
            [send_to("telegram", "7", "at **10**", format="markup")],
        )
        bill = File("document", id="bill", name="bill.pdf")
        self.assertEqual(
            self.answers("41", files=[bill]),
            [send_to("telegram", "7", format="markup", files=[Attachment("bill", "document")])],
        )
        for topic, group in (("99", GROUP), (None, GROUP), ("41", "-1009")):
            self.assertEqual(self.answers(topic, "to nobody", group=group), [])

    def test_whoever_opens_the_chat_has_said_nothing(self) -> None:
        self.assertEqual(self.bot.sends("ann", kind="opened"), [])
        self.assertEqual(self.asked, [])


if __name__ == "__main__":
    unittest.main()
