"""A small real bot: visitors of a hair salon book an hour by pressing a button.

It has what a bot of your own will have: buttons, a table of its own, and a step that is
slow, since the salon's calendar has to agree first. Nothing here thinks of crashes, of
messages that come twice or of two visitors at the same moment. `examples/booking.rs` is the
same bot in Rust; `test_booking.py` has its tests.

    TURNKEY_TELEGRAM_TOKEN=12345:ABC… turnkey run booking.py

`BOOKING_CALENDAR_MS` is how long the calendar takes to answer (3000).
"""

from __future__ import annotations

import asyncio
import os
from dataclasses import dataclass
from typing import List, Optional

import turnkey

#: The hours that can be booked.
HOURS = ["Mon 10:00", "Mon 11:00", "Tue 10:00", "Tue 11:00"]


@dataclass
class Visitor:
    """What the bot remembers of each visitor."""

    #: The hour that is theirs.
    hour: Optional[str] = None


Turn = turnkey.AsyncTurn[Visitor]


async def answer(turn: Turn) -> None:
    verb, _, hour = (turn.button or "").partition(" ")
    if verb == "book":
        await book(turn, hour)
    elif verb == "cancel":
        await cancel(turn, hour)
    else:
        await greet(turn)


async def greet(turn: Turn) -> None:
    """What anybody is told who just writes something."""
    hour = turn.state.hour
    if hour is None:
        await offer(turn, "When would you like to come?")
    else:
        turn.reply(turnkey.Reply(f"You have {hour}.").button("Cancel it", f"cancel {hour}"))


async def book(turn: Turn, hour: str) -> None:
    # They pressed an old button.
    if turn.state.hour is not None:
        await greet(turn)
        return
    if hour not in await free_hours(turn):
        await offer(turn, "Somebody was quicker. What about another hour?")
        return
    await confirm_in_calendar(hour)
    # If another visitor gets the hour between our look and here, this row cannot be
    # written. Then the turn fails and changes nothing; it is tried again, and the look says
    # that somebody was quicker.
    turn.execute("INSERT INTO bookings (hour, visitor) VALUES (?1, ?2)", (hour, visitor(turn)))
    turn.state.hour = hour
    turn.reply(f"{hour} is yours.")
    turn.reply("Write to me if you have to cancel. See you!")


async def cancel(turn: Turn, hour: str) -> None:
    if turn.state.hour != hour:
        await greet(turn)
        return
    turn.execute("DELETE FROM bookings WHERE hour = ?1", [hour])
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
