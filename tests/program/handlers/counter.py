"""The program's own bot in Python: it numbers each user's messages."""

import turnkey


def count(turn: turnkey.Turn) -> None:
    turn.state["count"] = turn.state.get("count", 0) + 1
    turn.reply(f"{turn.state['count']}: {turn.text}")


turnkey.run(count)
