"""python -m bench.shipped --data DIR [--rows N]: forecasts for people whose logs the shipped model never saw.

No log at hand is unknown to prediction-v2 itself. So its recipe is trained anew with each part left out: one of the
cluster logs, or half of the projects (dealt by size). What is left out is asked walk-forward, as `infer prediction`
does with a workspace's log. Of a cluster log the newest N jobs count, in training and in judging, which is what makes
it quick. Each part's figures are kept in build/shipped, and docs/shipped.md is written anew after each.
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path
from typing import Any

import numpy as np

import claude_flow
from bench.report import table
from claude_flow import registry, statistics
from claude_flow.data import manifest
from claude_flow.data.collect import collect
from claude_flow.data.tables import read_table, write_table
from claude_flow.files import atomic_write, temporary_folder
from claude_flow.networks.prediction import judge, prepare
from claude_flow.train import config

ROOT = Path(__file__).parents[1]
KNOWN = 200  # runs that have been by the first judged interval
LOGS = ("KTH-SP2-1996-2", "LLNL-Atlas-2006-2")
PARTS = (*LOGS, "projects, first half", "projects, second half")
PAGE = """\
# Forecasts on logs that the model never saw

Written by `python -m bench.shipped --data FOLDER --rows {rows}` from public logs that may not be shipped. The recipe of
`prediction-v2`, seed 1, was trained anew with each of these parts left out, on the newest {rows} jobs of each other
cluster log and on Claude Code transcripts; the shipped model saw all of them, and more jobs. Asked is walk-forward: a
forecast sees what had ended by then. Pinball is that of the newest fifth, beside the shrunken mean, which is fitted on
the part's own first three fifths; differences are paired by block of forecasts in time, permutations, corrected by
Holm's method. Coverage is that of all forecasts after the part's first {known} runs, by intervals that follow what has
ended, and by those that the model came with; aims are 80 ± 3 % and 95 ± 2 %.
"""


def _tables(data: Path, rows: int) -> dict[str, Any]:
    """The runs of each part."""
    found = {}
    with temporary_folder() as folder:
        for log in LOGS:
            (file,) = (data / "swf").glob(f"{log}*.swf.gz")
            collect([file], folder / log, quality_filter="none")
            runs = read_table(folder / log, "runs").sort_by("submitted")
            found[log] = runs.slice(max(0, len(runs) - rows))
        collect([data / "claude-code" / "sessions"], folder / "sessions", quality_filter="none")
        runs = read_table(folder / "sessions", "runs")
    names = [str(p or g) for p, g in zip(*(runs.column(n).to_pylist() for n in ("project", "group")), strict=True)]
    by_size = sorted(set(names), key=lambda name: (-names.count(name), name))
    for half, part in enumerate(PARTS[2:]):
        own = set(by_size[half::2])
        found[part] = runs.take([i for i, name in enumerate(names) if name in own])
    return found


def _measure(part: str, tables: dict[str, Any], folder: Path) -> dict[str, Any]:
    import pyarrow as pa

    from claude_flow.train import loop

    for name, runs in (("rest", [runs for key, runs in tables.items() if key != part]), ("own", [tables[part]])):
        (folder / name / "tables").mkdir(parents=True)
        whole = pa.concat_tables(runs, promote_options="permissive")
        write_table(whole, folder / name / "tables" / "runs.parquet")
        about = {"format": 1, "kind": "tables", "tables": {"runs": {"rows": len(whole), "columns": whole.column_names}}}
        (folder / name / "tables" / manifest.FILE).write_text(json.dumps(about), "utf-8")
        options = {"normalization": "z-score", "history": 127}
        prepare.preprocess(folder / name / "tables", folder / name / "data", options)
    settings = config.read(registry.config_path("prediction-v2"), "prediction")
    loop.fit(
        "prediction", settings, folder / "rest" / "data", folder / "run", validation_split=0.1, seed=1, device="cpu"
    )
    model = claude_flow.load(folder / "run" / "model.safetensors")
    newest = judge.Judge(folder / "own" / "data", 0.2, {})
    ours, rule = newest.adaptive(model), newest.baseline("rule-based", 0)
    units = list(dict.fromkeys(newest.units))
    difference = [float((ours.rows["pinball"] - rule.rows["pinball"])[newest.units == unit].mean()) for unit in units]
    later = _after(judge.Judge(folder / "own" / "data", 0.2, {}))
    coverage = {}
    for how, marks in (("adaptive", later.adaptive(model)), ("as it came", later.model(model))):
        coverage[how] = {name: float(np.nanmean(marks.rows[name])) for name in ("coverage-80", "coverage-95")}
    return {
        "trained": sum(len(runs) for key, runs in tables.items() if key != part),
        "newest": len(newest.rows),
        "pinball": [float(marks.rows["pinball"].mean()) for marks in (ours, rule)],
        "difference": difference,
        "later": len(later.rows),
        "coverage": coverage,
    }


def _after(whole: judge.Judge) -> judge.Judge:
    """Judges all runs after the first :data:`KNOWN`, of which the later half calibrates."""
    data = whole.data
    truth = data.targets[:, 0]
    rows = np.flatnonzero(np.isfinite(truth))
    rows = rows[np.argsort(data.tasks.decision[rows], kind="stable")]
    data.split[:] = -1
    data.split[rows[:KNOWN]], data.split[rows[KNOWN:]] = 1, 2
    whole.rows = rows[KNOWN:]
    whole.truth, whole.failed = truth[whole.rows], data.tasks.failed[whole.rows].astype(np.float64)
    return whole


def _write(found: dict[str, dict[str, Any]], rows: int) -> None:
    corrected = statistics.holm([statistics.permutation(row["difference"]) for row in found.values()])
    pinball, coverage = [], []
    for (part, row), p in zip(found.items(), corrected, strict=True):
        span = statistics.bootstrap(row["difference"])
        verdict = "tie" if p >= 0.05 else ("better" if span.mean < 0 else "worse")
        ours, rule = row["pinball"]
        told = f"{span.mean:+.4f} ({span.low:+.4f} … {span.high:+.4f})"
        pinball.append([part, row["trained"], row["newest"], f"{ours:.4f}", f"{rule:.4f}", told, f"{p:.3f}", verdict])
        for how, shares in row["coverage"].items():
            held = abs(shares["coverage-80"] - 0.8) <= 0.03, abs(shares["coverage-95"] - 0.95) <= 0.02
            figures = [
                f"{share:.1%}{'' if ok else ' (missed)'}" for share, ok in zip(shares.values(), held, strict=True)
            ]
            coverage.append([part, row["later"], how, *figures])
    columns = [
        "left out",
        "trained on runs",
        "forecasts",
        "pinball",
        "shrunken mean",
        "ours less it",
        "p (Holm)",
        "ours is",
    ]
    lines = [PAGE.format(rows=rows, known=KNOWN), table(columns, pinball), ""]
    lines += [table(["left out", "forecasts", "intervals", "of 80 %", "of 95 %"], coverage)]
    atomic_write(ROOT / "docs" / "shipped.md", "\n".join(lines) + "\n")


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m bench.shipped", description=__doc__)
    parser.add_argument("--data", type=Path, required=True, help="the folder of public data: swf, claude-code")
    parser.add_argument(
        "--rows", type=int, default=3000, metavar="N", help="newest jobs of each cluster log that count"
    )
    options = parser.parse_args()
    kept = ROOT / "build" / "shipped"
    kept.mkdir(parents=True, exist_ok=True)
    tables = _tables(options.data, options.rows)
    found: dict[str, dict[str, Any]] = {}
    for part in PARTS:
        file = kept / f"{part.replace(', ', '-').replace(' ', '-')}-{options.rows}.json"
        if not file.is_file():
            print(f"  {part} left out", file=sys.stderr, flush=True)
            with temporary_folder() as folder:
                atomic_write(file, json.dumps(_measure(part, tables, folder)))
        found[part] = json.loads(file.read_text("utf-8"))
        _write(found, options.rows)


if __name__ == "__main__":
    main()
