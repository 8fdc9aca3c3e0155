"""Values checked by the column are what they are one by one."""

from __future__ import annotations

from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from claude_flow import networks, schema, values
from claude_flow.errors import InputError

KINDS = [
    schema.Number(0, 1), schema.Number(0, above=True), schema.Whole(0, 9), schema.Text(), schema.Text(blank=True),
    schema.Flag(), schema.Choice("low", "high"), schema.Anything(),
    schema.Either(schema.Choice("low", "high"), schema.Number(0, 1)), schema.Either(schema.Text(), schema.Whole()),
    schema.Parsed("a size", values.size, schema.Number(0)),
]  # fmt: skip
KINDS += [
    *[schema.List(kind, "value", least=1, unique="") for kind in KINDS[:7]], *map(schema.Table, KINDS),
    schema.Record({"id": schema.Text(), "load": KINDS[0], "to_do": KINDS[9]}, required=("id",)),
    schema.List(schema.Record({"id": schema.Text(), "load": KINDS[0]}, required=("id",)), "agent", unique="id"),
]  # fmt: skip
SCALARS = st.one_of(
    st.sampled_from(
        [0, 1, 0.5, 2, True, None, "", " ", "low", "high", "7", "\ud800", float("nan"), float("inf"), -1, 10**40]
    )
)
NAMES = st.sampled_from(["id", "load", "to_do", "to-do"])
VALUES = st.recursive(
    SCALARS,
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(["id", "load", "to_do", "to-do"]), inner)
    ),
    max_leaves=8,
)


def one_by_one(items: list[Any], kind: Any) -> list[Any]:
    found = []
    for value in items:
        try:
            found.append(schema.check(value, kind, "x"))
        except InputError as error:
            found.append(str(error))
    return found


@settings(max_examples=400, deadline=None)
@given(st.sampled_from(KINDS), st.lists(VALUES, max_size=6))
def test_many_are_checked_as_one(kind: Any, items: list[Any]) -> None:
    found = [str(v) if isinstance(v, InputError) else v for v in schema.check_many(items, kind, "x")]
    assert repr(found) == repr(one_by_one(items, kind))


def test_the_networks_requests_pass_by_the_column() -> None:
    part = networks.get("coordination").part("features")
    requests = list(networks.get("coordination").prepare.requests(20, 0))
    assert part._REQUEST.many(requests) == [schema.check(request, part._REQUEST) for request in requests]
