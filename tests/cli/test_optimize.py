"""``neural wasm optimize-simd`` and ``optimize-memory`` as a user runs them."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import claude_flow as cf
from claude_flow import engine, modelfile, registry
from claude_flow.compress.prepack import ARCHITECTURES

X = np.random.default_rng(0).standard_normal((1, 5, 512)).astype(np.float32)
HERE = [isa for isa in engine.available() if isa in ARCHITECTURES]


@pytest.fixture(autouse=True)
def _vectors() -> None:
    if not HERE:
        pytest.skip("this CPU runs no vector kernels")


def shown(done: subprocess.CompletedProcess[str]) -> dict[str, Any]:
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def refused(done: subprocess.CompletedProcess[str]) -> str:
    assert done.returncode == 2, done.stderr
    assert done.stdout == ""
    assert len(done.stderr.splitlines()) == 1, done.stderr
    return done.stderr


def test_simd_packs_for_the_target_and_keeps_the_answers(run):
    isa = HERE[-1]
    words = ["--model", "coordination-v3", "--target-architecture", isa, "--format", "json"]
    report = shown(run("neural", "wasm", "optimize-simd", *words))
    assert report["model"] == "coordination-v3-simd/1.0.0"
    assert (report["kernels"], report["vector_width"]) == (isa, ARCHITECTURES[isa].bits)
    assert report["first_answer_ms"].keys() == {"before", "after"}
    assert 20 * report["packed_at_load_bytes"]["after"] < report["packed_at_load_bytes"]["before"]
    assert 0 < report["arena_bytes"]["pooled"] < report["arena_bytes"]["apart"]
    assert report["file_bytes"]["after"] == Path(report["path"]).stat().st_size
    card = registry.model_card(Path(report["path"]))
    assert card["optimization"]["kernels"] == isa
    assert card["optimized_from"] == "coordination-v3"
    model = cf.load("coordination-v3-simd")
    assert model.isa == isa
    assert np.array_equal(model.run(X), cf.load("coordination-v3", isa=isa).run(X))


def test_aggressive_scheduling_takes_what_it_measured_as_fastest(run):
    words = ["--model", "coordination-v3", "--instruction-scheduling", "aggressive", "--output", "fast"]
    report = shown(run("neural", "wasm", "optimize-simd", *words, "--format", "json"))
    measured = report["measured_ms"]
    assert list(measured) == [*ARCHITECTURES[HERE[-1]].also, HERE[-1]]
    assert report["kernels"] == min(measured, key=measured.__getitem__)
    assert cf.load("fast").isa == report["kernels"]


def test_a_target_that_this_machine_lacks_is_packed_unmeasured(run):
    missing = [isa for isa, of in ARCHITECTURES.items() if of.backend == "native" and isa not in HERE]
    if not missing:
        pytest.skip("this CPU runs every architecture")
    words = ["--model", "coordination-v3", "--target-architecture", missing[-1], "--format", "json"]
    report = shown(run("neural", "wasm", "optimize-simd", *words))
    assert report["first_answer_ms"] == f"unavailable: this CPU has no {missing[-1]}"
    assert np.array_equal(cf.load(report["path"], isa=HERE[-1]).run(X), cf.load("coordination-v3").run(X))
    said = refused(run("neural", "wasm", "optimize-simd", *words, "--instruction-scheduling", "aggressive"))
    assert "cannot run here" in said


@pytest.mark.parametrize(
    ("words", "text"),
    [
        (["--target-architecture", "neon"], "unknown architecture 'neon'"),
        (["--target-architecture", "avx2", "--vector-width", "512"], "vectors of 128 or 256 bits, not 512"),
        (["--target-architecture", "sse41", "--vector-width", "256"], "vectors of 128 bits, not 256"),
        (["--target-architecture", "sse41", "--memory-alignment", "48"], "power of two from 8 to 32"),
        (["--target-architecture", "sse41", "--memory-alignment", "64"], "power of two from 8 to 32"),
        (["--instruction-scheduling", "wild"], "unknown scheduling 'wild'"),
        (["--model", "coordination-v4"], "did you mean coordination-v3"),
    ],
)
def test_simd_refuses_in_one_line(run, words, text):
    model = [] if "--model" in words else ["--model", "coordination-v3"]
    assert text in refused(run("neural", "wasm", "optimize-simd", *model, *words))


def test_memory_reports_what_each_choice_brings(run):
    words = ["--memory-layout", "cache-friendly", "--tensor-fusion", "true", "--memory-pooling", "true"]
    words += ["--garbage-collection", "generational", "--format", "json"]
    report = shown(run("neural", "wasm", "optimize-memory", "--model", "coordination-v3", *words))
    assert report["model"] == "coordination-v3-memory/1.0.0"
    assert report["ops"] == {"before": 10, "after": 10}  # exported fused
    assert 0 < report["arena_bytes"]["pooled"] < report["arena_bytes"]["apart"]
    assert 20 * report["packed_at_load_bytes"]["after"] < report["packed_at_load_bytes"]["before"]
    assert np.array_equal(cf.load("coordination-v3-memory").run(X), cf.load("coordination-v3").run(X))


def test_memory_splits_and_fuses_products(run):
    words = ["--model", "coordination-v3", "--tensor-fusion", "false", "--memory-layout", "row-major"]
    report = shown(run("neural", "wasm", "optimize-memory", *words, "--output", "apart", "--format", "json"))
    assert report["ops"] == {"before": 10, "after": 12}
    assert report["packed_at_load_bytes"]["before"] == report["packed_at_load_bytes"]["after"]
    again = shown(run("neural", "wasm", "optimize-memory", "--model", "apart", "--format", "json"))
    assert again["model"] == "apart-memory/1.0.0"
    assert again["ops"] == {"before": 12, "after": 10}
    assert np.array_equal(cf.load("apart-memory").run(X), cf.load("coordination-v3").run(X))


def test_unread_tensors_leave_the_file_or_stay(run, tmp_path):
    file = modelfile.read(registry.model_path("coordination-v3"))
    path = tmp_path / "littered.safetensors"
    modelfile.write(
        path, modelfile.ModelFile(**vars(file) | {"tensors": file.tensors | {"old": np.ones(99, np.float32)}})
    )
    for word, removed in (("generational", True), ("none", False)):
        words = ["--model", str(path), "--garbage-collection", word, "--output", word, "--format", "json"]
        report = shown(run("neural", "wasm", "optimize-memory", *words))
        assert report["unread_tensors"] == {"names": ["old"], "bytes": 396, "removed": removed}
        assert ("old" in modelfile.read(report["path"]).tensors) is not removed
        assert np.array_equal(cf.load(word).run(X), cf.load("coordination-v3").run(X))


@pytest.mark.parametrize(
    ("words", "text"),
    [
        (["--memory-layout", "tidy"], "unknown memory layout 'tidy'"),
        (["--garbage-collection", "weekly"], "unknown garbage collection 'weekly'"),
        (["--memory-pooling", "false"], "always pools its working memory"),
    ],
)
def test_memory_refuses_in_one_line(run, words, text):
    assert text in refused(run("neural", "wasm", "optimize-memory", "--model", "coordination-v3", *words))
