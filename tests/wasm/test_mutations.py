"""Python and JavaScript judge mutated model files alike: both load a file, or both refuse it in one line."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from tests.modelfile import mutations
from tests.wasm.conftest import NODES, Node

import claude_flow as cf
from claude_flow import networks, registry
from claude_flow.errors import InputError
from claude_flow.modelfile.ops import Kind, Op
from claude_flow.wasm import modules


def _python(corpus: list[tuple[str, bytes]], path: Path) -> list[str | None]:
    """What Python says of each."""
    said = list[str | None]()
    for _, content in corpus:
        path.write_bytes(content)
        try:
            cf.load(path)
            said.append(None)
        except InputError as error:
            said.append(str(error))
    return said


def test_javascript_judges_as_python_does(tmp_path: Path) -> None:
    """One test for every Node: the corpus and Python's word on it take longer than theirs."""
    corpus = list(mutations.corpus(mutations.bases(tmp_path)))
    refusals = _python(corpus, tmp_path / "m.safetensors")
    assert len({content for _, content in corpus}) >= 1500
    assert 200 < sum(said is None for said in refusals) < len(refusals) - 800
    assert not [said for said in refusals if said is not None and ("\n" in said or not said)]

    path = tmp_path / "corpus"
    path.write_bytes(b"".join(content for _, content in corpus))
    job = {"job": "judge", "path": str(path), "sizes": [len(content) for _, content in corpus]}
    for node in (Node(program) for program in NODES.values() if program):
        (answer,) = node.ask(job)
        differ = []
        for (name, _), python, javascript in zip(corpus, refusals, answer["value"], strict=True):
            one_line = javascript is None or (javascript.startswith("ClaudeFlowError: ") and "\n" not in javascript)
            if (python is None) != (javascript is None) or not one_line:
                differ.append(f"{name}: Python: {python}; JavaScript: {javascript}")
        assert not differ, f"{node.path}: {len(differ)} of {len(corpus)}: " + "\n".join(differ[:20])
    if missing := [name for name, program in NODES.items() if not program]:
        pytest.skip(f"the others agree; there is no Node of {', '.join(missing)}")


def test_what_is_no_module_of_ours_is_refused_in_one_line(node: Any, tmp_path: Path) -> None:
    path = str(registry.model_path("optimization-v2"))
    empty = b"\0asm\1\0\0\0"
    importing = empty + bytes([1, 4, 1, 96, 0, 0, 2, 7, 1, 1, 97, 1, 97, 0, 0])  # a function a.a
    ours = Path(modules.module_path("simd128")).read_bytes()
    foreign = {
        "a page": b"<!doctype html><title>404</title>",
        "nothing": b"",
        "cut": ours[: len(ours) // 2],
        "an empty module": empty,
        "a module that wants more": importing,
        "another version": empty[:4] + b"\2\0\0\0" + ours[8:],
    }
    jobs = []
    for name, content in foreign.items():
        folder = tmp_path / name
        folder.mkdir()
        (folder / "simd128.wasm").write_bytes(content)
        jobs.append({"job": "foreign", "path": path, "wasm": f"{folder.as_uri()}/"})
    for name, answer in zip(foreign, node.ask(*jobs), strict=True):
        assert "simd128.wasm: " in answer["error"], (name, answer)
        assert "module" in answer["error"]
        assert "\n" not in answer["error"]


def test_javascript_has_the_networks_and_ops_of_python(node: Any) -> None:
    (answer,) = node.ask({"job": "constants"})
    names = {Kind.PRODUCT: "product", Kind.GATES: "gates", Kind.RECURRENT: "recurrent"}
    assert answer["value"]["networks"] == list(networks.NETWORKS)
    assert answer["value"]["ops"] == {
        str(op.value): {"operands": " ".join(op.operands)}
        | ({"matrices": {operand: names[kind] for operand, kind in op.matrices.items()}} if op.matrices else {})
        | ({"bits": op.bits} if op.bits < 32 else {})
        for op in Op
    }
