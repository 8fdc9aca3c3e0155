"""The page of the WebAssembly bench: as its JSON says, and with the marks judged."""

from __future__ import annotations

import copy
import json
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]
if str(ROOT) not in sys.path:
    sys.path.insert(0, str(ROOT))

from bench import wasm  # noqa: E402

FOUND = json.loads(wasm.RESULTS.read_text("utf-8"))


def verdicts(found: dict) -> list[str]:
    rows = wasm.page(found).split("## Marks")[1].split("\n\n")[1].splitlines()[2:]
    return [row.split("|")[4].strip() for row in rows]


def test_the_page_is_what_the_results_give():
    assert wasm.page(FOUND) == wasm.PAGE.read_text("utf-8")


def test_marks_follow_the_results():
    ours, theirs = copy.deepcopy(FOUND), copy.deepcopy(FOUND)
    for found, mine, rival in ((ours, 1.0, 10.0), (theirs, 10.0, 1.0)):
        for point in found["points"]:
            for name, times in point["times"].items():
                times["min"] = mine if name.startswith(wasm.OURS) else rival
        found["native"] = rival
        found["threads"] = {"1": {"min": 1.8, "median": 2.0}, "2": {"min": mine, "median": mine}}
        found["gemm"] = dict.fromkeys(found["gemm"], 50.0 / mine)
        found["wasmtime"] = {"call": 50e-6 * mine, "instantiate": 14e-3 * mine}
    assert verdicts(ours) == ["yes"] * 8
    assert verdicts(theirs) == ["**no**"] * 8
    ours["points"][2]["times"][f"{wasm.THEIRS} fp32"]["min"] = 1.4  # one point is enough to miss it
    assert verdicts(ours)[0] == "**no**"
