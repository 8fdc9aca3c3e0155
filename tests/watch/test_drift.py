"""Drift: alarms need a corrected p-value and an effect; too few rows are said to be too few."""

from __future__ import annotations

import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from claude_flow.errors import InputError
from claude_flow.watch import alerts, drift, samples
from claude_flow.watch.detectors import METHODS
from claude_flow.watch.samples import Column, Sample


def sample(values: np.ndarray, names: str = "f") -> Sample:
    columns = {f"{names}{i}": Column(values[:, i]) for i in range(values.shape[1])}
    return Sample(columns, np.full(len(values), np.nan), "test")


def normal(seed: int, n: int = 500, features: int = 5) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=(n, features))


@pytest.mark.parametrize("method", METHODS)
def test_a_shift_is_found_where_it_is_and_nothing_where_there_is_none(method):
    one, other = normal(1), normal(2)
    assert drift.compare(sample(one), sample(other), method)["alarms"] == []
    other[200:, 3] += 1.0
    found = drift.compare(sample(one), sample(other), method)
    assert (found["verdict"], found["alarms"]) == ("drift", ["f3"])
    assert 150 <= found["features"][0]["since"] <= 250  # it began at row 201


@pytest.mark.parametrize("method", METHODS)
def test_a_small_effect_is_no_alarm_however_many_rows_prove_it(method):
    one, other = normal(1, 5000, 1), normal(2, 5000, 1) + 0.1
    found = drift.compare(sample(one), sample(other), method, "low", jointly=False)
    assert found["verdict"] == "no drift"
    assert found["features"][0]["effect"] < found["features"][0]["threshold"]


def test_a_correlation_that_is_gone_shows_jointly_alone():
    one, other = normal(1, 600, 2), normal(2, 600, 2)
    one[:, 1] = one[:, 0]
    found = drift.compare(sample(one), sample(other), "kolmogorov-smirnov")
    assert found["verdict"] == "drift"
    assert found["alarms"] == []
    assert found["joint"]["alarm"]
    assert drift.verdict(found) == "drift in no feature alone, all together"


def test_few_rows_are_said_to_be_few():
    few = drift.compare(sample(normal(1, 10)), sample(normal(2, 10)), "psi")
    assert (few["verdict"], few["detectable"], few["features"]) == ("too small", None, [])
    some = drift.compare(sample(normal(1, 100)), sample(normal(2, 100)), "psi")
    assert some["verdict"] == "too small"
    assert some["detectable"] > some["shift"]
    assert "needed to rule out 0.25" in drift.verdict(some)


def test_a_category_and_a_field_that_only_one_side_has():
    g = np.random.default_rng(0)
    one, other = sample(normal(1, 300, 1)), sample(normal(2, 300, 1))
    one.columns["kind"] = Column(g.integers(0, 2, 300).astype(float), ("a", "b"))
    other.columns["kind"] = Column((g.random(300) < 0.9).astype(float), ("b", "c"))
    other.columns["load"] = Column(g.random(300))
    found = drift.compare(one, other, "wasserstein")
    assert set(found["alarms"]) == {"kind", "load"}


def test_what_drift_costs_is_told_with_an_interval():
    one, other = sample(normal(1, 400, 2)), sample(normal(2, 400, 2))
    one.columns["error"], other.columns["error"] = (Column((np.arange(400) % k == 0).astype(float)) for k in (10, 4))
    cost = drift.compare(one, other, "psi", error_column="error")["cost"]
    assert cost["rise"] == pytest.approx(0.15)
    assert 0 < cost["low"] < 0.15 < cost["high"]


def test_other_columns_are_refused():
    with pytest.raises(InputError, match="the reference data has other columns"):
        drift.compare(sample(normal(1), "a"), sample(normal(2), "b"), "psi")


json_values = st.recursive(
    st.none() | st.booleans() | st.floats(allow_nan=False) | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=5), inner, max_size=4),
    max_leaves=12,
)


@settings(max_examples=60, deadline=None)
@given(json_values)
def test_any_request_is_flattened_to_numbers_and_texts(value):
    assert all(isinstance(found, (float, str)) for found in samples.flatten(value).values())


def test_the_same_alert_waits_and_lines_that_were_cut_off_are_left_out():
    assert alerts.raise_alert("drift", "x", "warning", "one", 3600)
    with alerts.path().open("a") as file:
        file.write('{"time": "20')
    assert alerts.raise_alert("drift", "x", "warning", "again", 3600) is None
    assert alerts.raise_alert("drift", "y", "warning", "another", 3600)
    assert [entry["message"] for entry in alerts.entries()] == ["one", "another"]


def test_the_command_on_files(run, tmp_path):
    g = np.random.default_rng(3)
    for name, shift in (("june", 0.0), ("july", 1.0)):
        rows = [f"{g.normal() + shift},{g.choice(['a', 'b'])}" for _ in range(200)]
        (tmp_path / f"{name}.csv").write_text("\n".join(["x,kind", *rows]) + "\n")
    command = ["monitor", "drift", "--reference-data", "june.csv", "--streaming-data", "july.csv"]
    code, out, _ = run(*command, "--html", "page.html", "--format", "json")
    answer = json.loads(out)
    assert (code, answer["verdict"], answer["groups"]["rows"]["inputs"]["alarms"]) == (0, "drift", ["x"])
    assert "drift in x" in (tmp_path / "page.html").read_text()
    assert len(answer["alerts"]) == 1
    assert json.loads(run(*command, "--format", "json")[1])["alerts"] == []


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["--features", "z"], "there is no feature 'z'"),
        (["--time-column", "when"], "it has no column 'when'"),
        (["--streaming-data", "production-inputs"], "the workspace has logged no request"),
        (["--streaming-data", "other.csv"], "the reference data has other columns"),
        (["--streaming-data", "gone"], "there is no dataset 'gone'"),
        (["--error-column", "z"], "there is no column 'z' of errors"),
    ],
)
def test_wrong_input_is_one_line(run, tmp_path, words, told):
    (tmp_path / "june.csv").write_text("x\n" + "1\n2\n" * 20)
    (tmp_path / "other.csv").write_text("y\n" + "1\n2\n" * 20)
    code, out, err = run("monitor", "drift", "--reference-data", "june.csv", "--streaming-data", "june.csv", *words)
    assert (code, out) == (2, "")
    assert told in err
    assert len(err.strip().splitlines()) == 1
