"""Foreign input: whatever the bytes, a source yields records or raises InputError, and nothing else."""

from __future__ import annotations

import gzip
import json
import random
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from claude_flow.data.collect import collect
from claude_flow.data.lines import LONGEST_LINE, Log, head
from claude_flow.data.sources import SOURCES, aslib, claude_code, detect, jsonl, swebench_pro, swf
from claude_flow.data.tables import read_table
from claude_flow.errors import InputError

FUZZ = settings(
    max_examples=80, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow]
)
JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**70), 2**70) | st.floats(allow_nan=False) | st.text(max_size=12),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=12), inner, max_size=4),
    max_leaves=12,
)
NAMES = ["x.jsonl", "x.jsonl.gz", "x.swf", "swebench_pro_agent_runs_data.csv", "swebench_pro_run_metrics.json"]
NAMES += ["swebench_pro_trajectory_sequences.json", "swebench_pro_instance_info.jsonl"]


def complaint(work) -> str:
    """Run ``work``; return the line with which it refused its input, "" if it did not."""
    try:
        work()
    except InputError as error:
        return str(error)
    return ""


def drain(source, path: Path, files: list[Path]) -> None:
    assert "\n" not in complaint(lambda: list(source.read(path, files, Log())))


@given(st.binary(max_size=400), st.sampled_from(NAMES), st.booleans())
@FUZZ
def test_random_bytes(tmp_path, content, name, packed):
    path = tmp_path / name
    path.write_bytes(gzip.compress(content) if packed else content)
    for source in SOURCES:
        source.claims(head(path))
    for source in (claude_code, jsonl, swf, swebench_pro):
        drain(source, path, [path])


@given(st.binary(max_size=300), st.sampled_from(["algorithm_runs", "feature_values", "feature_costs", "cv"]))
@FUZZ
def test_random_scenario_files(tmp_path, content, part):
    columns = ["instance_id", "repetition", "algorithm", "runtime", "runstatus", "fold"]
    header = "@relation x\n" + "".join(f"@attribute {c} string\n" for c in columns) + "@data\n"
    for other in ("algorithm_runs", "feature_values", "feature_costs", "cv"):
        (tmp_path / f"{other}.arff").write_bytes(
            header.encode() + b"i,1,a,3,ok,1\n" + (content if other == part else b"")
        )
    (tmp_path / "description.txt").write_bytes(content + b"\nalgorithm_cutoff_time: 10\n")
    drain(aslib, tmp_path, detect(tmp_path).files(aslib))


def real_shaped(transcript) -> list[dict]:
    """One session with everything in it, as the lines of a log."""
    t = transcript()
    t.spawns(0, "toolu_1")
    inner = t.says(1, "m9", {"type": "tool_use", "id": "t1", "name": "Read", "input": {}}, usage={"input_tokens": 5})
    t.line("progress", 1, data={"type": "agent_progress", "agentId": "a1", "message": inner}, parentToolUseID="toolu_1")
    t.completes(62, "toolu_1", "a1", ms=60_000)
    t.spawns(70, "toolu_2", message="m2")
    t.launches(71, "toolu_2", "b2")
    t.notifies(99, "b2")
    t.spawns(120, "toolu_3", message="m3")
    t.answers(121, "toolu_3", "User rejected tool use", error=True)
    t.answers(130, "toolu_o", {"task": {"task_id": "b2", "task_type": "local_agent", "status": "completed"}})
    return t.lines


EVENTS = [
    {"event": "task", "task": "t", "features": {"f": 1}},
    {"event": "start", "run_id": "r", "time": "2026-03-02T09:00:00Z", "agent": "a", "task": "t"},
    {"event": "step", "run_id": "r", "action": "look", "seconds": 1},
    {"event": "end", "run_id": "r", "time": "2026-03-02T09:01:00Z", "status": "completed", "cost": 1},
    {"event": "run", "run_id": "q", "status": "failed", "tokens": 3, "utility": -1},
]


def mutate(value, chance: random.Random, strange):
    """The value with some of its leaves and branches replaced by strange ones."""
    if chance.random() < 0.06:
        return strange
    if isinstance(value, dict):
        return {k: mutate(v, chance, strange) for k, v in value.items() if chance.random() > 0.04}
    if isinstance(value, list):
        return [mutate(item, chance, strange) for item in value]
    return value


@given(st.randoms(use_true_random=False), JSON)
@FUZZ
@pytest.mark.parametrize("kind", ["transcript", "events"])
def test_mutated_lines_reach_the_tables(tmp_path, transcript, kind, chance, strange):
    lines = [mutate(line, chance, strange) for line in (real_shaped(transcript) if kind == "transcript" else EVENTS)]
    chance.shuffle(lines)
    path = tmp_path / "log.jsonl"
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))
    filters = {"quality_filter": "none", "bad_line_share": 1.0, "anonymize": chance.random() < 0.3}
    said = complaint(lambda: collect([path], tmp_path / "d", **filters))
    assert "\n" not in said
    if not said:
        for name in ("runs", "steps", "tasks"):
            read_table(tmp_path / "d", name)


@given(st.randoms(use_true_random=False))
@FUZZ
def test_flipped_bytes_in_real_shaped_logs(tmp_path, transcript, chance):
    content = bytearray("".join(json.dumps(line) + "\n" for line in real_shaped(transcript)).encode())
    if chance.random() < 0.5:
        content = bytearray(gzip.compress(bytes(content)))
    for _ in range(chance.randint(1, 12)):
        content[chance.randrange(len(content))] = chance.randrange(256)
    path = tmp_path / ("x.jsonl.gz" if content[:2] == b"\x1f\x8b" else "x.jsonl")
    path.write_bytes(content)
    drain(claude_code, path, [path])


def test_absurd_json_is_rejected_line_by_line(tmp_path):
    path = tmp_path / "x.jsonl"
    absurd = ["[" * 100_000, "9" * 5_000, '{"a": 1e999}', '{"a": NaN}', '"text"', "\x00", '{"a": 1, "a": 2}']
    path.write_text("".join(line + "\n" for line in absurd) + '{"event": "nap"}\n')
    log = Log()
    assert [line for line, _ in log.objects(path)] == [8]
    assert (log.rejected_total, log.lines_total) == (7, 8)


def test_a_line_beyond_the_limit_is_skipped_without_being_held(tmp_path):
    path = tmp_path / "x.jsonl.gz"
    with gzip.open(path, "wb", compresslevel=1) as file:
        for _ in range((LONGEST_LINE >> 20) + 8):
            file.write(b"x" * (1 << 20))
        file.write(b'\n{"event": "nap"}\n')
    log = Log()
    assert [line for line, _ in log.objects(path)] == [2]
    assert log.rejected == [{"file": str(path), "line": 1, "reason": "the line is longer than 64 MiB"}]
    assert sum(len(line) for line in head(path).lines) <= 1 << 20


def test_memory_does_not_grow_with_the_log(tmp_path, transcript):
    """50 times the log, the same peak: lines are held one at a time, rows in groups of 16 384."""
    import tracemalloc

    def peak(copies: int) -> int:
        path = tmp_path / f"{copies}.jsonl"
        filler = json.dumps({"type": "file-history-snapshot", "snapshot": "x" * 10_000}) + "\n"
        with path.open("w") as file:
            for line in real_shaped(transcript):
                file.write(json.dumps(line) + "\n" + filler * copies)
        tracemalloc.start()
        collect([path], tmp_path / "d", quality_filter="none")
        used = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        return used

    peak(2)
    assert peak(100) < peak(2) + 2_000_000
