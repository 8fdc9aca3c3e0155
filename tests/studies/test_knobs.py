"""Ranking configurations: the reader of foreign lines, the arithmetic of the protocol, and the ranker."""

from __future__ import annotations

import gzip
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import claude_flow as cf
from claude_flow.data.lines import Log
from claude_flow.errors import InputError
from claude_flow.studies.knobs import configurations
from claude_flow.studies.knobs.encoder import KnobEncoder

pytest.importorskip("scipy", reason="ranks need the extra: pip install 'claude-flow[baselines]'")
pytest.importorskip("sklearn", reason="the forest needs the extra: pip install 'claude-flow[baselines]'")
pytest.importorskip("torch", reason="training needs the extra: pip install 'claude-flow[train]'")

from claude_flow.evaluate.result import OURS
from claude_flow.studies.knobs import learner as training
from claude_flow.studies.knobs import protocol

SMALL = training.Recipe(trees=30, drawn=1_500, epochs=8, hidden=(16, 16))


def line(threads: int = 8, log: str = "OFF", tps: float = 100.0, metrics: object = (1.0, 2.0), **knobs: object) -> str:
    settings = {"threads": threads, "log": log, "seldom": 0} | knobs
    return f"{settings}|tps_{tps}|lat_1.0|cpu_3|{list(metrics)}|{len(metrics)}d"  # type: ignore[arg-type,call-overload]


def truth(threads: int, log: str, scale: float) -> float:
    """More threads are better up to 32, logging costs half."""
    return scale * (1 + np.log2(min(threads, 32))) * (0.5 if log == "ON" else 1.0)


def sample(scale: float, rows: int, seed: int) -> list[str]:
    generator = np.random.default_rng(seed)
    made = []
    for _ in range(rows):
        threads, log = int(generator.integers(1, 64)), str(generator.choice(["ON", "OFF"]))
        metrics = (scale, float(threads))
        noise = int(generator.integers(1000))
        made.append(line(threads, log, truth(threads, log, scale), metrics, noise=noise))
    return made


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Three workloads of one truth at different speeds, with what the protocol must leave out."""
    (tmp_path / "fast.res").write_text("\n".join([*sample(100.0, 60, 1), line(tps=0.3), line(metrics=())]))
    (tmp_path / "slow_lhs.res").write_text("\n".join([*sample(2.0, 50, 2), line(tps=1e6, lower_case_table_names=1)]))
    (tmp_path / "odd.res.gz").write_bytes(gzip.compress("\n".join(sample(30.0, 40, 3)).encode()))
    return tmp_path


# the reader


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "a line is"),
        ("{'a': 1}|lat_2|[1.0]|1d", "one tps_ and one list"),
        ("{'a': 1}|tps_2|tps_3|[1.0]|1d", "one tps_ and one list"),
        ("{'a': 1|tps_2|[1.0]|1d", "the knobs are not a dictionary"),
        ("{}|tps_2|[1.0]|1d", "the knobs are not a dictionary"),
        ("{'a': open('x')}|tps_2|[1.0]|1d", "the knobs are not a dictionary"),
        ("{'a': [1]}|tps_2|[1.0]|1d", "'a' is set to neither a number nor a word"),
        ("{'a': 1e999}|tps_2|[1.0]|1d", "'a' is not a finite number"),
        ("{'a': 1}|tps_fast|[1.0]|1d", "tps is not a number: 'fast'"),
        ("{'a': 1}|tps_nan|[1.0]|1d", "tps is not a finite number"),
        ("{'a': 1}|tps_2|[1.0, x]|2d", "a metric is not a number: 'x'"),
        ("{'a': 1}|tps_2|[1.0, 2.0|2d", "the list of metrics has no end"),
    ],
)
def test_a_malformed_line_says_what_is_wrong(text, message):
    with pytest.raises(InputError, match=message.replace("(", r"\(")):
        configurations.parse(text)


def test_malformed_lines_are_reported_and_the_rest_is_read(folder):
    (folder / "fast.res").write_text("\n".join([line(), "rubbish", *sample(100.0, 60, 1)]))
    workloads, notes = protocol.read(folder)
    assert [len(workload.throughput) for workload in workloads] == [61, 40, 50]
    assert any("1 lines left out, the first:" in note and "fast.res:2:" in note for note in notes)


@settings(max_examples=200, deadline=None)
@given(st.text(max_size=80))
def test_any_text_is_read_or_refused(text):
    for candidate in (text, f"{text}|tps_1|[1.0]|1d", f"{{'a': 1}}|tps_{text}|[1.0]", f"{{'a': 1}}|tps_1|[{text}]"):
        try:
            found = configurations.parse(candidate)
        except InputError:
            continue
        assert np.isfinite(found.throughput)
        assert np.isfinite(found.metrics).all()


@settings(max_examples=100, deadline=None)
@given(
    st.dictionaries(st.text(max_size=8), st.integers(-(10**20), 10**20) | st.text(max_size=8), min_size=1, max_size=5),
    st.floats(-1e9, 1e9),
    st.lists(st.floats(-1e20, 1e20), max_size=5),
)
def test_what_is_written_is_read(knobs, throughput, metrics):
    text = f"{knobs}|tps_{throughput}|lat_1|{metrics}|{len(metrics)}d"
    if "|" in str(knobs):
        return  # the format has no escape for its separator
    found = configurations.parse(text)
    assert (found.knobs, found.throughput, found.metrics) == (knobs, throughput, tuple(metrics))


def test_workloads_may_be_csv_with_metrics_or_without(tmp_path):
    rows = "\n".join(f"{i},{i % 9},{'ON' if i % 2 else 'OFF'},{50 + i}" for i in range(60))
    for name in ("fast", "slow"):
        (tmp_path / f"{name}.csv").write_text(f",threads,log,tps\n{rows}\n61,x\n62,1e999,ON,3\n")
        if name == "fast":
            assert not protocol.detect(tmp_path)  # leaving one workload out takes two
    assert protocol.detect(tmp_path)
    workloads, notes = protocol.read(tmp_path)
    assert [(w.name, w.knobs[1], w.metrics.shape) for w in workloads] == [
        (name, {"threads": 1.0, "log": "ON"}, (60, 0)) for name in ("fast", "slow")
    ]
    assert "4 lines left out, the first:" in notes[-1]
    (tmp_path / "slow.csv").write_text("threads,metric:reads,TPS\n1,5,20\n")
    (row,) = configurations.read(tmp_path, Log())["slow"]
    assert (row.knobs, row.throughput, row.metrics) == ({"threads": 1.0}, 20.0, (5.0,))


def test_only_a_folder_of_such_files_is_recognised(folder, tmp_path_factory):
    other = tmp_path_factory.mktemp("other")
    assert protocol.detect(folder)
    assert not protocol.detect(other)
    assert not protocol.detect(folder / "fast.res")
    (other / "x.res").write_text("no such line")
    assert not protocol.detect(other)
    with pytest.raises(InputError, match="no folder of"):
        configurations.read(other, Log())


# the protocol


def test_cleaning_follows_the_protocol(folder):
    workloads, _ = protocol.read(folder)
    assert {w.name: len(w.throughput) for w in workloads} == {"fast": 60, "slow": 50, "odd": 40}
    assert all("lower_case_table_names" not in row for w in workloads for row in w.knobs)


def test_the_perfect_ranking_has_no_regret_and_the_reverse_one_all():
    throughput = np.arange(1.0, 41.0)
    perfect = protocol.judge(throughput, throughput, observed=20)
    assert perfect == {"regret@1": 0.0, "regret@5": 0.0, "regret@10": 0.0, "spearman": pytest.approx(1.0)}
    reverse = protocol.judge(-throughput, throughput, observed=20)
    assert reverse["spearman"] == pytest.approx(-1.0)
    assert [reverse[f"regret@{k}"] for k in (1, 5, 10)] == pytest.approx([39 / 40, 35 / 40, 30 / 40])


def test_the_observed_row_is_not_ranked():
    throughput = np.array([10.0, 100.0, 40.0, 50.0])
    judged = protocol.judge(throughput, throughput, observed=1)
    assert judged["regret@1"] == 0.0  # the best of the others, not of all
    assert judged["regret@10"] == 0.0  # deeper than there are rows


def test_scores_that_are_all_equal_correlate_with_nothing():
    assert protocol.judge(np.zeros(5), np.arange(5.0), observed=0)["spearman"] == 0.0
    assert "spearman" not in protocol.judge(np.arange(5.0), np.ones(5), observed=0)


def test_median_and_band():
    workload = protocol.Workload("w", [{"a": i} for i in range(10)], np.arange(10.0)[::-1], np.zeros((10, 1)))
    assert workload.throughput[workload.median] == 5.0
    assert sorted(workload.throughput[workload.band]) == [4.0, 5.0]


def test_every_contender_is_judged_on_every_workload(folder):
    pytest.importorskip("lightgbm", reason="the baseline needs the extra: pip install 'claude-flow[baselines]'")
    shares = []
    result = protocol.run(folder, seeds=[0, 1], quick=True, progress=lambda share, _: shares.append(share))
    assert shares == sorted(shares)
    assert shares[-1] == 1.0
    assert result.rows == {"fast": 60, "odd": 40, "slow": 50}
    measured = {(s.contender, s.unit) for s in result.scores if s.measure == "spearman, band"}
    assert len(measured) == 5 * 3
    found = {s.unit: s.value for s in result.scores if s.contender == OURS and s.measure == "spearman"}
    assert min(found.values()) > 0.8  # the three workloads share one truth
    assert all(np.isfinite(s.value) for s in result.scores)
    assert {curve.contender for curve in result.curves} == {s.contender for s in result.scores}


def test_a_workload_of_one_row_is_left_out_and_named(folder):
    (folder / "tiny.res").write_text(line())
    workloads, notes = protocol.read(folder)
    assert "tiny" not in {w.name for w in workloads}
    assert "tiny: left out, 1 valid rows are fewer than 3" in notes


def test_one_workload_cannot_be_left_out(folder):
    for name in ("slow_lhs.res", "odd.res.gz"):
        (folder / name).unlink()
    with pytest.raises(InputError, match="leaving one workload out takes two"):
        protocol.read(folder)


def test_ragged_metrics_are_named(folder):
    with (folder / "fast.res").open("a") as file:
        file.write("\n" + line(metrics=(1.0,)))
    with pytest.raises(InputError, match="rows of fast have different numbers of metrics"):
        protocol.read(folder)


# the encoder and the ranker


def test_unknown_settings_are_the_mean():
    encoder = KnobEncoder.fit([{"a": 1, "b": "x", "c": 7}, {"a": 3, "b": "y", "c": 7}, {"a": 5, "b": "y"}])
    assert encoder.width == 4  # a on two scales, two words of b; c is constant
    assert not encoder.encode([{"b": "z", "d": 1}, {"a": "?"}]).any()
    again = KnobEncoder.from_schema(encoder.schema())
    rows = [{"a": 2, "b": "x"}, {}]
    np.testing.assert_array_equal(again.encode(rows), encoder.encode(rows))


def test_constant_knobs_cannot_be_ranked():
    with pytest.raises(InputError, match="no knob differs"):
        KnobEncoder.fit([{"a": 1}, {"a": 1}])


def test_the_ranker_learns_over_workloads_and_runs_in_the_engine(folder, tmp_path_factory):
    from claude_flow import export

    workloads, _ = protocol.read(folder)
    ranker = training.fit([(w.knobs, w.throughput) for w in workloads[:2]], 0, SMALL)
    held_out = workloads[2]
    scores = ranker.scores(held_out.knobs)
    assert protocol.judge(scores, held_out.throughput, held_out.median)["spearman"] > 0.8

    path = tmp_path_factory.mktemp("model") / "knobs.safetensors"
    export.save(ranker.network, path, metadata=ranker.metadata())
    model = cf.load(str(path))
    encoder = KnobEncoder.from_schema(model.features)
    run = model.run(encoder.encode(held_out.knobs))[:, 0]
    np.testing.assert_allclose(run, scores, atol=1e-4)
    np.testing.assert_array_equal(np.argsort(-run, kind="stable"), np.argsort(-scores, kind="stable"))


def test_a_seed_gives_the_same_scores(folder):
    workloads, _ = protocol.read(folder)
    first, second = (training.fit([(w.knobs, w.throughput) for w in workloads], 7, SMALL) for _ in range(2))
    np.testing.assert_array_equal(first.scores(workloads[0].knobs), second.scores(workloads[0].knobs))


def test_workloads_of_equal_throughput_are_learned_as_flat():
    rows = [{"a": i} for i in range(20)]
    ranker = training.fit([(rows, np.full(20, 5.0)), (rows[:1], np.array([3.0]))], 0, SMALL)
    assert np.isfinite(ranker.scores(rows)).all()
    with pytest.raises(InputError, match="at least 2"):
        training.fit([(rows[:1], np.array([3.0]))], 0, SMALL)
