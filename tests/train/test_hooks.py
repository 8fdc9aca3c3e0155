"""The loop's seams: hooks, start weights, frozen parameters; a resumed run equals one that was never interrupted."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.numpy import load_file
from torch import Tensor, nn

from claude_flow import nets
from claude_flow.errors import InputError
from claude_flow.networks.optimization.prepare import preprocess
from claude_flow.train import loop, run
from claude_flow.train.config import TrainingConfig, parse
from claude_flow.train.hooks import Hook


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("data")
    preprocess(None, folder, {"simulate": 300})
    return folder


def _config(**changes: Any) -> TrainingConfig:
    body = {"epochs": 3, "batch-size": 64, "network": {"hidden": [16, 16]}, "learning-rate": {"warmup-steps": 1}}
    return parse({"optimization-training": body | changes}, "optimization")


class Anchored(Hook):
    """Pulls weights towards those of the step before last, halves gradients, and counts what it sees."""

    def __init__(self, strength: float = 0.1) -> None:
        self.about = {"name": "anchored", "strength": strength}
        self.strength = strength
        self.before: dict[str, Tensor] = {}
        self.calls: list[str] = []

    def loss(self, compute: Callable[[], Tensor], module: nn.Module, batch: dict[str, Tensor]) -> Tensor:
        self.calls.append("loss")
        pull = [(p - self.before[n]).square().sum() for n, p in module.named_parameters() if n in self.before]
        return compute() + self.strength * torch.stack(pull).sum() if pull else compute()

    def after_backward(self, module: nn.Module, step: int) -> None:
        self.calls.append(f"backward {step}")
        for parameter in module.parameters():
            if parameter.grad is not None:
                parameter.grad /= 2

    def after_step(self, module: nn.Module, step: int) -> None:
        self.calls.append(f"step {step}")
        self.before = {name: p.detach().clone() for name, p in module.named_parameters()}

    def epoch_end(self, module: nn.Module, epoch: int, metrics: dict[str, float]) -> None:
        self.calls.append(f"epoch {epoch}")
        metrics["anchors"] = float(len(self.before))

    def state(self) -> dict[str, Any]:
        return {"before": self.before}

    def restore(self, state: dict[str, Any]) -> None:
        self.before = state["before"]


def _fit(data: Path, folder: Path, **options: Any) -> dict[str, np.ndarray[Any, Any]]:
    config = options.pop("config", _config())
    loop.fit("optimization", config, data, folder, device="cpu", **options)
    return load_file(folder / "model.safetensors")


def test_hooks_are_called_in_order_and_change_what_is_learned(data: Path, tmp_path: Path) -> None:
    hook = Anchored()
    card = loop.fit("optimization", _config(epochs=1), data, tmp_path / "run", hooks=[hook])
    steps = (len(hook.calls) - 1) // 3
    expected = [word for i in range(1, steps + 1) for word in ("loss", f"backward {i}", f"step {i}")]
    assert hook.calls == [*expected, "epoch 1"]
    assert steps > 1
    assert card["hooks"] == [{"name": "anchored", "strength": 0.1}]
    plain = _fit(data, tmp_path / "plain", config=_config(epochs=1))
    assert not np.array_equal(plain["head.weight"], load_file(tmp_path / "run/model.safetensors")["head.weight"])


def test_a_hook_wraps_or_replaces_the_loss(data: Path, tmp_path: Path) -> None:
    class Nothing(Hook):
        about = {"name": "nothing"}  # noqa: RUF012

        def loss(self, compute: Callable[[], Tensor], module: nn.Module, batch: dict[str, Tensor]) -> Tensor:
            return sum(p.sum() for p in module.parameters()) * 0.0  # type: ignore[return-value]

    seen: list[float] = []

    class Doubled(Hook):
        about = {"name": "doubled"}  # noqa: RUF012

        def loss(self, compute: Callable[[], Tensor], module: nn.Module, batch: dict[str, Tensor]) -> Tensor:
            seen.append(compute().item())
            return 2 * compute()

    weights = {name: torch.from_numpy(t) for name, t in _fit(data, tmp_path / "first").items()}
    frozen = _config(epochs=1, regularization={"weight-decay": 0})
    kept = _fit(data, tmp_path / "kept", config=frozen, hooks=[Nothing(), Doubled()], start=weights)
    assert seen
    assert set(seen) == {0.0}, "the second hook wraps what the first one made"
    assert all(np.array_equal(kept[name], weights[name]) for name in weights)


def test_a_resumed_run_with_a_hook_equals_one_that_was_never_interrupted(data: Path, tmp_path: Path) -> None:
    whole = _fit(data, tmp_path / "whole", hooks=[Anchored()])

    class Interrupted(Anchored):
        def epoch_end(self, module: nn.Module, epoch: int, metrics: dict[str, float]) -> None:
            super().epoch_end(module, epoch, metrics)
            if epoch == 2:
                raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        _fit(data, tmp_path / "parts", hooks=[Interrupted()])
    resumed = _fit(data, tmp_path / "parts", hooks=[Anchored()], resume=True)
    assert all(np.array_equal(whole[name], resumed[name]) for name in whole)
    with pytest.raises(InputError, match="hooks differs"):
        _fit(data, tmp_path / "parts", hooks=[Anchored(strength=0.2)], resume=True)


def test_only_what_is_trainable_changes_and_shares_scale_the_rate(data: Path, tmp_path: Path) -> None:
    torch.manual_seed(5)
    start = {
        name: p.detach().clone() for name, p in nets.create("optimization", {"hidden": [16, 16]}).state_dict().items()
    }
    options = {"config": _config(epochs=1), "start": start}
    found = _fit(data, tmp_path / "head", trainable={"head": 1.0, "head.bias": 0.0}, **options)
    assert not np.array_equal(found["head.weight"], start["head.weight"])
    same = [name for name in start if name != "head.weight"]
    assert all(np.array_equal(found[name], start[name]) for name in same)
    slow = _fit(data, tmp_path / "slow", trainable={"head": 0.01}, **options)
    moved = [np.abs(weights["head.weight"] - start["head.weight"].numpy()).mean() for weights in (found, slow)]
    assert moved[1] < 0.1 * moved[0]


def test_weights_that_do_not_fit_are_refused(data: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"lack.*'tail\.weight'|'tail\.weight'.*lacks"):
        _fit(data, tmp_path, start={"tail.weight": torch.zeros(1)})
    with pytest.raises(InputError, match=r"head\.weight is \[1\], not \[128, 16\]"):
        _fit(data, tmp_path, start={"head.weight": torch.zeros(1)})
    with pytest.raises(InputError, match="nothing is left to train"):
        _fit(data, tmp_path, trainable={"no-such-layer": 1.0})


def test_train_stores_a_version_of_the_workspace(data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CLAUDE_FLOW_HOME", str(tmp_path))
    first = run.train("optimization", _config(epochs=1), data, "mine")
    second = run.train("optimization", _config(epochs=1), data, "mine", hooks=[Anchored()])
    assert first is not None
    assert second is not None
    assert (first.version, second.version) == ("1.0.0", "1.1.0")
    assert second.path == tmp_path / "models/mine/1.1.0/model.safetensors"
    assert second.card["hooks"][0]["name"] == "anchored"
