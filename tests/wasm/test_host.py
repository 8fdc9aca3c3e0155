"""The engine under wasmtime computes what the native engine computes, refuses what it refuses, and stays alive."""

from __future__ import annotations

import gzip
import re
import shutil
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import claude_flow as cf
from claude_flow import _core, wasm
from claude_flow.errors import ClaudeFlowError, InputError
from claude_flow.wasm import modules
from claude_flow.wasm.instance import Instance

INPUTS = {"coordination": (128, 512), "optimization": (None, 256), "prediction": (128, 128)}
LIMIT, GZIP_LIMIT = 150_000, 60_000

# relu(x W^T), then a layer norm: enough to be damaged in many ways.
WORDS = [1, 3, 2, 0, 2, 4, 1, 3, 1, 2, 1, 2, 1, 7, 0, 1, 0, 0, -1, -1, 1, 2, 5, 1, 2, 1, 2, 925353388]
TENSORS = [np.array([[1, 0, 0], [0, -1, 0]], np.float32), np.ones(2, np.float32), np.zeros(2, np.float32)]
X = np.arange(24, dtype=np.float32).reshape(2, 4, 3)


def small(words: list[int] = WORDS, tensors: list[np.ndarray] = TENSORS) -> wasm.Model:
    return wasm.Model(np.array(words, np.int32), tensors)


@pytest.mark.parametrize("isa", modules.ISAS)
@pytest.mark.parametrize("network", INPUTS)
def test_agrees_with_native(network: str, isa: str, files: dict[str, Path]) -> None:
    native, model = cf.load(files[network]), cf.load(files[network], backend="wasm", isa=isa)
    assert (model.backend, model.isa, model.threads) == ("wasm", isa, 1)
    most, width = INPUTS[network]
    for batch, tokens in ((1, 1), (1, 8), (3, 9), (2, most), (33, 7)):
        generator = np.random.default_rng(batch)
        shape = (batch, width) if most is None else (batch, tokens, width)
        x = generator.standard_normal(shape).astype(np.float32)
        lengths = None if most is None else generator.integers(1, tokens + 1, batch).astype(np.int32)
        for real in (None, lengths):
            want, y = native.run(x, real), model.run(x, real)
            assert y.shape == want.shape
            assert y.dtype == np.float32
            assert np.abs(y - want).max() <= 1e-5 * np.abs(want).max(), (batch, tokens)


@pytest.mark.parametrize("isa", modules.ISAS)
@pytest.mark.parametrize("network", INPUTS)
def test_8_bits_are_the_same_bits_as_native(network: str, isa: str, int8_files: dict[str, Path]) -> None:
    native, model = cf.load(int8_files[network]), cf.load(int8_files[network], backend="wasm", isa=isa)
    assert model.precision == "int8"
    most, width = INPUTS[network]
    for batch, tokens in ((1, 8), (3, 9), (2, most)):
        x = np.random.default_rng(batch).standard_normal((batch, width) if most is None else (batch, tokens, width))
        want, y = (m.run(np.float32(x)) for m in (native, model))
        assert np.array_equal(y.view(np.int32), want.view(np.int32)), (batch, tokens)


def test_batches_larger_than_the_staging_memory(files: dict[str, Path]) -> None:
    x = np.random.default_rng(0).standard_normal((10_000, 256)).astype(np.float32)
    want, y = (cf.load(files["optimization"], backend=backend).run(x) for backend in ("native", "wasm"))
    assert np.abs(y - want).max() <= 1e-5 * np.abs(want).max()


def test_decides_like_native(files: dict[str, Path]) -> None:
    x = np.random.default_rng(0).standard_normal((1, 8, 512)).astype(np.float32)
    a, b = (cf.load(files["coordination"], backend=name).decide(x, 4, 3) for name in ("native", "wasm"))
    np.testing.assert_allclose(a.probabilities, b.probabilities, atol=1e-5)


@pytest.mark.parametrize("isa", modules.ISAS)
def test_memory_does_not_grow(isa: str) -> None:
    model = wasm.Model(np.array(WORDS, np.int32), TENSORS, isa)
    before, first = model.memory_bytes, model.run(X)
    for _ in range(10_000):
        y = model.run(X)
    assert model.memory_bytes == before
    assert np.array_equal(y, first)


INTERESTING = st.one_of(st.integers(-2, 30), st.sampled_from([-(2**31), 2**31 - 1, 2**30, 2**16, 65535]))


@settings(max_examples=400, deadline=None)
@given(st.lists(st.tuples(st.integers(0, len(WORDS) - 1), INTERESTING), min_size=1, max_size=4))
def test_hostile_programs_end_as_in_the_native_engine(changes: list[tuple[int, int]]) -> None:
    words = list(WORDS)
    for index, word in changes:
        words[index] = word
    outcomes = []
    for kind in (_core.Model, wasm.Model):
        try:
            model = kind(np.array(words, np.int32), TENSORS)
            shape = (2, min(4, model.max_tokens), model.input_width)
            y = model.run(np.ones(shape if model.per_token_input else (2, model.input_width), np.float32))
            outcomes.append(str(y.shape))
        except ValueError as refusal:
            outcomes.append(str(refusal))
    assert outcomes[0] == outcomes[1]
    assert np.isfinite(small().run(X)).all()


@pytest.mark.parametrize(
    ("x", "lengths"),
    [
        (X.astype(np.float64), None),
        (X[:, :, :2], None),
        (np.ones((2, 5, 3), np.float32), None),
        (np.ones((2, 0, 3), np.float32), None),
        (X[0], None),
        (X[:, ::2], None),
        (X, np.array([1], np.int32)),
        (X, np.array([1, 2], np.int64)),
        (X, np.array([0, 2], np.int32)),
        (X, np.array([1, 5], np.int32)),
    ],
)
def test_wrong_inputs_are_refused_in_the_same_words(x: np.ndarray, lengths: np.ndarray | None) -> None:
    model = small()
    said = []
    for refusing in (_core.Model(np.array(WORDS, np.int32), TENSORS), model):
        with pytest.raises(ValueError, match=r"x must be|lengths|tokens per item") as refusal:
            refusing.run(x, lengths)
        said.append(str(refusal.value))
    assert said[0] == said[1]
    assert np.isfinite(model.run(X)).all()


def test_a_narrow_input_with_a_wide_output_takes_little_memory() -> None:
    words = [1, 2, 1, 0, 1, 1, 0, 1, 0, 511, 1, 7, 0, 1, 0, 0, -1, -1, 0]
    model = wasm.Model(np.array(words, np.int32), [np.ones((511, 1), np.float32)])
    assert model.memory_bytes < 64 << 20
    x = np.arange(5000, dtype=np.float32)[:, None]
    assert np.array_equal(model.run(x), np.repeat(x, 511, axis=1))  # in several parts


def test_what_does_not_fit_the_memory_is_refused() -> None:
    words = [1, 2, 1, 0, 1, 1, 0, 34000, 0, 34000, 1, 7, 0, 1, 0, 0, -1, -1, 0]
    with pytest.raises(MemoryError, match="has no 4624000000 bytes left"):
        wasm.Model(np.array(words, np.int32), [np.zeros((34000, 34000), np.float32)])
    instance = Instance("relaxed")
    instance.allocate(1_500_000_000)
    with pytest.raises(MemoryError, match="has no 1000000000 bytes left"):
        instance.allocate(1_000_000_000)
    assert instance.allocate(1_000_000)


def test_a_program_that_uses_it_ends_quietly() -> None:
    code = f"from claude_flow import wasm\nimport numpy as np\nm = wasm.Model(np.array({WORDS}, np.int32), "
    code += f"[np.array({TENSORS[0].tolist()}, np.float32), np.ones(2, np.float32), np.zeros(2, np.float32)])\n"
    code += "print(m.run(np.ones((1, 1, 3), np.float32)))"
    ended = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert (ended.returncode, ended.stdout, ended.stderr) == (0, "[[[ 0.99998 -0.99998]]]\n", "")


def test_threads_may_share_a_model(files: dict[str, Path]) -> None:
    model = cf.load(files["prediction"], backend="wasm")
    inputs = np.random.default_rng(0).standard_normal((8, 1, 5, 128)).astype(np.float32)
    want = [model.run(x) for x in inputs]
    with ThreadPoolExecutor(4) as pool:
        for _ in range(5):
            for y, expected in zip(pool.map(model.run, inputs), want, strict=True):
                assert np.array_equal(y, expected)


def test_profile_times_every_op() -> None:
    assert [(op, code) for op, code, _ in small().profile(X)] == [(0, 1), (1, 2)]
    assert all(seconds > 0 for _, _, seconds in small().profile(X))


@pytest.mark.parametrize("name", [*modules.ISAS, "relaxed+threads"])
def test_size_gate(name: str) -> None:
    binary = modules.module_path("simd128").with_name(f"{name}.wasm").read_bytes()
    assert len(binary) <= LIMIT
    assert len(gzip.compress(binary, 9)) <= GZIP_LIMIT


def test_modules_import_nothing() -> None:
    for isa in modules.ISAS:
        _, module = modules.compiled(isa)
        assert not module.imports


def test_compiled_modules_are_kept_and_a_damaged_one_is_made_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    modules.compiled.cache_clear()
    modules.compiled("relaxed")
    (kept,) = modules.cache_folder().iterdir()
    whole = kept.read_bytes()
    kept.write_bytes(whole[: len(whole) // 2])
    modules.compiled.cache_clear()
    modules.compiled("relaxed")
    assert kept.read_bytes() == whole
    modules.compiled.cache_clear()


def test_says_how_to_get_what_is_missing(tmp_path: Path, files: dict[str, Path]) -> None:
    with pytest.raises(InputError, match="no instruction set 'avx2'; it has: simd128 relaxed"):
        cf.load(files["prediction"], backend="wasm", isa="avx2")
    with pytest.raises(ValueError, match=r"threads is 2, not in 1\.\.1"):
        wasm.Model(np.array(WORDS, np.int32), TENSORS, threads=2)
    package = tmp_path / "claude_flow"
    shutil.copytree(Path(cf.__file__).parent, package, ignore=shutil.ignore_patterns("*.wasm", "__pycache__"))
    load = f"import claude_flow as cf\ntry: cf.load({str(files['prediction'])!r}, backend='wasm')\n"
    load += "except cf.errors.ClaudeFlowError as error: print(type(error).__name__, error)"
    said = subprocess.run(
        [sys.executable, "-c", load], env={"PYTHONPATH": str(tmp_path)}, capture_output=True, text=True
    )
    assert re.match(r"ClaudeFlowError .*relaxed\.wasm is missing: .*make wasm", said.stdout), said
    (tmp_path / "wasmtime.py").write_text("raise ImportError")
    for isa in modules.ISAS:
        shutil.copy(modules.module_path(isa), package / "wasm")
    said = subprocess.run(
        [sys.executable, "-c", load], env={"PYTHONPATH": str(tmp_path)}, capture_output=True, text=True
    )
    assert "pip install 'claude-flow[wasm]'" in said.stdout, said


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b" and then nothing of the kind", "cannot be compiled by wasmtime"),
        (b"", "exports no"),
        (bytes([1, 4, 1, 96, 0, 0, 2, 7, 1, 1, 97, 1, 97, 0, 0]), "is another module"),  # it imports a function
    ],
)
def test_a_module_that_is_none_of_ours_is_an_error(
    content: bytes, words: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "relaxed.wasm").write_bytes(b"\0asm\1\0\0\0" + content)
    monkeypatch.setattr(modules, "_FOLDER", tmp_path)
    modules.compiled.cache_clear()
    with pytest.raises(ClaudeFlowError, match=words) as refusal:
        small()
    assert "\n" not in str(refusal.value)
    modules.compiled.cache_clear()
