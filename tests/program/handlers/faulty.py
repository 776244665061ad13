"""A handler that breaks the protocol in one way, named by its argument; `well` breaks none.

Without an SDK, and with nothing but the standard library: docs/HANDLERS.md has each line.
"""

import json
import signal
import sys
import threading
import time

WAY = sys.argv[1]
turns = open(3, "rb")
answers = open(4, "wb", buffering=0)
writing = threading.Lock()


def write(line):
    # A pipe may take a part of it; what another thread says comes after the whole.
    with writing:
        while line:
            line = line[answers.write(line):]


def say(**line):
    write(json.dumps(line).encode() + b"\n")


def done(identity, **fields):
    say(id=identity, done=fields)


def greet(offered):
    if WAY == "no-hello":
        return
    if WAY == "prints-hello":
        print(json.dumps({"hello": {"protocol": 1}}))
        return
    if WAY == "answer-first":
        done(1)
    hello = {"protocol": 1, "name": "faulty.py"}
    if WAY == "wrong-version":
        hello["protocol"] = 7
    if WAY == "echoes-version":
        hello["protocol"] = offered
    if WAY == "backwards":
        hello["concurrency"] = 4
    say(hello=hello)
    if WAY == "second-hello":
        say(hello=hello)


def turn(identity, turn):
    text = turn["text"]
    if WAY == "two-answers":
        done(identity)
    if WAY == "unknown-id":
        done(identity + 1000)
    if WAY == "garbage":
        write(b"Traceback (most recent call last):\n")
    if WAY == "invalid-utf8":
        write(b'{"id":%d,"done":{"replies":[{"text":"\xff"}]}}\n' % identity)
    if WAY == "too-long":
        write(b'{"id":1,"done":{"replies":[{"text":"%s"}]}}\n' % (b"x" * (16 << 20)))
    if WAY == "swallows":
        return
    if WAY == "closes-4":
        answers.close()
        time.sleep(3600)
    if WAY == "closes-3":
        turns.close()
        time.sleep(3600)
    if WAY == "dies":
        sys.exit("told to die")
    if WAY == "text-id":
        return done(str(identity))
    if WAY == "wrong-field":
        return done(identity, replies=[{"text": 7}])
    if WAY == "knows-all-kinds" and turn["kind"] == "a_later_kind":
        sys.exit("a kind that is new")
    if WAY == "own-state" and "state" in turn:
        return say(id=identity, fail={"error": "two\nlines"})
    if WAY == "fails":
        return say(id=identity, fail={"error": "no, never"})
    if WAY == "asks":
        say(id=identity, query=1, sql="SELECT ?1", params=[text])
        answer = json.loads(turns.readline())
        assert answer["id"] == identity and answer["query"] == 1, answer
    if WAY == "asks-lists":
        say(id=identity, query=1, sql="SELECT ?1", params=[["a", "list"]])
        assert "error" in json.loads(turns.readline())
    done(identity, state={"last": text}, replies=[{"text": text or "?"}])


if WAY == "sigterm":
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(5))
for line in turns:
    line = json.loads(line)
    if "hello" in line:
        greet(line["hello"]["protocol"])
    elif "turn" in line:
        if WAY == "sigterm":
            time.sleep(0.2)
        if WAY == "backwards":
            # Of those that are in hand at once, the last is the quickest.
            pause = 0.05 * (4 - line["id"] % 4)
            answer = threading.Timer(pause, turn, [line["id"], line["turn"]])
            answer.start()
            continue
        turn(line["id"], line["turn"])
    elif "ping" in line:
        if WAY == "no-pong":
            continue
        say(pong=line["ping"] + (7 if WAY == "other-pong" else 0))
    elif "cancel" in line:
        if WAY == "cancel-twice":
            done(line["cancel"])
    elif "drain" in line:
        if WAY == "leaves-early":
            sys.exit(0)
if WAY == "slow-exit":
    time.sleep(3600)
if WAY == "exit-code":
    sys.exit("told to end so")
