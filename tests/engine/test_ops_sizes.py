"""Sizes of 0 where the mathematics has them, the limit, and errors that name the argument of the call."""

from __future__ import annotations

import multiprocessing
import pickle
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from claude_flow import ops
from claude_flow.compress.release import Refused
from claude_flow.errors import Interrupted, MissingExtra

F = np.float32


@pytest.mark.parametrize(
    ("call", "expected"),
    [
        (lambda: ops.matmul(np.ones((4, 0)), np.ones((0, 5))), np.zeros((4, 5))),
        (lambda: ops.matmul(np.ones((3, 4)), np.ones((4, 0))), np.zeros((3, 0))),
        (lambda: ops.matmul(np.ones((0, 4)), np.ones((4, 2))), np.zeros((0, 2))),
        (lambda: ops.linear(np.ones((2, 0)), np.ones((3, 0)), [1.0, -2.0, 3.0], "relu"), [[1, 0, 3]] * 2),
        (
            lambda: ops.linear_int8(np.ones((2, 0)), np.ones((3, 0), np.int8), np.ones(3), [1.0, 2.0, 3.0]),
            [[1, 2, 3]] * 2,
        ),
        (lambda: ops.softmax(np.ones((5, 0))), np.zeros((5, 0))),
        (lambda: ops.layer_norm(np.ones((5, 0)), np.ones(0), np.ones(0)), np.zeros((5, 0))),
        (lambda: ops.relu(np.ones((0, 3))), np.zeros((0, 3))),
        (lambda: ops.attention(*[np.ones((2, 0, 4))] * 3), np.zeros((2, 0, 4))),
        (lambda: ops.lstm(np.ones((2, 0, 3)), np.ones((8, 3)), np.ones((8, 2))), np.zeros((2, 0, 2))),
        (
            lambda: ops.lstm(np.ones((1, 1, 0)), np.ones((4, 0)), np.ones((4, 1)), [0.0, 0.0, 20.0, 20.0]).round(3),
            [[[0.462]]],
        ),
    ],
)
def test_sizes_of_nothing(call: Callable[[], Any], expected: Any) -> None:
    wanted = np.asarray(expected, F)
    np.testing.assert_array_equal(call(), wanted)
    assert call().shape == wanted.shape


def test_a_result_without_elements_goes_where_it_is_asked() -> None:
    out = np.empty((3, 0), F)
    assert ops.matmul(np.ones((3, 4)), np.ones((4, 0)), out=out) is out
    with pytest.raises(ValueError, match="out: float32"):
        ops.attention(*[np.ones((2, 0, 4))] * 3, out=np.empty((2, 0, 5), F))


@pytest.mark.parametrize(
    ("call", "word"),
    [
        (lambda: ops.matmul(np.ones((1, 4)), np.ones((4, ops.LIMIT + 1), F)), "^b: .*65536"),
        (lambda: ops.matmul(np.ones((1, ops.LIMIT + 1)), np.ones((ops.LIMIT + 1, 2), F)), "^a: .*65536"),
        (lambda: ops.attention(*[np.ones((1, ops.LIMIT + 1, 1), F)] * 3), "^q: .*65536"),
        (lambda: ops.attention(*[np.ones((2, 3, 4))] * 3, heads=2**31), "^heads: "),
        (lambda: ops.attention(*[np.ones((2, 3, 4))] * 3, heads=3), "^heads: a divisor of the width 4"),
        (lambda: ops.attention(*[np.ones((2, 3, 4))] * 3, heads=0), "^heads: "),
        (lambda: ops.linear(np.ones((1, 2)), np.ones((3, 2)), np.ones(2)), "^bias: 3 numbers"),
        (lambda: ops.lstm(np.ones((2, 1, 2)), np.ones((4, 2)), np.ones((8, 2))), "^w_input: shape"),
        (lambda: ops.lstm(np.ones((2, 1, 2)), np.ones((8, 2)), np.ones((7, 2))), "^w_recurrent: shape|^w_input"),
        (lambda: ops.lstm(np.ones((2, 1, 2)), np.ones((8, 2)), np.ones((8, 2)), np.ones(3)), "^bias: shape"),
        (lambda: ops.linear_int8(np.ones((1, 2)), np.ones((1, 2), np.int8), [1.0, 2.0]), "^scale: 1 numbers"),
        (
            lambda: ops.linear_int8(np.ones((1, 2)), np.ones((1, 2), np.int8), [1.0], bounds=(1.0, 2.0)),
            "^bounds: from at most 0",
        ),
    ],
)
def test_an_error_names_the_argument(call: Callable[[], Any], word: str) -> None:
    with pytest.raises(ValueError, match=word):
        call()


@pytest.mark.parametrize("error", [MissingExtra("torch", "train"), Interrupted(15, "ended"), Refused("no", {"a": 1})])
def test_errors_survive_pickling(error: BaseException) -> None:
    again = pickle.loads(pickle.dumps(error))
    assert (type(again), str(again)) == (type(error), str(error))
    assert getattr(again, "report", None) == getattr(error, "report", None)
    assert getattr(again, "number", None) == getattr(error, "number", None)


def _fails(_: int) -> None:
    raise MissingExtra("wasmtime", "wasm")


def test_a_pool_hears_of_a_missing_extra() -> None:
    with multiprocessing.get_context("spawn").Pool(1) as pool, pytest.raises(MissingExtra, match="wasmtime"):
        pool.map_async(_fails, [0]).get(timeout=60)
