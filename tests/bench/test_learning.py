"""The sections of the pages on learning beyond one log are what was measured says."""

from __future__ import annotations

import importlib
import json
from pathlib import Path

import pytest
from bench.learning.__main__ import JOBS, section, write
from bench.learning.cells import compared

ROOT = Path(__file__).parents[2]


@pytest.mark.parametrize("job", JOBS)
def test_the_page_shows_what_was_measured(job: str) -> None:
    module = importlib.import_module(f"bench.learning.{job}")
    page = (ROOT / "docs" / module.PAGE).read_text("utf-8")
    kept = ROOT / "bench" / "learning" / f"{job}.json"
    said = section(module, json.loads(kept.read_text("utf-8"))) if kept.is_file() else ""
    _, mark, after = page.partition(f"<!-- bench.learning {job} -->")
    assert mark, "the page has no place for it"
    assert said.strip() == after.partition("<!-- end -->")[0].strip()


def test_a_section_goes_between_its_marks_alone(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text("a\n<!-- bench.learning one -->\nold\n<!-- end -->\nb\n<!-- bench.learning two -->\n<!-- end -->\n")
    write(page, "one", r"new \1")
    assert page.read_text().splitlines()[:6] == ["a", "<!-- bench.learning one -->", "", r"new \1", "", "<!-- end -->"]
    assert page.read_text().endswith("b\n<!-- bench.learning two -->\n<!-- end -->\n")
    with pytest.raises(SystemExit, match="no marks of three"):
        write(page, "three", "")


def test_a_tie_is_called_one() -> None:
    found = compared([[-1.0] * 10, [0.1, -0.1] * 5, [1.0] * 10])
    assert [one.verdict for one in found] == ["better", "tie", "worse"]
    assert found[0].p == pytest.approx(3 / 512)  # the least of ten signs, of three tests
