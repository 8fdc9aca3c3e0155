"""Planted faults are found, sound data passes, and whatever the files hold, there is an answer or one clear line."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from dataclasses import replace
from datetime import datetime, timedelta, timezone
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from claude_flow import statistics
from claude_flow.data.collect import collect
from claude_flow.data.events import Fold, Run, Step, Task, column_types
from claude_flow.data.report import page
from claude_flow.data.tables import schema, writing
from claude_flow.data.validate import CHECKS, validate
from claude_flow.errors import InputError

NOW = datetime(2026, 6, 1, tzinfo=timezone.utc)
T0 = datetime(2026, 3, 2, 9, tzinfo=timezone.utc)


def sound(count: int = 200, seed: int = 1) -> list[Run]:
    """Runs whose columns are drawn independently of one another and of time."""
    random = np.random.default_rng(seed)
    runs = []
    for i in range(count):
        start = T0 + timedelta(minutes=10 * i)
        seconds = float(random.lognormal(4, 0.7))
        runs.append(
            Run(
                run_id=f"r{i}",
                source="jsonl",
                group=f"g{i % 4}",
                agent=f"a{i % 7}",
                agent_type=str(random.choice(["coder", "tester"])),
                task=f"t{i}",
                task_type=str(random.choice(["write", "test", "review"])),
                submitted=start - timedelta(seconds=5),
                start=start,
                end=start + timedelta(seconds=seconds),
                duration_s=seconds,
                status="completed",
                success=bool(random.random() < 0.7),
                tokens=int(random.integers(1000, 2000)),
                tool_calls=int(random.integers(1, 30)),
            )
        )
    return runs


def dataset(folder: Path, *records: object) -> Path:
    with writing(folder) as writer:
        for record in records:
            writer.write(record)
        writer.finish({"format": 1, "kind": "tables", "name": folder.name})
    return folder


def found(answer, name, column=None):
    """The one finding of that name (and column)."""
    (finding,) = [f for f in answer["findings"] if f["name"] == name and column in (None, f["column"])]
    return finding


def test_sound_data_passes(tmp_path):
    steps = [Step(run_id=f"r{i}", index=j, action="edit", seconds=1.0) for i in range(20) for j in range(3)]
    answer = validate(dataset(tmp_path / "d", *sound(), *steps), now=NOW)
    assert (answer["errors"], answer["warnings"]) == (0, 0), answer["findings"]
    assert answer["rows"] == {"runs": 200, "tasks": 0, "steps": 60, "folds": 0}
    assert {f["name"] for f in answer["findings"]} == {"unknown-columns", "constant-columns"}
    assert {d["column"] for d in answer["drift"]} >= {"duration_s", "tokens", "agent_type", "success"}


def later(run, **seconds):
    return replace(run, **{name: getattr(run, name) + timedelta(seconds=by) for name, by in seconds.items()})


@pytest.mark.parametrize(
    ("severity", "name", "column", "fault"),
    [
        ("error", "ends-before-start", "end", lambda r: later(r, end=-9999)),
        ("error", "clock-backwards", "start", lambda r: later(r, submitted=60)),
        ("error", "future", "start", lambda r: later(r, submitted=4e8, start=4e8, end=4e8)),
        ("error", "negative", "duration_s", lambda r: replace(r, duration_s=-1.0)),
        ("error", "negative", "tokens", lambda r: replace(r, tokens=-5)),
        ("error", "not-finite", "cost", lambda r: replace(r, cost=float("inf"))),
        ("error", "unknown-status", "status", lambda r: replace(r, status="great")),
        ("error", "success-without-run", "success", lambda r: replace(r, status="rejected", success=True)),
        ("error", "duplicate", "run_id", lambda r: replace(r, run_id="r3")),
        ("warning", "repeated-attempt", "task", lambda r: replace(r, task="t0", agent="a0", group="g0")),
        ("warning", "endless", "duration_s", lambda r: replace(r, duration_s=40 * 86400.0)),
        ("warning", "duration-disagrees", "duration_s", lambda r: replace(r, duration_s=r.duration_s + 7200)),
        ("warning", "active-beyond-duration", "active_s", lambda r: replace(r, active_s=r.duration_s + 90)),
        ("warning", "orphaned-subagent", "parent", lambda r: replace(r, parent="nobody")),
        ("warning", "starts-before-parent", "start", lambda r: replace(r, parent="r150")),
        ("warning", "unknown-key", "agent", lambda r: replace(r, agent=None)),
    ],
)
def test_a_planted_fault_is_found(tmp_path, severity, name, column, fault):
    runs = sound()
    planted = fault(runs[100])
    answer = validate(dataset(tmp_path / "d", *runs[:100], planted, *runs[101:]), CHECKS[:2], now=NOW)
    finding = found(answer, name, column)
    assert (finding["severity"], finding["count"], finding["of"]) == (severity, 1, 200)
    assert finding["examples"] == ([] if name == "not-finite" else [planted.run_id])


def test_what_other_tables_refer_to(tmp_path):
    others = [Step(run_id="gone", index=0, action="a"), Step(run_id="r0", index=0, action="a", seconds=-1.0)]
    others += [Step(run_id="r0", index=0, action="b"), Task(task="t0"), Task(task="t0"), Task(task="untried")]
    others += [Fold(group="g0", task=task, repetition=1, fold=1) for task in ("t0", "t0", "nowhere")]
    answer = validate(dataset(tmp_path / "d", *sound(20), *others), ("consistency",), now=NOW)
    assert found(answer, "orphaned-step")["examples"] == ["gone"]
    assert found(answer, "negative", "seconds")["examples"] == ["r0"]
    assert found(answer, "unattempted-folds")["examples"] == ["nowhere"]
    assert found(answer, "unattempted-tasks")["severity"] == "info"
    assert sorted(f["table"] for f in answer["findings"] if f["name"] == "duplicate") == ["folds", "steps", "tasks"]


def test_leaks_are_found(tmp_path):
    runs = [
        replace(r, tool_s=r.duration_s * 0.9, errors=int(not r.success), model="m1" if r.success else "m2", cost=1.0)
        for r in sound()
    ]
    runs = [replace(r, task_type=r.agent_type, retries=1 if r.success else None) for r in runs]
    tasks = [Task(task=r.task, group=r.group, features={"hint": float(r.success), "size": 1.0}) for r in runs]
    answer = validate(dataset(tmp_path / "d", *runs, *tasks), ("consistency",), now=NOW)
    leaks = {(f["table"], f["column"]): f["message"] for f in answer["findings"] if f["name"] == "leakage"}
    wanted = {("runs", name) for name in ("tool_s", "errors", "model", "retries", "task_type")} | {("tasks", "x:hint")}
    assert set(leaks) == wanted
    assert "only after the run" in leaks["runs", "tool_s"]
    assert "known before" in leaks["tasks", "x:hint"]


def test_drift_and_anomalies_are_found_and_repeat(tmp_path):
    runs = sound(300)
    runs = [replace(r, tool_calls=r.tool_calls + 20, model="new") if i >= 150 else r for i, r in enumerate(runs)]
    runs = [replace(r, model=r.model or "old") for r in runs]
    runs[7] = replace(runs[7], tokens=90_000_000, tool_calls=40_000)
    folder = dataset(tmp_path / "d", *runs)
    answer = validate(folder, ("anomalies",), now=NOW)
    assert {f["column"] for f in answer["findings"] if f["name"] == "drift"} == {"tool_calls", "model"}
    assert found(answer, "anomalous-run")["examples"] == ["r7"]
    assert answer["anomalies"][0]["column"] == "tokens"
    assert validate(folder, ("anomalies",), now=NOW) == answer


def rewrite(folder: Path, change) -> Path:
    table = pq.read_table(folder / "runs.parquet")
    pq.write_table(change(table), folder / "runs.parquet")
    return folder


def test_a_file_of_another_shape_is_told_apart(tmp_path):
    folder = dataset(tmp_path / "d", *sound(20))

    def change(table: pa.Table) -> pa.Table:
        table = table.drop_columns(["user"]).append_column("mood", pa.array(["good"] * 20)).slice(0, 19)
        text = table["tokens"].cast(pa.string())
        return table.set_column(table.column_names.index("tokens"), "tokens", text)

    answer = validate(rewrite(folder, change), now=NOW)
    assert found(answer, "missing-column")["column"] == "user"
    assert found(answer, "unknown-column")["column"] == "mood"
    assert found(answer, "wrong-type")["message"] == "its type is string, not int64"
    assert "20 rows, the file holds 19" in found(answer, "row-count")["message"]


@pytest.mark.parametrize("count", [0, 1, 2, 9, 10, 19, 21])
def test_few_rows(tmp_path, count):
    records = sound(count) or [Task(task="t")]
    answer = validate(dataset(tmp_path / "d", *records), now=NOW)
    names = {f["name"] for f in answer["findings"]}
    assert ("empty" in names) == (count == 0)
    assert answer["errors"] == (count == 0)
    assert ("few-rows" in names) == (0 < count < 10)
    assert ("drift-not-judged" in names) == (count < 20)
    assert ("anomalies-not-judged" in names) == (count < 10)


def test_one_class_and_constant_columns(tmp_path):
    runs = [replace(r, success=True, duration_s=5.0, end=r.start + timedelta(seconds=5)) for r in sound(50)]
    answer = validate(dataset(tmp_path / "d", *runs), now=NOW)
    assert found(answer, "one-class")["severity"] == "warning"
    assert "duration_s" in found(answer, "constant-columns")["message"]
    nothing = [replace(r, success=None, duration_s=None, tokens=1, tool_calls=1) for r in runs]
    answer = validate(dataset(tmp_path / "e", *nothing), now=NOW)
    assert found(answer, "no-outcome")["severity"] == "error"


def test_statistics_agree_with_scipy():
    stats = pytest.importorskip("scipy.stats")
    random = np.random.default_rng(0)
    for shift in (0.0, 0.1, 0.5):
        one, other = random.normal(size=400).round(1), random.normal(shift, size=300).round(1)
        distance, p = statistics.kolmogorov_smirnov(one, other)
        reference = stats.ks_2samp(one, other, method="asymp")
        assert distance == pytest.approx(reference.statistic)
        assert p == pytest.approx(reference.pvalue, abs=0.03)  # two asymptotic forms
        assert statistics.spearman(one[:300], other) == pytest.approx(stats.spearmanr(one[:300], other).statistic)
        labels = other > shift
        area = stats.mannwhitneyu(one[:300][labels], one[:300][~labels]).statistic / (labels.sum() * (~labels).sum())
        assert statistics.auc(labels, one[:300]) == pytest.approx(area)


# Whatever the files hold -------------------------------------------------------------------------------

_HARD = {
    str: ["", "a", "b", "completed", "rejected", "é\n\x1b[31m<script>", None],
    int: [0, 1, 7, -(2**63), 2**63 - 1, None],
    float: [0.0, -1.0, 1e308, -1e308, 5e-324, float("nan"), float("inf"), 1e16, 1e16 + 2, 0.5, None],
    bool: [True, False, None],
    datetime: [0, 10**15, 10**15 + 1, 2 * 10**15, -(2**63), 2**63 - 1, None],
}


def random_table(random: np.random.Generator, kind: type, rows: int) -> pa.Table:
    """Columns of hard values, some of them constant, unknown, of another type, or absent."""
    columns = {}
    for field in schema(kind, ("f",) if kind is Task else ()):
        plain = column_types(kind).get(field.name, float)
        fate = random.choice(["filled", "constant", "unknown", "other", "absent"], p=[0.7, 0.1, 0.1, 0.05, 0.05])
        values = random.choice(np.array(_HARD[plain], dtype=object), size=1 if fate == "constant" else max(rows, 1))
        if fate == "other":
            columns[field.name] = pa.nulls(rows, pa.int8()) if plain is str else pa.array(["x"] * rows)
        elif fate != "absent":
            filled = [None if fate == "unknown" else values[i % len(values)] for i in range(rows)]
            columns[field.name] = pa.array(filled, field.type)
    return pa.table(columns or {"z": pa.nulls(rows)})


@settings(max_examples=20, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck))
@given(seed=st.integers(0, 2**32 - 1), rows=st.integers(0, 60), lacks=st.sets(st.sampled_from(["tasks", "folds"])))
@pytest.mark.filterwarnings("error")
def test_any_tables_get_an_answer(tmp_path_factory, seed, rows, lacks):
    random = np.random.default_rng(seed)
    folder = tmp_path_factory.mktemp("any")
    stated = {}
    for name, kind, count in (("runs", Run, rows), ("tasks", Task, 8), ("steps", Step, 8), ("folds", Fold, 8)):
        if name not in lacks:
            table = random_table(random, kind, count)
            pq.write_table(table, folder / f"{name}.parquet")
            stated[name] = {"rows": table.num_rows, "columns": table.column_names}
    (folder / "manifest.json").write_text(json.dumps({"format": 1, "kind": "tables", "tables": stated}))
    answer = validate(folder, now=NOW)
    json.dumps(answer, allow_nan=False)
    assert answer["errors"] == sum(f["severity"] == "error" for f in answer["findings"])
    assert "<script" not in page(answer)


@pytest.mark.parametrize(
    "manifest",
    ["", "[]", '{"format": 1, "kind": "tables", "tables": 5}', '{"format": 1, "kind": "tensors", "tables": {}}'],
)
def test_no_dataset_of_tables(tmp_path, manifest):
    (tmp_path / "manifest.json").write_text(manifest)
    with pytest.raises(InputError, match="not a dataset of tables"):
        validate(tmp_path)


@settings(max_examples=30, deadline=None, suppress_health_check=list(HealthCheck))
@given(at=st.floats(0, 1), value=st.integers(0, 255), cut=st.booleans())
def test_a_damaged_file_is_one_clear_line(tmp_path_factory, at, value, cut):
    folder = dataset(tmp_path_factory.mktemp("damaged") / "d", *sound(12))
    content = bytearray((folder / "runs.parquet").read_bytes())
    place = int(at * (len(content) - 1))
    content[place] = value
    (folder / "runs.parquet").write_bytes(content[:place] if cut else content)
    try:
        validate(folder, CHECKS[:2], now=NOW)
    except InputError as error:
        lines = str(error).splitlines()
    else:
        lines = ["an answer"]
    assert len(lines) == 1


# The command -------------------------------------------------------------------------------------------


@pytest.fixture
def cli(tmp_path):
    def run(*words: object) -> subprocess.CompletedProcess[str]:
        line = [sys.executable, "-m", "claude_flow", "neural", "data", "validate", *map(str, words)]
        return subprocess.run(line, cwd=tmp_path, capture_output=True, text=True, timeout=120)

    return run


def test_the_guides_own_line(cli, tmp_path):
    dataset(tmp_path / "workspace" / "datasets" / "swarm-training-data", *sound())
    checks = ["--completeness-check", "--consistency-check", "--anomaly-detection"]
    done = cli("--dataset", "swarm-training-data", *checks)
    assert done.returncode == 0, done.stderr
    assert "dataset swarm-training-data: 0 error, 0 warning, 2 info" in done.stdout


def test_errors_set_the_exit_code_and_the_report_stands_alone(cli, tmp_path):
    runs = sound()
    runs[3] = replace(runs[3], run_id="<b>r2</b>", duration_s=-1.0)
    folder = dataset(tmp_path / "d", *runs)
    done = cli("--dataset", folder, "--consistency-check", "--format", "json", "--report", "quality.html")
    assert done.returncode == 1
    answer = json.loads(done.stdout)
    assert answer["checks"] == ["consistency"]
    assert answer["errors"] == 1
    assert set(answer["findings"][0]) == {
        *("severity", "check", "name", "table", "column", "count", "of", "message", "examples")
    }
    html = (tmp_path / "quality.html").read_text("utf-8")
    assert "&lt;b&gt;r2" in html
    assert not re.search(r"<script|<link|src=|url\(|https?:", html)
    HTMLParser().feed(html)
    assert cli("--dataset", folder, "--consistency-check", "false", "--anomaly-detection", "false").returncode == 0


def test_bad_input_is_one_line_and_exit_code_2(cli):
    for words in (["--dataset", "nothing"], ["--seed", "-1"], ["--anomaly-detection", "maybe"]):
        done = cli(*words)
        assert (done.returncode, done.stdout, len(done.stderr.splitlines())) == (2, "", 1), done.stderr


def test_without_scikit_learn_the_message_installs_it(tmp_path):
    dataset(tmp_path / "d", *sound(20))
    code = "import sys; sys.modules['sklearn'] = None; from claude_flow.cli import main; sys.exit(main(sys.argv[1:]))"
    words = ["neural", "data", "validate", "--dataset", "d"]
    done = subprocess.run([sys.executable, "-c", code, *words], cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 1
    assert done.stderr.strip() == "error: scikit-learn is not installed: run pip install 'claude-flow[validate]'"


RULES = """
columns:
  tokens:
    nullable: true
    checks:
      less_than_or_equal_to: 1990
  task_type:
    checks:
      isin: [write, test, review]
"""


def test_the_owners_rules_are_checked(cli, tmp_path):
    pytest.importorskip("pandera.io.pandas_io", reason="rules need the extra: pip install 'claude-flow[validate]'")
    runs = sound(40)
    runs = [replace(run, tokens=1000) for run in runs]
    runs[7] = replace(runs[7], tokens=5000)
    folder = dataset(tmp_path / "d", *runs)
    (tmp_path / "rules.yaml").write_text(RULES)
    words = ["--dataset", folder, "--consistency-check", "--format", "json", "--rules"]
    done = cli(*words, "rules.yaml")
    answer = json.loads(done.stdout)
    assert done.returncode == 1
    rule = found(answer, "rule")
    assert (rule["severity"], rule["column"], rule["count"], rule["examples"]) == ("error", "tokens", 1, ["r7"])
    assert "1990" in rule["message"]
    (tmp_path / "rules.json").write_text('{"columns": {"x:absent": {"required": true}, "tokens": {}}}')
    rule = found(json.loads(cli(*words, "rules.json").stdout), "rule")
    assert (rule["column"], rule["count"]) == ("x:absent", 0)
    for content in (
        "columns: 5",
        "a: [",
        "- a",
        "columns: {tokens: {checks: {nope: 3}}}",
        "\x00",
        "columns: {tokens: 5}",
    ):
        (tmp_path / "bad.yaml").write_text(content)
        done = cli(*words, "bad.yaml")
        assert (done.returncode, done.stdout, len(done.stderr.splitlines())) == (2, "", 1), (content, done.stderr)
    assert cli(*words, "nowhere.yaml").returncode == 2


def test_a_column_that_tells_nothing_shows_a_half_and_zero(tmp_path):
    chance = np.random.default_rng(3)
    lines = []
    for n in range(400):
        seconds, ok = float(chance.lognormal(4, 0.6)), bool(chance.random() < 0.8)
        run = {"event": "run", "run_id": f"r{n}", "task": f"t{n}", "status": "completed", "success": ok}
        run |= {"duration_s": seconds, "agent": str(chance.choice(["a", "b", "c"])), "model": "m", "user": f"u{n}"}
        run |= {"agent_type": ["slow", "quick"][seconds < 60], "executable": ["good", "bad"][ok]}
        lines.append(run | {"project": str(chance.choice(["p", "q"])), "prompt_chars": 7})
    log = tmp_path / "log.jsonl"
    log.write_text("".join(json.dumps(line) + "\n" for line in lines))
    collect([log], tmp_path / "d")
    told = {(x["column"], x["measure"]): x["value"] for x in validate(tmp_path / "d", ("consistency",))["leakage"]}
    for column in ("model", "user", "prompt_chars"):  # one value for all, or one for each
        assert (told[column, "AUC"], told[column, "rank correlation"]) == (0.5, 0.0)
    for column in ("agent", "project"):
        assert 0.5 <= told[column, "AUC"] < 0.58
        assert 0 <= told[column, "rank correlation"] < 0.12
    assert told["executable", "AUC"] == 1.0
    assert told["agent_type", "rank correlation"] > 0.8
