"""The engine computes what torch computes: every network, its spec sizes, ragged batches, every ISA of this CPU."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

import claude_flow as cf
from claude_flow import export, nets

BATCHES = (1, 3, 32)
TOKENS = (1, 2, 7, 8, 9, 128)
WIDTHS = {"coordination": 512, "optimization": 256, "prediction": 128}


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> dict[str, tuple[Path, torch.nn.Module]]:
    folder = tmp_path_factory.mktemp("models")
    made = {}
    for network in nets.NETWORKS:
        torch.manual_seed(7)
        module = nets.create(network).eval()
        export.save(module, folder / f"{network}.safetensors")
        made[network] = (folder / f"{network}.safetensors", module)
    return made


def _relative(y: np.ndarray, want: np.ndarray) -> float:
    return float(np.abs(y - want).max() / np.abs(want).max())


@pytest.mark.parametrize("network", ["coordination", "prediction"])
def test_sequence_networks_agree(network: str, isa: str, files: dict) -> None:
    path, module = files[network]
    model = cf.load(path, isa=isa)
    # The scalar table is the slow one; the largest shapes add nothing to it that smaller ones do not show.
    batches = BATCHES if isa != "scalar" else BATCHES[:2]
    for batch in batches:
        for tokens in TOKENS:
            generator = np.random.default_rng(batch * 1000 + tokens)
            x = generator.standard_normal((batch, tokens, WIDTHS[network])).astype(np.float32)
            with torch.inference_mode():
                want = module(torch.from_numpy(x)).numpy()
                assert _relative(model.run(x), want) <= 1e-5, (batch, tokens)
                lengths = generator.integers(1, tokens + 1, batch).astype(np.int32)
                want = module(torch.from_numpy(x), torch.from_numpy(lengths).long()).numpy()
            y = model.run(x, lengths)
            assert _relative(y, want) <= 1e-5, (batch, tokens, lengths)
            if network == "coordination":
                for row, length in zip(y, lengths, strict=True):
                    assert not row[length:].any()


def test_optimization_agrees(isa: str, files: dict) -> None:
    path, module = files["optimization"]
    model = cf.load(path, isa=isa)
    for batch in BATCHES:
        x = np.random.default_rng(batch).standard_normal((batch, 256)).astype(np.float32)
        with torch.inference_mode():
            want = module(torch.from_numpy(x)).numpy()
        assert _relative(model.run(x), want) <= 1e-5


@pytest.mark.parametrize(
    ("network", "config"),
    [
        (
            "coordination",
            {"width": 48, "heads": 3, "feed_forward": [80, 33], "output_width": 20, "commands": ["defer"]},
        ),
        ("coordination", {"width": 32, "heads": 4, "feed_forward": [32], "layer_norm": False}),
        ("coordination", {"width": 32, "heads": 4, "feed_forward": [32], "scale_attention": False}),
        ("optimization", {"hidden": [256, 256, 17]}),
        ("prediction", {"width": 24, "layers": 1, "targets": 3, "quantiles": 5}),
        ("prediction", {"width": 17, "layers": 2, "targets": 1, "quantiles": 1}),
        ("prediction", {"width": 17, "layers": 1, "hidden": 30, "members": 3}),
        ("prediction", {"width": 20, "layers": 0, "hidden": 12, "members": 2}),
    ],
)
def test_other_sizes_agree(network: str, config: dict, tmp_path: Path) -> None:
    torch.manual_seed(1)
    module = nets.create(network, config).eval()
    export.save(module, tmp_path / "m.safetensors")
    shape = (5, 256) if network == "optimization" else (5, 11, WIDTHS[network])
    x = torch.randn(shape)
    want = module(x).detach().numpy()
    for backend in ("native", "torch"):
        y = cf.load(tmp_path / "m.safetensors", backend=backend).run(x.numpy())
        assert _relative(y, want) <= 1e-5


def test_half_precision_file_is_half_as_large_and_close(tmp_path: Path, files: dict) -> None:
    path, module = files["optimization"]
    export.save(module, tmp_path / "half.safetensors", "fp16")
    assert (tmp_path / "half.safetensors").stat().st_size < 0.51 * path.stat().st_size
    x = np.random.default_rng(0).standard_normal((4, 256)).astype(np.float32)
    assert _relative(cf.load(tmp_path / "half.safetensors").run(x), cf.load(path).run(x)) < 5e-3


def test_decide_is_the_pointer_head(tmp_path: Path) -> None:
    torch.manual_seed(3)
    net = nets.create("coordination", {"width": 32, "heads": 4, "feed_forward": [32]}).eval()
    export.save(net, tmp_path / "m.safetensors", metadata={"calibration": {"temperature": 0.5}})
    agents, tasks = np.array([3, 5]), np.array([4, 1])
    x = np.random.default_rng(0).standard_normal((2, 9, 512)).astype(np.float32)
    decision = cf.load(tmp_path / "m.safetensors").decide(x, agents, tasks)
    with torch.inference_mode():
        y = net(torch.from_numpy(x), torch.from_numpy(1 + agents + tasks))
        scores = net.scores(y, torch.from_numpy(agents), torch.from_numpy(tasks))
        want = torch.softmax(scores / 0.5, dim=2).numpy()
    assert decision.probabilities.shape == (2, 4, 5 + 4)
    for i in range(2):
        np.testing.assert_allclose(decision.probabilities[i, : tasks[i]], want[i, : tasks[i]], atol=1e-5)
    assert not decision.probabilities[0, :, 3:5].any()
    assert not decision.probabilities[1, 1:].any()


def test_agents_and_tasks_are_sets(tmp_path: Path) -> None:
    torch.manual_seed(3)
    net = nets.create("coordination", {"width": 32, "heads": 4, "feed_forward": [32]}).eval()
    export.save(net, tmp_path / "m.safetensors")
    model = cf.load(tmp_path / "m.safetensors")
    x = np.random.default_rng(0).standard_normal((1, 8, 512)).astype(np.float32)
    p = model.decide(x, 4, 3).probabilities[0]
    swapped = model.decide(np.ascontiguousarray(x[:, [0, 4, 2, 1, 3, 7, 5, 6]]), 4, 3).probabilities[0]
    np.testing.assert_allclose(swapped, p[[2, 0, 1]][:, [3, 1, 0, 2, 4, 5, 6, 7]], atol=1e-6)
