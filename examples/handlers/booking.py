"""A small real bot: visitors of a hair salon book an hour by pressing a button.

It has what a bot of your own will have: buttons, a table of its own, a step that is slow, since
the salon's calendar has to agree first, a question to the salon's owner, and a reminder an hour
before. Nothing here thinks of crashes, of restarts in between, of messages that come twice or of
two visitors at the same moment. `examples/booking.rs` is the
same bot in Rust; `test_booking.py` has its tests.

    TURNKEY_TELEGRAM_TOKEN=12345:ABC… turnkey run booking.py

`BOOKING_CALENDAR_MS` is how long the calendar takes to answer (3000). `BOOKING_OWNER`, such as
`telegram:4242`, is the owner's chat: each booking is asked of her there, and answered by a button.
Without it every free hour is the visitor's at once.
"""

from __future__ import annotations

import asyncio
import os
from dataclasses import dataclass
from datetime import datetime, timedelta, timezone
from typing import List, Optional

import turnkey

#: The hours that can be booked, and how long after the beginning of Monday each begins. The
#: salon is in Reykjavik, where it is UTC all year.
HOURS = {
    "Mon 10:00": timedelta(hours=10),
    "Mon 11:00": timedelta(hours=11),
    "Tue 10:00": timedelta(days=1, hours=10),
    "Tue 11:00": timedelta(days=1, hours=11),
}

#: What the timer is called that reminds a visitor.
REMINDER = "reminder"

SOMEBODY_WAS_QUICKER = "Somebody was quicker. What about another hour?"


@dataclass
class Visitor:
    """What the bot remembers of each visitor."""

    #: The hour that is theirs.
    hour: Optional[str] = None
    #: The hour that the owner was asked about.
    asked: Optional[str] = None


Turn = turnkey.AsyncTurn[Visitor]


async def answer(turn: Turn) -> None:
    if turn.called:
        return await decided(turn, turn.called.button == "yes")
    if turn.timer:
        return remind(turn)
    verb, _, hour = (turn.button or "").partition(" ")
    if verb == "book":
        await book(turn, hour)
    elif verb == "cancel":
        await cancel(turn, hour)
    else:
        await greet(turn)


async def greet(turn: Turn) -> None:
    """What anybody is told who just writes something."""
    hour, asked = turn.state.hour, turn.state.asked
    if hour is not None:
        turn.reply(turnkey.Reply(f"You have {hour}.").button("Cancel it", f"cancel {hour}"))
    elif asked is not None:
        turn.reply(f"The salon has not decided on {asked} yet.")
    else:
        await offer(turn, "When would you like to come?")


async def book(turn: Turn, hour: str) -> None:
    # They pressed an old button.
    if turn.state.hour is not None or turn.state.asked is not None:
        await greet(turn)
        return
    if hour not in await free_hours(turn):
        await offer(turn, SOMEBODY_WAS_QUICKER)
        return
    await confirm_in_calendar(hour)
    channel, _, owner = os.environ.get("BOOKING_OWNER", "").partition(":")
    if not owner:
        confirm(turn, hour)
        return
    who = turn.sender.name if turn.sender else "Somebody"
    buttons = [[turnkey.Button("Yes", "yes")], [turnkey.Button("No", "no")]]
    question = f"{who} would like {hour}. Is that all right?"
    turn.ask_in(channel, owner, question, "booking", buttons=buttons)
    turn.state.asked = hour
    turn.reply(f"I ask the salon about {hour}. You will hear from me.")


async def decided(turn: Turn, agrees: bool) -> None:
    """The owner has pressed a button: in a minute, or tomorrow."""
    hour, turn.state.asked = turn.state.asked, None
    if hour is None:
        return
    if not agrees:
        await offer(turn, f"{hour} is not possible. Another hour?")
    elif hour not in await free_hours(turn):
        await offer(turn, SOMEBODY_WAS_QUICKER)
    else:
        confirm(turn, hour)


def confirm(turn: Turn, hour: str) -> None:
    # If another visitor gets the hour between our look and here, this row cannot be
    # written. Then the turn fails and changes nothing; it is tried again, and the look says
    # that somebody was quicker.
    turn.execute("INSERT INTO bookings (hour, visitor) VALUES (?1, ?2)", (hour, visitor(turn)))
    turn.state.hour = hour
    # Whoever comes by `POST /http` can be told nothing later.
    if turn.channel != "http":
        turn.at(next_time(hour, datetime.now(timezone.utc)) - timedelta(hours=1), REMINDER)
    turn.reply(f"{hour} is yours.")
    turn.reply("Write to me if you have to cancel. See you!")


def remind(turn: Turn) -> None:
    """An hour before: also if the bot was started again since, and late if it was not there."""
    if turn.state.hour is not None:
        turn.reply(f"Do not forget: {turn.state.hour}.")


def next_time(hour: str, now: datetime) -> datetime:
    """When this hour begins next."""
    monday = now.replace(hour=0, minute=0, second=0, microsecond=0) - timedelta(days=now.weekday())
    begins = monday + HOURS[hour]
    return begins if begins > now else begins + timedelta(days=7)


async def cancel(turn: Turn, hour: str) -> None:
    if turn.state.hour != hour:
        await greet(turn)
        return
    turn.execute("DELETE FROM bookings WHERE hour = ?1", [hour])
    turn.cancel(REMINDER)
    turn.state.hour = None
    turn.reply(f"{hour} is cancelled.")


async def offer(turn: Turn, question: str) -> None:
    """Asks which of the free hours it shall be."""
    free = await free_hours(turn)
    if free:
        turn.reply(turnkey.Reply(question, buttons=[(hour, f"book {hour}") for hour in free]))
    else:
        turn.reply("Every hour is taken.")


async def free_hours(turn: Turn) -> List[str]:
    taken = {row["hour"] for row in await turn.query("SELECT hour FROM bookings")}
    return [hour for hour in HOURS if hour not in taken]


def visitor(turn: Turn) -> str:
    return f"{turn.channel}:{turn.user_id}"


async def confirm_in_calendar(hour: str) -> None:
    """Stands for the salon's calendar, a slow service somewhere else."""
    await asyncio.sleep(int(os.environ.get("BOOKING_CALENDAR_MS", "3000")) / 1000)


if __name__ == "__main__":
    turnkey.run(answer, state=Visitor)
