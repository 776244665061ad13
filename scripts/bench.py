"""Measures turnkey under load, next to a bare hyper server on the same machine.

Started by scripts/bench. Each run starts a server of its own, has wrk post
messages to it over kept-alive connections, every one a new message of one of
10,000 users, and checks afterwards that the database holds exactly the turns
that were answered. The servers take turns, so that a machine that slows down
slows down both. Prints a table; all raw numbers go to target/bench/bench.json.
"""

import argparse
import json
import os
import platform
import re
import shutil
import signal
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
TARGET = Path(os.environ.get("CARGO_TARGET_DIR", ROOT / "target")).resolve()
LUA = ROOT / "scripts" / "bench.lua"
HOST = "127.0.0.1"
USERS = 10_000
WRK_THREADS = 2
# For a server to start or to stop, in seconds.
PATIENCE = 30
MILLION = 1_000_000
MILLION_STEP = 100_000
ACCEPT_CONNECTIONS = 64
# Between two looks at the workers' sockets, in seconds.
ACCEPT_SAMPLE = 0.05
ONE_REQUEST_EACH = "one request per connection"


def main():
    options = parse_options()
    require_programs()
    build("--bin", "turnkey", "--example", "bare_hyper")
    options.dir.mkdir(parents=True, exist_ok=True)
    result = {"machine": describe_machine(options.dir), "settings": describe(options)}
    print_fields("Machine", result["machine"])
    print_fields("Settings", result["settings"])
    # On the disk of --dir, and gone at the end.
    with tempfile.TemporaryDirectory(prefix="run-", dir=options.dir) as scratch:
        scratch = Path(scratch)
        if options.million:
            result["million"] = run_million(options, scratch)
        elif options.accept:
            result["accept"] = run_accept(options, scratch)
        else:
            result["runs"] = run_comparison(options, scratch)
            result["summary"] = summarise(result["runs"])
            print_summary(result["summary"])
    output = TARGET / "bench" / "bench.json"
    output.parent.mkdir(parents=True, exist_ok=True)
    output.write_text(json.dumps(result, indent=2) + "\n")
    print(f"\nAll numbers: {output}")
    if any(problems_of(result)):
        sys.exit("FAILED: see the runs marked so above")


def parse_options():
    parser = argparse.ArgumentParser(
        prog="scripts/bench",
        description="Measures turnkey under load, next to a bare hyper server.",
        epilog="Example: scripts/bench --seconds 10 --connections '1 32 128'",
    )
    parser.add_argument("--seconds", type=at_least_one, default=5, metavar="N",
                        help="length of a run [default: 5]")
    parser.add_argument("--repeat", type=at_least_one, default=3, metavar="N",
                        help="runs of each server [default: 3]; the median counts")
    parser.add_argument("--connections", type=numbers, default=[32, 128], metavar="'N N'",
                        help="numbers of connections [default: '32 128']")
    parser.add_argument("--workers", type=at_least_one, default=2, metavar="N",
                        help="turnkey's workers and hyper's threads [default: 2]")
    parser.add_argument("--sync", choices=["full", "normal"], default="full",
                        help="what an answered turn survives: a power cut, or the death "
                             "of the program [default: full]")
    parser.add_argument("--dir", type=Path, default=TARGET / "bench",
                        help="where the databases are made [default: target/bench]")
    parser.add_argument("--beside", type=Path, metavar="FILE",
                        help="another turnkey, such as one of before a change: it runs in "
                             "turn with this one")
    mode = parser.add_mutually_exclusive_group()
    mode.add_argument("--million", action="store_true",
                      help="instead: one run of 1,000,000 turns that shows the memory "
                           "at every 100,000")
    mode.add_argument("--accept", action="store_true",
                      help="instead: how evenly the workers share connections")
    mode.add_argument("--handlers", action="store_true",
                      help="instead: the same bot in Rust, Python and JavaScript, and in "
                           "what a Python author would take otherwise; options of its own: "
                           "scripts/bench --handlers --help")
    return parser.parse_args()


def at_least_one(text):
    number = int(text)
    if number < 1:
        raise argparse.ArgumentTypeError("at least 1")
    return number


def numbers(text):
    return [at_least_one(word) for word in text.split()]


# What is needed, and the machine

def require_programs():
    if not sys.platform.startswith("linux"):
        sys.exit("scripts/bench: Linux only (it reads /proc)")
    if not shutil.which("cargo"):
        sys.exit("scripts/bench: cargo is missing; install Rust from https://rustup.rs")
    if shutil.which("wrk"):
        return
    how = "scripts/bench: wrk is missing; install it (Debian, Ubuntu: apt-get install wrk)"
    if os.geteuid() != 0 or not shutil.which("apt-get"):
        sys.exit(how)
    print("Installing wrk ...")
    quietly = {"stdin": subprocess.DEVNULL, "stdout": subprocess.DEVNULL}
    for command in ["update"], ["install", "-y", "wrk"]:
        if subprocess.run(["apt-get", "-qq", *command], **quietly).returncode != 0:
            sys.exit(how)


def build(*targets):
    print("Building (profile dist) ...", flush=True)
    command = ["cargo", "build", "--profile", "dist", *targets]
    if subprocess.run(command, cwd=ROOT).returncode != 0:
        sys.exit("scripts/bench: the build failed")


def describe_machine(directory):
    cpu = re.search(r"model name\s*: (.*)", Path("/proc/cpuinfo").read_text())
    memory = re.search(r"MemTotal:\s*(\d+)", Path("/proc/meminfo").read_text())
    device, file_system = file_system_of(directory)
    if file_system in ("tmpfs", "ramfs"):
        sys.exit(f"scripts/bench: {directory} is in memory ({file_system}), where a sync costs "
                 "nothing; name a directory on a disk with --dir")
    return {
        "cpu": cpu[1] if cpu else platform.machine(),
        "cores": len(os.sched_getaffinity(0)),
        "memory_gib": round(int(memory[1]) / 2**20, 1),
        "kernel": platform.release(),
        "file_system": f"{file_system} on {device}",
        "fdatasync_us": fdatasync_time(directory),
        "load_before": round(os.getloadavg()[0], 2),
    }


def file_system_of(directory):
    """Device and type of the mount that holds a directory: the longest that fits."""
    def holds(mount):
        return directory == Path(mount) or Path(mount) in directory.parents
    directory = directory.resolve()
    mounts = [line.split() for line in Path("/proc/mounts").read_text().splitlines()]
    device, _, kind = max((m[:3] for m in mounts if holds(m[1])), key=lambda m: len(m[1]))
    return device, kind


def fdatasync_time(directory, syncs=300):
    """Median time of appending a page and syncing it, in microseconds."""
    times = []
    with tempfile.TemporaryFile(dir=directory) as file:
        for _ in range(syncs):
            os.write(file.fileno(), bytes(4096))
            start = time.perf_counter()
            os.fdatasync(file.fileno())
            times.append(time.perf_counter() - start)
    return round(statistics.median(times) * 1e6)


def describe(options):
    return {
        "seconds": options.seconds,
        "repeat": options.repeat,
        "connections": options.connections,
        "workers": options.workers,
        "beside": str(options.beside) if options.beside else None,
        "sync": options.sync,
        "dir": str(options.dir),
        "users": USERS,
        "wrk_threads": WRK_THREADS,
    }


# The servers

class Server:
    """A process that serves HTTP; its output is collected line by line."""

    started = None  # A pattern whose group is the port.

    def __init__(self, command, environment=None):
        self.answered_before = 0  # Turns that the load did not ask for, and how many
        self.cut_off_before = 0  # more there may be whose answers nobody waited for.
        self.began = time.monotonic()
        self.process = subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT, text=True, env={**os.environ, **(environment or {})})
        self.lines = []
        self.port = None
        self.is_up = threading.Event()
        self.reader = threading.Thread(target=self._read, daemon=True)
        self.reader.start()
        if not self.is_up.wait(PATIENCE) or self.port is None:
            self.process.kill()
            sys.exit(f"scripts/bench: {command[0]} did not start:\n" + "\n".join(self.lines))

    def _read(self):
        for line in self.process.stdout:
            self.lines.append(line.rstrip("\n"))
            match = re.search(self.started, line)
            if match:
                self.port = int(match[1])
                self.is_up.set()
        self.is_up.set()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.stop()

    def stop(self):
        if self.process.poll() is None:
            self.process.terminate()
        try:
            self.process.wait(PATIENCE)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        self.reader.join(PATIENCE)

    def children(self):
        pid = self.process.pid
        return [int(n) for n in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]

    def pss_kib(self):
        return pss_kib([self.process.pid, *self.children()])

    def measure(self, _):
        """What can be seen of the server itself, at the end of its load."""
        return {"pss_kib": self.pss_kib()}

    def compare(self, counters, load):
        """The problems with the sum of all counters, of which each turn adds one."""
        more = counters - load["ok"] - self.answered_before
        # Answers that were on their way when wrk stopped are not in its count.
        if 0 <= more <= load["connections"] + self.cut_off_before:
            return []
        return [f"{load['ok']} answers of 200 and {self.answered_before} before, "
                f"but {counters} turns in the database"]


class BareHyper(Server):
    name = "bare hyper"
    started = r"listening on (\d+)"

    def __init__(self, options, _):
        program = TARGET / "dist" / "examples" / "bare_hyper"
        super().__init__([program, "--workers", str(options.workers)])

    def check(self, _):
        return {"problems": []}


class Turnkey(Server):
    name = "turnkey"
    started = rf"Started .* on http://{HOST}:(\d+)"
    program = TARGET / "dist" / "turnkey"
    handler = ()  # The bot, if it is not the program's own.

    def __init__(self, options, scratch):
        self.directory = Path(tempfile.mkdtemp(dir=scratch))
        self.storage = f"sqlite:{self.directory / 'bot.db'}"
        super().__init__([
            self.program, "run", "--host", HOST, "--port", "0",
            "--workers", str(options.workers), "--sync", options.sync,
            "--storage", self.storage, *self.handler])

    def worker_pids(self):
        return [pid for pid in self.children()
                if "worker" in Path(f"/proc/{pid}/comm").read_text()]

    def counters(self):
        """The sum of all users' counters: the turns that the database knows of."""
        dump = subprocess.run([self.program, "dump", "--storage", self.storage],
                              capture_output=True, text=True)
        if dump.returncode != 0:
            sys.exit(f"scripts/bench: turnkey dump failed: {dump.stderr}")
        return sum(json.loads(line)["state"]["count"] for line in dump.stdout.splitlines())

    def check(self, load):
        """What the database and the last line say, once the server has stopped."""
        counters = self.counters()
        shutil.rmtree(self.directory)  # Now, not at the end: a run can fill gigabytes.
        stopped = next((line for line in self.lines if line.startswith("Stopped:")), "")
        said = {word: int(number.replace(",", "")) for number, word in
                re.findall(r"([\d,]+) (turns|commits|syncs)\b", stopped)}
        problems = self.compare(counters, load)
        if "turns" in said and said["turns"] != counters:
            problems.append(f"it says {said['turns']} turns, the database has {counters}")
        if self.process.returncode != 0:
            problems.append(f"turnkey's exit code is {self.process.returncode}")
        unexpected = [line for line in self.lines
                      if not re.match(r"(Handler|Serving|Started|Running as root|Stopping|Stopped)\b",
                                   line)]
        if unexpected:
            problems.append(f"turnkey says ({len(unexpected)} lines): {unexpected[0]}")
        result = {"turns": counters, **said, "problems": problems}
        if said.get("turns") and said.get("commits"):
            result["turns_per_commit"] = said["turns"] / said["commits"]
            result["syncs_per_turn"] = said.get("syncs", 0) / said["turns"]
        return result


class Other(Turnkey):
    name = "the other"

    def __init__(self, options, scratch):
        self.program = options.beside
        super().__init__(options, scratch)


# The load

class Load:
    """A wrk that runs."""

    count = 0  # Makes the ids of each run different.

    def __init__(self, server, connections, seconds, close=False, timeout=2):
        Load.count += 1
        self.connections = connections
        arguments = [f"r{Load.count}", str(USERS)] + (["close"] if close else [])
        self.process = subprocess.Popen(
            ["wrk", "--threads", str(min(WRK_THREADS, connections)),
             "--connections", str(connections), "--duration", f"{seconds}s",
             "--timeout", f"{timeout}s", "--script", LUA,
             f"http://{HOST}:{server.port}/http", "--", *arguments],
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.process.kill()  # Of no effect when it has ended.
        self.process.wait()

    def end_early(self):
        """Has wrk end its run now and print its numbers."""
        self.process.send_signal(signal.SIGINT)

    def result(self):
        output = self.process.communicate()[0]
        try:
            measured = json.loads(output.splitlines()[-1])
        except (IndexError, ValueError):
            sys.exit(f"scripts/bench: wrk failed:\n{output}")
        ok = measured["answers"] - measured["non_2xx"]
        return {
            "connections": self.connections,
            "ok": ok,
            "requests_per_second": measured["answers"] / (measured["microseconds"] / 1e6),
            "p50_ms": measured["p50_us"] / 1000,
            "p99_ms": measured["p99_us"] / 1000,
            "max_ms": measured["max_us"] / 1000,
            **{key: measured[key] for key in ("non_2xx", "broken", "timeouts")},
        }


def finish(server, load):
    """A run's numbers: of the load, of the memory, of the server after its stop."""
    run = {"server": server.name, **load.result()}
    run.update(server.measure(run))
    server.stop()
    run.update(server.check(run))
    for key in ("non_2xx", "broken", "timeouts"):
        if run[key]:
            run["problems"].append(f"{run[key]} requests {key}")
    return run


# Turnkey beside bare hyper

def run_comparison(options, scratch):
    runs = []
    kinds = [BareHyper, Turnkey] + [Other] * (options.beside is not None)
    print("\nserver      conns  requests/s  p50 ms  p99 ms  max ms  turns/commit  syncs/turn  PSS MiB")
    for connections in options.connections:
        for _ in range(options.repeat):
            for kind in kinds:
                with (kind(options, scratch) as server,
                      Load(server, connections, options.seconds) as load):
                    run = finish(server, load)
                runs.append(run)
                print_run(run)
    return runs


def print_run(run):
    print(f"{run['server']:<11} {run['connections']:>5}  {run['requests_per_second']:>10,.0f}  "
          f"{run['p50_ms']:>6.2f}  {run['p99_ms']:>6.2f}  {run['max_ms']:>6.1f}  "
          f"{run.get('turns_per_commit', 0):>12.1f}  {run.get('syncs_per_turn', 0):>10.4f}  "
          f"{run['pss_kib'] / 1024:>7.1f}", flush=True)
    print_problems(run)


def print_problems(run):
    for problem in run["problems"]:
        print(f"  FAILED: {problem}", flush=True)


def summarise(runs):
    """For each number of connections the medians, and turnkey's part of bare hyper."""
    keys = ("requests_per_second", "p50_ms", "p99_ms", "max_ms", "turns_per_commit",
            "syncs_per_turn", "pss_kib")
    summary = []
    for connections in dict.fromkeys(run["connections"] for run in runs):
        entry = {"connections": connections}
        for name in dict.fromkeys(run["server"] for run in runs):
            mine = [r for r in runs if r["connections"] == connections and r["server"] == name]
            entry[name] = {key: statistics.median(r[key] for r in mine)
                           for key in keys if all(key in r for r in mine)}
        entry["ratio"] = (entry[Turnkey.name]["requests_per_second"]
                          / entry[BareHyper.name]["requests_per_second"])
        if Other.name in entry:
            entry["ratio_to_other"] = (entry[Turnkey.name]["requests_per_second"]
                                       / entry[Other.name]["requests_per_second"])
        summary.append(entry)
    return summary


def print_summary(summary):
    print("\nMedians. A turn of turnkey is committed to the disk before it is answered.")
    print("conns  bare hyper/s  turnkey/s  ratio  turnkey p50 ms  p99 ms  turns/commit  PSS MiB")
    for entry in summary:
        bare, ours = entry[BareHyper.name], entry[Turnkey.name]
        print(f"{entry['connections']:>5}  {bare['requests_per_second']:>12,.0f}  "
              f"{ours['requests_per_second']:>9,.0f}  {entry['ratio']:>5.2f}  "
              f"{ours['p50_ms']:>14.2f}  {ours['p99_ms']:>6.2f}  "
              f"{ours.get('turns_per_commit', 0):>12.1f}  {ours['pss_kib'] / 1024:>7.1f}")
    for entry in summary:
        if Other.name in entry:
            other = entry[Other.name]
            print(f"{entry['connections']:>5}  the other {other['requests_per_second']:,.0f}/s, "
                  f"p99 {other['p99_ms']:.2f} ms: turnkey has {entry['ratio_to_other']:.2f} of that")


# A million turns

def run_million(options, scratch):
    """The memory must not grow with the turns."""
    memory = []
    print(f"\n{'turns':>10}  {'seconds':>7}  {'PSS MiB':>7}  {'database MiB':>12}")
    start = time.monotonic()
    with (Turnkey(options, scratch) as server,
          Load(server, max(options.connections), 24 * 3600) as load):
        turns, due = 0, MILLION_STEP
        while turns < MILLION:
            time.sleep(0.5)
            if load.process.poll() is not None:
                sys.exit(f"scripts/bench: wrk ended early:\n{load.process.stdout.read()}")
            turns = server.counters()
            if turns >= due:
                point = {
                    "turns": turns,
                    "seconds": round(time.monotonic() - start, 1),
                    "pss_kib": server.pss_kib(),
                    "files_kib": sum(f.stat().st_size for f in server.directory.iterdir()) // 1024,
                }
                memory.append(point)
                print(f"{turns:>10,}  {point['seconds']:>7}  {point['pss_kib'] / 1024:>7.1f}  "
                      f"{point['files_kib'] / 1024:>12.1f}", flush=True)
                due = (turns // MILLION_STEP + 1) * MILLION_STEP
        load.end_early()
        run = finish(server, load)
    print(f"{run['turns']:,} turns, {run['requests_per_second']:,.0f}/s while the database was "
          f"read every half second; after the load {run['pss_kib'] / 1024:.1f} MiB")
    print_problems(run)
    return {"memory": memory, "run": run}


# How evenly connections are shared

def run_accept(options, scratch):
    """How many connections each worker holds, on average, and what work it does."""
    result = {}
    for kind, close in (f"{ACCEPT_CONNECTIONS} kept alive", False), (ONE_REQUEST_EACH, True):
        with (BareHyper(options, scratch) as server,
              Load(server, ACCEPT_CONNECTIONS, options.seconds, close) as load):
            bare = finish(server, load)
        with Turnkey(options, scratch) as server:
            pids = server.worker_pids()
            sockets, cpu = [count_sockets(p) for p in pids], [cpu_seconds(p) for p in pids]
            samples = []
            with Load(server, ACCEPT_CONNECTIONS, options.seconds, close) as load:
                while load.process.poll() is None:
                    samples.append([count_sockets(p) - before for p, before in zip(pids, sockets)])
                    time.sleep(ACCEPT_SAMPLE)
                used = [round(cpu_seconds(p) - before, 2) for p, before in zip(pids, cpu)]
                run = finish(server, load)
        held = [round(statistics.mean(worker), 1) for worker in zip(*samples)]
        result[kind] = {"bare": bare, "connections_held": held, "cpu_seconds": used, **run}
        print(f"\n{kind}: {run['requests_per_second']:,.0f} requests/s, p50 {run['p50_ms']:.1f} ms"
              f" (bare hyper {bare['requests_per_second']:,.0f}/s, {bare['p50_ms']:.1f} ms)")
        print(f"  connections of each worker, mean of {len(samples)} looks  {held}")
        print(f"  seconds of CPU of each worker                {used}, the busiest has "
              f"{max(used) / max(sum(used), 0.01):.0%}")
        print_problems(run)
    return result


def count_sockets(pid):
    directory = Path(f"/proc/{pid}/fd")
    count = 0
    for fd in directory.iterdir():
        try:
            count += os.readlink(fd).startswith("socket:")
        except FileNotFoundError:
            pass  # Closed meanwhile.
    return count


def pss_kib(pids):
    """Memory of these processes; what they share counts once."""
    total = 0
    for pid in pids:
        rollup = Path(f"/proc/{pid}/smaps_rollup").read_text()
        total += int(re.search(r"^Pss:\s*(\d+)", rollup, re.MULTILINE)[1])
    return total


def cpu_seconds(pid):
    """Processor time of a process, and of its children that have ended."""
    # After the name, in parentheses: fields 14 to 17 are user and system time.
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return sum(map(int, fields[11:15])) / os.sysconf("SC_CLK_TCK")


# Small things

def problems_of(result):
    """The problems of every run in the result."""
    runs = result.get("runs", [])
    runs = runs + list(result.get("accept", {}).values())
    runs = runs + ([result["million"]["run"]] if "million" in result else [])
    return [problem for run in runs for problem in run["problems"]]


def print_fields(title, fields):
    print(f"\n{title}")
    for name, value in fields.items():
        print(f"  {name.replace('_', ' '):<14} {value}")


if __name__ == "__main__":
    try:
        main()
    except KeyboardInterrupt:
        sys.exit("stopped")
