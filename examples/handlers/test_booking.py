"""Tests of the booking bot, with no server: `turnkey handler exec -- python3 -m unittest test_booking`."""

import os
import unittest
from datetime import datetime, timedelta, timezone

import booking
from booking import Visitor
from turnkey.testing import Conversation

HERE = os.path.dirname(os.path.abspath(__file__))

#: With every hour free.
OFFER = ["book Mon 10:00", "book Mon 11:00", "book Tue 10:00", "book Tue 11:00"]


class Booking(unittest.TestCase):
    def setUp(self) -> None:
        os.environ["BOOKING_CALENDAR_MS"] = "0"
        self.bot = Conversation(
            booking.answer, state=Visitor, migrations=os.path.join(HERE, "migrations")
        )

    def test_an_hour_is_offered_booked_and_cancelled(self) -> None:
        (offer,) = self.bot.says("ann", "/start")
        self.assertEqual(offer.text, "When would you like to come?")
        self.assertEqual([row[0].data for row in offer.buttons], OFFER)
        self.assertEqual(
            self.bot.presses("ann", "book Mon 10:00"),
            ["Mon 10:00 is yours.", "Write to me if you have to cancel. See you!"],
        )
        self.assertEqual(self.bot.state("ann"), Visitor("Mon 10:00"))
        self.assertEqual(
            self.bot.query("SELECT * FROM bookings"),
            [{"hour": "Mon 10:00", "visitor": "test:ann"}],
        )
        (mine,) = self.bot.says("ann", "hello")
        self.assertEqual(mine.text, "You have Mon 10:00.")
        cancelled = self.bot.presses("ann", mine.buttons[0][0].data)
        self.assertEqual(cancelled, ["Mon 10:00 is cancelled."])
        self.assertEqual(self.bot.query("SELECT * FROM bookings"), [])
        self.assertEqual(self.bot.timers("ann"), [])

    def test_a_reminder(self) -> None:
        self.bot.presses("ann", "book Mon 10:00")
        self.assertEqual(self.bot.timers("ann"), ["reminder"])
        self.assertEqual(self.bot.fires("ann", "reminder"), ["Do not forget: Mon 10:00."])

    def test_when_an_hour_is_next(self) -> None:
        wednesday = datetime(2026, 1, 7, 12, tzinfo=timezone.utc)
        monday = datetime(2026, 1, 12, 10, tzinfo=timezone.utc)
        self.assertEqual(booking.next_time("Mon 10:00", wednesday), monday)
        self.assertEqual(booking.next_time("Mon 10:00", monday), monday + timedelta(days=7))
        self.assertEqual(booking.next_time("Mon 11:00", monday), monday + timedelta(hours=1))

    def test_the_owner_decides(self) -> None:
        os.environ["BOOKING_OWNER"] = "test:olga"
        self.addCleanup(os.environ.pop, "BOOKING_OWNER")
        question, told = self.bot.presses("ann", "book Mon 10:00")
        self.assertEqual(question.text, "Somebody would like Mon 10:00. Is that all right?")
        self.assertEqual(told.text, "I ask the salon about Mon 10:00. You will hear from me.")
        (waits,) = self.bot.says("ann", "and?")
        self.assertEqual(waits.text, "The salon has not decided on Mon 10:00 yet.")
        self.bot.presses("bob", "book Mon 10:00")
        self.assertEqual(self.bot.answers("olga", "yes")[0], "Mon 10:00 is yours.")
        self.assertEqual(self.bot.answers("olga", "yes")[0].text, booking.SOMEBODY_WAS_QUICKER)
        self.bot.presses("bob", "book Mon 11:00")
        (sorry,) = self.bot.answers("olga", "no")
        self.assertEqual(sorry.text, "Mon 11:00 is not possible. Another hour?")

    def test_nobody_else_gets_an_hour_that_is_taken(self) -> None:
        self.bot.presses("ann", "book Mon 10:00")
        (other,) = self.bot.presses("bob", "book Mon 10:00")
        self.assertEqual(other.text, "Somebody was quicker. What about another hour?")
        self.assertEqual([row[0].data for row in other.buttons], OFFER[1:])
        self.assertEqual(self.bot.state("bob"), Visitor())

    def test_one_hour_each(self) -> None:
        self.bot.presses("ann", "book Mon 10:00")
        (mine,) = self.bot.presses("ann", "book Tue 10:00")
        self.assertEqual(mine.text, "You have Mon 10:00.")

    def test_every_hour_is_taken(self) -> None:
        for user, hour in enumerate(booking.HOURS):
            self.bot.presses(str(user), f"book {hour}")
        self.assertEqual(self.bot.says("eve", "hi"), ["Every hour is taken."])


if __name__ == "__main__":
    unittest.main()
