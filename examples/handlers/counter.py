"""The smallest bot: it counts each user's messages.

    turnkey run counter.py
    curl -H 'Content-Type: application/json' localhost:8080/http -d '{"user_id":"ann","text":"hi"}'
"""

import turnkey


def handle(turn: turnkey.Turn) -> None:
    turn.state["count"] = turn.state.get("count", 0) + 1
    turn.reply(f"{turn.state['count']}: {turn.text}")


if __name__ == "__main__":
    turnkey.run(handle)
