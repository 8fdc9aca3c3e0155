"""The regression test: no false alarm on the same model, a worse one is found, and what the data could show is said."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import numpy as np
import pytest

pytest.importorskip("torch", reason="judging needs the extra: pip install 'claude-flow[train]'")
pytest.importorskip("scipy", reason="tests need the extra: pip install 'claude-flow[baselines]'")

from claude_flow import modelfile
from claude_flow.cli import main
from claude_flow.errors import InputError
from claude_flow.evaluate import regression
from claude_flow.evaluate.regression import _race


@pytest.fixture(scope="module")
def data(small_models: dict[str, Path]) -> dict[str, Path]:
    return {network: path.parent.parent / f"{network}-data" for network, path in small_models.items()}


@pytest.fixture(scope="module")
def worse(small_models: dict[str, Path], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The optimization model with its recommendations in another order."""
    file = modelfile.read(small_models["optimization"])
    for name in ("head.weight", "head.bias"):
        file.tensors[name] = np.roll(file.tensors[name], 7, axis=0)
    path = tmp_path_factory.mktemp("worse") / "worse.safetensors"
    modelfile.write(path, file)
    return path


@pytest.mark.parametrize("network", ["coordination", "optimization", "prediction"])
def test_the_same_model_is_never_worse(network: str, small_models: dict[str, Path], data: dict[str, Path]) -> None:
    models = regression.pair(small_models[network], small_models[network])
    rows = regression.quality(*models, data[network])
    found = regression.summarize(*models, rows, [regression.memory(*models)], alpha=0.05, margin=0.02)
    assert found["passed"]
    assert rows
    assert all(row["gain"] == 0 and row["verdict"] == "no loss shown" for row in rows)
    assert found["costs"][0]["verdict"] == "within the margin"


def test_a_worse_model_is_found(small_models: dict[str, Path], data: dict[str, Path], worse: Path) -> None:
    models = regression.pair(small_models["optimization"], worse)
    rows = regression.quality(*models, data["optimization"], ["spearman"])
    found = regression.summarize(*models, rows, [], alpha=0.05, margin=0.02)
    assert found["regressions"] == ["spearman"]
    assert all(row["detectable"] > 0 and row["high"] < 0 for row in rows)
    back = regression.quality(*models[::-1], data["optimization"], ["spearman"])
    assert regression.summarize(*models, back, [], alpha=0.05, margin=0.02)["quality"][0]["verdict"] == "better"


def _times(rounds: int, ratio: float, seed: int) -> Any:
    """A race on a noisy machine: both slow down together, and each by itself."""
    generator = np.random.default_rng(seed)
    weather = 1 + np.abs(np.cumsum(generator.normal(0, 0.05, rounds)))[:, None]
    own = generator.lognormal(0, 0.06, (rounds, 2))
    return 1e-3 * weather * own * [1, ratio]


def test_races_of_equals_raise_no_alarm_and_a_slow_down_is_found() -> None:
    same = [_race(_times(300, 1.0, seed), 0.02) for seed in range(200)]
    assert np.mean([found["p"] < 0.05 for found in same]) <= 0.05
    slower = [_race(_times(300, 1.05, seed), 0.02) for seed in range(200)]
    assert np.mean([found["p"] < 0.05 for found in slower]) >= 0.8
    edge = [_race(_times(300, 1.02, seed), 0.02) for seed in range(200)]
    assert np.mean([found["p"] < 0.05 for found in edge]) <= 0.09  # 200 draws of at most 5 %
    assert all(found["low"] <= found["ratio"] <= found["high"] < found["detectable"] + 1.1 for found in same)


def test_the_race_times_both_models(small_models: dict[str, Path]) -> None:
    models = regression.pair(small_models["prediction"], small_models["prediction"])
    found = regression.race(*models, 0.02, 0.2)
    assert found["rounds"] >= 30
    assert found["baseline"] > 0
    assert found["candidate"] > 0
    assert 0 <= found["p"] <= 1


def test_models_of_two_networks_are_refused(small_models: dict[str, Path], data: dict[str, Path]) -> None:
    with pytest.raises(InputError, match="compares two of one network"):
        regression.pair(small_models["optimization"], small_models["prediction"])
    models = regression.pair(small_models["optimization"], small_models["optimization"])
    with pytest.raises(InputError, match="is a dataset for prediction; the models are for optimization"):
        regression.quality(*models, data["prediction"])
    with pytest.raises(InputError, match="no metric of optimization 'acuracy'"):
        regression.quality(*models, data["optimization"], ["acuracy"])


def test_the_command_ends_with_1_and_writes_the_xml(
    small_models: dict[str, Path],
    data: dict[str, Path],
    worse: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    file = tmp_path / "regression.xml"
    line = ["neural", "test", "regression", "--baseline-model", str(small_models["optimization"])]
    line += ["--candidate-model", str(worse), "--test-dataset", str(data["optimization"]), "--duration", "0.1s"]
    assert main([*line, "--junit", str(file), "--format", "json"]) == 1
    answer = json.loads(capsys.readouterr().out)
    assert not answer["passed"]
    failures = ElementTree.parse(file).getroot().findall("testcase/failure")
    assert "after Holm" in (failures[0].get("message") or "")
    assert main([*line, "--metrics", "nonsense"]) == 2
    assert main([*line[:-3], "no-such-data"]) == 2
    told = capsys.readouterr().err.strip().splitlines()
    assert len(told) == 2
    assert "no-such-data" in told[1]
