"""Programs of several inputs: each with a row per item or per token of its own axis, all in one call."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.several_inputs import (
    ALONE,
    F32,
    FUSED,
    HISTORY,
    METRICS,
    RECORDS,
    SWARM,
    TOKENS,
    Build,
    batch,
    close,
    wanted,
)

import claude_flow as cf
from claude_flow import _core, modelfile
from claude_flow.errors import InputError
from claude_flow.modelfile import PER_TOKEN, Program, probe
from claude_flow.modelfile.quantize import quantize


@pytest.mark.parametrize(("items", "tokens", "records"), [(1, 1, 1), (3, 9, 24), (2, 40, 1), (70, 40, 24), (300, 2, 3)])
def test_it_computes_what_its_parts_compute(isa: str, items: int, tokens: int, records: int) -> None:
    x, lengths = batch(items, tokens, records)
    model = FUSED.model(isa)
    for real in (None, lengths):
        close(model.run(x, real), wanted(x, real, isa))
    assert model.inputs == [(1, SWARM, TOKENS), (2, HISTORY, RECORDS), (0, METRICS, 1)]


@pytest.mark.parametrize(("items", "tokens", "records"), [(1, 40, 24), (33, 17, 24)])
def test_the_count_of_threads_changes_no_bit(isa: str, items: int, tokens: int, records: int) -> None:
    x, lengths = batch(items, tokens, records)
    want = FUSED.model(isa).run(x, lengths)
    for threads in (2, 3):
        assert np.array_equal(FUSED.model(isa, threads).run(tuple(x), tuple(lengths)), want)


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 9), st.integers(1, TOKENS), st.integers(1, RECORDS), st.integers(0, 99), st.booleans())
def test_any_sizes(items: int, tokens: int, records: int, seed: int, padded: bool) -> None:
    x, lengths = batch(items, tokens, records, seed)
    close(FUSED.model().run(x, lengths if padded else None), wanted(x, lengths if padded else None))


def test_padding_never_leaks_from_any_input() -> None:
    x, lengths = batch(5, 9, 8)
    want = FUSED.model().run(x, lengths)
    for part, real in zip(x, lengths, strict=True):
        for item, length in enumerate([] if real is None else real):
            part[item, length:] = np.nan
    assert np.array_equal(FUSED.model().run(x, lengths), want)


def test_a_row_per_token_of_the_second_axis_comes_back() -> None:
    b = Build(TOKENS)
    b.input(PER_TOKEN, SWARM)  # read by nothing: it must be given all the same
    history = b.input(b.axis(RECORDS), HISTORY)
    b.target = b.linear(history, 7)
    x, lengths = batch(3, 5, 11)
    model = b.model()
    y = model.run(x[:2], lengths[:2])
    assert y.shape == (3, 11, 7)
    want = model.run(x[:2])
    for item, length in enumerate(lengths[1]):
        assert np.array_equal(y[item, :length], want[item, :length])
        assert not y[item, length:].any()


def test_two_inputs_of_one_axis_have_the_same_tokens() -> None:
    b = Build(TOKENS)
    first, second = b.input(PER_TOKEN, 8), b.input(PER_TOKEN, 4)
    b.target = b.linear(first, 4, residual=second)
    model = b.model()
    g = np.random.default_rng(1)
    x = [g.normal(size=(3, 6, width)).astype(F32) for width in (8, 4)]
    lengths = np.array([1, 6, 2], np.int32)
    close(model.run(x), np.maximum(x[0] @ b.arrays["t0.weight"].T + b.arrays["t1.weight"], 0) + x[1])
    assert model.run(x, [lengths, lengths.copy()]).shape == (3, 6, 4)
    other = np.array([1, 6, 3], np.int32)
    for bad, real in ((x, [lengths, None]), (x, [lengths, other]), ([x[0], x[1][:, :5].copy()], None)):
        with pytest.raises(ValueError, match="input 1: an input before it has the same tokens"):
            model.run(bad, real)


@pytest.mark.parametrize(
    ("change", "text"),
    [
        (lambda x, n: (x[0], n), "x must be a list or tuple of 3"),
        (lambda x, n: (x[:2], n), "x must be a list or tuple of 3"),
        (lambda x, n: (x, n[0]), "lengths must be a list or tuple of 3"),
        (lambda x, n: ([x[0], x[1][:, :, :5], x[2]], n), r"x\[1\] must be .* of shape \[items, tokens, 12\]"),
        (lambda x, n: ([x[0], None, x[2]], n), r"x\[1\] must be .*NoneType"),
        (lambda x, n: ([x[0], x[1], x[2][:2]], n), r"x\[2\] has 2 items, x\[0\] 3"),
        (lambda x, n: ([x[0], np.ones((3, 25, HISTORY), F32), x[2]], None), r"x\[1\]: 25 tokens .* 1..24"),
        (lambda x, n: (x, [n[0], n[1].astype(np.int64), None]), r"lengths\[1\] must be"),
        (lambda x, n: (x, [n[0], n[1], n[0]]), "input 2: lengths given"),
        (lambda x, n: (x, [n[0], n[1] * 0, None]), r"input 1: lengths\[0\] is 0, not in 1..8"),
    ],
)
def test_wrong_inputs_are_refused(change, text: str) -> None:
    x, lengths = batch(3, 9, 8)
    with pytest.raises(ValueError, match=text):
        FUSED.model().run(*change(x, lengths))


@pytest.mark.parametrize(
    ("at", "word", "text"),
    [
        (0, 3, "format 3"),
        (3, 0, "format 2: 0 inputs"),
        (3, 17, "17 inputs"),
        (5, 9, "9 axes"),
        (5, -1, "-1 axes"),
        (6, 0, "at most 0 tokens"),
        (8, -1, "no value -1 for the input"),
        (9, 0, "value 0 is two inputs"),
        (10, FUSED.target, "the input is the output"),
        (10, FUSED.inputs[1] + 1000, "for the input"),
    ],
)
def test_a_header_that_does_not_hold_is_refused(at: int, word: int, text: str) -> None:
    words = np.array(FUSED.words(), np.int32)
    assert words[:11].tolist() == [2, len(FUSED.values), len(FUSED.ops), 3, FUSED.target, 2, TOKENS, RECORDS, 0, 1, 2]
    words[at] = word
    with pytest.raises(ValueError, match=text):
        _core.Model(words, [FUSED.arrays[n] for n in FUSED.tensors])


def test_every_axis_has_an_input() -> None:
    b = Build(TOKENS)
    b.axis(3)
    b.target = b.linear(b.input(PER_TOKEN, 3), 2)
    with pytest.raises(ValueError, match="no input has tokens of axis 2"):
        b.model()


def test_tokens_of_different_axes_do_not_mix() -> None:
    b = Build(TOKENS)
    first, second = b.input(PER_TOKEN, 4), b.input(b.axis(RECORDS), 4)
    b.target = b.linear(first, 4, residual=second)
    with pytest.raises(ValueError, match="do not have the same rows"):
        b.model()


def test_words_and_structure_are_the_same_program() -> None:
    for program in (FUSED, *ALONE):
        words = program.words()
        parsed = Program.parse(words, program.tensors)
        assert parsed.words() == words
        assert (parsed.inputs, parsed.more_tokens) == (program.inputs, program.more_tokens)
    assert [part.words()[0] for part in (FUSED, *ALONE)] == [2, 1, 1, 1]


@settings(max_examples=200, deadline=None)
@given(
    st.lists(st.tuples(st.integers(0, len(FUSED.words()) - 1), st.integers(-3, 70)), max_size=4), st.integers(0, 999)
)
def test_damaged_words_are_refused_in_python_or_by_the_engine(changes: list[tuple[int, int]], keep: int) -> None:
    words = FUSED.words()
    for at, word in changes:
        words[at] = word
    words = words[:keep] if keep < len(words) else words
    try:
        program = Program.parse(words, FUSED.tensors)
        assert program.words() == words or not program.inputs
        model = _core.Model(np.array(words, np.int32), [FUSED.arrays[n] for n in FUSED.tensors])
    except (InputError, ValueError):
        return
    x = [np.zeros((2, 1, width) if axis else (2, width), F32) for axis, width, _ in model.inputs]
    assert len(model.run(x if len(x) > 1 else x[0])) == 2


def test_a_model_file_of_several_inputs(tmp_path: Path) -> None:
    """Written, loaded, run, timed, quantized and probed as any other."""
    x, lengths = batch(4, 9, 8)
    path = tmp_path / "fused.safetensors"
    modelfile.write(path, FUSED.file())
    model = cf.load(path)
    want = FUSED.model().run(x, lengths)
    assert np.array_equal(model.run(x, lengths), want)
    assert [code for _, code, _ in model.profile(x, lengths)] == [code for code, _ in FUSED.ops]
    file = modelfile.read(path)
    joined = FUSED.ops[-1][1]["source"]
    rows = probe.run(file, joined, x, lengths)
    for part, columns in zip(range(3), ((0, 16), (16, 30), (30, 36)), strict=True):
        close(rows[:, slice(*columns)], ALONE[part].model().run(x[part], lengths[part]))
    observed: dict[int, np.ndarray] = {}
    for value in {o["source"] for code, o in file.parse().ops if code.int8 and "range" in code.int8.operands}:
        low, high = np.quantile(probe.run(file, value, x), [5e-4, 1 - 5e-4])
        observed[value] = np.array([min(low, 0), max(high, 0)], np.float32)
    assert observed
    for ranges in (None, observed):
        modelfile.write(tmp_path / "8.safetensors", quantize(file, ranges))
        eight = cf.load(tmp_path / "8.safetensors").run(x, lengths)
        noise = np.square(eight - want).sum() / np.square(want).sum()
        assert 0 < noise < 0.02  # 17 dB: narrow layers of random weights
