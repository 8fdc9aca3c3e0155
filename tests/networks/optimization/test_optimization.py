"""Requests to the optimization network: what is accepted, what is refused, and how it is encoded."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from claude_flow.errors import InputError
from claude_flow.networks.optimization.features import FIELDS, GROUPS, Encoder
from claude_flow.networks.optimization.reference import page

SPEC = {  # the guide's own example
    "current-performance": {"throughput": 45.2, "latency": 120, "error-rate": 0.02, "resource-utilization": 0.78},
    "constraints": {"max-memory": "16GB", "max-cpu": 0.9, "budget": 1000},
    "optimization-targets": ["reduce-latency", "improve-throughput"],
}
ENCODER = Encoder()


def test_the_layout_fills_256_slots():
    assert ENCODER.width == 256
    assert len({field.path for field in FIELDS}) == len(FIELDS) == 122
    assert {field.group for field in FIELDS} == set(GROUPS)


def test_the_guides_example():
    reading = ENCODER.encode(SPEC)
    assert reading.inputs.dtype == np.float32
    assert reading.values["constraints.max-memory"] == 16e9
    assert reading.targets == {"reduce-latency": 0.5, "improve-throughput": 0.5}
    assert reading.notes == []
    known = reading.inputs[1:244:2]
    assert known.sum() == 7
    assert np.all(reading.inputs[0:244:2][known == 0] == 0)
    columns = ENCODER.column(reading.inputs[None], "current-performance.latency")
    np.testing.assert_allclose(columns, 120.0, rtol=1e-5)
    assert np.isnan(ENCODER.column(reading.inputs[None], "current-performance.memory")[0])


def test_without_targets_four_count_alike():
    reading = ENCODER.encode({"current-performance": {"latency": 5}})
    assert sorted(reading.targets.values()) == [0.25] * 4
    weighted = ENCODER.encode(SPEC | {"optimization-targets": {"reduce-cost": 3, "reduce-memory": 1, "reduce-cpu": 0}})
    assert weighted.targets == {"reduce-cost": 0.75, "reduce-memory": 0.25}
    assert weighted.inputs[244:].sum() == 1.0


def test_sizes_and_durations_are_read():
    reading = ENCODER.encode({"current-performance": {"latency": "2m", "memory": "1.5GiB", "queue-time": "800ms"}})
    known = {"latency": 120.0, "memory": 1.5 * 2**30, "queue-time": 0.8}
    assert reading.values == {f"current-performance.{name}": value for name, value in known.items()}


def test_values_beyond_the_training_range_are_noted():
    reading = ENCODER.encode({"current-performance": {"latency": 1e9, "error-rate": 0.0, "queue-time": 0}})
    assert len(reading.notes) == 1
    assert "current-performance.latency" in reading.notes[0]
    assert abs(reading.inputs).max() <= 1.5


REFUSED = [
    ([], "the request must be an object with current-performance, "),
    ({}, "name at least one metric"),
    ({"current-performance": {}}, "name at least one metric"),
    ({"current-performance": 5}, "current-performance must be an object"),
    ({"current-perfomance": {"latency": 1}}, "current-perfomance: no such field: did you mean current-performance"),
    ({"current-performance": {"latncy": 1}}, "current-performance.latncy: no such field: did you mean latency"),
    ({"current-performance": {"zzzz": 1}}, "zzzz: no such field: it is one of throughput, latency"),
    (
        {"current-performance": {"latency": -1}},
        "current-performance.latency must be a number of at least 0, or a duration such as 2m, not -1",
    ),
    (
        {"current-performance": {"latency": float("nan")}},
        "current-performance.latency must be a number of at least 0.*, not nan",
    ),
    ({"current-performance": {"latency": 10**400}}, "latency must be a number of at least 0"),
    ({"current-performance": {"latency": True}}, "latency must be a number of at least 0.*, not True"),
    ({"current-performance": {"latency": None}}, "latency must be a number of at least 0.*, not None"),
    ({"current-performance": {"latency": "soon"}}, "current-performance.latency: 'soon' is not a duration"),
    ({"current-performance": {"throughput": "45"}}, "throughput must be a number of at least 0, not '45'"),
    ({"current-performance": {"error-rate": 2}}, "error-rate must be a number from 0 to 1, not 2"),
    (SPEC | {"constraints": {"max-memory": "16 apples"}}, "constraints.max-memory: '16 apples' is not a size"),
    (SPEC | {"constraints": {"max-memroy": 1}}, "did you mean max-memory"),
    (SPEC | {"current-settings": {"max-agent": 4}}, "current-settings.max-agent: .*did you mean max-agents"),
    (
        SPEC | {"optimization-targets": ["reduce-latncy"]},
        "optimization-targets.0. must be one of .*reduce-latncy.: did you mean reduce-latency",
    ),
    (SPEC | {"optimization-targets": []}, "give at least one of reduce-latency"),
    (SPEC | {"optimization-targets": [3]}, "optimization-targets.0. must be one of .*, not 3"),
    (SPEC | {"optimization-targets": "reduce-latency"}, "must be a list of names, or an object of weights"),
    (SPEC | {"optimization-targets": ["reduce-cost", "reduce-cost"]}, "twice"),
    (SPEC | {"optimization-targets": {"reduce-cost": 0}}, "give at least one"),
    (SPEC | {"optimization-targets": {"reduce-cost": -1}}, "reduce-cost must be a number of at least 0, not -1"),
]


@pytest.mark.parametrize(("request_", "message"), REFUSED, ids=range(len(REFUSED)))
def test_bad_requests_get_one_clear_line(request_, message):
    with pytest.raises(InputError, match=message) as caught:
        ENCODER.encode(request_)
    assert "\n" not in str(caught.value)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=12),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=12), inner, max_size=3),
    max_leaves=8,
)
NAMES = st.sampled_from([field.name for field in FIELDS] + list(ENCODER.targets)) | st.text(max_size=8)
REQUESTS = st.dictionaries(
    st.sampled_from([*GROUPS, "optimization-targets", "other"]),
    st.dictionaries(NAMES, JSON, max_size=4) | st.lists(NAMES, max_size=3) | JSON,
    max_size=5,
)


@settings(max_examples=400, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(REQUESTS | JSON)
def test_any_request_is_encoded_or_refused_in_one_line(request_):
    refusal = None
    try:
        reading = ENCODER.encode(request_)
    except InputError as error:
        refusal = str(error)
    if refusal is None:
        assert np.isfinite(reading.inputs).all()
        assert reading.inputs[244:].sum() == pytest.approx(1.0, abs=1e-5)
    else:
        assert refusal.isprintable()


@settings(max_examples=100, deadline=None)
@given(st.sampled_from(FIELDS), st.floats(0, 1))
def test_scaling_is_undone(field, position):
    value = float(field.unscaled(2 * position - 1))
    np.testing.assert_allclose(field.unscaled(field.scaled(value)), value, rtol=1e-6, atol=1e-9)


def test_a_schema_survives_json_and_a_foreign_one_is_refused():
    schema = json.loads(json.dumps(ENCODER.schema()))
    np.testing.assert_array_equal(Encoder.from_schema(schema).encode(SPEC).inputs, ENCODER.encode(SPEC).inputs)
    with pytest.raises(InputError, match="another catalogue"):
        Encoder.from_schema(schema | {"recommendations": schema["recommendations"][::-1]})
    for damaged in ({}, {"version": 1}, schema | {"fields": [{}]}, schema | {"fields": 3}):
        with pytest.raises(InputError, match="schema"):
            Encoder.from_schema(damaged)


def test_the_reference_page_is_current():
    path = Path(__file__).parents[3] / "docs" / "optimization_reference.md"
    assert path.read_text("utf-8") == page(), "python -m claude_flow.networks.optimization.reference > the page"
