"""Malformed programs, tensors and inputs: a ValueError with one line, or a model that runs; never a crash."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from claude_flow import _core

F32 = np.float32
EPSILON = int(np.float32(1e-5).view(np.int32))


def everything() -> tuple[list[int], list[np.ndarray]]:
    """One program with all the ops."""
    generator = np.random.default_rng(0)
    shapes = [(12, 4), (12,), (4,), (4,), (20, 4), (20, 5), (20,), (3, 5), (3,), (8, 10)]
    tensors = [generator.normal(size=shape).astype(F32) for shape in shapes]
    bytes_and_scales = [(12, 5), (12, 3), (12,), (12,), (3, 3), (3,), (2,)]  # tensors 10 to 16
    for shape in bytes_and_scales:
        eight_bits = len(shape) == 2
        tensors.append(generator.integers(-128, 128, shape).astype(np.int8) if eight_bits else np.ones(shape, F32))
    tensors[16][0] = -1
    values = [(1, 4), (1, 4), (1, 12), (1, 4), (1, 5), (1, 3), (0, 10), (0, 8), (0, 8), (1, 3)]
    ops = [
        [2, 0, 1, 2, 3, EPSILON],
        [1, 1, 2, 0, 0, 1, -1, 0],
        [3, 2, 3, 2],
        [4, 3, 4, 4, 5, 6],
        [9, 4, 9, 10, 12, 11, 13, -1],
        [8, 9, 5, 0, 14, 15, 8, -1, 3, 16],
        [5, 4, 5, 8, 6, 0],
        [6, 4, 6, 5],
        [1, 6, 7, 0, 9, -1, -1, 2],
        [7, 7, 8, 3, 4],
    ]
    words = [1, len(values), len(ops), 0, 8, 6]
    for value in values:
        words += value
    for op in ops:
        words += [op[0], len(op) - 1, *op[1:]]
    return words, tensors


WORDS, TENSORS = everything()
X = np.random.default_rng(1).normal(size=(3, 6, 4)).astype(F32)


def build_and_run(words: list[int], tensors: list[np.ndarray]) -> str | None:
    """The one line of a refusal; None when it ran."""
    try:
        model = _core.Model(np.array(words, np.int32), tensors)
        shape = (3, min(6, model.max_tokens), model.input_width) if model.per_token_input else (3, model.input_width)
        assert model.run(np.ones(shape, F32)).shape[-1] == model.output_width
    except ValueError as refusal:
        return str(refusal)
    return None


def test_the_program_itself_runs() -> None:
    assert build_and_run(WORDS, TENSORS) is None
    assert np.isfinite(_core.Model(np.array(WORDS, np.int32), TENSORS).run(X)).all()


INTERESTING = st.one_of(
    st.integers(-2, 40), st.sampled_from([-(2**31), 2**31 - 1, 2**30, 2**16, 2**16 + 1, 65535, 4096, EPSILON])
)


@settings(max_examples=1500, deadline=None)
@given(st.lists(st.tuples(st.integers(0, len(WORDS) - 1), INTERESTING), min_size=1, max_size=4))
def test_changed_words(changes: list[tuple[int, int]]) -> None:
    words = list(WORDS)
    for index, word in changes:
        words[index] = word
    refusal = build_and_run(words, TENSORS)
    assert refusal is None or "\n" not in refusal


@settings(max_examples=300, deadline=None)
@given(st.integers(0, len(WORDS)), st.lists(INTERESTING, max_size=8))
def test_cut_and_continued(keep: int, tail: list[int]) -> None:
    if tail != WORDS[keep:]:
        assert build_and_run(WORDS[:keep] + tail, TENSORS) is not None


@settings(max_examples=200, deadline=None)
@given(st.lists(INTERESTING, max_size=60))
def test_any_words(words: list[int]) -> None:
    assert build_and_run(words, TENSORS) is not None


@settings(max_examples=200, deadline=None)
@given(
    st.integers(0, len(TENSORS) - 1),
    st.sampled_from([np.float32, np.int8, np.int32, np.float64]),
    st.lists(st.integers(0, 24), min_size=0, max_size=3),
)
def test_other_tensors(index: int, dtype: type, shape: list[int]) -> None:
    tensors = list(TENSORS)
    tensors[index] = np.ones(shape, dtype)
    refusal = build_and_run(WORDS, tensors)
    assert refusal is None or f"tensor {index}" in refusal or "tensor" in refusal


@pytest.mark.parametrize(
    ("change", "text"),
    [
        ({0: 2}, "format 2"),
        ({3: 10}, "no value 10"),
        ({4: 0}, "the input is the output"),
        ({5: 0}, "tokens"),
        ({26: 99}, "unknown opcode 99"),
        ({35: 8}, "op 1 (linear): "),
    ],
)
def test_says_what_and_where(change: dict[int, int], text: str) -> None:
    words = [change.get(i, word) for i, word in enumerate(WORDS)]
    assert text in (build_and_run(words, TENSORS) or "")


def test_a_value_is_complete_before_it_is_read() -> None:
    program = np.array(
        [1, 3, 2, 0, 2, 1, 0, 3, 0, 3, 0, 2, 1, 7, 1, 2, 0, 0, -1, -1, 0, 1, 7, 0, 1, 0, 1, -1, -1, 0], np.int32
    )
    with pytest.raises(ValueError, match="value 1 is read when 0 of its 3 columns are written"):
        _core.Model(program, [np.ones((2, 3), F32), np.ones((3, 3), F32)])


def test_huge_working_memory_is_refused() -> None:
    words = [1, 2, 1, 0, 1, 65536, 1, 65535, 1, 65535, 2, 5, 0, 1, 0, 0, EPSILON]
    assert "working memory" in (build_and_run(words, [np.ones(65535, F32)]) or "")


@pytest.mark.parametrize(
    ("x", "lengths"),
    [
        (X.astype(np.float64), None),
        (X[:, :, :3], None),
        (np.ones((3, 7, 4), F32), None),
        (np.ones((3, 0, 4), F32), None),
        (X[0], None),
        (X[:, ::2], None),
        (X, np.array([1, 2], np.int32)),
        (X, np.array([1, 2, 3], np.int64)),
        (X, np.array([0, 2, 3], np.int32)),
        (X, np.array([1, 2, 7], np.int32)),
        (X, [1, 2, 3]),
    ],
)
def test_wrong_inputs_are_refused(x: np.ndarray, lengths: object) -> None:
    model = _core.Model(np.array(WORDS, np.int32), TENSORS)
    with pytest.raises(ValueError, match=r"x must be|lengths|tokens per item"):
        model.run(x, lengths)


def test_read_only_input_and_no_items() -> None:
    model = _core.Model(np.array(WORDS, np.int32), TENSORS)
    frozen = X.copy()
    frozen.flags.writeable = False
    assert np.array_equal(model.run(frozen), model.run(X))
    assert model.run(X[:0]).shape == (0, 8)


def test_padding_never_leaks() -> None:
    model = _core.Model(np.array(WORDS, np.int32), TENSORS)
    lengths = np.array([2, 6, 1], np.int32)
    poisoned = X.copy()
    for item, length in enumerate(lengths):
        poisoned[item, length:] = np.nan
    assert np.array_equal(model.run(poisoned, lengths), model.run(X, lengths))


def test_an_instruction_set_that_is_not_there() -> None:
    with pytest.raises(ValueError, match=r"'sparc'.*scalar"):
        _core.Model(np.array(WORDS, np.int32), TENSORS, "sparc")


def test_items_do_not_depend_on_their_batch() -> None:
    model = _core.Model(np.array(WORDS, np.int32), TENSORS)
    many = np.random.default_rng(2).normal(size=(1500, 6, 4)).astype(F32)
    together = model.run(many)
    for item in (0, 700, 1499):
        np.testing.assert_allclose(model.run(many[item : item + 1])[0], together[item], rtol=1e-5, atol=1e-6)
