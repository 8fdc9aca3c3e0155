"""The one checker of requests, configurations, manifests: what it takes, and what it says."""

from __future__ import annotations

import json
import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from claude_flow import schema, values
from claude_flow.errors import InputError

AGENT = schema.Record({"id": schema.Text(), "load": schema.Number(0, 1)}, required=("id",))
KIND = schema.Record(
    {
        "agents": schema.List(AGENT, "agent", least=1, most=3, unique="id"),
        "rate": schema.Either(schema.Number(0, 10, above=True), schema.Choice("auto")),
        "size": schema.Parsed("a size such as 16GB", values.size, schema.Number(0)),
        "numbers": schema.Table(schema.Number()),
        "wide_field": schema.Whole(1, 8),
        "on": schema.Flag(),
        "fixed": schema.Fixed(512, "the encoder makes so many"),
    }
)


@pytest.mark.parametrize(
    ("value", "message"),
    [
        (3, "it must be an object with agents, rate, size, numbers, wide_field, on, fixed, not 3"),
        ({"agnets": []}, "it.agnets: no such field: did you mean agents?"),
        ({"zzz": 1}, "it.zzz: no such field: it is one of agents, rate, "),
        ({"a\nb": 1}, "it.'a\\nb': no such field"),
        ({"agents": []}, "it.agents is empty: name at least one agent"),
        ({"agents": [{"id": str(i)} for i in range(4)]}, "it.agents has 4 agents; at most 3 are taken"),
        ({"agents": {}}, "it.agents must be a list of agents, not {}"),
        ({"agents": [3]}, "it.agents[0] must be an object with id, load, not 3"),
        ({"agents": [{"load": 1}]}, "it.agents[0]: id is missing; it must be a non-empty string"),
        ({"agents": [{"id": "a"}, {"id": "a"}]}, "it.agents[1].id: 'a' is taken by agents[0]: none twice"),
        ({"agents": [{"id": " "}]}, "it.agents[0].id must be a non-empty string, not ' '"),
        ({"agents": [{"id": "\ud800"}]}, "it.agents[0].id holds half of a UTF-16 pair"),
        ({"agents": [{"id": "a", "load": 1.5}]}, "it.agents[0].load must be a number from 0 to 1, not 1.5"),
        ({"rate": 0}, "it.rate must be a number above 0 and at most 10, or 'auto', not 0"),
        ({"rate": "atuo"}, "it.rate must be a number above 0 and at most 10, or 'auto', not 'atuo'"),
        ({"rate": True}, "it.rate must be"),
        ({"size": "many"}, "it.size: 'many' is not a size"),
        ({"size": [1]}, "it.size must be a number of at least 0, or a size such as 16GB, not [1]"),
        ({"numbers": {"x": 10**400}}, "it.numbers.x must be a finite number, not 1000"),
        ({"numbers": {"x": 10**5000}}, "it.numbers.x must be a finite number, not a number of thousands of digits"),
        ({"numbers": {"x": math.inf}}, "it.numbers.x must be a finite number, not inf"),
        ({"wide-field": 9}, "it.wide-field must be a whole number from 1 to 8, not 9"),
        ({"wide-field": 1, "wide_field": 1}, "it.wide_field is given twice"),
        ({"on": 1}, "it.on must be true or false, not 1"),
        ({"fixed": 64}, "it.fixed must be 512, since the encoder makes so many, not 64"),
    ],
)
def test_a_refusal_names_place_and_kind(value, message):
    with pytest.raises(InputError) as caught:
        schema.check(value, KIND, "it")
    assert str(caught.value).startswith(message)
    assert "\n" not in str(caught.value)


def test_what_fits_comes_back_as_the_program_wants_it():
    value = {"agents": [{"id": "a", "load": 1}], "rate": "auto", "size": "16GB", "wide-field": 3, "fixed": 512}
    assert schema.check(value, KIND) == {
        "agents": [{"id": "a", "load": 1.0}],
        "rate": "auto",
        "size": 16 * 10**9,
        "wide_field": 3,
        "fixed": 512,
    }


def test_the_path_of_a_file_ends_with_a_colon():
    with pytest.raises(InputError, match=r"^a\.json: on must be true or false, not 3$"):
        schema.check({"on": 3}, KIND, "a.json:")
    with pytest.raises(InputError, match=r"^a\.json: must be an object with id, load, not 3$"):
        schema.check(3, AGENT, "a.json:")
    with pytest.raises(InputError, match=r"^a\.json: id is missing"):
        schema.check({}, AGENT, "a.json:")


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(list(KIND.fields)) | st.text(), inner),
    max_leaves=12,
)


@given(JSON)
def test_anything_is_taken_or_refused_in_one_line(value):
    taken, refusal = None, "it"
    try:
        taken = schema.check(value, KIND, "it")
    except InputError as error:
        refusal = str(error)
    assert refusal.splitlines() == [refusal]
    assert refusal.startswith("it")
    assert taken is None or schema.check(taken, KIND, "it") == taken  # what was taken fits again
    json.dumps(taken, allow_nan=False)
