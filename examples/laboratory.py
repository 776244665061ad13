"""What a laboratory has measured, in pandas: a beginning for a notebook.

turnkey bench storage --out report/
python3 examples/laboratory.py report/

`runs.csv` has a line for each run; `results.json` has more: histograms, time series, settings.
The schema of the latter: `turnkey bench schema`.
"""
import json
import pathlib
import sys

import pandas as pd

CASE = ["engine", "settings", "sync", "processes", "in_flight", "rate", "state_bytes"]


def runs(report: pathlib.Path) -> pd.DataFrame:
    """Every good run, a row each."""
    table = pd.read_csv(report / "runs.csv")
    return table[table["ok"]]


def medians(table: pd.DataFrame) -> pd.DataFrame:
    """The middle of the repeats, with the lowest and the highest."""
    # An engine without settings or rates has empty cells, which group by themselves.
    groups = table.groupby(CASE, dropna=False, sort=False)
    speed = groups["turns_per_second"].agg(["median", "min", "max", "count"])
    return speed.join(groups[["p50_us", "p99_us", "slowest_share"]].median())


def histograms(report: pathlib.Path) -> pd.DataFrame:
    """All latencies of an engine in a situation, added up: microseconds and counts."""
    results = json.loads((report / "results.json").read_text())
    rows = [
        {"engine": run["engine"], "processes": run["processes"], "in_flight": run["in_flight"]}
        | {"us": us, "count": count}
        for run in results["runs"]
        if run["failed"] is None
        for us, count in run["latency_histogram"]
    ]
    table = pd.DataFrame(rows, columns=["engine", "processes", "in_flight", "us", "count"])
    return table.groupby(["engine", "processes", "in_flight", "us"])["count"].sum().reset_index()


def quantile(table: pd.DataFrame, share: float) -> float:
    """Of one engine's histogram: the latency that this share is not slower than."""
    table = table.sort_values("us")
    reached = table["count"].cumsum() >= share * table["count"].sum()
    return float(table.loc[reached, "us"].iloc[0])


def series(report: pathlib.Path) -> pd.DataFrame:
    """What happened when: a row for each part of each run's window."""
    results = json.loads((report / "results.json").read_text())
    parts = [
        pd.DataFrame(
            {
                "engine": run["engine"],
                "repeat": run["repeat"],
                "ms": [n * run["series"]["part_ms"] for n in range(len(run["series"]["turns"]))],
                "turns": run["series"]["turns"],
                "max_us": run["series"]["max_us"],
            }
        )
        for run in results["runs"]
    ]
    return pd.concat(parts, ignore_index=True)


if __name__ == "__main__":
    report = pathlib.Path(sys.argv[1] if len(sys.argv) > 1 else "report")
    print(medians(runs(report)).to_string())
    for (engine, processes, in_flight), table in histograms(report).groupby(
        ["engine", "processes", "in_flight"]
    ):
        print(f"{engine}, {processes} x {in_flight}: p99 {quantile(table, 0.99):.0f} us")
    print(series(report).groupby("engine")["max_us"].max().to_string())
