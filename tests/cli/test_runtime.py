"""``neural runtime`` and ``neural profile`` as a user runs them, on a small model."""

from __future__ import annotations

import json
import subprocess
from importlib import import_module
from pathlib import Path

import pytest

from claude_flow import registry

pytest.importorskip("torch", reason="the small models of these tests need the extra: pip install 'claude-flow[train]'")


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> Path:
    import torch

    from claude_flow import export, nets

    torch.manual_seed(0)
    path = tmp_path_factory.mktemp("models") / "m.safetensors"
    export.save(nets.create("coordination", {"width": 32, "heads": 2, "feed_forward": [32]}), path)
    return path


@pytest.fixture
def model(small: Path) -> str:
    registry.add_model("coordination-v3", None, small, {"network": "coordination"})
    return "coordination-v3"


def shown(done: subprocess.CompletedProcess[str]) -> dict:
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def one_line(done: subprocess.CompletedProcess[str], code: int = 2) -> str:
    assert done.returncode == code, done.stderr
    assert done.stdout == ""
    assert len(done.stderr.splitlines()) == 1, done.stderr
    return done.stderr


def test_settings_are_tried_kept_and_followed(run, model, environment):
    words = ["--batch-processing", "true", "--model-caching", "intelligent", "--memory-mapping", "false"]
    answer = shown(run("neural", "runtime", "setup-acceleration", *words, "--format", "json"))
    kept = {"backend": "native", "threads": 1, "batching": True, "caching": "intelligent", "memory_mapping": False}
    assert answer["settings"] == kept
    assert [row["setting"] for row in answer["effects"]] == ["batching", "caching", "memory_mapping"]
    assert all(row["without"] > 0 and row["with"] > 0 for row in answer["effects"])
    assert json.loads(Path(environment["CLAUDE_FLOW_HOME"], "runtime.json").read_text("utf-8")) == kept

    more = shown(run("neural", "runtime", "setup-acceleration", "--backend", "torch", "--format", "json"))
    assert more["settings"] == {**kept, "backend": "torch"}
    words = ["--duration", "100ms", "--workload-types", "single-request", "--concurrency-levels", "1"]
    followed = shown(run("neural", "runtime", "benchmark", "--model", model, *words, "--format", "json"))
    assert followed["backend"] == "torch"
    asked = run("neural", "runtime", "benchmark", "--model", model, *words, "--backend", "native", "--format", "json")
    assert shown(asked)["backend"] == "native"


def test_settings_that_do_not_run_are_not_kept(run, model, environment):
    done = run("neural", "runtime", "setup-acceleration", "--model", "m9")
    assert "m9" in one_line(done)
    modules = import_module("claude_flow.wasm.modules")
    if not modules.available():
        assert "wasm" in one_line(run("neural", "runtime", "setup-acceleration", "--backend", "wasm-simd"), 1)
    assert not Path(environment["CLAUDE_FLOW_HOME"], "runtime.json").exists()


def test_the_specifications_settings(run, model):
    pytest.importorskip("wasmtime", reason="the wasm backend needs the extra: pip install 'claude-flow[wasm]'")
    if not import_module("claude_flow.wasm.modules").available():
        pytest.skip("this package was built without Emscripten")
    words = ["--backend", "wasm-simd", "--thread-pool-size", "8", "--batch-processing", "true"]
    words += ["--model-caching", "intelligent", "--memory-mapping", "true", "--format", "json"]
    done = run("neural", "runtime", "setup-acceleration", *words)
    assert shown(done)["settings"]["backend"] == "wasm"
    assert [row["setting"] for row in shown(done)["effects"]] == ["backend", "threads", "batching", "caching"]


@pytest.mark.parametrize("text", ["[]", "{", '{"thread": 2}', '{"threads": "2"}', '{"threads": 0}', '{"caching": "x"}'])
def test_damaged_settings_are_named(run, model, environment, text):
    Path(environment["CLAUDE_FLOW_HOME"]).mkdir(exist_ok=True)
    Path(environment["CLAUDE_FLOW_HOME"], "runtime.json").write_text(text)
    assert "runtime.json" in one_line(run("neural", "profile", "latency", "--model", model))


def test_the_budget_of_the_environment_cuts_the_duration_and_says_so(run, model, environment):
    pytest.importorskip("hdrh", reason="histograms need the extra: pip install 'claude-flow[bench]'")
    words = ["--model", model, "--duration", "5m", "--concurrency-levels", "1", "--format", "json"]
    budget = {**environment, "CLAUDE_FLOW_TIME_BUDGET": "300ms"}
    done = run("neural", "runtime", "benchmark", *words, env=budget)
    assert shown(done)["seconds"] == 0.3
    assert done.stderr == "CLAUDE_FLOW_TIME_BUDGET cuts --duration from 300 s to 0.3 s\n"
    budget["CLAUDE_FLOW_TIME_BUDGET"] = "soon"
    assert "'soon' is not a duration" in one_line(run("neural", "runtime", "benchmark", *words, env=budget))


def test_a_benchmark_covers_what_was_asked(run, model, tmp_path):
    pytest.importorskip("hdrh", reason="histograms need the extra: pip install 'claude-flow[bench]'")
    words = ["--model", model, "--duration", "600ms", "--concurrency-levels", "[1,3]", "--batch-size", "4"]
    answer = shown(run("neural", "runtime", "benchmark", *words, "--format", "json"))
    assert [(row["workload"], row["clients"]) for row in answer["rows"]] == [
        (kind, clients) for kind in ("single-request", "batch-processing", "streaming") for clients in (1, 3)
    ]
    for row in answer["rows"]:
        assert 0 < row["p50_ms"] <= row["p90_ms"] <= row["p95_ms"] <= row["p99_ms"] <= row["max_ms"]
        assert row["items_per_second"] > 0
    done = run("neural", "runtime", "benchmark", *words, "--chart", "load.html")
    assert done.returncode == 0, done.stderr
    page = (tmp_path / "load.html").read_text("utf-8")
    assert "<svg" in page
    assert "batch-processing" in page


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--workload-types", "burst"], "burst"),
        (["--concurrency-levels", "0"], "concurrency"),
        (["--duration", "1ms"], "too short"),
        (["--chart", "load.txt"], "load.txt"),
    ],
)
def test_a_benchmark_that_cannot_be(run, model, words, message):
    assert message in one_line(run("neural", "runtime", "benchmark", "--model", model, *words))


def test_a_profile_of_the_computation(run, model, tmp_path):
    words = ["--model", model, "--duration", "200ms", "--batch", "2", "--tokens", "5"]
    switches = ["--memory-profiling", "true", "--cache-analysis", "true", "--optimization-suggestions", "true"]
    answer = shown(run("neural", "profile", "computation", *words, *switches, "--format", "json"))
    kinds = [op["kind"] for op in answer["ops"]]
    assert kinds == ["linear", "layer_norm", "linear", "attention", "linear", "layer_norm"] + ["linear"] * 2 + [
        "layer_norm",
        "linear",
    ]
    embedding = answer["ops"][0]
    assert embedding["operations"] == 2 * 10 * 512 * 32
    assert embedding["bytes"] == 4 * (512 * 32 + 32 + 10 * (512 + 32))
    assert all(0 < op["share"] <= 1 and op["seconds"] > 0 for op in answer["ops"])
    assert sum(kind["of_the_time"] for kind in answer["kinds"]) == pytest.approx(1.0)
    for name, counted in answer["cache"]["counters_of_10_runs"].items():
        assert isinstance(counted, int) or counted.startswith("unavailable: "), name
    assert answer["memory"]["arena_bytes"] > 0
    assert isinstance(answer["suggestions"], list)
    short = shown(run("neural", "profile", "computation", *words, "--operation-breakdown", "false", "--format", "json"))
    assert not {"ops", "memory", "cache", "suggestions"} & set(short)
    assert "Kinds of ops" in run("neural", "profile", "computation", *words).stdout
    assert "1 to 128" in one_line(run("neural", "profile", "computation", "--model", model, "--tokens", "129"))


def test_a_profile_of_the_latency(run, model, tmp_path):
    words = ["--model", model, "--duration", "300ms", "--bottleneck-identification", "true", "--format", "json"]
    variations = ["--input-variations", "typical-workload,batch-sizes,lengths,largest"]
    answer = shown(run("neural", "profile", "latency", *words, *variations, "--percentile-analysis", "50,99"))
    assert [row["input"] for row in answer["rows"]] == [
        "mixed",
        "1 items",
        "8 items",
        "32 items",
        "4 tokens",
        "32 tokens",
        "64 tokens",
        "128 tokens",
        "128 tokens",
    ]
    for row in answer["rows"]:
        assert row["min_ms"] <= row["p50_ms"] <= row["p99_ms"] <= row["max_ms"]
        assert row["bottleneck"]["kind"] in ("linear", "attention", "layer_norm")
    assert "unknown input variation" in one_line(run("neural", "profile", "latency", *words, "--input-variations", "x"))
    assert "percentiles" in one_line(run("neural", "profile", "latency", *words, "--percentile-analysis", "0,50"))
