"""Coordination end to end below the command line: requests, features, tables to episodes, answers."""

from __future__ import annotations

import copy
import json
import math
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.numpy import load_file

import claude_flow as cf
from claude_flow.errors import InputError
from claude_flow.networks.coordination import answer as coordination
from claude_flow.networks.coordination import scenarios
from claude_flow.networks.coordination.features import BUCKETS, PAST, TEXT, WIDTH, Encoder, History, parse_request
from claude_flow.networks.coordination.prepare import preprocess
from claude_flow.networks.scale import NORMALIZATIONS, Scaler
from claude_flow.networks.text import hash_text

ROOT = Path(__file__).parents[3]
SWARM = json.loads((ROOT / "docs/examples/swarm.json").read_text())


@pytest.fixture(scope="module")
def model() -> cf.Model:
    return cf.load("coordination-v3")


def _changed(path: str, value: Any) -> dict[str, Any]:
    request = copy.deepcopy(SWARM)
    *way, last = path.split("/")
    place: Any = request
    for key in way:
        place = place[int(key)] if isinstance(place, list) else place[key]
    if isinstance(place, list):
        place[int(last)] = value
    else:
        place[last] = value
    return request


@pytest.mark.parametrize(
    ("request_", "words"),
    [
        ([], "input must be a JSON object"),
        ({}, "input: current-agents is missing; it must be a list of agents"),
        (_changed("current-agents", []), "current-agents is empty"),
        (_changed("pending-tasks", []), "pending-tasks is empty"),
        (_changed("current-agents", {}), "current-agents must be a list"),
        (_changed("agents", []), "input.agents: no such field"),
        (_changed("current-agents/0", 3), "current-agents[0] must be an object"),
        (_changed("current-agents/0/lod", 0.5), "did you mean load?"),
        (_changed("current-agents/0/load", 1.5), "current-agents[0].load must be a number from 0 to 1"),
        (_changed("current-agents/0/load", math.nan), "current-agents[0].load must be"),
        (_changed("current-agents/0/load", True), "current-agents[0].load must be"),
        (_changed("current-agents/0/load", 10**400), "current-agents[0].load must be"),
        (_changed("current-agents/1/id", "arch-001"), "'arch-001' is taken by current-agents[0]"),
        (_changed("current-agents/1/id", ""), "non-empty string"),
        (_changed("current-agents/1/id", 7), "current-agents[1].id must be"),
        (_changed("current-agents/1/capabilities", "apis"), "must be a list of strings"),
        (_changed("current-agents/1", {"type": "coder"}), "current-agents[1]: id is missing"),
        (_changed("current-agents/0/track-record", {"tasks": 3}), "success-rate is missing"),
        (_changed("pending-tasks/0/priority", "urgent"), "one of low, medium, high, critical"),
        (_changed("pending-tasks/0/features", {"files": "many"}), "features.files must be a finite number"),
        (_changed("pending-tasks/0/features", [1]), "features must be an object"),
        (_changed("system-state/network-latency", -1), "network-latency must be a number of at least 0"),
        (_changed("system-state", []), "system-state must be an object"),
        (_changed("pending-tasks", [{"id": str(i)} for i in range(126)]), "129 tokens"),
    ],
)
def test_requests_that_cannot_be_used_name_the_place(request_: Any, words: str) -> None:
    with pytest.raises(InputError) as caught:
        parse_request(request_)
    assert words in str(caught.value)
    assert "\n" not in str(caught.value)


_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(["id", "type", "load", "current-agents", "pending-tasks", "features", "track-record", "x"]),
            inner,
            max_size=4,
        )
    ),
    max_leaves=12,
)


@settings(max_examples=300, deadline=None)
@given(agents=_JSON, tasks=_JSON, state=_JSON)
def test_any_json_is_answered_or_refused(agents: Any, tasks: Any, state: Any) -> None:
    request = {"current-agents": agents, "pending-tasks": tasks, "system-state": state}
    try:
        swarm = parse_request(request)
    except InputError:
        return
    assert np.isfinite(Encoder().swarm(swarm)).all()


def test_the_largest_swarm_fits() -> None:
    request = _changed("pending-tasks", [{"id": str(i)} for i in range(125)])
    assert Encoder().swarm(parse_request(request)).shape == (1, 128, WIDTH)


def test_the_guides_example_is_answered(model: cf.Model) -> None:
    result = coordination.answer(model, SWARM, explain=True)
    assert [a["task"] for a in result["assignments"]] == ["task-001", "task-002"]
    assert [a["agent"] for a in result["assignments"]] == ["arch-001", "code-001"]
    for entry in result["assignments"]:
        assert 0 < entry["confidence"] <= 1
        assert entry["candidates"][0]["confidence"] == entry["confidence"]
        assert entry["explanation"]
        effects = [abs(reason["effect"]) for reason in entry["explanation"]]
        assert effects == sorted(effects, reverse=True)
    json.dumps(result, allow_nan=False)
    tables = coordination.render(result)
    assert all(len(row) == len(columns) for _, columns, rows in tables for row in rows)


def test_a_threshold_withholds_and_says_so(model: cf.Model) -> None:
    result = coordination.answer(model, SWARM, confidence_threshold=1.0)
    assert result["withheld"] == 2
    for entry in result["assignments"]:
        assert (entry["decision"], entry["agent"]) == ("withheld", None)
        assert "below 1.00" in entry["reason"]
    with pytest.raises(InputError, match="between 0 and 1"):
        coordination.answer(model, SWARM, confidence_threshold=1.5)


def test_load_matters(model: cf.Model) -> None:
    """Of two equal agents the idle one is preferred: something learned, not written."""
    agents = [
        {"id": name, "type": "tester", "capabilities": ["testing"], "load": load}
        for name, load in (("busy", 0.95), ("idle", 0.05))
    ]
    task = {"id": "t", "type": "testing", "priority": "critical"}
    for order in (agents, agents[::-1]):
        result = coordination.answer(model, {"current-agents": order, "pending-tasks": [task]})
        assert result["assignments"][0]["agent"] == "idle"


@pytest.mark.parametrize("name", ["coordination-v2", "coordination-v3"])
def test_the_shipped_models_beat_the_baselines_on_fresh_swarms(name: str, tmp_path: Path) -> None:
    """Measured anew, on swarms that no training has seen; the card's own scores need the public data."""
    import torch

    from claude_flow import export, modelfile
    from claude_flow.networks.coordination.learn import Data

    model = cf.load(name)
    preprocess(tmp_path, tmp_path / "fresh", {"simulate": 400, "seed": 20261123})
    source = Data.load(tmp_path / "fresh", 0.2, 0, {})
    with torch.no_grad():
        measured = source.metrics(export.from_file(modelfile.read(model.path)), "test")
    for rival, baseline in source.baselines("test").items():
        assert measured["regret"] < baseline["regret"], rival
    assert model.provenance["held_out"]["split"] == "test"


def test_history_uses_only_what_was_observed() -> None:
    tokens = np.stack([Encoder().task({"type": kind, "description": f"{kind} it"}) for kind in ("api", "docs", "api")])
    utility = np.array([[1, 0, np.nan], [0, 1, np.nan], [1, np.nan, np.nan]], np.float32)
    past = History.of(tokens, utility)
    assert past.count.tolist() == [3, 2, 0]
    assert past.utility.tolist() == pytest.approx([2 / 3, 0.5, 0])
    api, docs = (int(np.flatnonzero(t[BUCKETS])[0]) for t in tokens[:2])
    assert past.buckets[0, api] > 0 > past.buckets[0, docs]
    assert not past.buckets[2].any()
    assert not past.text[2].any()
    assert past.text[0] @ tokens[0, TEXT] > past.text[0] @ tokens[1, TEXT]
    agents = Encoder().with_history(np.zeros((3, WIDTH), np.float32), past)
    assert np.array_equal(agents[:, PAST], past.text)


@given(st.text(max_size=60), st.integers(1, 300))
def test_text_hashes_are_unit_or_zero(text: str, width: int) -> None:
    vector = hash_text(text, width)
    assert vector.shape == (width,)
    assert np.linalg.norm(vector) == pytest.approx(1, abs=1e-5) or not vector.any()


@given(
    st.sampled_from(NORMALIZATIONS),
    st.lists(st.floats(-1e12, 1e12), min_size=1, max_size=30),
    st.floats(allow_nan=False, allow_infinity=False),
)
def test_scalers_survive_their_schema(kind: str, values: list[float], value: float) -> None:
    scaler = Scaler.fit(kind, values)
    again = Scaler.from_json(json.loads(json.dumps(scaler.to_json())))
    assert again == scaler
    assert abs(again(value)) <= 4
    with pytest.raises(InputError):
        Scaler.from_json([kind, [math.nan] * len(scaler.parameters)] if scaler.parameters else ["z-score", []])


def test_scaled_training_values_are_centered() -> None:
    values = np.random.default_rng(0).lognormal(3, 1, 2000)
    for kind in ("z-score", "robust", "quantile", "log"):
        assert abs(np.median(Scaler.fit(kind, values).apply(values))) < 0.5
    assert Scaler.fit("quantile", [5.0, 5.0])(5.0) == 0
    assert Scaler.fit("z-score", [5.0, 5.0])(7.0) == 0


def _tables(folder: Path, runs: list[dict[str, Any]]) -> Path:
    import pyarrow as pa
    import pyarrow.parquet as pq

    folder.mkdir()
    columns = ("source", "group", "project", "agent", "agent_type", "task", "task_type", "description")
    columns += ("start", "end", "status", "success", "utility")
    pq.write_table(pa.table({c: [run.get(c) for run in runs] for c in columns}), folder / "runs.parquet")
    return folder


def _log(count: int) -> list[dict[str, Any]]:
    day = datetime(2026, 1, 1, tzinfo=timezone.utc)
    kinds = ("Explore", "coder")
    return [
        {"source": "log", "project": "p", "agent": str(i), "agent_type": kinds[i % 2], "task": f"t{i}"}
        | {"task_type": kinds[i % 2], "description": f"do {i}", "status": "completed"}
        | {"start": day + timedelta(hours=i), "end": day + timedelta(hours=i, minutes=5)}
        for i in range(count)
    ]


def test_a_log_becomes_a_pool_without_the_leaked_type(tmp_path: Path) -> None:
    manifest = preprocess(_tables(tmp_path / "tables", _log(40)), tmp_path / "out", {})
    assert manifest["pools"] == [{"name": "log/p", "mode": "logged", "agents": 2, "tasks": 40}]
    tensors = load_file(tmp_path / "out/pools.safetensors")
    assert not tensors["tasks"][:, BUCKETS].any(), "the task's type is the chosen agent's: known only afterwards"
    assert tensors["split"].tolist() == [0] * 32 + [1] * 8
    utility = tensors["utility"].reshape(40, 6)
    assert utility[0, :2].tolist() == [1, 0]
    assert np.isnan(utility[:, 2:]).all()


@pytest.mark.parametrize("kind", NORMALIZATIONS)
def test_a_logs_normalization_is_fitted_before_its_test_part(kind: str, tmp_path: Path) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    fitted = []
    for name, late in (("a", 1e6), ("b", -5.0)):  # only what the test part holds differs
        tables = _tables(tmp_path / name, _log(40))
        values = [float(i) if i < 32 else late for i in range(40)]
        tasks = {"group": ["p"] * 40, "task": [f"t{i}" for i in range(40)], "x:size": values}
        tasks |= {column: pa.nulls(40, pa.string()) for column in ("task_type", "description")}
        pq.write_table(pa.table(tasks), tables / "tasks.parquet")
        schema = preprocess(tables, tmp_path / f"{name}-out", {"normalization": kind})["schema"]
        fitted.append(schema["features"]["size"])
        encoder = Encoder.from_schema(schema)
        stored = load_file(tmp_path / f"{name}-out/pools.safetensors")["tasks"][3]
        request = {"type": None, "description": "do 3", "features": {"size": 3.0}}
        assert np.array_equal(encoder.task(request), stored), "inference encodes as preprocessing did"
    assert fitted[0] == fitted[1]
    assert fitted[0][0] == kind


def test_shared_tasks_become_a_measured_pool(tmp_path: Path) -> None:
    runs = [
        {"source": "bench", "group": "g", "agent": agent, "agent_type": agent, "task": f"t{i}", "task_type": "repo"}
        | {"description": "fix", "success": (i + j) % 3 == 0}
        for i in range(50)
        for j, agent in enumerate("abc")
    ]
    manifest = preprocess(_tables(tmp_path / "tables", runs), tmp_path / "out", {})
    assert manifest["pools"] == [{"name": "bench/g", "mode": "measured", "agents": 3, "tasks": 50}]


def test_a_large_log_teaches_its_latest_tasks_and_a_benchmark_all(tmp_path: Path, monkeypatch: Any) -> None:
    from claude_flow.networks.coordination import prepare

    monkeypatch.setattr(prepare, "_MOST_TASKS", 50)
    small = [{**run, "project": "q", "task": f"q{i}"} for i, run in enumerate(_log(20))]
    bench = [
        {"source": "bench", "group": "g", "agent": a, "agent_type": a, "task": f"t{i}", "success": i % 3 == 0}
        for i in range(60)
        for a in "abc"
    ]
    manifest = preprocess(_tables(tmp_path / "tables", [*_log(100), *bench, *small]), tmp_path / "out", {})
    assert {pool["name"]: pool["tasks"] for pool in manifest["pools"]} == {"bench/g": 60, "log/p": 30, "log/q": 20}
    times = load_file(tmp_path / "out/pools.safetensors")["times"][:30, 0]
    assert times.min() == _log(100)[70]["start"].timestamp()


def test_too_little_data_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="two agents and ten tasks"):
        preprocess(_tables(tmp_path / "tables", _log(5)), tmp_path / "out", {})


def test_simulated_utilities_follow_their_rules() -> None:
    for scenario in scenarios.scenarios(50, seed=9):
        parse_request(scenario.request)
        agents = len(scenario.request["current-agents"])
        assert scenario.utility.shape == (len(scenario.request["pending-tasks"]), agents + 4)
        assert scenario.utility.min() >= 0
        assert scenario.utility.max() <= 1
    again = [s.utility for s in scenarios.scenarios(50, seed=9)]
    assert all(np.array_equal(a, s.utility) for a, s in zip(again, scenarios.scenarios(50, seed=9), strict=True))


def test_what_the_network_cannot_see_is_said() -> None:
    import claude_flow as cf
    from claude_flow.networks.coordination.answer import answer, render

    swarm = {
        "current-agents": [{"id": "a"}, {"id": "b"}, {"id": "c", "type": "tester"}],
        "pending-tasks": [{"id": "t", "type": "testing", "features": {"no-such-feature": 3}}],
    }
    result = answer(cf.load("coordination-v3"), swarm)
    assert result["notes"][0].startswith("the agents a, b cannot be told apart: give type")
    assert result["notes"][1].startswith("the model does not know the task features no-such-feature")
    assert [[note] for note in result["notes"]] in [rows for _, _, rows in render(result)]
    swarm["current-agents"].pop(0)
    del swarm["pending-tasks"][0]["features"]
    assert answer(cf.load("coordination-v3"), swarm)["notes"] == []
