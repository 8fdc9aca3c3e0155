"""Parts of the pipeline left out one by one, rivals of another network, and old model files."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch

from claude_flow import export, load
from claude_flow.cli import main
from claude_flow.environments.observe import FEATURES, SWARM
from claude_flow.errors import InputError
from claude_flow.networks.action.answer import Pipeline
from claude_flow.networks.action.config import STREAMS, ActionConfig
from claude_flow.networks.action.judge import Judge
from claude_flow.networks.action.learn import Data, Settings
from claude_flow.networks.action.net import ActionNet
from claude_flow.networks.action.prepare import requests
from claude_flow.networks.coordination.features import parse_request


@pytest.fixture(scope="module")
def older(tmp_path_factory):
    """A decision engine of before the numbers of pairs: it sees the swarm's thirty, and does not say so."""
    width = sum(STREAMS.values()) - STREAMS["state"] + len(SWARM)
    torch.manual_seed(1)
    module = ActionNet(ActionConfig(input_width=width)).eval()
    metadata = Data(Settings(judged=2)).metadata(module)
    metadata["provenance"] = metadata.pop("card")
    del metadata["features"]["numbers"]
    path = tmp_path_factory.mktemp("older") / "action.safetensors"
    export.save(module, path, metadata=metadata)
    return path, module


def test_an_older_model_sees_the_numbers_that_it_learned_with(older):
    path, module = older
    pipeline = Pipeline(load(path))
    (request,) = requests(1, 4)
    inputs = pipeline.streams.run([request])
    assert inputs.shape[1] == module.config.input_width
    with torch.inference_mode():
        apart = module(torch.from_numpy(inputs)).numpy()[0]
    assert np.abs(pipeline.values([parse_request(request)])[0] - apart).max() <= 1e-5 * max(1, np.abs(apart).max())


def test_a_model_that_sees_other_numbers_is_refused(older, tmp_path):
    metadata = Data(Settings(judged=2)).metadata(older[1])
    metadata["provenance"] = metadata.pop("card")
    metadata["features"]["numbers"] = [*FEATURES[:3], "something else"]
    export.save(older[1], tmp_path / "other.safetensors", metadata=metadata)
    with pytest.raises(InputError, match="sees other numbers"):
        Pipeline(load(tmp_path / "other.safetensors"))


def test_a_benchmark_leaves_parts_out_and_has_another_network_as_a_rival(older, capsys):
    line = ["neural", "benchmark", "--model", str(older[0]), "--baselines", '["random","coordination-v2"]', "--quick",
            "--ablate", "fusion,prediction", "--metrics", "reward,cost", "--format", "json"]  # fmt: skip
    assert main(line) == 0
    (summary,) = json.loads(capsys.readouterr().out)["evaluations"]
    contenders = {score["contender"] for score in summary["scores"]}
    assert contenders >= {"without fusion", "without prediction", "random", "coordination-v2"}
    assert {test["contender"] for test in summary["tests"]} == contenders - {summary["reference"]}
    assert any("without fusion: coordination's outputs" in note for note in summary["notes"])


@pytest.mark.parametrize(
    ("model", "part", "near"),
    [("action-v2", "fushion", "fusion"), ("coordination-v3", "fusion", "has no parts")],
)
def test_what_cannot_be_left_out_is_one_line(model, part, near, capsys):
    assert main(["neural", "benchmark", "--model", model, "--ablate", part]) == 2
    message = capsys.readouterr().err.strip()
    assert near in message
    assert "\n" not in message
    assert "fusion" in Judge.ABLATIONS
