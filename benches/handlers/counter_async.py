import turnkey


async def handle(turn):
    turn.state["count"] = turn.state.get("count", 0) + 1
    turn.reply(f'{turn.state["count"]}: {turn.text}')


turnkey.run(handle)
