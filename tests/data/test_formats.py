"""Every format of the list: documented, tested by name, and harmless whatever the bytes."""

from __future__ import annotations

import random
import re
from contextlib import suppress
from pathlib import Path

import pytest

from claude_flow.data.lines import Log, head
from claude_flow.data.sources import SOURCES, aslib
from claude_flow.errors import InputError

ROOT = Path(__file__).parents[2]


def test_every_format_is_documented_and_tested():
    kinds = [source.KIND for source in SOURCES]
    assert len(set(kinds)) == len(kinds)
    page = (ROOT / "docs" / "events.md").read_text("utf-8").split("## ")[0]
    assert sorted(re.findall(r"^\| `([\w-]+)` \|", page, re.MULTILINE)) == sorted(kinds)
    tests = [path for path in (ROOT / "tests" / "data").glob("*.py") if path != Path(__file__)]
    said = "".join(path.read_text("utf-8") for path in tests)
    assert not [kind for kind in kinds if not re.search(rf"\b{kind.replace('-', '[-_]')}\b", said)]


# An ASlib scenario is a folder: test_fuzz.py makes whole ones.
@pytest.mark.parametrize("source", [s for s in SOURCES if s is not aslib], ids=lambda source: source.KIND)
def test_random_bytes_yield_records_or_one_line(source, tmp_path):
    chance = random.Random(0)
    words = [b",", b"\n", b'"', b"{", b"}", b"[", b":", b"0", b"-1", b"1e999", b"job", b"\x00", b"\xff", b" ", b"null"]
    for i in range(200):
        path = tmp_path / f"{i}.log"
        path.write_bytes(b"".join(chance.choice(words) for _ in range(chance.randrange(60))))
        source.claims(head(path))
        with suppress(InputError):
            list(source.read(path, [path], Log()))
