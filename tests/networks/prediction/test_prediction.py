"""Prediction: encoding, splits, calibration, training data and answers, on logs written here."""

from __future__ import annotations

import itertools
import json
from datetime import datetime, timedelta, timezone

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from claude_flow.errors import InputError
from claude_flow.networks.prediction import online
from claude_flow.networks.prediction.answer import FIELDS, parse_request
from claude_flow.networks.prediction.features import (
    LEVELS,
    QUANTILES,
    TARGETS,
    WIDTH,
    Encoder,
    anonymous,
    calibrate,
    conformal,
    shifted,
    shifts,
    slots,
)
from claude_flow.networks.prediction.history import KEYS, Runs, as_of

pytest.importorskip("pyarrow", reason="reading tables needs claude-flow[data]")
pytest.importorskip("torch", reason="training needs claude-flow[train]")

from claude_flow.data.tables import writing
from claude_flow.networks.prediction.prepare import load, preprocess, split_rows

START = datetime(2026, 1, 1, tzinfo=timezone.utc)
KINDS = {"review": 60.0, "build": 900.0, "plan": 240.0}


def write_log(folder, size=400, seed=0):
    """A log in which the kind of a task decides its duration, within a factor of about 1.5."""
    from claude_flow.data.events import Run

    rng = np.random.default_rng(seed)
    with writing(folder) as writer:
        for i in range(size):
            kind = str(rng.choice(list(KINDS)))
            duration = float(KINDS[kind] * np.exp(rng.normal(0, 0.4)))
            start = START + timedelta(minutes=30 * i)
            writer.write(
                Run(
                    run_id=str(i),
                    source="jsonl",
                    group="team",
                    agent=str(rng.choice(["ann", "bob"])),
                    task=f"t{i}",
                    task_type=kind,
                    description=f"{kind} the parser",
                    start=start,
                    end=start + timedelta(seconds=duration),
                    duration_s=duration,
                    status="failed" if rng.random() < 0.3 else "completed",
                    steps=int(duration / 10) + 1,
                )
            )
        writer.finish({"format": 1, "kind": "tables", "name": folder.name, "sources": []})
    return folder


@pytest.fixture(scope="module")
def tables(tmp_path_factory):
    return write_log(tmp_path_factory.mktemp("tables") / "team")


@pytest.fixture(scope="module")
def data(tables, tmp_path_factory):
    from claude_flow.networks.prediction.learn import Data

    folder = tmp_path_factory.mktemp("tensors") / "team"
    preprocess(tables, folder, {"history": 15})
    return Data.load(folder, 0.2, 0, {"sequence_length": 12})


@pytest.fixture(scope="module")
def model_path(data, tmp_path_factory):
    """A network that learned the log in a few seconds, as a model file."""
    import torch

    from claude_flow import export

    torch.manual_seed(0)
    module = data.module({"width": 32, "layers": 1, "dropout": 0.0})
    optimizer = torch.optim.AdamW(module.parameters(), lr=5e-3)
    for epoch in range(12):
        for batch in data.batches("train", 32, np.random.default_rng(epoch)):
            optimizer.zero_grad()
            data.loss(module, batch).backward()
            optimizer.step()
    module.eval()
    path = tmp_path_factory.mktemp("model") / "small.safetensors"
    metadata = data.metadata(module)
    card = metadata.pop("card")
    assert card["rows"]["calibration"] > 20
    export.save(module, path, metadata={**metadata, "provenance": card})
    return path, data.metrics(module, "test")


def test_slots_are_unique_and_fill_the_width():
    assert len(slots()) == len(set(slots())) == WIDTH


def test_open_task_shows_nothing_of_its_outcome(tables):
    from claude_flow.networks.prediction.prepare import read_runs

    runs, _ = read_runs(tables)
    history = as_of(runs, runs, 5)
    encoder = Encoder().fit(runs, history, np.arange(len(runs)))
    openings, _ = encoder.openings(runs, history)
    for i, name in enumerate(slots()):
        if name.startswith("past "):
            assert not openings[:, i].any(), name


def test_outcomes_of_tasks_still_open_do_not_reach_the_input(tables):
    """Change the outcome of one run: inputs of tasks that were decided before its end stay bit-identical."""
    from dataclasses import replace

    from claude_flow.networks.prediction.prepare import read_runs

    runs, _ = read_runs(tables)
    numbers = runs.numbers.copy()
    numbers[200] = 9.0
    numbers[200, -4:] = runs.numbers[200, -4:]
    changed = replace(runs, numbers=numbers, failed=np.where(np.arange(len(runs)) == 200, 1 - runs.failed, runs.failed))
    encoder = Encoder().fit(runs, as_of(runs, runs, 5), np.arange(100))
    inputs = []
    for table in (runs, changed):
        history = as_of(table, table, 5)
        openings, anchors = encoder.openings(table, history)
        inputs.append(encoder.sequences(table, encoder.records(table), table, openings, anchors, history.index)[0])
    before = runs.decision < runs.end[200]
    np.testing.assert_array_equal(inputs[0][before], inputs[1][before])
    assert not np.array_equal(inputs[0][~before], inputs[1][~before])


@pytest.mark.parametrize("normalization", ["z-score", "robust", "quantile", "log"])
def test_schema_round_trip_gives_the_same_input(tables, normalization):
    from claude_flow.networks.prediction.prepare import read_runs

    runs, _ = read_runs(tables)
    history = as_of(runs, runs, 5)
    encoder = Encoder(normalization).fit(runs, history, np.arange(200))
    again = Encoder.from_schema(json.loads(json.dumps(encoder.schema())))
    np.testing.assert_array_equal(encoder.records(runs), again.records(runs))
    np.testing.assert_array_equal(encoder.openings(runs, history)[0], again.openings(runs, history)[0])
    assert np.isfinite(encoder.records(runs)).all()


def test_unknown_normalization_is_refused():
    with pytest.raises(InputError, match="normalization"):
        Encoder("min-max")


def test_names_never_seen_in_training_are_blank(tables):
    from claude_flow.networks.prediction.prepare import read_runs

    runs, _ = read_runs(tables)
    encoder = Encoder().fit(runs, as_of(runs, runs, 5), np.arange(len(runs)))
    bits = [i for i, name in enumerate(slots()) if name.startswith(("agent ", "task_type "))]
    stranger = Runs.from_columns({"start": [0], "agent": ["zoe"], "task_type": ["sing"], "description": ["sing"]})
    assert encoder.records(runs)[:, bits].all()
    assert not encoder.records(stranger)[:, bits].any()
    words = [i for i, name in enumerate(slots()) if name.startswith("description ")]
    assert not anonymous(encoder.records(runs))[:, bits + words].any()


def test_split_is_chronological_and_purged():
    submitted = np.arange(100) * 10**6
    runs = Runs.from_columns({"start": submitted, "duration_s": np.full(100, 3.5), "source": ["log"] * 100})
    part = split_rows(runs, 0.1, 0.2)
    assert part.tolist() == [0] * 67 + [-1] * 3 + [1] * 7 + [-1] * 3 + [2] * 20


def test_attempts_of_one_untimed_task_stay_together():
    names = [f"t{i // 4}" for i in range(400)]
    runs = Runs.from_columns({"duration_s": np.ones(400), "task": names})
    part = split_rows(runs, 0.2, 0.2)
    assert {len(set(part[i : i + 4])) for i in range(0, 400, 4)} == {1}
    assert set(part) == {0, 1, 2}


def test_conformal_reaches_its_coverage():
    rng = np.random.default_rng(0)
    truth = rng.normal(0, 1, (4000, 1))
    narrow = np.tile(np.linspace(-0.3, 0.3, 7), (4000, 1, 1))
    shifted = narrow[2000:] + conformal(narrow[:2000], truth[:2000])
    for level in LEVELS:
        low, high = (QUANTILES.index(round(q, 3)) for q in ((1 - level) / 2, (1 + level) / 2))
        inside = (truth[2000:, 0] >= shifted[:, 0, low]) & (truth[2000:, 0] <= shifted[:, 0, high])
        assert inside.mean() == pytest.approx(level, abs=0.025)
    assert np.isnan(conformal(narrow[:18], truth[:18])).all()  # too few rows to claim 95 %


def test_each_source_has_its_own_calibration():
    rng = np.random.default_rng(0)
    sources = np.repeat([3, 4, 5], [1000, 1000, 5])
    truth = (rng.normal(0, 1, 2005) * np.where(sources == 3, 1, 4))[:, None] + 20
    narrow = 20 + np.tile(np.linspace(-0.3, 0.3, 7), (2005, 1, 1))
    stored = json.loads(json.dumps(calibrate(narrow, truth, sources)))
    moved = shifted(narrow, shifts(stored, sources), np.full((2005, 1), np.inf))
    for source in (3, 4):
        own = sources == source
        inside = (truth[own, 0] >= moved[own, 0, 1]) & (truth[own, 0] <= moved[own, 0, 5])
        assert inside.mean() == pytest.approx(0.8, abs=0.01)
    everyone = shifts(stored, np.array([99]))[0]
    np.testing.assert_array_equal(shifts(stored, np.array([5]))[0], everyone)  # 5 rows are too few of its own
    assert (np.diff(moved, axis=-1) >= 0).all()


def test_forecasts_end_where_the_source_stops_its_runs():
    size = np.arange(500)
    stopped = {"duration_s": np.minimum(10.0 + size, 100), "requested_s": np.full(500, 100.0), "source": ["a"] * 500}
    few = {"duration_s": np.full(50, 9.0), "requested_s": np.full(50, 100.0), "source": ["b"] * 50}
    columns = {name: [*stopped[name], *few[name]] for name in stopped}
    runs = Runs.from_columns({**columns, "start": np.arange(550) * 10**9})
    encoder = Encoder().fit(runs, as_of(runs, runs, 3), np.arange(550))
    asked = {"requested_s": [50.0, np.nan, 50.0], "source": ["a", "a", "b"], "start": [0, 0, 0]}
    tasks = Runs.from_columns(asked)
    for known in (encoder, Encoder.from_schema(json.loads(json.dumps(encoder.schema())))):
        limits = known.limits(tasks)
        np.testing.assert_allclose(limits[:, 0], [np.log1p(50), np.inf, np.inf], rtol=1e-5)  # b has too few runs
        assert np.isinf(limits[:, 1:]).all()
    quantiles = np.tile(np.linspace(3, 5, 7), (3, 8, 1))
    moved = shifted(quantiles, np.ones(()), limits)
    assert moved[0, 0].max() == pytest.approx(np.log1p(50), rel=1e-5)
    assert (np.diff(moved, axis=-1) >= 0).all()
    np.testing.assert_array_equal(moved[1:], quantiles[1:] + 1)
    older = {name: value for name, value in encoder.schema().items() if name not in ("overrun", "longest")}
    assert np.isinf(Encoder.from_schema(older).limits(tasks)).all()
    assert np.isinf(Encoder.from_schema(older).longest)


def test_the_longest_run_counts_where_every_run_had_a_requested_time():
    for requested, longest in ((np.full(50, 900.0), 80.0), (np.where(np.arange(50), 900.0, np.nan), np.inf)):
        columns = {"start": np.arange(50) * 10**9, "duration_s": 31.0 + np.arange(50), "requested_s": requested}
        runs = Runs.from_columns(columns)
        encoder = Encoder().fit(runs, as_of(runs, runs, 3), np.arange(50))
        for known in (encoder, Encoder.from_schema(json.loads(json.dumps(encoder.schema())))):
            assert np.expm1(known.longest) == pytest.approx(longest, rel=1e-5)


def test_a_task_without_the_requested_time_that_all_had_is_said_and_bounded(ask, model_path):
    from claude_flow.model import load
    from claude_flow.networks.prediction import answer

    usual = ask()["predictions"]["duration"]
    assert "note" not in usual  # the log that the model learned from has no requested times
    model = load(str(model_path[0]))
    model.features["longest"] = float(np.log1p(20.0))
    bounded = answer.answer(model, {"task-description": "x"})
    duration = bounded["predictions"]["duration"]
    assert duration["note"].startswith("every run that was learned from had a requested time, this task has none")
    assert max(max(span) for span in duration["intervals"].values()) <= 20.0
    assert any(duration["note"] in row for row in answer.render(bounded)[0][2])
    assert (
        "note" not in answer.answer(model, {"task-description": "x", "requested-time": 60})["predictions"]["duration"]
    )


def test_what_lies_beyond_a_limit_costs_nothing_above_the_median():
    torch = pytest.importorskip("torch", reason="training needs claude-flow[train]")
    from claude_flow.networks.prediction.learn import Data

    class Said(torch.nn.Module):
        def forward(self, x, lengths):
            return quantiles.reshape(1, -1)

    quantiles = torch.zeros(1, 8, 8)
    quantiles[0, 0, :7] = torch.arange(-3.0, 4)  # the limit lies at 0.5: three quantiles are beyond
    unknown = torch.full((1, 8), torch.nan)
    batch = {"x": None, "lengths": None, "occurrence": unknown, "limit": torch.full((1, 8), torch.inf)}
    batch |= {"residual": torch.where(torch.arange(8) == 0, 0.5, unknown)}
    loose = Data.loss(None, Said().eval(), batch)
    batch["limit"][0, 0] = 0.5
    cut = Data.loss(None, Said().eval(), batch)
    below = sum(level * (0.5 - value) for level, value in zip(QUANTILES[:4], (-3, -2, -1, 0), strict=True))
    assert cut.item() == pytest.approx(below / 7, rel=1e-5)
    assert cut < loose


def test_preprocessed_folder_reads_back(tables, tmp_path):
    manifest = preprocess(tables, tmp_path / "out", {"normalization": "robust"})
    stored, runs, samples, history = load(tmp_path / "out")
    assert stored == json.loads(json.dumps(manifest))
    assert len(runs) == len(samples) == len(history.index) == 400
    assert manifest["schema"]["normalization"] == "robust"


def test_words_count_only_with_automated_extraction(tables, tmp_path):
    preprocess(tables, tmp_path / "basic", {"feature_extraction": "basic"})
    manifest, runs, _, _ = load(tmp_path / "basic")
    assert not runs.text.any()
    assert Encoder.from_schema(manifest["schema"]).describe is False
    with pytest.raises(InputError, match="sequence-alignment"):
        preprocess(tables, tmp_path / "none", {"sequence_alignment": False})


def test_damaged_or_small_data_is_one_clear_line(tables, tmp_path):
    folder = tmp_path / "out"
    preprocess(tables, folder, {})
    shard = next(folder.glob("runs-*.safetensors"))
    shard.write_bytes(shard.read_bytes()[:1000])
    with pytest.raises(InputError, match="data preprocess"):
        load(folder)
    with pytest.raises(InputError, match="at least 20"):
        preprocess(write_log(tmp_path / "few", 5), tmp_path / "none", {})
    assert not (tmp_path / "none").exists()


ODD_LOGS = {
    "constant": lambda i: {"start": START + timedelta(hours=i), "duration_s": 60.0},
    "clock runs backwards": lambda i: {
        "start": START - timedelta(hours=i),
        "end": START - timedelta(hours=i + 3),
        "duration_s": 5.0 + i,
    },
    "no times": lambda i: {"task": f"t{i // 2}", "steps": i + 1},
    "absurd numbers": lambda i: {
        "start": START + timedelta(hours=i),
        "duration_s": 1e300 if i % 2 else 1e-9,
        "tokens": 2**62,
    },
}


@pytest.mark.parametrize("name", ODD_LOGS)
@pytest.mark.filterwarnings("error::RuntimeWarning")
def test_odd_logs_train(name, tmp_path):
    """Constant targets, one outcome only, impossible clocks and numbers, fewer rows than a batch."""
    from claude_flow.data.events import Run
    from claude_flow.train import config, loop

    with writing(tmp_path / "log") as writer:
        for i in range(60):
            writer.write(Run(run_id=str(i), source="jsonl", status="completed", **ODD_LOGS[name](i)))
        writer.finish({"format": 1, "kind": "tables", "name": "log", "sources": []})
    preprocess(tmp_path / "log", tmp_path / "data", {})
    small = {"epochs": 1, "batch-size": 512, "network": {"width": 8, "layers": 1}}
    settings_ = config.parse({"prediction-training": small}, "prediction")
    card = loop.fit("prediction", settings_, tmp_path / "data", tmp_path / "run")
    assert np.isfinite(card["held_out"]["metrics"]["loss"])


def test_batches_hold_the_history_before_the_open_task(data):
    batch = next(data.batches("validation", 16, np.random.default_rng(0)))
    x, lengths = batch["x"].numpy(), batch["lengths"].numpy()
    is_open = x[:, :, slots().index("open")] == 1
    assert is_open.sum(1).tolist() == [1] * 16
    assert (is_open.argmax(1) == lengths - 1).all()
    for row, length in zip(x, lengths, strict=True):
        assert not row[length:].any()
        assert row[: length - 1, slots().index("past duration known")].all()


def test_same_seed_same_batches(data):
    a, b = (next(data.batches("train", 8, np.random.default_rng(3)))["x"].numpy() for _ in range(2))
    np.testing.assert_array_equal(a, b)


def test_parts_do_not_overlap(data):
    rows = [data.rows(part) for part in ("train", "validation", "calibration", "test")]
    assert len(np.concatenate(rows)) == len(set(np.concatenate(rows)))
    assert data.tasks.end[rows[0]].max() <= data.tasks.decision[rows[1]].min()
    assert data.tasks.end[np.concatenate(rows[1:3])].max() <= data.tasks.decision[rows[3]].min()


def test_network_beats_the_rules_that_ignore_kinds(data, model_path):
    scores, rules = model_path[1], data.baselines("test")
    assert scores["duration-pinball"] < 0.6 * rules["global median"]["duration-pinball"]
    assert scores["duration-mae-log"] < 1.25 * rules["median of the kind"]["duration-mae-log"]  # the best there is here
    assert 0.65 < scores["duration-coverage-80"] < 0.95
    assert set(rules) == {
        *("global median", "median of the kind", "median of the agent", "mean of the last two", "shrunken log-mean")
    }  # nobody requested a time


@pytest.fixture
def ask(model_path, tables, monkeypatch, tmp_path):
    import claude_flow as cf
    from claude_flow.networks.prediction.answer import answer

    (tmp_path / "datasets").mkdir()
    (tmp_path / "datasets" / "swarm-training-data").symlink_to(tables)
    monkeypatch.setenv("CLAUDE_FLOW_HOME", str(tmp_path))
    model = cf.load(model_path[0])

    def run(explain=False, **fields):
        request = {"task-description": "review the parser", "decision-time": "2026-02-01T00:00:00Z"}
        return answer(model, request | {key.replace("_", "-"): value for key, value in fields.items()}, explain=explain)

    return run


def test_answer_knows_what_kinds_take(ask):
    context = {"historical_context": "similar-tasks-last-6-months", "source": "jsonl"}
    for kind, seconds in KINDS.items():
        result = ask(task_description=f"{kind} the parser", task_type=kind, **context)
        duration = result["predictions"]["duration"]
        assert duration["unit"] == "s"
        assert seconds / 1.7 < duration["median"] < seconds * 1.7
        (low80, high80), (low95, high95) = duration["intervals"]["0.8"], duration["intervals"]["0.95"]
        assert low95 <= low80 <= duration["median"] <= high80 <= high95
        assert result["history"]["runs"] == 400
    assert result["failure"]["probability"] == pytest.approx(0.3, abs=0.2)
    json.dumps(result, allow_nan=False)


def test_untrained_targets_are_said_to_be_untrained(ask):
    predictions = ask()["predictions"]
    assert [name for name in TARGETS if predictions[name]["status"] == "predicted"] == ["duration", "steps"]
    assert predictions["cost"]["reason"].startswith("not trained")


def test_no_history_is_said(ask, monkeypatch, tmp_path):
    assert ask()["history"]["runs"] == 400  # the workspace's log is the default
    nothing = {"runs": 0, "finished": 0, "shown": 0}
    prior = "the model's prior alone answers"
    assert ask(historical_context="none")["history"] == {**nothing, "note": f"historical-context is none: {prior}"}
    monkeypatch.setenv("CLAUDE_FLOW_HOME", str(tmp_path / "empty"))
    assert ask()["history"] == {**nothing, "note": f"no historical-context given: {prior}"}
    history = ask(historical_context="similar-tasks-last-6-months")["history"]
    assert history["runs"] == 0
    assert "no dataset swarm-training-data" in history["note"]


def test_only_the_asked_span_is_used(ask):
    assert ask(historical_context="similar-tasks-last-2-days")["history"]["runs"] == 0
    recent = ask(historical_context="similar-tasks-last-2-days", decision_time="2026-01-05T00:00:00Z")["history"]
    assert recent["since"] == "2026-01-03T00:00:00Z"
    assert recent["runs"] == 97  # one each half hour, both ends included


def test_productivity_scales_durations_and_nothing_else(ask):
    plain = ask()["predictions"]
    fast = ask(current_team_capacity={"average-productivity": 2.0})["predictions"]
    assert fast["duration"]["median"] == pytest.approx(plain["duration"]["median"] / 2, rel=1e-3)
    assert fast["steps"] == plain["steps"]
    team = ask(current_team_capacity={"available-agents": 4, "experience-level": "senior"})
    assert team["capacity"]["tasks-per-hour"] == pytest.approx(
        4 * 3600 / team["predictions"]["duration"]["median"], rel=1e-3
    )


def test_intervals_between_the_quantiles_nest(ask):
    levels = [0.5, 0.6, 0.8, 0.9, 0.95]
    intervals = ask(confidence_intervals=levels)["predictions"]["duration"]["intervals"]
    spans = [intervals[f"{level:.4g}"] for level in levels]
    assert all(a[0] >= b[0] and a[1] <= b[1] for a, b in itertools.pairwise(spans))
    assert "intervals" not in ask(uncertainty_quantification=False)["predictions"]["duration"]


def test_explanation_ranks_inputs(ask):
    context = {"historical_context": "similar-tasks-last-6-months", "source": "jsonl", "task_type": "build"}
    reasons = ask(explain=True, task_description="build the parser", **context)["explanation"]
    effects = [abs(reason["effect"]) for reason in reasons]
    assert effects == sorted(effects, reverse=True)
    assert effects[0] > 0.02


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"task_description": " "}, "task-description"),
        ({"confidence_intervals": [0.99]}, "0.95"),
        ({"confidence_intervals": "80%"}, "list of shares"),
        ({"confidence_intervals": [float("nan")]}, "confidence-intervals"),
        ({"task_typo": "x"}, "did you mean task-type"),
        ({"current_team_capacity": {"available-agents": 0}}, "available-agents"),
        ({"current_team_capacity": {"average-productivity": True}}, "average-productivity"),
        ({"current_team_capacity": {"experience-level": "guru"}}, "experience-level"),
        ({"historical_context": "no-such-dataset"}, "no-such-dataset"),
        ({"decision_time": "yesterday"}, "ISO 8601"),
        ({"source": "elsewhere"}, "elsewhere"),
        ({"requested_time": float("inf")}, "requested-time"),
    ],
)
def test_bad_requests_are_one_clear_line(ask, fields, message):
    with pytest.raises(InputError, match=message) as caught:
        ask(**fields)
    assert "\n" not in str(caught.value)


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=5,
)


@settings(max_examples=300, deadline=None)
@given(st.dictionaries(st.sampled_from(FIELDS), json_values, max_size=5) | json_values)
def test_any_request_is_understood_or_refused_in_one_line(request_):
    asked, refusal = None, None
    try:
        asked = parse_request(request_)
    except InputError as error:
        refusal = str(error)
    if asked is None:
        assert "\n" not in refusal
    else:
        assert asked["task-description"].strip()
        assert all(0 < level <= 0.95 for level in asked["confidence-intervals"])


def test_a_model_without_its_schema_is_refused(data, tmp_path):
    import claude_flow as cf
    from claude_flow import export
    from claude_flow.networks.prediction.answer import answer

    module = data.module({"width": 16, "layers": 1})
    metadata = data.metadata(module)
    metadata.pop("card")
    for name, damage in {"features": {}, "calibration": {}}.items():
        path = tmp_path / f"{name}.safetensors"
        export.save(module, path, metadata=metadata | {name: damage})
        with pytest.raises(InputError, match="train"):
            answer(cf.load(path), {"task-description": "x"})
    damaged = {**metadata["features"], "scalers": [["z-score", ["a", 1]]] * 13}
    export.save(module, tmp_path / "scalers.safetensors", metadata=metadata | {"features": damaged})
    with pytest.raises(InputError):
        answer(cf.load(tmp_path / "scalers.safetensors"), {"task-description": "x"})


def test_tables_of_an_answer_are_rectangular(ask):
    from claude_flow.networks.prediction.answer import render

    for title, columns, rows in render(ask(explain=True, historical_context="swarm-training-data")):
        assert title
        assert {len(row) for row in rows} == {len(columns)}
        assert all(isinstance(cell, str) for row in rows for cell in row)


def test_one_source_per_shared_machine():
    columns = {"start": [0, 1, 2], "duration_s": [1.0] * 3, "source": ["swf"] * 3, "group": ["a", "a", "b"]}
    keys = Runs.from_columns(columns | {"user": ["7", None, "7"]}).keys[:, KEYS.index("source")]
    assert keys[0] == keys[1] != keys[2]


def test_a_large_log_teaches_its_latest_runs_with_all_the_others_as_history(tables, tmp_path, monkeypatch):
    from claude_flow.networks.prediction import prepare

    preprocess(tables, tmp_path / "all", {"history": 15})
    monkeypatch.setattr(prepare, "_MOST_SAMPLES", 100)
    manifest = preprocess(tables, tmp_path / "latest", {"history": 15})
    assert manifest["rows"] == {"runs": 400, "samples": 100, "earlier": 300}
    _, runs, samples, history = prepare.load(tmp_path / "latest")
    _, all_runs, all_samples, all_history = prepare.load(tmp_path / "all")
    np.testing.assert_array_equal(samples, all_samples[-100:])
    np.testing.assert_array_equal(runs.numbers, all_runs.numbers)
    for name in ("index", "finished", "mean", "latest"):
        np.testing.assert_array_equal(getattr(history, name), getattr(all_history, name)[-100:])


def test_a_table_that_lacks_columns_is_read_as_far_as_it_goes(tables, tmp_path):
    import shutil

    import pyarrow.parquet as parquet

    from claude_flow.networks.prediction.prepare import read_runs

    shutil.copytree(tables, tmp_path / "old")
    table = parquet.read_table(tables / "runs.parquet")
    table = table.drop_columns(["prompt_chars", "project", "submitted", "executable"])
    parquet.write_table(table, tmp_path / "old" / "runs.parquet")
    old, _ = read_runs(tmp_path / "old")
    new, _ = read_runs(tables)
    np.testing.assert_array_equal(old.numbers, new.numbers)
    np.testing.assert_array_equal(old.keys, new.keys)


@settings(max_examples=50, deadline=None)
@given(st.lists(st.integers(0, 4), max_size=60), st.integers(1, 30))
def test_the_latest_of_each_group(groups, most):
    from claude_flow.networks.coded import latest

    groups = np.array(groups, np.int64)
    rows = latest(groups, most)
    assert min(most, len(groups)) - len(np.unique(groups)) < len(rows) + 1
    assert len(rows) <= most
    assert (np.diff(rows) > 0).all()
    for group in np.unique(groups[rows]):  # of each group it is the end
        own = np.flatnonzero(groups == group)
        chosen = np.intersect1d(rows, own)
        np.testing.assert_array_equal(chosen, own[-len(chosen) :])


def test_intervals_follow_the_users_own_outcomes_and_few_change_little():
    """Runs that take far longer than the shipped model thinks: the interval grows, by more the more are known."""
    shipped = np.tile(np.linspace(-0.1, 0.1, len(QUANTILES)), (len(TARGETS), 1))
    shipped[:, QUANTILES.index(0.5)] = 0
    generator = np.random.default_rng(0)
    widths = []
    for count in (0, 25, 200):
        quantiles = np.tile(np.linspace(3.9, 4.1, len(QUANTILES)), (count, len(TARGETS), 1))
        truth = np.full((count, len(TARGETS)), np.nan)
        truth[:, 0] = generator.normal(4, 1, count)
        moved, seen = online.blended(shipped, quantiles, truth)
        assert seen.tolist() == [count, *[0] * (len(TARGETS) - 1)]
        assert (moved[1:] == shipped[1:]).all()  # of them nothing came true
        widths.append(float(moved[0, QUANTILES.index(0.9)]))
    assert widths[0] == shipped[0, QUANTILES.index(0.9)]
    assert widths[0] < widths[1] < widths[2]
    covered = np.abs(generator.normal(4, 1, 2000) - 4) <= 0.1 * 2 / 3 + widths[2]
    assert 0.7 < covered.mean() < 0.85
