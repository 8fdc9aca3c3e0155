"""python -m bench.drift [--data FOLDER] [--only TEXT]: how often `monitor drift` errs, into docs/operate_drift.md.

Three tables, in half an hour of one core. Families of 20 normal features: how often each method alarms without drift,
and how often it finds one feature's mean moved by 0.5 standard deviations. The same families for others' detectors at
their defaults, and for all at the same rate of false alarms. And real streams (--data, the public data sets), where a
model's loss says what a drift costs.

Every run is kept in build/drift.json, so that an interrupted command goes on where it was (--seconds ends it), and the
page is written as it grows. Others' detectors need the extra: pip install 'claude-flow[drift-peers]'.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Callable
from functools import lru_cache, partial
from pathlib import Path
from typing import Any

import numpy as np

from bench import detectors, streams
from claude_flow import files
from claude_flow.measure import machine
from claude_flow.watch import drift
from claude_flow.watch.detectors import METHODS
from claude_flow.watch.samples import Sample

ROOT = Path(__file__).parents[1]
PAGE, KEPT = ROOT / "docs" / "operate_drift.md", ROOT / "build" / "drift.json"
FEATURES, SHIFT, MOVED, MEDIUM = 20, 0.5, 3, 0.02
SIZES = (100, 500, 2_000, 10_000, 100_000)
RUNS = 200
#: runs of what takes seconds each
FEWER = {"river KSWIN": 100, "Evidently, any column": 100}
SECONDS = "seconds of one core"


class Kept:
    """Results by name, kept in a file as they come: one a run, in order."""

    def __init__(self, path: Path, only: str, until: float) -> None:
        self._path, self._only, self._until = path, only, until
        self.values = self.read()
        self._used, self._saved = time.process_time(), time.monotonic()
        self._new: set[str] = set()

    def read(self) -> dict[str, list[Any]]:
        """What there is, of all processes of this command."""
        found: dict[str, list[Any]] = json.loads(self._path.read_text()) if self._path.is_file() else {}
        return found

    def wants(self, name: str, count: int) -> bool:
        """Whether runs of that name are asked for and lack."""
        return self._only in name and len(self.values.get(name, [])) < count and time.monotonic() < self._until

    def runs(self, name: str, run: Callable[[int], Any], count: int) -> None:
        """Have so many runs of that name, if it is asked for and there is time."""
        if not self.wants(name, count):
            return
        there = self.values.setdefault(name, [])
        while len(there) < count and time.monotonic() < self._until:
            there.append(run(len(there)))
            self._new.add(name)
            if time.monotonic() > self._saved + 15:
                print(f"{name}: {len(there)} of {count}", file=sys.stderr, flush=True)
                self.save()

    def save(self) -> None:
        """Write what is new beside what other processes of this command have done."""
        with files.locked(self._path.with_name(f".{self._path.name}.lock")):
            values = self.read()
            values.update({name: self.values[name] for name in self._new})
            now = time.process_time()
            values[SECONDS] = [values.get(SECONDS, [0.0])[0] + now - self._used]
            self._used, self._saved = now, time.monotonic()
            self._new.clear()
            files.atomic_write(self._path, json.dumps(values))
        write(values)


def family(run: int, n: int, shift: float) -> tuple[detectors.Array, detectors.Array]:
    generator = np.random.default_rng([run, n])
    one, other = generator.normal(size=(n, FEATURES)), generator.normal(size=(n, FEATURES))
    other[:, MOVED] += shift
    return one, other


@lru_cache(maxsize=1)
def samples(run: int, n: int, shift: float) -> tuple[Sample, Sample]:
    """The family as a reference and a stream; every method reads the same."""
    one, other = family(run, n, shift)
    return detectors.sample(one), detectors.sample(other)


def alarms(method: str, n: int, shift: float, run: int) -> int:
    """Whether a method of ours alarms of that family."""
    return int(drift.compare(*samples(run, n, shift), method, seed=run)["verdict"] == "drift")


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m bench.drift", description=__doc__)
    parser.add_argument("--data", type=Path, help="the folder of the public data sets")
    parser.add_argument("--only", default="", help="do only what has this in its name, such as 'found' or 'Elec2'")
    parser.add_argument("--seconds", type=float, default=float("inf"), help="end after so long; the next call goes on")
    options = parser.parse_args()
    KEPT.parent.mkdir(exist_ok=True)
    kept = Kept(KEPT, options.only, time.monotonic() + options.seconds)
    others = [name for name in detectors.STATISTICS if detectors.there(name)]
    for name in others:
        for shift in (0.0, SHIFT):
            kept.runs(
                f"scores {name} {shift:g}",
                lambda run, name=name, shift=shift: detectors.STATISTICS[name](*family(run, 500, shift), run),  # type: ignore[misc]
                FEWER.get(name, RUNS),
            )
    if options.data:
        count = 1 + streams.QUIET  # the first run is the stream itself, the others are the reference's own rows
        for called, read in streams.READERS.items():
            wanted = {name: f"stream {called}: {name}" for name in detectors.STREAMS if detectors.there(name)}
            if any(kept.wants(kind, count) for kind in wanted.values()):
                stream = read(options.data)
                for name, kind in wanted.items():
                    kept.runs(kind, lambda run, stream=stream, name=name: stream.judged(name, run), count)  # type: ignore[misc]
    families = [(n, kind) for n in SIZES for kind in ("false", "found") if kind == "false" or n == 500]
    for part in (RUNS // 2, RUNS):  # a command that is interrupted has counted half of them at every size
        for n, kind in families:
            shift = SHIFT if kind == "found" else 0.0
            for run in range(part):  # of all methods, as long as the family is at hand
                for method in METHODS:
                    kept.runs(f"{kind} {n} {method}", partial(alarms, method, n, shift), run + 1)
    kept.save()
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
        f"was raised. Of more than {drift.MOST:,} rows a side so many are looked at, evenly spread.",
        "",
        "| method | rows | false alarms | found |",
        "|---|---|---|---|",
    ]
    for method in METHODS:
        for n in SIZES:
            parts = [values.get(f"{kind} {n} {method}", []) for kind in ("false", "found")]
            if any(parts):
                shown = [f"{sum(part)} of {len(part)}" if part else "-" for part in parts]
                lines.append(f"| {method} | {n:,} | {shown[0]} | {shown[1]} |")
    counted = {n: min(len(values.get(f"false {n} {method}", [])) for method in METHODS) for n in SIZES}
    if lacks := [f"{n:,}" for n, count in counted.items() if count < RUNS]:
        lines += ["", f"False alarms not (all) counted yet: at {', '.join(lacks)} rows."]
    lines += ["", "## Beside others", "", *_beside(values), "", "## Real streams", "", *streams.lines(values)]
    lines += [
        "",
        f"All of it took {values.get(SECONDS, [0.0])[0] / 60:.0f} minutes of one core ({machine.cpu_name()}).",
    ]
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
            runs = str(len(quiet)) if len(quiet) == len(moved) else f"{len(quiet)} and {len(moved)}"
            found.append(f"| {name} | {runs} | {shares[0]:.0%} | {shares[1]:.0%} | {power:.0%} |")
        else:
            found.append(f"| {name} | not run yet | | | |")
    return found


if __name__ == "__main__":
    sys.exit(main())
