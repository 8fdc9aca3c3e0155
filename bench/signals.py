"""python -m bench.signals --data DIR: our signs of what followed a run beside those that others read; docs/signals.md.

DIR is a folder with ``sessions/``, ``aftermath.jsonl.gz`` and ``aftermath_signals.csv.gz``.
"""

from __future__ import annotations

import argparse
import csv
import gzip
import json
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from bench.report import table
from claude_flow.data import sources
from claude_flow.data.events import SIGNALS, Run
from claude_flow.data.lines import Log
from claude_flow.data.sources.claude_code.words import admits_failure, is_check, names_fault, passed

ROOT = Path(__file__).parents[1]
PAGE = """\
# What followed a run

`data collect` notes five signs of what came after a Claude Code run **that wrote files**: how many of the parent's next
tests, builds and lints passed and failed, whether its first three texts name a fault, how many of the same files it
edited again, and whether the run's own answer admits failure; all until the parent gets or hands out its next task, six
hours at most. `data validate` counts them (finding `outcome-signals`), and the `runs` table holds them per run.

They are evidence for a reader. Nothing is trained on them: they are known of one run in thirty, and agree weakly with
each other (last table), so they say little of what held. No held-out measure was found to gain by them, nor was one
looked for. True outcomes come from your own tools: `record-outcome`, its `--verify COMMAND`, the hooks, MCP and HTTP.

Written by `python -m bench.signals --data FOLDER` from public transcripts that may not be shipped, beside labels that
were read from the same transcripts by other rules. Neither is the truth, and the expressions of both were tuned on
these data. The first table asks the rules for words alone, on texts long enough to read; the second is the parser's, on
transcripts whose texts an export cut to some dozen characters, so that most verdicts cannot be read there: that is why
`ours` are fewer."""
COLUMNS = ["sign", "both known", "theirs", "ours", "both", "agree", "phi"]
Pair = tuple[bool, bool]


def row(name: str, pairs: Sequence[Pair]) -> list[Any]:
    """Their and our verdicts of the same runs, and how far they agree."""
    theirs, ours = np.array(pairs, bool).reshape(-1, 2).T
    varies = len(pairs) > 1 and theirs.std() > 0 and ours.std() > 0
    phi = f"{np.corrcoef(theirs, ours)[0, 1]:+.2f}" if varies else "–"
    agree = f"{(theirs == ours).mean():.0%}" if len(pairs) else "–"
    return [name, len(pairs), int(theirs.sum()), int(ours.sum()), int((theirs & ours).sum()), agree, phi]


def by_words(spawns: Iterable[dict[str, Any]], read: dict[str, dict[str, str]]) -> list[list[Any]]:
    """The rules for words, on the events that followed each spawn."""
    seen: dict[str, list[Pair]] = {"is a check": [], "check failed": [], "fault named": [], "answer admits failure": []}
    for spawn in spawns:
        waiting: dict[str, list[str]] = {}
        for event in spawn["after"]:
            tool = str(event.get("tool"))
            if event["kind"] == "tool" and "command" in event:
                waiting.setdefault(tool, []).append(event["command"])
            elif event["kind"] == "result" and waiting.get(tool):
                command, verdict = waiting[tool].pop(0), event.get("verdict", "")
                seen["is a check"].append((bool(verdict), is_check(command)))
                ours = passed(command, event["text"], event["error"])
                if is_check(command) and ours is not None and (":fail" in verdict or ":pass" in verdict):
                    seen["check failed"].append((":fail" in verdict, not ours))
        label = read.get(spawn["tool_use_id"], {})
        texts = []
        for event in spawn["after"]:
            if event["kind"] in ("user", "spawn"):
                break
            texts += [event["text"]] if event["kind"] == "assistant" else []
        if label.get("parent_names_issue") and texts:
            seen["fault named"].append((label["parent_names_issue"] == "1", any(map(names_fault, texts[:3]))))
        if label.get("result_admits_failure"):
            theirs = label["result_admits_failure"] == "1"
            seen["answer admits failure"].append((theirs, admits_failure(spawn["result"])))
    return [row(name, pairs) for name, pairs in seen.items()]


def by_runs(runs: Iterable[Run], read: dict[str, dict[str, str]]) -> list[list[Any]]:
    """What the parser says of the runs that wrote files."""
    names = {
        "checks_passed": "tests_passed_after",
        "checks_failed": "tests_failed_after",
        "fault_named": "parent_names_issue",
        "edited_again": "edits_same_files",
        "admits_failure": "result_admits_failure",
    }
    seen: dict[str, list[Pair]] = {name: [] for name in SIGNALS}
    for run in runs:
        for name, theirs in names.items():
            ours, label = getattr(run, name), read.get(run.run_id, {}).get(theirs)
            if ours is not None and label:
                seen[name].append((label not in ("0", "0.0"), ours > 0))
    return [row(name, pairs) for name, pairs in seen.items()]


def among(runs: Sequence[Run]) -> list[list[Any]]:
    """How far our own signs agree with each other: phi over the runs of which both are known."""
    values = np.array(
        [[np.nan if (v := getattr(run, name)) is None else float(v > 0) for name in SIGNALS] for run in runs]
    )
    rows = []
    for i, name in enumerate(SIGNALS):
        cells: list[Any] = [name]
        for j in range(len(SIGNALS)):
            both = ~np.isnan(values[:, i]) & ~np.isnan(values[:, j])
            a, b = values[both, i], values[both, j]
            known = i != j and both.sum() > 9 and a.std() > 0 and b.std() > 0
            cells.append(f"{np.corrcoef(a, b)[0, 1]:+.2f}" if known else "")
        rows.append(cells)
    return rows


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m bench.signals", description=__doc__)
    parser.add_argument("--data", type=Path, required=True, help="folder of the transcripts and their aftermath")
    folder = parser.parse_args().data
    with gzip.open(folder / "aftermath_signals.csv.gz", "rt", encoding="utf-8") as file:
        read = {label["tool_use_id"]: label for label in csv.DictReader(file)}
    with gzip.open(folder / "aftermath.jsonl.gz", "rt", encoding="utf-8") as file:
        words = by_words(map(json.loads, file), read)
    log, runs = Log(), []
    for source, files in sources.detect(folder / "sessions").parts:
        runs += [record for record in source.read(folder / "sessions", files, log) if isinstance(record, Run)]
    wrote = [run for run in runs if any(getattr(run, name) is not None for name in SIGNALS)]
    lines = [PAGE, "", table(COLUMNS, words), ""]
    lines += [f"Of {len(runs)} runs in the transcripts {len(wrote)} are known to have written files:", ""]
    lines += [table(COLUMNS, by_runs(wrote, read)), "", "Our signs among each other, phi:", ""]
    lines += [table(["", *SIGNALS], among(wrote))]
    (ROOT / "docs" / "signals.md").write_text("\n".join(lines) + "\n", "utf-8")


if __name__ == "__main__":
    main()
