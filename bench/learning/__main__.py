"""python -m bench.learning [digits] [transfer] [--data FOLDER] [--seeds N] [--seconds S]: docs/learning.md's figures.

digits    tasks one after another on scikit-learn's digits: elastic weights, episodic memory and others beside plain
          fine-tuning and joint training.
transfer  to a machine, a project, a portfolio with little data: from scratch, fine-tuning all layers, and freezing,
          beside each other (--data: the folder of the public data sets).

What is done is kept in build/learning.json, so that an interrupted run goes on; --seconds ends a run in between. The
page is written from what there is.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from bench.learning import digits, transfer
from bench.report import table
from claude_flow import files, statistics

ROOT = Path(__file__).parents[2]
PAGE, KEPT = ROOT / "docs" / "learning.md", ROOT / "build" / "learning.json"
PARTS = ("digits", "transfer")
Values = dict[str, dict[str, float]]


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m bench.learning", description=__doc__)
    parser.add_argument("parts", nargs="*", metavar="PART", help=f"of {', '.join(PARTS)}; all of them")
    parser.add_argument("--data", type=Path, help="the folder of the public data sets")
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=1e9, help="begin nothing new after this time")
    options = parser.parse_args()
    for part in options.parts:
        if part not in PARTS:
            parser.error(f"there is no part {part!r}: it is one of {', '.join(PARTS)}")
    chosen = options.parts or PARTS
    until = time.monotonic() + options.seconds
    values: Values = json.loads(KEPT.read_text()) if KEPT.is_file() else {}
    for name, make in _jobs(chosen, options.data, options.seeds):
        if name in values or time.monotonic() > until:
            continue
        print(f"{name} ...", file=sys.stderr, flush=True)
        found = make()
        values = {**(json.loads(KEPT.read_text()) if KEPT.is_file() else {}), name: found}
        files.atomic_write(KEPT, json.dumps(values, indent=1) + "\n")
        _write(values)
    _write(values)
    return 0


def _jobs(parts: Any, data: Path | None, seeds: int) -> list[tuple[str, Callable[[], dict[str, float]]]]:
    """What is measured, a seed of everything before the next seed."""
    found: list[tuple[str, Callable[[], dict[str, float]]]] = []
    for seed in range(seeds):
        if "digits" in parts:
            for kind in digits.KINDS:
                for method in digits.METHODS:
                    name = f"digits/{kind}/{method}/{seed}"
                    found.append((name, lambda k=kind, m=method, s=seed: digits.run(k, m, s)))  # type: ignore[misc]
        if "transfer" in parts and data is not None:
            for target in transfer.TARGETS:
                name = f"transfer/{target}/{seed}"
                found.append((name, lambda t=target, s=seed, d=data: transfer.run(d, t, s)))  # type: ignore[misc]
    return found


def _of(values: Values, *path: str) -> dict[int, dict[str, float]]:
    """Seed -> what was found of the job whose name begins so."""
    begin = "/".join(path) + "/"
    return {int(name[len(begin) :]): found for name, found in values.items() if name.startswith(begin)}


def _digits(values: Values) -> list[str]:
    lines: list[str] = []
    for kind in digits.KINDS:
        by = {method: _of(values, "digits", kind, method) for method in digits.METHODS}
        seeds = sorted(set.intersection(*(set(found) for found in by.values())))
        if not seeds:
            continue
        joint = np.mean([by["joint"][s]["final"] for s in seeds])
        rows = []
        plain = [by["plain"][s]["final"] for s in seeds]
        for method, found in by.items():
            final = [found[s]["final"] for s in seeds]
            gaps = [a - b for a, b in zip(final, plain, strict=True)]
            p = statistics.permutation(gaps) if method != "plain" else None
            rows.append(
                [
                    method,
                    f"{np.mean(final):.3f} ± {np.std(final):.3f}",
                    f"{np.mean(final) / joint:.3f}",
                    f"{np.mean([found[s]['forgetting'] for s in seeds]):.3f}",
                    f"{np.mean([found[s]['learned'] for s in seeds]):.3f}",
                    "" if p is None else f"{p:.3f}",
                ]
            )
        columns = ["way", "accuracy in the end", "of joint", "forgetting", "right after learning", "p against plain"]
        best = max(np.mean([by[m][s]["final"] for s in seeds]) for m in ("EWC", "GEM", "EWC and GEM"))
        verdict = "reached" if best >= 0.95 * joint else "**missed**"
        lines += [f"### {kind.capitalize()} digits, {len(seeds)} seeds", "", table(columns, rows), ""]
        lines += [f"Mark: elastic weights, episodic memory or both ≥ .95 × joint: {best / joint:.3f}, {verdict}.", ""]
    return lines


def _transfer(values: Values) -> list[str]:
    rows = []
    for target in transfer.TARGETS:
        found = _of(values, "transfer", target)
        if not found:
            continue
        means = {way: np.mean([seed[way] for seed in found.values()]) for way in transfer.WAYS}
        ours = [seed["ours"] for seed in found.values()]
        cells = [f"{means[way]:.4f}" for way in transfer.WAYS]
        p = [statistics.permutation([a - seed[way] for a, seed in zip(ours, found.values(), strict=True)])
             for way in ("scratch", "fine-tune-all")]  # fmt: skip
        rows.append([target, len(found), *cells, *(f"{value:.3f}" for value in p)])
    if not rows:
        return []
    columns = ["target", "seeds", *transfer.WAYS, "p against scratch", "p against fine-tune-all"]
    return [transfer.SAYS, "", table(columns, rows), ""]


def _write(values: Values) -> None:
    """The page of what there is."""
    lines = ["<!-- Written by `python -m bench.learning`. -->", "", "# What learning beyond one log brings", ""]
    for title, part in (("Not forgetting", _digits), ("Transfer", _transfer)):
        body = part(values)
        if body:
            lines += [f"## {title}", "", *body]
    files.atomic_write(PAGE, "\n".join(lines).rstrip() + "\n")


if __name__ == "__main__":
    sys.exit(main())
