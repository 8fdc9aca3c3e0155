"""The simulator behind the optimization network's training data, and the data made from it."""

from __future__ import annotations

import json
from datetime import datetime, timezone

import numpy as np
import pytest
from safetensors.numpy import load_file

from claude_flow.data.events import Run
from claude_flow.data.tables import writing
from claude_flow.errors import InputError
from claude_flow.networks.optimization.catalogue import DIRECTIONS, RECOMMENDATIONS, TUNABLES, moved
from claude_flow.networks.optimization.features import CONSTRAINTS, FIELDS, TARGETS, Encoder
from claude_flow.networks.optimization.objective import CHANGE_COST, CROSSING, LIMIT_WEIGHT, utility
from claude_flow.networks.optimization.prepare import examples, preprocess
from claude_flow.networks.optimization.simulator import ROUNDS, finite_queue, simulate
from claude_flow.networks.optimization.workloads import FAMILIES, PARAMETERS, sample

NAMES = [tunable.name for tunable in TUNABLES]
ROWS = 300


@pytest.fixture(scope="module")
def swarms():
    workload, settings, _ = sample(np.random.default_rng(3), ROWS)
    metrics, state = simulate(workload, settings)
    return workload, settings, metrics, state


def test_the_catalogue_is_64_tunables_twice():
    assert len(TUNABLES) == len(set(NAMES)) == 64
    assert [r.id for r in RECOMMENDATIONS[:2]] == ["raise-max-agents", "lower-max-agents"]
    assert len({r.id for r in RECOMMENDATIONS}) == 128
    assert all(t.low <= t.default < t.high for t in TUNABLES)
    assert all(20 < len(r.effect) < 150 for r in RECOMMENDATIONS)


@pytest.mark.parametrize("tunable", TUNABLES, ids=NAMES)
def test_a_move_stays_in_range_and_returns(tunable):
    values = tunable.value(np.linspace(0, 1, 41))
    assert np.all((values >= tunable.low) & (values <= tunable.high))
    assert np.all(np.diff(values) >= 0)
    up, down = moved(tunable, values, "raise"), moved(tunable, values, "lower")
    assert np.all(up[values < tunable.high] > values[values < tunable.high])
    assert np.all(down[values > tunable.low] < values[values > tunable.low])
    assert up[-1] == tunable.high
    assert down[0] == tunable.low
    np.testing.assert_allclose(tunable.value(tunable.position(values)), values, rtol=1e-9)


@pytest.mark.parametrize("tunable", range(64), ids=NAMES)
def test_every_tunable_has_an_effect(swarms, tunable):
    workload, settings, metrics, state = swarms
    for direction in DIRECTIONS:
        changed = settings.copy()
        changed[:, tunable] = moved(TUNABLES[tunable], settings[:, tunable], direction)
        after, _ = simulate(workload, changed, state, 12)
        able = changed[:, tunable] != settings[:, tunable]
        differ = np.max([np.abs(np.log((after[m] + 1e-4) / (metrics[m] + 1e-4))) for m in metrics], axis=0)
        assert np.mean(differ[able] > 1e-3) > 0.3


def test_metrics_are_finite_and_shares_are_shares(swarms):
    _, _, metrics, _ = swarms
    shares = {f.name for f in FIELDS if f.group == "current-performance" and f.kind == "share"}
    assert set(metrics) == {f.name for f in FIELDS if f.group == "current-performance"}
    for name, values in metrics.items():
        assert np.isfinite(values).all(), name
        assert values.min() >= 0, name
        assert name not in shares or values.max() <= 1, name


@pytest.mark.parametrize("seed", range(4))
def test_settings_in_the_corners_of_their_ranges_stay_finite(seed):
    generator = np.random.default_rng(seed)
    workload, settings, _ = sample(generator, 200)
    low, high = np.array([[t.low, t.high] for t in TUNABLES]).T
    metrics, _ = simulate(workload, np.where(generator.random(settings.shape) < 0.5, low, high))
    assert all(np.isfinite(values).all() and values.min() >= 0 for values in metrics.values())


def test_the_fixed_point_has_settled(swarms):
    workload, settings, metrics, _ = swarms
    longer, _ = simulate(workload, settings, rounds=3 * ROUNDS)
    apart = np.max([np.abs(np.log((longer[m] + 1e-3) / (metrics[m] + 1e-3))) for m in metrics], axis=0)
    assert np.mean(apart < 0.01) > 0.9  # the rest sit between two states, idle and overloaded


@pytest.mark.parametrize(
    ("move", "metric", "sign"),
    [
        ("raise-model-tier", "cost-per-task", 1),
        ("raise-model-tier", "defect-rate", -1),
        ("raise-review-depth", "defect-rate", -1),
        ("raise-thinking-tokens", "model-seconds", 1),
        ("raise-context-window", "missing-context", -1),
        ("raise-context-window", "prompt-tokens", 1),
        ("raise-max-agents", "memory", 1),
        ("raise-prompt-cache-ttl", "prompt-cache-hit-rate", 1),
        ("raise-result-cache-size", "tool-seconds", -1),
        ("lower-queue-limit", "queue-time", -1),
        ("raise-coordination-interval", "conflict-rate", 1),
        ("raise-memory-limit", "crash-rate", -1),
        ("raise-warm-agents", "cold-start-rate", -1),
        ("lower-tool-timeout", "timeout-rate", 1),
        ("raise-candidates", "cost", 1),
        ("raise-task-retries", "error-rate", -1),
        ("raise-index-refresh-interval", "cpu-usage", -1),
    ],
)
def test_mechanisms_point_the_right_way(swarms, move, metric, sign):
    workload, settings, metrics, state = swarms
    index = [r.id for r in RECOMMENDATIONS].index(move)
    changed = settings.copy()
    changed[:, index // 2] = moved(TUNABLES[index // 2], settings[:, index // 2], RECOMMENDATIONS[index].direction)
    after, _ = simulate(workload, changed, state, 12)
    change = sign * np.log((after[metric] + 1e-6) / (metrics[metric] + 1e-6))
    really = np.abs(change) > 1e-3
    assert really.mean() > 0.2
    assert np.mean(change[really] > 0) > 0.8


def test_more_agents_help_an_overloaded_swarm_only(swarms):
    workload, settings, metrics, state = swarms
    changed = settings.copy()
    changed[:, 0] = moved(TUNABLES[0], settings[:, 0], "raise")
    after, _ = simulate(workload, changed, state, 12)
    gain = after["throughput"] / metrics["throughput"]
    starving = (
        (metrics["agent-utilization"] > 0.98) & (metrics["rate-limit-usage"] < 0.3) & (metrics["cpu-usage"] < 0.3)
    )
    idle = (metrics["agent-utilization"] < 0.4) & (settings[:, 0] > 2)
    assert starving.sum() > 20
    assert idle.sum() > 20
    assert np.median(gain[starving]) > 1.3
    assert abs(np.median(gain[idle]) - 1) < 0.02


@pytest.mark.parametrize("load", [0.05, 0.5, 0.97, 1.3, 4.0])
@pytest.mark.parametrize("limit", [1, 2, 7, 60])
def test_the_finite_queue_equals_its_stationary_distribution(load, limit):
    probabilities = float(load) ** np.arange(limit + 1)
    probabilities /= probabilities.sum()
    full, present = finite_queue(np.array([load]), np.array([float(limit)]))
    np.testing.assert_allclose(full, probabilities[-1], rtol=1e-9)
    np.testing.assert_allclose(present, probabilities @ np.arange(limit + 1), rtol=1e-9)


def _flat(**values):
    metrics = {metric: np.ones(1) for metric, _, _ in TARGETS.values()}
    metrics |= {metric: np.ones(1) for metric, _ in CONSTRAINTS.values()}
    return metrics | {name: np.array([value]) for name, value in values.items()}


def test_utility_is_the_weighted_log_gain():
    weights = np.zeros((1, len(TARGETS)))
    weights[0, list(TARGETS).index("improve-throughput")] = 1.0
    unlimited = dict.fromkeys(CONSTRAINTS, np.full(1, np.nan))
    gain = utility(_flat(throughput=99.99), _flat(throughput=119.99), weights, unlimited)
    assert gain[0] == pytest.approx(np.log(1.2) - CHANGE_COST)
    limited = unlimited | {"max-memory": np.array([1.0])}
    broken = utility(_flat(throughput=99.99), _flat(throughput=119.99, memory=1.5), weights, limited)
    assert broken[0] == pytest.approx(np.log(1.2) - CHANGE_COST - CROSSING - LIMIT_WEIGHT * np.log(1.5), abs=1e-5)
    cured = utility(_flat(memory=1.5), _flat(memory=0.9), weights, limited)
    assert cured[0] > 0.7  # getting back under a limit is worth something even though nobody asked for memory


def test_an_unwanted_loss_is_guarded():
    weights = np.zeros((1, len(TARGETS)))
    weights[0, list(TARGETS).index("reduce-latency")] = 1.0
    unlimited = dict.fromkeys(CONSTRAINTS, np.full(1, np.nan))
    clean = utility(_flat(latency=100.0), _flat(latency=80.0), weights, unlimited)
    costly = utility(_flat(latency=100.0), _flat(latency=80.0, **{"cost-per-task": 2.0}), weights, unlimited)
    assert costly[0] < clean[0] - 0.1


def test_examples_are_reproducible_and_complete():
    first, second = examples([5, 0], 60), examples([5, 0], 60)
    assert all(np.array_equal(first[name], second[name]) for name in first)
    assert first["inputs"].shape == (60, 256)
    assert first["utilities"].shape == (60, 128)
    assert {a.dtype.name for a in first.values()} == {"float32", "int32"}
    assert all(np.isfinite(a).all() for a in first.values())
    measured = [2 * i + 1 for i, f in enumerate(FIELDS) if f.group != "constraints"]
    assert first["inputs"][:, measured].all()
    np.testing.assert_allclose(first["inputs"][:, -len(TARGETS) :].sum(axis=1), 1.0, rtol=1e-6)
    assert not np.array_equal(first["utilities"], examples([5, 1], 60)["utilities"])


def test_the_workload_families_are_all_drawn():
    workload, _, family = sample(np.random.default_rng(0), 2000)
    assert set(family) == set(range(len(FAMILIES)))
    for name, (low, high, _) in PARAMETERS.items():
        assert workload[name].min() >= low, name
        assert workload[name].max() <= high, name


def test_preprocess_writes_shards_and_a_manifest(tmp_path):
    manifest = preprocess(None, tmp_path, {"simulate": 120, "seed": 4})
    assert json.loads((tmp_path / "manifest.json").read_text("utf-8")) == manifest
    assert (manifest["kind"], manifest["network"], manifest["rows"]) == ("tensors", "optimization", 120)
    assert Encoder.from_schema(manifest["schema"]).fields == FIELDS
    shards = [load_file(tmp_path / name) for name in manifest["shards"]]
    assert sum(len(shard["inputs"]) for shard in shards) == 120
    assert len(set(manifest["test_families"])) == 3


def test_run_tables_are_refused_with_the_reason(tmp_path):
    tables = tmp_path / "tables"
    with writing(tables) as writer:
        for i in range(3):
            writer.write(Run(run_id=str(i), source="jsonl", start=datetime(2026, 1, 1, i, tzinfo=timezone.utc)))
        writer.finish({"format": 1, "kind": "tables"})
    with pytest.raises(InputError, match=r"0 runs with known times, too few.*--dataset simulator"):
        preprocess(tables, tmp_path, {})
    with pytest.raises(InputError, match="at least 100"):
        preprocess(None, tmp_path, {"simulate": 3})
    assert list(tmp_path.iterdir()) == [tables]
