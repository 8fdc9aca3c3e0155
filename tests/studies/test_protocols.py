"""The list of protocols, and finding the data sets in a folder."""

from __future__ import annotations

import pytest

from claude_flow.errors import InputError
from claude_flow.studies import protocols


def test_an_unknown_protocol_names_near_ones():
    with pytest.raises(InputError, match="did you mean selection"):
        protocols.load("selecton")


def test_nothing_is_found_where_there_is_nothing(tmp_path):
    (tmp_path / "notes.txt").write_text("no data")
    (tmp_path / "deep" / "er").mkdir(parents=True)
    assert list(protocols.find(tmp_path)) == []
    assert protocols.detect(tmp_path / "absent") == []


def test_every_protocol_offers_what_the_list_promises():
    for name in protocols.PROTOCOLS:
        module = protocols.load(name)
        assert module.DATA
        assert callable(module.detect)
        assert callable(module.run)


def test_every_public_data_set_is_found_once_per_protocol(public_data):
    found = list(protocols.find(public_data))
    assert {name for name, _ in found} == set(protocols.PROTOCOLS)
    assert len(found) == len(set(found))
    assert len([path for name, path in found if name == "selection"]) >= 10
    for name, path in found:
        assert name in protocols.detect(path)
        assert not any(path in other.parents for _, other in found)  # nothing is sought inside of a data set
