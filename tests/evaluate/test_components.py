"""The unit tests that users run: what is right passes, and every planted fault is found."""

from __future__ import annotations

import dataclasses
from importlib.util import find_spec
from itertools import islice
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import numpy as np
import pytest

pytest.importorskip("torch", reason="the reference needs the extra: pip install 'claude-flow[train]'")

from tests.evaluate import mutants

import claude_flow as cf
from claude_flow import engine, ops
from claude_flow.cli import main
from claude_flow.errors import InputError
from claude_flow.evaluate import components
from claude_flow.evaluate.components import Case, Engine
from claude_flow.wasm import modules

OPS = [name for name in components.components() if not name.endswith("-network")]
HERE = Engine("native", engine.isa())


class Mutant(Engine):
    """The native engine with one number of one tensor wrong by 1e-4 of the tensor's largest: the fault of ``seed``."""

    def run(self, case: Case) -> np.ndarray:
        generator = np.random.default_rng(len(case.name))
        place = int(self.isa.split(":")[1]) % max(1, len(case.tensors))
        tensors = [np.array(tensor) for tensor in case.tensors]
        wrong = tensors[place].reshape(-1)
        at = generator.integers(wrong.size)
        wrong[at] += 1 if wrong.dtype == np.int8 and wrong[at] < 127 else -1 if wrong.dtype == np.int8 else 0
        if wrong.dtype == np.float32:
            wrong[at] += np.float32(1e-4) * np.abs(wrong).max()
        return HERE.run(dataclasses.replace(case, tensors=tensors))


@pytest.mark.parametrize("name", OPS)
def test_an_op_is_right_on_every_instruction_set(name: str) -> None:
    found = components.unit(components.check(name, None), 1e-6, gradients=True)
    assert found["passed"], [row for row in (*found["cases"], *found["gradients"]) if not row["passed"]]
    assert {row["isa"] for row in found["cases"] if row["engine"] == "native"} == set(engine.available())


@pytest.mark.parametrize("name", [name for name in components.components() if name.endswith("-network")])
def test_a_network_is_right_here(name: str) -> None:
    (whole,) = components.check(name, None)
    few = dataclasses.replace(whole, cases=lambda generator: islice(whole.cases(generator), 2))  # of a few units
    found = components.unit([few], 1e-6, gradients=True, on=[HERE])
    assert found["passed"], [row for row in (*found["cases"], *found["gradients"]) if not row["passed"]]


@pytest.mark.parametrize("tensor", [0, 1, 2, 3])
@pytest.mark.parametrize("name", [name for name in OPS if name not in ("last-token", "monotone-quantiles")])
def test_a_weight_that_is_wrong_by_1e_4_is_found(name: str, tensor: int) -> None:
    if name == "attention-mechanism":
        pytest.skip("it has no weights: its kernel's numbers are tested below")
    if all(tensor >= len(case.tensors) for case in components.check(name, None)[0].cases(np.random.default_rng(0))):
        pytest.skip("it has fewer tensors")
    found = components.unit(components.check(name, None), 1e-6, on=[HERE, Mutant("native", f"mutant:{tensor}")])
    wrong = [row for row in found["cases"] if row["isa"].startswith("mutant")]
    assert any(not row["passed"] for row in wrong)
    assert all(row["passed"] for row in found["cases"] if row not in wrong)


def test_a_kernels_coefficient_that_is_wrong_by_1e_4_is_found() -> None:
    """Of those whose error is far below the precision asked for, too; `make mutants` plants all of them."""
    if not modules.available() or find_spec("wasmtime") is None:
        pytest.skip("faults are planted in the WebAssembly module: make wasm")
    known = {constant.text: constant for constant in mutants.kernels()}
    assert len(known) >= 25
    for constant in (known["0.04166839"], known["0.0083687166"]):  # of exp's fourth and fifth power
        assert mutants.is_found(mutants.Kernel(constant=constant), components.check("activations", None))


class Wrong(Engine):
    """An engine whose output is off by 1e-4 of the largest, or that gets one rule of its op wrong."""

    def run(self, case: Case) -> np.ndarray:
        y = HERE.run(case)
        if self.isa == "scaled":
            return y * np.float32(1 + 1e-4)
        if self.isa == "shifted":
            return y + np.float32(1e-4) * np.abs(y).max()
        if self.isa == "padding counts":
            return HERE.run(dataclasses.replace(case, lengths=None))
        if self.isa == "NaN":
            return np.where(y == y.max(), np.float32("nan"), y)
        x = case.x.copy()
        if self.isa == "scores by 1e-4":  # the scale of attention
            x[..., : x.shape[-1] // 3] *= np.float32(1 + 1e-4)
        if self.isa == "first token lost":
            x[:, 0] = 0
        return HERE.run(dataclasses.replace(case, x=x))


@pytest.mark.parametrize("name", OPS)
@pytest.mark.parametrize("fault", ["scaled", "shifted", "NaN", "padding counts", "scores by 1e-4", "first token lost"])
def test_an_op_that_is_wrong_is_found(name: str, fault: str) -> None:
    (component,) = components.check(name, None)
    cases = list(component.cases(np.random.default_rng(0)))
    if fault == "padding counts" and all(case.lengths is None for case in cases):
        pytest.skip("it knows no padding")
    if fault == "scores by 1e-4" and name != "attention-mechanism":
        pytest.skip("it has no scores")
    if fault == "first token lost" and any(case.x.ndim < 3 for case in cases):
        pytest.skip("it knows no tokens")
    found = components.unit([component], 1e-6, on=[Wrong("native", fault)])
    assert not found["passed"]


def test_the_models_own_ops_are_tested(small_models: dict[str, Path]) -> None:
    for path in small_models.values():
        component = components.of_model(cf.load(path))
        found = components.unit([component], 1e-6, on=[HERE])
        assert found["passed"], [row for row in found["cases"] if not row["passed"]]
        assert len(found["cases"]) > 1


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--component", "lstn"], "did you mean lstm?"),
        (
            ["--component", "lstm", "--test-cases", "standard-attention-tests"],
            "standard-attention-tests are cases of attention-mechanism, not of lstm",
        ),
        (["--component", "lstm", "--test-cases", "standard-lstm-test"], "did you mean standard-lstm-tests"),
        (["--numerical-precision", "1e-9"], "half of the last bit of single precision"),
        (["--numerical-precision", "-1"], "numerical-precision"),
        (["--model", "no-such-model"], "no-such-model"),
    ],
)
def test_what_cannot_be_tested_is_said(words: list[str], message: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["neural", "test", "unit", *words]) == 2
    told = capsys.readouterr().err.strip().splitlines()
    assert len(told) == 1
    assert message in told[0]


def test_a_failure_ends_with_1_and_stands_in_the_xml(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "unit.xml"
    line = ["neural", "test", "unit", "--component", "last-token", "--junit", str(file), "--format", "json"]
    assert main(line) == 0
    root = ElementTree.parse(file).getroot()
    assert root.get("failures") == "0"
    assert int(root.get("tests") or 0) >= len(engine.available())
    capsys.readouterr()
    assert main([*line[:3], "--component", "linear", "--numerical-precision", "6e-8", "--junit", str(file)]) == 1
    root = ElementTree.parse(file).getroot()
    failures: list[Any] = root.findall("testcase/failure")
    assert len(failures) == int(root.get("failures") or 0) > 0
    assert "is above 6e-08" in failures[0].get("message")


def test_int8_references_follow_the_documented_grid() -> None:
    x = np.array([[-1.0, 0.0, 1.54]], np.float32)
    y = ops.linear_int8(x, np.eye(3, dtype=np.int8), np.ones(3, np.float32))
    from claude_flow.evaluate.reference import _seven_bits

    torch = pytest.importorskip("torch")
    np.testing.assert_allclose(y, _seven_bits(torch.from_numpy(x).double(), None).numpy(), rtol=1e-6)


def test_the_precision_is_checked_by_the_library_too() -> None:
    with pytest.raises(InputError, match="half of the last bit"):
        components.unit([], float("nan"))


def test_the_guide_lists_every_component() -> None:
    page = (Path(__file__).parents[2] / "docs" / "testing.md").read_text("utf-8")
    table = [f"| `{c.name}` | {c.what} | `{c.suite}` |" for c in components.components().values()]
    assert "\n".join(table) in page
