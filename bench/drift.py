"""python -m bench.drift [--data FOLDER] [--only TEXT]: how often `monitor drift` errs, into docs/operate_drift.md.

Three tables. Families of 20 normal features: how often each method alarms without drift, and how often it finds one
feature's mean moved by 0.5 standard deviations. The same families for others' detectors at their defaults, and for all
at the same rate of false alarms. And real streams (--data, the public data sets), where a model's loss says what a
drift costs.

What is done is kept in build/drift.json, so that an interrupted run goes on, and the page is written after every row.
Others' detectors need the extra: pip install 'claude-flow[drift-peers]'.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np

from bench import detectors, streams
from claude_flow import files
from claude_flow.watch.detectors import METHODS

ROOT = Path(__file__).parents[1]
PAGE, KEPT = ROOT / "docs" / "operate_drift.md", ROOT / "build" / "drift.json"
FEATURES, SHIFT, MOVED, MEDIUM = 20, 0.5, 3, 0.02
SIZES = (100, 500, 2_000, 10_000, 100_000)
RUNS = 200
#: runs of what takes seconds each
FEWER = {"classifier": 50, "river KSWIN": 50, "Evidently": 50}


class Kept:
    """Results by name, kept in a file as they come."""

    def __init__(self, path: Path, only: str) -> None:
        self._path, self._only = path, only
        self.values: dict[str, Any] = json.loads(path.read_text()) if path.is_file() else {}

    def get(self, name: str, make: Callable[[], Any]) -> Any:
        """The result of that name, made if need be; None where it is not there and not asked for."""
        if name not in self.values and self._only in name:
            print(f"{name} ...", file=sys.stderr, flush=True)
            found = make()
            if self._path.is_file():  # another process may have added to it
                self.values = json.loads(self._path.read_text())
            self.values[name] = found
            files.atomic_write(self._path, json.dumps(self.values, indent=1))
            write(self.values)
        return self.values.get(name)


def family(run: int, n: int, shift: float) -> tuple[detectors.Array, detectors.Array]:
    generator = np.random.default_rng([run, n])
    one, other = generator.normal(size=(n, FEATURES)), generator.normal(size=(n, FEATURES))
    other[:, MOVED] += shift
    return one, other


def alarms(method: str, n: int, shift: float) -> list[int]:
    """In how many of how many families an alarm was raised."""
    runs = FEWER.get(method, RUNS)
    return [sum(detectors.ours(method)(*family(run, n, shift), run) for run in range(runs)), runs]


def scores(name: str, n: int, shift: float) -> list[float]:
    """A detector's statistic of every family: the smaller, the surer."""
    return [detectors.STATISTICS[name](*family(run, n, shift), run) for run in range(FEWER.get(name, RUNS))]


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m bench.drift", description=__doc__)
    parser.add_argument("--data", type=Path, help="the folder of the public data sets")
    parser.add_argument("--only", default="", help="do only what has this in its name, such as  'found' or 'Elec2'")
    options = parser.parse_args()
    kept = Kept(KEPT, options.only)
    for method in METHODS:
        for n in SIZES if method == "kolmogorov-smirnov" else (100, 500, 10_000):
            kept.get(f"false {method} {n}", lambda m=method, n=n: alarms(m, n, 0.0))  # type: ignore[misc]
        kept.get(f"found {method} 500", lambda m=method: alarms(m, 500, SHIFT))  # type: ignore[misc]
    for name in detectors.STATISTICS:
        if detectors.needs(name) is None or find_spec(detectors.needs(name) or ""):
            for shift in (0.0, SHIFT):
                kept.get(f"scores {name} {shift:g}", lambda a=name, s=shift: scores(a, 500, s))  # type: ignore[misc]
    if options.data:
        for stream in streams.read(options.data):
            for name in detectors.STREAMS:
                if detectors.needs(name) is None or find_spec(detectors.needs(name) or ""):
                    kept.get(f"stream {stream.name}: {name}", lambda s=stream, a=name: s.judged(a))  # type: ignore[misc]
    write(kept.values)
    return 0


def write(values: dict[str, Any]) -> None:
    """The page of what there is."""
    lines = [
        "<!-- Written by `python -m bench.drift`. -->",
        "",
        "# How often `monitor drift` errs",
        "",
        "## Simulated families",
        "",
        f"Families of {FEATURES} normal features, so many rows in the reference and in the stream, sensitivity medium "
        f"(a chance of any false alarm of at most {MEDIUM:.0%}). *False alarms*: families without drift that raised "
        f"one. *Found*: families in which one feature's mean had moved by {SHIFT:g} standard deviations, and an alarm "
        "was raised.",
        "",
        "| method | rows | false alarms | found |",
        "|---|---|---|---|",
    ]
    for name, value in values.items():
        kind, _, rest = name.partition(" ")
        if kind == "false":
            method, n = rest.split()
            there = values.get(f"found {method} {n}")
            found = "-" if there is None else f"{there[0]} of {there[1]}"
            lines.append(f"| {method} | {int(n):,} | {value[0]} of {value[1]} | {found} |")
    lines += ["", "## Beside others", "", *_beside(values), "", "## Real streams", "", *streams.lines(values)]
    files.atomic_write(PAGE, "\n".join(lines).rstrip() + "\n")


def _beside(values: dict[str, Any]) -> list[str]:
    found = [
        "The same families at 500 rows. *At its own limit*: with the detector's defaults (ours: medium). *At 5 %*: "
        "with the limit that 5 % of the families without drift pass, so that power is compared at the same rate of "
        "false alarms. A detector of single features looks at all 20; ADWIN and KSWIN read the reference, then the "
        "stream.",
        "",
        "| detector | families | false alarms at its own limit | found at its own limit | found at 5 % |",
        "|---|---|---|---|---|",
    ]
    for name, limit in detectors.DEFAULTS.items():
        quiet, moved = (values.get(f"scores {name} {shift:g}") for shift in (0.0, SHIFT))
        if quiet and moved:
            equal = float(np.quantile(quiet, 0.05))
            shares = [float(np.mean(np.array(part) <= limit)) for part in (quiet, moved)]
            power = float(np.mean(np.array(moved) < equal)) if equal > 0 else float(np.mean(np.array(moved) <= 0))
            found.append(f"| {name} | {len(quiet)} | {shares[0]:.0%} | {shares[1]:.0%} | {power:.0%} |")
    return found


if __name__ == "__main__":
    sys.exit(main())
