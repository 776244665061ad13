"""As examples/failing.rs."""

import os

import turnkey


def book(turn):
    turn.state["n"] = turn.state.get("n", 0) + 1
    if turn.text == "last" and turn.is_last_attempt:
        turn.reply("a little")
    elif turn.text == "never":
        raise turnkey.GiveUp("there is no such day")
    elif turn.text == "last" or turn.text.startswith("fail"):
        raise OSError("the calendar is away")
    else:
        turn.reply(f"{turn.state['n']}: {turn.text}")


def sorry(turn, error):
    if turn.text == "fail twice":
        raise ValueError("no words for it")
    if turn.text == "fail and die":
        os.abort()
    if turn.text == "fail and tell 7":
        turn.send_to("vk", "7", f"{turn.user_id}: {error}")
    turn.state["n"] = turn.state.get("n", 0) + 100
    turn.reply(f"Sorry: {error}")


turnkey.run(book, given_up=sorry)
