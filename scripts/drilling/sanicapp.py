"""The same for sanic."""
import asyncio
from sanic import Sanic
from sanic.response import raw

app = Sanic("drill")


@app.get("/")
async def root(request):
    return raw(b"")


@app.post("/echo")
async def echo(request):
    return raw(request.body)


@app.get("/sleep")
async def sleep(request):
    await asyncio.sleep(int(request.args.get("ms", "50")) / 1000)
    return raw(b"slept")
