"""Measures the same bot in several languages, and what its author would take otherwise.

Started by `scripts/bench --handlers`. The bots and their peers are in benches/handlers/;
servers, load and checks are those of bench.py. Each run starts a server and a database of
its own; the servers take turns, every other round backwards, so that a machine that slows
down slows down all of them. Prints tables in Markdown; all raw numbers go to
target/bench/handlers.json.
"""

import argparse
import contextlib
import http.client
import json
import os
import re
import shutil
import sqlite3
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

sys.dont_write_bytecode = True  # Nothing is left in scripts/.

import bench  # noqa: E402
from bench import HOST, PATIENCE, ROOT, TARGET, Load, Server  # noqa: E402

BOTS = ROOT / "benches" / "handlers"
VENV = TARGET / "bench" / "venv"
PYTHON = VENV / "bin" / "python3"
# Of every server. With one, or with uvloop, aiohttp's row was no faster on two cores: it
# waits for the disk.
PROCESSES = 2
# Syncs that are timed before each run: noise of the disk shows there.
SYNCS = 50
# Load before each measured run, in seconds: connections, caches, compilers.
WARM_UP = 1
# An answer that takes longer than this, in seconds, is an error.
SLOWEST = 30
# Between two tries to get a first answer, in seconds.
PROBE = 0.002


def main():
    options = parse_options()
    # With --json nothing but JSON is on the standard output.
    with contextlib.redirect_stdout(sys.stderr if options.json else sys.stdout):
        result = measure(options)
    if options.json:
        print(json.dumps(result, indent=2))
    if any(run["problems"] for run in result["runs"]):
        sys.exit("FAILED: see the runs marked so above")


def parse_options():
    parser = argparse.ArgumentParser(
        prog="scripts/bench --handlers",
        description="Measures the same bot in Rust, Python and JavaScript, and in what a "
                    "Python author would take otherwise, with 2 processes each and every "
                    "answer synced to the disk.",
        epilog="Example: scripts/bench --handlers --seconds 2 --only 'python node'. Rows: "
               + "; ".join(f"{kind.name} ({kind.what})" for kind in ROWS),
    )
    parser.add_argument("--handlers", action="store_true", help="this measurement")
    parser.add_argument("--seconds", type=bench.at_least_one, default=4, metavar="N",
                        help=f"length of a run, after {WARM_UP} s of warm-up [default: 4]")
    parser.add_argument("--rounds", type=bench.at_least_one, default=3, metavar="N",
                        help="runs of each server [default: 3]; the median counts")
    parser.add_argument("--connections", type=bench.numbers, default=[128, 32, 1],
                        metavar="'N N'", help="numbers of connections [default: '128 32 1']")
    parser.add_argument("--only", type=names, default=ROWS, metavar="'ROW ROW'",
                        help="these rows, and rust, to which all are compared [default: all]")
    parser.add_argument("--program", type=Path, metavar="FILE",
                        help="a turnkey that is there, instead of building one")
    parser.add_argument("--dir", type=Path, default=TARGET / "bench",
                        help="where the databases are made [default: target/bench]")
    parser.add_argument("--json", action="store_true",
                        help="print the result as JSON, and the rest on the standard error")
    options = parser.parse_args()
    # As bench.py's servers want them.
    options.workers, options.sync = PROCESSES, "full"
    return options


def names(text):
    wanted = text.replace(",", " ").split()
    unknown = set(wanted) - {kind.name for kind in ROWS}
    if unknown:
        raise argparse.ArgumentTypeError(
            f"{', '.join(sorted(unknown))}: not one of {', '.join(k.name for k in ROWS)}")
    return [kind for kind in ROWS if kind is Rust or kind.name in wanted]


def measure(options):
    if options.program:
        if not shutil.which(options.program):
            sys.exit(f"scripts/bench: {options.program} is no program")
        bench.Turnkey.program = options.program.resolve()
    bench.require_programs()
    if not options.program:
        bench.build("--bin", "turnkey")
    options.dir = options.dir.resolve()
    options.dir.mkdir(parents=True, exist_ok=True)
    rows, left_out = install(options.only)
    result = {
        "machine": bench.describe_machine(options.dir),
        "settings": settings(options),
        "versions": versions(rows),
        "rows": {kind.name: kind.what for kind in rows},
        "left_out": left_out,
    }
    for part in "machine", "settings", "versions", "rows":
        bench.print_fields(part.capitalize(), result[part])
    # On the disk of --dir, and gone at the end. PostgreSQL's is not ours if we are root.
    with tempfile.TemporaryDirectory(prefix="run-", dir=options.dir) as scratch:
        os.chmod(scratch, 0o711)
        result["runs"] = run_rounds(options, rows, Path(scratch))
    result["machine"]["load_after"] = round(os.getloadavg()[0], 2)
    result["summary"] = summarise(result["runs"], rows)
    print_summary(result)
    output = TARGET / "bench" / "handlers.json"
    output.parent.mkdir(parents=True, exist_ok=True)
    output.write_text(json.dumps(result, indent=2) + "\n")
    print(f"\nAll numbers: {output}")
    return result


def settings(options):
    return {
        "seconds": options.seconds,
        "rounds": options.rounds,
        "connections": options.connections,
        "processes": PROCESSES,
        "sync": options.sync,
        "users": bench.USERS,
        "warm_up": WARM_UP,
        "program": str(bench.Turnkey.program),
        "dir": str(options.dir),
    }


# What is needed

def install(rows):
    """The rows that can be measured here, and why the others cannot."""
    left_out = {}
    python = subprocess.run([sys.executable, "-m", "venv", VENV], capture_output=True, text=True)
    if python.returncode == 0:
        # `turnkey run bot.py` takes this one, too.
        os.environ["VIRTUAL_ENV"] = str(VENV)
    for kind in rows:
        missing = next((word for word in kind.programs if not shutil.which(word)), None)
        if missing:
            left_out[kind.name] = f"{missing} is not installed"
        elif kind.packages and python.returncode != 0:
            left_out[kind.name] = f"no venv: {last_line(python)}"
        elif kind.packages:
            print(f"Installing {', '.join(kind.packages)} ...", flush=True)
            pip = subprocess.run(
                [PYTHON, "-m", "pip", "--disable-pip-version-check", "install", "--quiet",
                 *kind.packages], capture_output=True, text=True, stdin=subprocess.DEVNULL)
            if pip.returncode != 0:
                left_out[kind.name] = f"pip: {last_line(pip)}"
        if kind.services and kind.name not in left_out:
            services = subprocess.run([ROOT / "scripts" / "services", "install", kind.services],
                                      capture_output=True, text=True)
            if services.returncode != 0:
                left_out[kind.name] = f"{kind.services}: {last_line(services)}"
    print_left_out(left_out)
    return [kind for kind in rows if kind.name not in left_out], left_out


def last_line(process):
    return ((process.stderr or process.stdout).strip().splitlines() or ["no reason given"])[-1]


def print_left_out(left_out):
    for name, reason in left_out.items():
        print(f"\n!!! LEFT OUT: {name}: {reason}", flush=True)


def versions(rows):
    def said(*command):
        return subprocess.run(command, capture_output=True, text=True).stdout.strip()
    found = {"turnkey": said(bench.Turnkey.program, "--version").removeprefix("turnkey ")}
    if PYTHON.exists():
        found["python"] = said(PYTHON, "--version").removeprefix("Python ")
        packages = json.loads(said(PYTHON, "-m", "pip", "--disable-pip-version-check",
                                   "list", "--format", "json"))
        wanted = {re.split(r"\W", word)[0] for kind in rows for word in kind.packages}
        found |= {p["name"]: p["version"] for p in packages if p["name"] in wanted}
    if Node in rows:
        found["node"] = said("node", "--version").removeprefix("v")
    found["sqlite_of_python"] = sqlite3.sqlite_version
    return found


# The rows: each a server, whose processes are the author's code or what carries it

class Row:
    """What bench.py's servers do not measure."""

    programs = ()
    packages = ()
    services = None
    ready = None  # What each of PROCESSES says when it is up.

    def wait_until_up(self):
        """Returns how long the first answer took, in seconds from the start."""
        while not self.answers():
            if time.monotonic() - self.began > PATIENCE or self.process.poll() is not None:
                sys.exit(f"scripts/bench: {self.name} gives no answer:\n" + "\n".join(self.lines))
            time.sleep(PROBE)
        took = time.monotonic() - self.began
        self.answered_before += 1
        while self.ready and sum(self.ready in line for line in self.lines) < PROCESSES:
            if time.monotonic() - self.began > PATIENCE:
                sys.exit(f"scripts/bench: {self.name} is not ready:\n" + "\n".join(self.lines))
            time.sleep(PROBE)
        return took

    def answers(self):
        connection = http.client.HTTPConnection(HOST, self.port, timeout=PATIENCE)
        body = json.dumps({"user_id": "u1", "text": "hi", "id": "first"})
        try:
            connection.request("POST", "/http", body, {"Content-Type": "application/json"})
            answer = connection.getresponse()
            return answer.status == 200 and json.loads(answer.read()) == {
                "replies": [{"text": "1: hi"}]}
        except OSError:
            return False
        finally:
            connection.close()

    def processes(self):
        """Those that run the author's code, and the others."""
        return descendants(self.process.pid), []

    def cpu(self):
        return [total(bench.cpu_seconds, pids) for pids in self.processes()]

    def measure(self, run):
        used = [now - before for now, before in zip(self.cpu(), self.cpu_before)]
        code_us, rest_us = (seconds * 1e6 / max(run["ok"], 1) for seconds in used)
        code_kib, rest_kib = (total(lambda pid: bench.pss_kib([pid]), pids)
                              for pids in self.processes())
        return {"code_us": code_us, "rest_us": rest_us,
                "code_pss_kib": code_kib, "rest_pss_kib": rest_kib}


def descendants(pid):
    """A process, its children, and theirs."""
    found = [pid]
    for parent in found:
        for children in Path(f"/proc/{parent}/task").glob("*/children"):
            with contextlib.suppress(OSError):
                found += map(int, children.read_text().split())
    return found


# Some processes end meanwhile, such as PostgreSQL's autovacuum.

def having(what, pids):
    found = []
    for pid in pids:
        with contextlib.suppress(OSError):
            found += [pid] if what(pid) else []
    return found


def total(figure, pids):
    found = 0
    for pid in pids:
        with contextlib.suppress(OSError):
            found += figure(pid)
    return found


class TurnkeyRow(Row, bench.Turnkey):
    def processes(self):
        ours = os.stat(self.program)
        pids = descendants(self.process.pid)
        rest = having(lambda pid: os.path.samestat(os.stat(f"/proc/{pid}/exe"), ours), pids)
        return [pid for pid in pids if pid not in rest], rest


class Rust(TurnkeyRow):
    name = "rust"
    what = "turnkey, the bot compiled into it"


class PythonPlain(TurnkeyRow):
    name = "python"
    what = "turnkey run counter.py: def, up to 32 threads"
    handler = (BOTS / "counter.py",)


class PythonAsync(TurnkeyRow):
    name = "python-async"
    what = "turnkey run counter_async.py: async def, asyncio"
    handler = (BOTS / "counter_async.py",)


class Node(TurnkeyRow):
    name = "node"
    what = "turnkey run counter.mjs: async function"
    programs = ("node",)
    handler = (BOTS / "counter.mjs",)


class Peer(Row, Server):
    """A server in Python; its command and its database are in `open`."""

    def __init__(self, _, scratch):
        self.directory = Path(tempfile.mkdtemp(dir=scratch))
        try:
            command, database = self.open()
            # The bot's own file is compiled anew at each start; the packages are not.
            super().__init__(command, {"DATABASE": database, "PYTHONDONTWRITEBYTECODE": "1"})
        except BaseException:
            self.close()
            raise

    def stop(self):
        super().stop()
        self.close()

    def close(self):
        """Puts the database away, of whose counters the sum is in `counted` by then."""
        shutil.rmtree(self.directory, ignore_errors=True)

    def check(self, load):
        problems = self.compare(self.counted, load)
        bad = [line for line in self.lines if re.search(r"ERROR|CRITICAL|Traceback", line)]
        if bad:
            problems.append(f"{self.name} says ({len(bad)} lines): {bad[0]}")
        return {"turns": self.counted, "problems": problems}


class Aiohttp(Peer):
    name = "aiohttp"
    what = ("aiohttp on gunicorn, asyncio; SQLite in WAL mode, synchronous=FULL, a transaction "
            "a turn; repeated updates are not known, order is not kept")
    packages = ("aiohttp", "gunicorn")
    started = rf"Listening at: http://{HOST}:(\d+)"
    counted = None

    def open(self):
        self.file = self.directory / "bot.db"
        return [PYTHON, "-m", "gunicorn", "--workers", str(PROCESSES), "--bind", f"{HOST}:0",
                "--worker-class", "aiohttp.GunicornWebWorker",
                "--chdir", BOTS, "aiohttp_bot:app"], str(self.file)

    def close(self):
        if self.counted is None and self.file.exists():
            with contextlib.closing(sqlite3.connect(self.file)) as database:
                self.counted = database.execute("SELECT sum(count) FROM users").fetchone()[0]
        super().close()


class Dbos(Peer):
    name = "dbos"
    what = ("DBOS on FastAPI and uvicorn; PostgreSQL at its defaults (fsync and "
            "synchronous_commit on), a workflow with one transaction a turn; order is not kept")
    packages = ("dbos>=3,<4", "fastapi", "uvicorn[standard]", "psycopg[binary]")
    services = "postgres"
    started = rf"Uvicorn running on http://{HOST}:(\d+)"
    ready = "Application startup complete"
    counted = None
    postgres = None

    def open(self):
        os.chmod(self.directory, 0o777)
        self.postgres = subprocess.Popen(
            [ROOT / "scripts" / "services", "postgres", "--port"], stdin=subprocess.PIPE,
            stdout=subprocess.PIPE, text=True, env={**os.environ, "TMPDIR": self.directory})
        url = self.postgres.stdout.readline().strip()
        if not url:
            sys.exit("scripts/bench: PostgreSQL did not start; can its user reach "
                     f"{self.directory}? Name another directory with --dir")
        self.url = url.replace("postgres:", "postgresql:", 1)
        self.sql("CREATE TABLE users (id text PRIMARY KEY, count bigint NOT NULL)")
        return [PYTHON, "-m", "uvicorn", "--workers", str(PROCESSES), "--host", HOST,
                "--port", "0", "--no-access-log", "--app-dir", BOTS, "dbos_bot:app"], self.url

    def sql(self, statement):
        code = ("import psycopg, sys\n"
                "with psycopg.connect(sys.argv[1]) as database:\n"
                "    answer = database.execute(sys.argv[2])\n"
                "    print(answer.fetchone()[0] if answer.description else '')")
        return subprocess.run([PYTHON, "-c", code, self.url, statement], check=True,
                              stdout=subprocess.PIPE, text=True).stdout

    def processes(self):
        servers = having(lambda pid: Path(f"/proc/{pid}/comm").read_text().strip() == "postgres",
                         descendants(self.postgres.pid))
        return descendants(self.process.pid), servers

    def close(self):
        if self.postgres and self.postgres.poll() is None:
            if self.port:
                self.counted = int(self.sql("SELECT sum(count) FROM users"))
            self.postgres.communicate()  # Its input ends: it leaves.
        super().close()


ROWS = [Rust, PythonPlain, PythonAsync, Node, Aiohttp, Dbos]


# The runs

def run_rounds(options, rows, scratch):
    runs = []
    print(f"\n{'server':<12}  conns  {'turns/s':>8}  {'p50 ms':>7}  {'p99 ms':>7}  {'max ms':>7}"
          "  code us  rest us  code MiB  rest MiB  start ms  sync us  load")
    for connections in options.connections:
        for number in range(options.rounds):
            for kind in rows if number % 2 == 0 else reversed(rows):
                run = run_one(kind, options, connections, scratch)
                run["round"] = number
                runs.append(run)
                print_run(run)
    return runs


def run_one(kind, options, connections, scratch):
    sync_us = bench.fdatasync_time(scratch, SYNCS)
    with kind(options, scratch) as server:
        start = server.wait_until_up()
        with Load(server, connections, WARM_UP, timeout=SLOWEST) as load:
            server.answered_before += load.result()["ok"]
        server.cut_off_before = connections
        server.cpu_before = server.cpu()
        with Load(server, connections, options.seconds, timeout=SLOWEST) as load:
            run = bench.finish(server, load)
    run["start_ms"] = start * 1000
    run["fdatasync_us"] = sync_us
    run["load"] = round(os.getloadavg()[0], 2)
    return run


def print_run(run):
    print(f"{run['server']:<12}  {run['connections']:>5}  {run['requests_per_second']:>8,.0f}  "
          f"{run['p50_ms']:>7.2f}  {run['p99_ms']:>7.2f}  {run['max_ms']:>7.1f}  "
          f"{run['code_us']:>7.1f}  {run['rest_us']:>7.1f}  {run['code_pss_kib'] / 1024:>8.1f}  "
          f"{run['rest_pss_kib'] / 1024:>8.1f}  {run['start_ms']:>8.0f}  "
          f"{run['fdatasync_us']:>7}  {run['load']:>4.1f}",
          flush=True)
    bench.print_problems(run)


def summarise(runs, rows):
    """Median, lowest and highest of each number, for each server and number of connections.
    `ratio` is to the Rust handler of the same round."""
    keys = ("requests_per_second", "ratio", "p50_ms", "p99_ms", "code_us", "rest_us",
            "code_pss_kib", "rest_pss_kib")
    rust = {(run["connections"], run["round"]): run["requests_per_second"]
            for run in runs if run["server"] == Rust.name}
    for run in runs:
        run["ratio"] = run["requests_per_second"] / rust[run["connections"], run["round"]]
    load = [{"connections": connections, "server": kind.name,
             **{key: spread(r[key] for r in runs if r["connections"] == connections
                            and r["server"] == kind.name) for key in keys}}
            for connections in dict.fromkeys(run["connections"] for run in runs)
            for kind in rows]
    start = {kind.name: spread(r["start_ms"] for r in runs if r["server"] == kind.name)
             for kind in rows}
    return {"load": load, "start_ms": start}


def spread(values):
    values = sorted(values)
    return {"median": statistics.median(values), "min": values[0], "max": values[-1]}


def print_summary(result):
    machine = result["machine"]
    print("\nMedians (lowest to highest). Every answer was synced to the disk before it was "
          "given; after each\nrun the counters in the database added up to the answers, or it "
          "is marked FAILED. Ratio: to the\nRust handler in the same round. us: processor time "
          "a turn. Code: the processes that run the\nauthor's code, with their interpreters. "
          "Rest: turnkey's own; for dbos PostgreSQL's. MiB: PSS.\n"
          f"Load average {machine['load_before']} before, {machine['load_after']} after; an "
          f"fdatasync took {figures(spread(r['fdatasync_us'] for r in result['runs']), ',.0f')} "
          "us.\nOther programs on the machine make it slower, and with it all that sync each "
          "turn by itself.")
    summary = result["summary"]
    for connections in dict.fromkeys(entry["connections"] for entry in summary["load"]):
        print(f"\n### {connections} connection{'s' if connections > 1 else ''}\n")
        print_table(
            ["handler", "turns/s", "ratio", "p50 ms", "p99 ms", "code us", "rest us",
             "code MiB", "rest MiB"],
            [[entry["server"],
              figures(entry["requests_per_second"], ",.0f"),
              figures(entry["ratio"], ".3f" if entry["ratio"]["median"] < 0.1 else ".2f"),
              f"{entry['p50_ms']['median']:.2f}", f"{entry['p99_ms']['median']:.1f}",
              *(part(entry[key]["median"], 1) for key in ("code_us", "rest_us")),
              *(part(entry[key]["median"], 1024) for key in ("code_pss_kib", "rest_pss_kib"))]
             for entry in summary["load"] if entry["connections"] == connections])
    print("\n### From the start to the first answer\n")
    print_table(["handler", "ms"], [[name, figures(values, ",.0f")]
                                    for name, values in summary["start_ms"].items()])
    print_left_out(result["left_out"])


def figures(values, form):
    median, low, high = (format(values[key], form) for key in ("median", "min", "max"))
    return f"{median} ({low} to {high})"


def part(value, divisor):
    """What a server does not have is a dash."""
    return f"{value / divisor:,.1f}" if value else "-"


def print_table(head, rows):
    widths = [max(map(len, column)) for column in zip(head, *rows)]
    for row in [head, ["-" * width for width in widths], *rows]:
        print("| " + " | ".join(cell.ljust(width) for cell, width in zip(row, widths)) + " |")


if __name__ == "__main__":
    try:
        main()
    except KeyboardInterrupt:
        sys.exit("stopped")
