"""The list of protocols, and finding the data sets in a folder."""

from __future__ import annotations

import pytest

from claude_flow.errors import InputError
from claude_flow.evaluate import protocols


def test_an_unknown_protocol_names_near_ones():
    with pytest.raises(InputError, match="did you mean selection"):
        protocols.load("selecton")


def test_nothing_is_found_where_there_is_nothing(tmp_path):
    (tmp_path / "notes.txt").write_text("no data")
    (tmp_path / "deep" / "er").mkdir(parents=True)
    assert list(protocols.find(tmp_path)) == []
    assert protocols.detect(tmp_path / "absent") == []
