"""8-bit models: made from float ones, close to them, and the same bits on every instruction set."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

import claude_flow as cf
from claude_flow import export, modelfile, nets
from claude_flow.errors import InputError
from claude_flow.modelfile import Op, Program
from claude_flow.modelfile.quantize import quantize

NETWORKS = {
    "coordination": ({}, (2, 9, 512)),
    "optimization": ({}, (5, 256)),
    "prediction": ({}, (3, 17, 128)),
}


@pytest.fixture(scope="module", params=NETWORKS)
def network(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> tuple[str, torch.nn.Module, Path]:
    name = request.param
    torch.manual_seed(11)
    module = nets.create(name, NETWORKS[name][0]).eval()
    folder = tmp_path_factory.mktemp(name)
    export.save(module, folder / "fp32.safetensors")
    export.save(module, folder / "dynamic.safetensors", "int8")
    x = np.random.default_rng(5).standard_normal((64, *NETWORKS[name][1][1:])).astype(np.float32)
    export.save(module, folder / "static.safetensors", "int8", calibration=x)
    return name, module, folder


def _input(name: str, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).standard_normal(NETWORKS[name][1]).astype(np.float32)


def _decibels(y: np.ndarray, want: np.ndarray) -> float:
    return float(10 * np.log10((want**2).mean() / ((y - want) ** 2).mean()))


@pytest.mark.parametrize("kind", ["dynamic", "static"])
def test_close_to_float(network: tuple, kind: str) -> None:
    """Random weights are the hard case; 7-bit activations are expected to leave about 30 dB (30.2 and more)."""
    name, _, folder = network
    x = _input(name)
    want = cf.load(folder / "fp32.safetensors").run(x)
    assert _decibels(cf.load(folder / f"{kind}.safetensors").run(x), want) > 27


@pytest.mark.parametrize("kind", ["dynamic", "static"])
def test_the_same_bits_on_every_instruction_set_and_thread_count(network: tuple, kind: str) -> None:
    name, _, folder = network
    for seed in range(3):
        x = _input(name, seed)
        want = cf.load(folder / f"{kind}.safetensors", isa="scalar").run(x)
        for isa in cf.engine.available():
            for threads in (1, 2):
                y = cf.load(folder / f"{kind}.safetensors", isa=isa, threads=threads).run(x)
                assert np.array_equal(y.view(np.int32), want.view(np.int32)), (isa, threads)


def test_quantizing_at_load_equals_quantizing_at_export(network: tuple) -> None:
    name, _, folder = network
    x = _input(name)
    loaded = cf.load(folder / "fp32.safetensors", precision="int8")
    assert loaded.precision == "int8"
    assert np.array_equal(loaded.run(x), cf.load(folder / "dynamic.safetensors").run(x))


def test_the_file_is_a_quarter(network: tuple) -> None:
    _, _, folder = network
    sizes = {kind: (folder / f"{kind}.safetensors").stat().st_size for kind in ("fp32", "dynamic")}
    assert sizes["dynamic"] < 0.27 * sizes["fp32"]


def test_torch_runs_the_rounded_weights(network: tuple) -> None:
    """The reference backend takes the 8-bit weights at their value, so weights are not what differs from it."""
    name, _, folder = network
    x = _input(name)
    reference = cf.load(folder / "dynamic.safetensors", backend="torch").run(x)
    assert _decibels(cf.load(folder / "dynamic.safetensors").run(x), reference) > 27


def test_decide_runs_in_int8(network: tuple) -> None:
    name, _, folder = network
    if name != "coordination":
        pytest.skip("only coordination decides")
    x = _input(name)
    p8 = cf.load(folder / "dynamic.safetensors").decide(x, 4, 4).probabilities
    assert np.abs(p8 - cf.load(folder / "fp32.safetensors").decide(x, 4, 4).probabilities).max() < 0.05


def test_what_cannot_be_quantized_is_refused(network: tuple, tmp_path: Path) -> None:
    _, module, folder = network
    with pytest.raises(InputError, match="only fp32"):
        quantize(modelfile.read(folder / "dynamic.safetensors"))
    with pytest.raises(InputError, match="int8"):
        cf.load(folder / "dynamic.safetensors", precision="fp32")
    with pytest.raises(InputError, match="calibration inputs are for"):
        export.save(module, tmp_path / "m.safetensors", "fp32", calibration=np.zeros((1, 256), np.float32))


def test_every_product_is_integer(network: tuple) -> None:
    _, _, folder = network
    file = modelfile.read(folder / "static.safetensors")
    codes = {code for code, _ in Program.parse(file.program, file.program_tensors).ops}
    assert not codes & {Op.LINEAR, Op.LSTM}
    ranges = [t for name, t in file.tensors.items() if name.endswith(".range")]
    assert ranges
    assert all(low <= 0 <= high and high > low for low, high in ranges)


def test_a_row_of_zeros_survives(tmp_path: Path) -> None:
    module = nets.create("optimization", {"hidden": [32]}).eval()
    with torch.no_grad():
        module.head.weight[3] = 0
        module.head.bias[3] = 0.25
    export.save(module, tmp_path / "m.safetensors", "int8")
    y = cf.load(tmp_path / "m.safetensors").run(np.ones((1, 256), np.float32))
    assert y[0, 3] == 0.25
