"""A handler without an SDK that does what the message says, also what no handler may do.
The tests of failures talk to it: `turnkey run -- python3 odd.py MARK CONCURRENCY`. MARK only
tells its processes from others'. Everything in it runs in threads, as many as there are turns.

| message | effect |
| --- | --- |
| `wait FILE` | answers once FILE is there |
| `die`, `kill` | its process ends, with code 3 or by a signal |
| `hang` | never answers |
| `late 2` | answers after two seconds, whatever happens meanwhile |
| `garbage`, `nan` | a line that is no JSON |
| `latin` | a line that is no UTF-8 |
| `long` | a line over the limit |
| `unknown`, `twice` | answers to what was not asked |
| `hello` | a second hello |
| `close` | closes its pipe of answers and lives on |
| `binary` | prints binary garbage, then counts |
| `child` | starts a process that would live for an hour, then counts |
| `environment` | the names of its variables |
| `state JSON`, `reply JSON`, `sql JSON`, `fail JSON` | this in its answer |
| `ask SQL` | the rows of that question, or the error |
| `asks N SQL` | the same N times at once |
| `attempt` | which attempt it is |
| anything else | counts |

Each turn writes its beginning and its end to the file `MARK.turns`; so is noted what is
cancelled.
"""

import json
import os
import subprocess
import sys
import threading
import time

mark, concurrency = sys.argv[1], int(sys.argv[2])
lock = threading.Lock()
answers = {}


def write(line):
    if not isinstance(line, bytes):
        line = json.dumps(line).encode()
    line += b"\n"
    with lock:
        while line:
            line = line[os.write(4, line) :]


def note(what, turn):
    with open(mark + ".turns", "a") as file:
        file.write(f"{what} {turn['user']} {turn['update']}\n")


def ask(id, sql, number=1):
    waiting = answers[id, number] = threading.Event()
    write({"id": id, "query": number, "sql": sql})
    waiting.wait()
    return answers.pop((id, number))


def obey(id, turn):
    word, _, rest = turn["text"].partition(" ")
    done = {"state": {"count": (turn.get("state") or {}).get("count", 0) + 1}}
    said = f"{done['state']['count']}: {turn['text']}"
    if word == "wait":
        while not os.path.exists(rest):
            time.sleep(0.005)
    elif word == "die":
        os._exit(3)
    elif word == "kill":
        os.abort()
    elif word == "hang":
        return
    elif word == "late":
        time.sleep(float(rest))
    elif word == "garbage":
        return write(b"Hello, world!")
    elif word == "latin":
        return write(b'{"id":%d,"done":{"replies":[{"text":"\xe4"}]}}' % id)
    elif word == "nan":
        return write(b'{"id":%d,"done":{"state":{"x":NaN}}}' % id)
    elif word == "long":
        return write(b'{"id":%d,"done":{"replies":[{"text":"%s"}]}}' % (id, b"x" * (17 << 20)))
    elif word == "unknown":
        return write({"id": id + 1_000_000, "done": {}})
    elif word == "twice":
        write({"id": id, "done": done})
    elif word == "hello":
        return write({"hello": {"protocol": 1}})
    elif word == "close":
        return os.close(4)
    elif word == "binary":
        os.write(1, bytes(range(256)) + b"\n\x1b[31m\r\n")
    elif word == "child":
        subprocess.Popen([sys.executable, "-c", "import time; time.sleep(3600)", mark])
    elif word == "environment":
        said = " ".join(sorted(os.environ))
    elif word in ("state", "sql"):
        done[word] = json.loads(rest)
    elif word == "ask":
        said = json.dumps(ask(id, rest))
    elif word == "asks":
        count, _, sql = rest.partition(" ")
        all = [None] * int(count)
        def one(n):
            all[n] = ask(id, sql, n)
        threads = [threading.Thread(target=one, args=[n]) for n in range(int(count))]
        [thread.start() for thread in threads]
        [thread.join() for thread in threads]
        said = f"{sum('rows' in answer for answer in all)} answers"
    elif word == "attempt":
        said = str(turn["attempt"])
    elif word == "fail":
        return write({"id": id, "fail": json.loads(rest)})
    done.setdefault("replies", [{"text": said}])
    if word == "reply":
        done["replies"] = json.loads(rest)
    # Before the answer: with it the user's next turn may begin.
    note("end", turn)
    write({"id": id, "done": done})
    return True


def run(id, turn):
    note("begin", turn)
    if not obey(id, turn):
        note("end", turn)


write({"hello": {"protocol": 1, "name": "odd.py", "concurrency": concurrency}})
for line in os.fdopen(3, encoding="utf-8", newline="\n"):
    line = json.loads(line)
    if "turn" in line:
        threading.Thread(target=run, args=[line["id"], line["turn"]], daemon=True).start()
    elif "query" in line:
        key = line["id"], line["query"]
        waiting, answers[key] = answers[key], line
        waiting.set()
    elif "ping" in line:
        write({"pong": line["ping"]})
    elif "cancel" in line:
        note("cancel", {"user": "-", "update": line["cancel"]})
