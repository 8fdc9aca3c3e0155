"""``claude-flow neural optimize`` on a small workspace: what it writes, what it refuses, and with which words."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import claude_flow as cf
from claude_flow import modelfile, registry

OWN = {network: f"preprocessed-{network}-data" for network in ("coordination", "optimization", "prediction")}


def _card(report: dict[str, Any]) -> dict[str, Any]:
    card: dict[str, Any] = registry.model_card(Path(report["path"]))
    return card


@pytest.mark.parametrize("network", OWN)
def test_quantize_writes_a_version_with_its_evidence(optimize: Any, network: str) -> None:
    code, report, error = optimize(
        *("quantize", "--model", f"{network}-v1", "--calibration-data", "representative-dataset"),
        *("--accuracy-threshold", "0.5", "--output-format", "safetensors", "--allow-slower", "true"),
    )
    assert code == 0, error
    assert report["model"] == f"{network}-v1-int8/1.0.0"
    assert report["evidence"]["verdict"] == "held"
    small = network == "prediction"  # its dataset is too small to judge on
    assert small == ("a threshold of 0.5 takes 20: judged on standard-benchmark-suite" in error)
    model = cf.load(report["model"])
    assert (model.network, model.precision) == (network, "int8")
    card = _card(report)
    assert card["parent"] == f"{network}-v1/1.0.0"
    assert card["method"]["name"] == "static quantization"
    assert card["guarantee"]["threshold"] == 0.5
    assert card["size"]["bytes"]["after"] < card["size"]["bytes"]["before"]
    assert card["latency"]["native"]["after_ms"] > 0
    assert card["metrics"][report["evidence"]["measure"]]["low"] <= 1


def test_quantize_fine_tunes_on_what_will_run(optimize: Any) -> None:
    words = ("quantize", "--model", "coordination-v1", "--data", OWN["coordination"], "--accuracy-threshold", "0.2")
    code, report, error = optimize(*words, "--fine-tune-epochs", "1", "--allow-slower", "true")
    assert code == 0, error
    assert report["method"]["fine_tune_epochs"] == 1
    assert cf.load(report["model"]).precision == "int8"


def test_quantize_to_four_bits_halves_the_file(optimize: Any) -> None:
    shared = ("--model", "optimization-v1", "--data", OWN["optimization"], "--accuracy-threshold", "0.2")
    sizes = {}
    for precision in ("int8", "int4"):
        words = ("quantize", *shared, "--precision", precision, "--output-format", "safetensors")
        code, report, error = optimize(*words, "--allow-slower", "true")
        assert code == 0, error
        assert report["model"] == f"optimization-v1-{precision}/1.0.0"
        assert cf.load(report["model"]).precision == precision
        assert set(report["method"]["signal_to_noise"]) >= {"as it is", "learned rounding"}
        tensors = modelfile.read(report["path"]).tensors.values()
        sizes[precision] = sum(t.nbytes for t in tensors if t.dtype == np.int8)
    assert sizes["int4"] == sizes["int8"] / 2
    assert _card(report)["size"]["weights"]["after"] == _card(report)["size"]["weights"]["before"]
    code, _, error = optimize("quantize", *shared, "--precision", "int4", "--output-format", "onnx")
    assert (code, error.count("\n")) == (2, 1)
    assert "an ONNX file of 4-bit weights is not written" in error


def test_a_missed_threshold_shows_the_table_and_writes_nothing(optimize: Any) -> None:
    words = ("quantize", "--model", "prediction-v1", "--data", OWN["prediction"], "--accuracy-threshold", "1")
    code, report, error = optimize(*words)
    assert code == 1
    assert len([line for line in error.splitlines() if not line.startswith("...")]) == 1
    assert "nothing is written" in error
    assert report["evidence"]["verdict"] in ("below", "too little data")
    assert not (registry.workspace() / "models" / "prediction-v1-int8").exists()


def test_what_is_not_faster_is_refused(optimize: Any) -> None:
    words = ("distill", "--teacher-model", "optimization-v1", "--student-architecture", '{"hidden": [1024, 1024]}')
    words += ("--distillation-epochs", "1", "--data", OWN["optimization"], "--output", "giant")
    code, report, error = optimize(*words)
    assert code == 1
    assert "not faster, so nothing is written" in error
    assert report["latency"]["native"]["speedup"] < 1
    assert not (registry.workspace() / "models" / "giant").exists()
    assert optimize(*words, "--allow-slower", "true")[0] == 0


def test_quantize_dynamic_measures_its_candidates(optimize: Any) -> None:
    words = ("quantize-dynamic", "--model", "optimization-v1", "--data", OWN["optimization"], "--accuracy-threshold")
    code, report, error = optimize(*words, "0.5", "--allow-slower", "true", "--memory-constraints", "4GB")
    assert code == 0, error
    assert {one["name"] for one in report["candidates"]} >= {"8 bits everywhere", "4 bits everywhere"}
    assert all(one["milliseconds"] > 0 and one["memory_bytes"] > 0 for one in report["candidates"])
    assert report["method"]["picked"] in {one["name"] for one in report["candidates"]}
    code, _, error = optimize(*words, "0.5", "--memory-constraints", "1KB")
    assert code == 2
    assert "no candidate fits into 1000 bytes" in error


@pytest.mark.parametrize("network", ["coordination", "optimization"])
def test_prune_leaves_out_units_and_fine_tunes(optimize: Any, network: str) -> None:
    code, report, error = optimize(
        *("prune", "--model", f"{network}-v1", "--pruning-ratio", "0.3", "--importance-metric", "gradient-magnitude"),
        *("--fine-tune-epochs", "1", "--preserve-accuracy", "0.2", "--data", OWN[network], "--allow-slower", "true"),
    )
    assert code == 0, error
    weights = report["size"]["weights"]
    assert 0.4 * weights["before"] < weights["after"] < 0.8 * weights["before"]
    assert any(group["after"] < group["before"] for group in report["method"]["groups"].values())
    assert cf.load(report["model"]).network == network
    assert cf.load(report["model"], backend="torch").network == network


@pytest.mark.parametrize("layers", [0, 1])
def test_members_of_a_network_lose_equally_many_units(layers: int) -> None:
    """They share a configuration, though each has units of its own that matter least."""
    from claude_flow import nets, networks
    from claude_flow.compress import prune

    sizes = {"members": 3, "width": 64, "layers": layers, "hidden": 48}
    module = nets.create("prediction", sizes)
    state, structure = module.state_dict(), networks.get("prediction").structure
    groups = structure.groups(module.config)
    rng = np.random.default_rng(0)
    scores = {group.name: rng.random(group.units) * rng.integers(1, 90) for group in groups}
    chosen = prune.leave(groups, scores, state, 0.3)
    config = structure.shrunk(module.config, {name: len(units) for name, units in chosen.items()})
    weights, _ = prune.without(groups, chosen, state)
    nets.create("prediction", nets.config_dict(config)).load_state_dict(weights)
    before, after = (sum(t.numel() for t in tensors.values()) for tensors in (state, weights))
    assert 0.3 * before < after <= 0.75 * before  # sixteen units go at a time, of all three members


def test_distill_makes_students_of_half_the_cost_and_of_given_sizes(optimize: Any) -> None:
    shared = ("--distillation-epochs", "1", "--data", OWN["optimization"], "--allow-slower", "true")
    code, report, error = optimize("distill", "--teacher-model", "optimization-v1", *shared)
    assert code == 0, error
    assert report["model"] == "optimization-v1-half/1.0.0"
    assert 0.3 < report["method"]["cost"] <= 0.5
    sizes = ("--student-architecture", '{"hidden": [8, 8]}')
    code, report, error = optimize("distill", "--teacher-model", "optimization-v1", *sizes, *shared)
    assert code == 0, error
    assert report["method"]["student"]["hidden"] == [8, 8]
    assert _card(report)["method"]["teacher"] == "optimization-v1/1.0.0"


def test_a_teacher_that_is_but_a_configuration_is_trained_first(optimize: Any) -> None:
    configs = registry.workspace() / "configs"
    configs.mkdir(parents=True)
    body = {"epochs": 1, "network": {"hidden": [48]}}
    (configs / "big.json").write_text(json.dumps({"optimization-training": body}))
    (configs / "little.json").write_text(json.dumps({"optimization-training": body | {"network": {"hidden": [8]}}}))
    words = ("distill", "--teacher-model", "big", "--student-architecture", "little", "--distillation-epochs", "1")
    code, report, error = optimize(*words, "--allow-slower", "true")
    assert code == 0, error
    assert "it is trained by its configuration first" in error
    assert (report["parent"], report["model"]) == ("big/1.0.0", "little/1.0.0")
    said = registry.model_card(registry.model_path("big"))["command"]
    assert said.startswith("claude-flow neural train optimization --config big --data preprocessed-optimization-data")


def test_compare_finds_all_that_was_made_of_a_model(optimize: Any, tmp_path: Path) -> None:
    shared = ("--data", OWN["optimization"], "--allow-slower", "true")
    assert optimize("quantize", "--model", "optimization-v1", "--accuracy-threshold", "0.5", *shared)[0] == 0
    words = ("--fine-tune-epochs", "0", "--preserve-accuracy", "0.1", *shared)
    assert optimize("prune", "--model", "optimization-v1", *words)[0] == 0
    chart = tmp_path / "versions.svg"
    code, answer, error = optimize(
        *("compare", "--model", "optimization-v1", "--data", OWN["optimization"], "--duration", "0.2s"),
        *("--chart", str(chart)),
    )
    assert code == 0, error
    found = {row["model"]: row for row in answer["versions"]}
    assert list(found) == ["optimization-v1/1.0.0", "optimization-v1-int8/1.0.0", "optimization-v1-pruned/1.0.0"]
    assert found["optimization-v1-pruned/1.0.0"]["method"] == "structural pruning"
    assert any(row["pareto"] for row in answer["versions"])
    assert "</svg>" in chart.read_text()


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (("quantize", "--model", "optimization-v1", "--accuracy-threshold", "1.5"), "an accuracy threshold of 1.5"),
        (("quantize", "--model", "optimization-v1", "--calibration-data", "nowhere"), "no dataset 'nowhere'"),
        (
            ("quantize", "--model", "optimization-v1", "--calibration-data", OWN["prediction"]),
            "a dataset of prediction",
        ),
        (("quantize", "--model", "nothing"), "no model 'nothing'"),
        (("prune", "--model", "coordination-v1", "--pruning-ratio", "0.999"), "leaves no head"),
        (("prune", "--model", "coordination-v1", "--pruning-ratio", "1"), "a pruning ratio of 1"),
        (("distill", "--teacher-model", "nobody"), "no model 'nobody'"),
        (("distill", "--teacher-model", "optimization-v1", "--student-architecture", "tiny"), "configuration 'tiny'"),
        (("distill", "--teacher-model", "optimization-v1", "--student-architecture", '{"hiden": [8]}'), "hidden"),
        (("distill", "--teacher-model", "optimization-v1", "--temperature", "0"), "a temperature of 0"),
        (("compare", "--model", "optimization-v1", "--metric", "acuracy"), "did you mean accuracy"),
    ],
)
def test_mistakes_are_one_line(optimize: Any, words: tuple[str, ...], says: str) -> None:
    data = (
        () if "compare" in words else ("--data", OWN["coordination" if "coordination-v1" in words else "optimization"])
    )
    code, _, error = optimize(*words, *data)
    assert (code, error.count("\n")) == (2, 1), error
    assert says in error
    assert len(list((registry.workspace() / "models").iterdir())) == 3


@pytest.mark.parametrize(
    ("array", "says"),
    [
        (np.zeros((0, 256), np.float32), "is empty"),
        (np.zeros((5, 255), np.float32), "has the shape [5, 255]; the model takes [items, 256]"),
        (np.full((5, 256), np.nan, np.float32), "holds NaN"),
        (np.ones((5, 256), np.float32), "is of one class"),
    ],
)
def test_unusable_calibration_data_is_refused(optimize: Any, tmp_path: Path, array: Any, says: str) -> None:
    np.save(tmp_path / "x.npy", array)
    words = ("quantize", "--model", "optimization-v1", "--data", OWN["optimization"])
    code, _, error = optimize(*words, "--calibration-data", str(tmp_path / "x.npy"))
    assert (code, error.count("\n")) == (2, 1), error
    assert says in error


def test_what_is_quantized_or_prepacked_already_is_refused(optimize: Any) -> None:
    words = ("--data", OWN["optimization"], "--accuracy-threshold", "0.5", "--allow-slower", "true")
    made = optimize("quantize", "--model", "optimization-v1", "--output-format", "native", *words)[1]
    assert modelfile.read(made["path"], packed=True).precision == "int8"
    for command in ("quantize", "quantize-dynamic"):
        code, _, error = optimize(command, "--model", made["model"], *words)
        assert (code, "is quantized already" in error) == (2, True)
    from claude_flow.compress import prepack

    prepack.optimize_memory(registry.model_path("optimization-v1"), "packed")
    code, _, error = optimize("prune", "--model", "packed")
    assert (code, "is prepacked" in error) == (2, True)
