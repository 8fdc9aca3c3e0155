"""The simulation in torch has the engine's bits on every instruction set, and gradients to train on."""

from __future__ import annotations

import numpy as np
import pytest
import torch

import claude_flow as cf
from claude_flow import _core, export, nets
from claude_flow.compress.simulate import Simulation
from claude_flow.modelfile import ranges
from claude_flow.modelfile.quantize import products, quantize

SIZES = {
    "coordination": {"width": 64, "heads": 4, "feed_forward": [64, 96]},
    "optimization": {"hidden": [64, 96, 96]},
    "prediction": {"width": 32, "layers": 2, "hidden": 48, "members": 2},
    "prediction without recurrence": {"width": 32, "layers": 0},
}


@pytest.fixture(params=SIZES)
def module(request: pytest.FixtureRequest) -> torch.nn.Module:
    torch.manual_seed(3)
    return nets.create(request.param.split()[0], SIZES[request.param]).eval()


def _inputs(module: torch.nn.Module, items: int = 5) -> tuple[np.ndarray, np.ndarray | None]:
    rng, width = np.random.default_rng(0), module.config.input_width
    if not hasattr(module.config, "max_tokens"):
        return rng.standard_normal((items, width)).astype(np.float32), None
    lengths = rng.integers(1, 12, items).astype(np.int32)
    lengths[0] = 11
    return rng.standard_normal((items, 11, width)).astype(np.float32), lengths


@pytest.mark.parametrize("kind", ["dynamic", "static", "mixed", "four bits"])
def test_the_same_bits_as_every_engine(module: torch.nn.Module, kind: str) -> None:
    file, (x, lengths) = export.lower(module), _inputs(module)
    bounds = ranges.static(file, [(x, lengths)]) if kind == "static" else {}
    keep = products(file)[:1] if kind == "mixed" else []
    four = products(file)[1:] if kind == "four bits" else []
    simulation = Simulation(module, bounds, keep, four)
    with torch.no_grad():
        y = simulation(torch.from_numpy(x), None if lengths is None else torch.from_numpy(lengths)).numpy()
    made = quantize(file, bounds, keep, four)
    words, tensors = np.asarray(made.program, np.int32), [made.tensors[name] for name in made.program_tensors]
    for isa in cf.engine.available():
        wanted = _core.Model(words, tensors, isa).run(x, lengths)
        assert np.array_equal(y.view(np.int32), wanted.view(np.int32)), isa
    from claude_flow import wasm

    for isa in wasm.available():
        wanted = wasm.Model(words, tensors, isa).run(x, lengths)
        assert np.array_equal(y.view(np.int32), wanted.view(np.int32)), isa


def test_gradients_are_those_of_the_float_network_nearly(module: torch.nn.Module) -> None:
    x, lengths = (None if part is None else torch.from_numpy(part) for part in _inputs(module))
    found = []
    for forward in (Simulation(module), module.forward):
        module.zero_grad()
        forward(x, *([] if lengths is None else [lengths.long()])).square().sum().backward()
        found.append({name: p.grad.clone() for name, p in module.named_parameters() if p.grad is not None})
    ours, theirs = found
    assert set(ours) == set(theirs)
    for name, wanted in theirs.items():
        if wanted.norm() > 1e-4:
            likeness = torch.nn.functional.cosine_similarity(ours[name].flatten(), wanted.flatten(), dim=0)
            assert likeness > 0.8, name


def test_training_as_quantized_lowers_the_loss_of_the_quantized_network(module: torch.nn.Module) -> None:
    x, lengths = (None if part is None else torch.from_numpy(part) for part in _inputs(module, 16))
    simulation = Simulation(module)
    with torch.no_grad():
        wanted = simulation(x, lengths).roll(1, dims=0)
    optimizer = torch.optim.Adam(module.parameters(), lr=1e-3)
    losses = []
    for _ in range(15):
        loss = (simulation(x, lengths) - wanted).square().mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert losses[-1] < 0.8 * losses[0]
