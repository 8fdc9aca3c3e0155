"""The sources against real logs and their published figures; skipped where the data are absent."""

from __future__ import annotations

import csv
import gzip
import json
from collections import Counter

import pytest

from claude_flow.data.events import MAIN_THREAD

# The reference's words for what we call otherwise; its `error` rows are a provider that was unavailable.
SAME_STATUS = {"no_result": "censored", "async_no_end": "censored", "teammate_spawned": "censored"}


def test_claude_code_agrees_with_the_reference_table(public_data, gather):
    with gzip.open(public_data / "claude-code" / "subagent_runs.csv.gz", "rt", encoding="utf-8") as file:
        reference = {row["tool_use_id"]: row for row in csv.DictReader(file) if row["in_logs"] == "1"}
    found, log = gather(public_data / "claude-code" / "sessions")
    runs = {run.run_id: run for run in found["Run"] if run.agent_type != MAIN_THREAD}
    assert len({run.run_id for run in found["Run"]}) == len(found["Run"])
    assert log.rejected_total == 0
    # The same spawns. Two more are copies of a session whose other transcript the reference counts instead.
    assert reference.keys() <= runs.keys()
    assert len(runs) - len(reference) <= 2
    otherwise = Counter()
    for identity, row in reference.items():
        run, said = runs[identity], row["status"]
        wanted = "failed" if said.startswith("error") else SAME_STATUS.get(said, said)
        if run.status != wanted:
            otherwise[wanted, run.status] += 1
    # What two agents returned is no answer of theirs but the API's error.
    assert otherwise == Counter({("completed", "interrupted"): 2})
    agreement = {
        column: compare(reference, runs, column, field, tolerance)
        for column, field, tolerance in [
            ("duration_s", "duration_s", 0.001),
            ("tool_uses", "tool_calls", 0),
            ("last_ctx_tokens", "context_tokens", 0),
            ("inner_tools", "steps", 0),
            ("inner_tool_errors", "errors", 0),
            ("parallel", "batch_size", 0),
        ]
    }
    # Six notifications were cut before their usage: the length comes from timestamps (6 to 10 s more), the
    # counts are unknown. Five runs have inner steps only in their agents' files, which the reference skips.
    assert agreement["duration_s"] == Counter(same=745, unknown_in_both=67, different=6)
    assert agreement["tool_uses"] == Counter(same=734, unknown_in_both=78, missing=6)
    assert agreement["last_ctx_tokens"] == Counter(same=734, unknown_in_both=78, missing=6)
    assert agreement["inner_tools"] == Counter(same=430, unknown_in_both=383, more=5)
    assert agreement["inner_tool_errors"] == Counter(same=430, unknown_in_both=383, more=5)
    assert agreement["parallel"] == Counter(same=818)


def compare(reference, runs, column, field, tolerance):
    result = Counter()
    for identity, row in reference.items():
        theirs = float(row[column]) if row[column] else None
        ours = getattr(runs[identity], field)
        if theirs is None or ours is None:
            both = theirs is None and ours is None
            result["unknown_in_both" if both else "missing" if ours is None else "more"] += 1
        else:
            result["same" if abs(ours - theirs) <= tolerance else "different"] += 1
    return result


def test_swebench_pro_counts_and_published_rates(public_data, gather):
    found, log = gather(public_data / "agent-runs")
    runs = found["Run"]
    assert log.rejected_total == 0
    assert len(runs) == 9_729 + 1  # one walked run has no published outcome
    assert sum(run.success is None for run in runs) == 1
    assert (len(found["Step"]), len(found["Task"])) == (99_952, 1_000)
    assert sum(run.cost is not None for run in runs) == 1_460
    assert {run.group for run in runs} == {"swebench-pro/paper", "swebench-pro/250-turns"}
    by_task: dict[str, dict[str, bool]] = {}
    for run in runs:
        if run.success is not None:
            by_task.setdefault(run.task, {})[run.agent] = run.success
    assert sum(len(outcomes) == 14 for outcomes in by_task.values()) == 395
    agents = {run.agent for run in runs}
    best = max(sum(outcomes.get(agent, False) for outcomes in by_task.values()) for agent in agents)
    assert round(100 * best / len(by_task), 1) == 43.7
    assert round(100 * sum(any(o.values()) for o in by_task.values()) / len(by_task), 1) == 65.8


def test_swebench_pro_evaluations_alone(public_data, gather):
    found, log = gather(public_data / "agent-runs" / "swebench_pro_eval_results")
    assert len({run.agent for run in found["Run"]}) == 9
    assert len(found["Run"]) == 6_606
    assert log.rejected_total == 0


@pytest.mark.parametrize(
    ("name", "jobs", "waits"), [("KTH-SP2-1996-2", 28_489, 28_489), ("LLNL-Atlas-2006-2.1-cln", 43_778, 0)]
)
def test_workload_logs(public_data, gather, name, jobs, waits):
    found, log = gather(public_data / "swf" / f"{name}.swf.gz")
    runs = found["Run"]
    assert (len(runs), log.rejected_total) == (jobs, 0)
    assert sum(run.queue_s is not None for run in runs) == waits
    assert all(run.start is not None and run.status for run in runs)
    assert log.header[name]["UnixStartTime"].isdigit()


def test_aslib_scenario_single_best_and_oracle(public_data, gather):
    found, log = gather(public_data / "aslib" / "CSP-2010")
    assert log.rejected_total == 0
    assert (len(found["Run"]), len(found["Task"]), len(found["Fold"])) == (4_048, 2_024, 2_024)
    assert {run.requested_s for run in found["Run"]} == {5000.0}
    assert {fold.fold for fold in found["Fold"]} == set(range(1, 11))
    for run in found["Run"]:
        par10 = run.duration_s if run.success else 10 * run.requested_s
        assert run.utility == pytest.approx(1 - par10 / 50_000)


def test_every_aslib_scenario_reads_clean(public_data, gather):
    found, log = gather(public_data / "aslib")
    assert log.rejected_total == 0
    assert len({run.group for run in found["Run"]}) == 10
    assert len({run.run_id for run in found["Run"]}) == len(found["Run"]) == 105_943


def test_what_followed_a_run_agrees_with_the_verdicts_that_others_read(public_data):
    from bench.signals import by_words

    with gzip.open(public_data / "claude-code" / "aftermath_signals.csv.gz", "rt", encoding="utf-8") as file:
        read = {label["tool_use_id"]: label for label in csv.DictReader(file)}
    with gzip.open(public_data / "claude-code" / "aftermath.jsonl.gz", "rt", encoding="utf-8") as file:
        rows = by_words(map(json.loads, file), read)
    assert [float(row[-1]) >= least for row, least in zip(rows, (0.8, 0.85, 0.5, 0.5), strict=True)] == [True] * 4
