"""Planted faults are found, each with its layer and what to try; a healthy model raises no alarm."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("torch", reason="debugging needs the extra: pip install 'claude-flow[train]'")

from claude_flow import modelfile
from claude_flow.cli import main
from claude_flow.insight import activations, gradients
from claude_flow.insight.data import subject

Tensors = dict[str, Any]


@pytest.fixture
def look(small_models: dict[str, Path], tmp_path: Path) -> Callable[..., Any]:
    """``look(gradients, network, change)``: what is found in a small model whose tensors ``change`` altered."""

    def run(module: Any, network: str, change: Callable[[Tensors], None] = lambda tensors: None) -> Any:
        file = modelfile.read(small_models[network])
        file.tensors = {name: np.array(tensor) for name, tensor in file.tensors.items()}
        change(file.tensors)
        path = tmp_path / "changed.safetensors"
        modelfile.write(path, file)
        data = str(small_models[network].parent.parent / f"{network}-data")
        with subject(path, data) as about:
            return getattr(module, module.__name__.rpartition(".")[2])(about)

    return run


@pytest.mark.parametrize("network", ["coordination", "optimization", "prediction"])
def test_a_healthy_model_raises_no_alarm(network: str, look: Callable[..., Any]) -> None:
    for module in (activations, gradients):
        found = look(module, network)
        assert found["findings"] == []
        assert found["layers"]


def test_dead_units_are_found(look: Callable[..., Any]) -> None:
    def kill(tensors: Tensors) -> None:
        tensors["layers.0.linear.bias"][:8] = -1e3

    (finding,) = look(activations, "optimization", kill)["findings"]
    assert (finding["layer"], finding["kind"], finding["value"]) == ("layers.0.linear", "dead units", 8 / 32)
    assert finding["try"]


def test_a_saturated_lstm_is_found(look: Callable[..., Any]) -> None:
    def saturate(tensors: Tensors) -> None:
        tensors["members.0.lstm.0.bias_l0"][:] = 50

    found = look(activations, "prediction", saturate)["findings"]
    assert ("members.0.lstm.0", "saturated") in {(f["layer"], f["kind"]) for f in found}


def test_a_layer_that_explodes_and_one_that_vanishes_are_found(look: Callable[..., Any]) -> None:
    def shrink(tensors: Tensors) -> None:
        tensors["head.weight"] *= np.float32(1e-9)

    def kill(tensors: Tensors) -> None:
        tensors["layers.0.linear.bias"][:] = -1e3

    found = look(gradients, "optimization", shrink)["findings"]
    assert ("head.weight", "exploding") in {(f["layer"], f["kind"]) for f in found}
    found = look(gradients, "optimization", kill)["findings"]
    assert ("layers.0.linear.weight", "vanishing") in {(f["layer"], f["kind"]) for f in found}


def test_the_commands_answer_and_refuse(small_models: dict[str, Path], capsys: pytest.CaptureFixture[str]) -> None:
    path = small_models["optimization"]
    line = ["--model", str(path), "--data", str(path.parent.parent / "optimization-data"), "--format", "json"]
    for command, key in (("activations", "deviation"), ("gradients", "norm")):
        assert main(["neural", "debug", command, *line]) == 0
        assert key in json.loads(capsys.readouterr().out)["layers"][0]
    assert main(["neural", "debug", "activations", *line, "--layer-analysis", "layer.0"]) == 2
    assert main(["neural", "debug", "gradients", "--model", "no-such-model"]) == 2
    other = str(small_models["prediction"].parent.parent / "prediction-data")
    assert main(["neural", "debug", "gradients", "--model", str(path), "--data", other]) == 2
    told = capsys.readouterr().err.strip().splitlines()
    assert len(told) == 3
    assert "has no layer 'layer.0': layers.0.linear" in told[0]
    assert "is a dataset for prediction" in told[2]
