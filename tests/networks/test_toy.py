"""A network is one folder and one row: a toy one goes through every ordinary command, and nothing else knows of it."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import claude_flow as cf
from claude_flow import networks
from claude_flow.cli import main

pytest.importorskip("torch", reason="training needs the extra: pip install 'claude-flow[train]'")

ROW = networks.Network(
    "toy",
    "toy",
    question="how long a run takes",
    architecture="two-layers",
    train_examples=("claude-flow neural train toy",),
)


@pytest.fixture
def toy(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(Path(__file__).parent))
    monkeypatch.setitem(networks.NETWORKS, "toy", ROW)


@pytest.fixture
def neural(toy: None, capsys: pytest.CaptureFixture[str]) -> Any:
    """``neural("train", ...)`` runs the command in this process and returns its JSON."""

    def run(*words: str) -> Any:
        capsys.readouterr()
        code = main(["neural", *words, "--format", "json"])
        captured = capsys.readouterr()
        assert code == 0, captured.err
        return json.loads(captured.out)

    return run


def test_a_toy_network_goes_through_every_ordinary_command(neural: Any, swarm_log: Path, tmp_path: Path) -> None:
    neural("data", "collect", "--source", str(swarm_log), "--bad-line-share", "0.1")
    made = neural("data", "preprocess")["made"]
    assert made["toy"]["manifest"]["rows"] > 50
    config = tmp_path / "config.json"
    body = {"epochs": 20, "batch-size": 16, "model-architecture": "two-layers", "network": {"hidden": 6}}
    config.write_text(json.dumps({"toy-training": body}))
    card = neural("train", "toy", "--config", str(config), "--output", "toy-v1")["card"]
    assert card["network"] == "toy"
    assert card["held_out"]["metrics"]["mae"] >= 0

    x = np.random.default_rng(0).standard_normal((5, 4)).astype(np.float32)
    reference = cf.load("toy-v1", backend="torch").run(x)
    np.testing.assert_allclose(cf.load("toy-v1").run(x), reference, rtol=1e-5, atol=1e-5)
    small = cf.load("toy-v1", precision="int8")
    assert small.precision == "int8"
    assert np.abs(small.run(x) - reference).max() < 0.1 * np.abs(reference).max()
    assert neural("infer", "toy", "--description", "write a test", "--tokens", "2000")["seconds"] > 0
    found = neural("validate", "cross-fold", "--model", "toy-v1", "--k-folds", "2", "--baselines", "median")
    assert {unit["unit"] for unit in found["evaluations"][0]["parts"]} >= {"fold 1", "fold 2"}
    for scenarios in ("preprocessed-toy-data", "standard-benchmark-suite"):
        found = neural("benchmark", "--model", "toy-v1", "--test-scenarios", scenarios, "--quick")
        assert found["evaluations"][0]["protocol"] == "toy benchmark"
    assert neural("profile", "computation", "--model", "toy-v1", "--duration", "2s")["operations"]
    from claude_flow.wasm.modules import available

    if not available():
        pytest.skip("the WebAssembly modules are not built: run  make wasm")
    assert np.array_equal(cf.load("toy-v1", backend="wasm", precision="int8").run(x), small.run(x))
    profile = neural("wasm", "profile-simd", "--model", "toy-v1", "--metrics", "latency")
    assert profile["workload"] == "typical-toy-tasks"


def test_mistakes_name_the_networks_own_fields(neural: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    config = tmp_path / "config.json"
    config.write_text('{"toy-training": {"network": {"hiden": 6}}}')
    (tmp_path / "workspace/datasets/empty").mkdir(parents=True)
    (tmp_path / "workspace/datasets/empty/manifest.json").write_text("{}")
    assert main(["neural", "train", "toy", "--config", str(config), "--data", "empty"]) == 2
    assert "hidden" in capsys.readouterr().err
    assert main(["neural", "infer", "tooy"]) == 2
    assert "did you mean toy" in capsys.readouterr().err


def test_generic_code_asks_no_name() -> None:
    """Nothing outside networks/ compares a network with a name or guesses a class from it."""
    package = Path(cf.__file__).parent
    pattern = r"network (==|!=|in) |\.capitalize\(\)"
    found = subprocess.run(
        ["grep", "-rnE", pattern, str(package), "--include=*.py"], capture_output=True, text=True
    ).stdout.splitlines()
    assert [line for line in found if f"{package}/networks/" not in line] == []


def test_every_row_has_its_parts() -> None:
    for row in networks.NETWORKS.values():
        assert row.part("config").Config()
        assert all(hasattr(row.net, name) for name in ("Net", "layers", "lower", "stored", "restored"))
        assert all(hasattr(row.prepare, name) for name in ("preprocess", "suite"))
        assert hasattr(row.learn, "Data")
        assert hasattr(row.judge, "folds") or hasattr(row.judge, "windows")
        assert all(hasattr(row.answer, name) for name in ("HELP", "EXAMPLES", "OPTIONS", "answer", "render"))


def test_importing_the_list_loads_no_torch() -> None:
    code = "import sys; from claude_flow import networks; print('torch' in sys.modules, 'numpy' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["False", "False"]
