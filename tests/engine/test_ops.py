"""Single kernels on NumPy arrays: against torch, and on every kind of array that a caller may bring."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from claude_flow import ops

torch = pytest.importorskip("torch")
functional = torch.nn.functional
GENERATOR = np.random.default_rng(0)


def random(*shape: int) -> np.ndarray:
    return GENERATOR.normal(size=shape).astype(np.float32)


def close(got: np.ndarray, want) -> None:
    assert got.dtype == np.float32
    np.testing.assert_allclose(got, np.asarray(want), rtol=2e-5, atol=2e-6)


@pytest.mark.parametrize("shape", [(), (1,), (7,), (3, 33), (2, 3, 130)])
def test_elementwise(isa: str, shape: tuple[int, ...]) -> None:
    x = random(*shape)
    t = torch.from_numpy(np.asarray(x))
    for kernel, want in [
        (ops.relu, torch.relu),
        (ops.gelu, functional.gelu),
        (ops.tanh, torch.tanh),
        (ops.sigmoid, torch.sigmoid),
        (ops.exp, torch.exp),
    ]:
        y = kernel(x, isa=isa)
        assert y.shape == shape
        close(y, want(t))


def test_rows(isa: str) -> None:
    x, gamma, beta = random(4, 5, 37), random(37), random(37)
    close(ops.softmax(x, isa=isa), functional.softmax(torch.from_numpy(x), -1))
    want = functional.layer_norm(*map(torch.from_numpy, (x,)), (37,), torch.from_numpy(gamma), torch.from_numpy(beta))
    close(ops.layer_norm(x, gamma, beta, isa=isa), want)


def test_products(isa: str) -> None:
    a, b, weight, bias = random(9, 20), random(20, 31), random(12, 20), random(12)
    close(ops.matmul(a, b, isa), a @ b)
    close(ops.linear(a, weight, bias, "tanh", isa), np.tanh(a @ weight.T + bias))
    assert ops.linear(random(2, 3, 20), weight).shape == (2, 3, 12)


def test_linear_int8(isa: str) -> None:
    x, weight = random(9, 50), GENERATOR.integers(-127, 128, (12, 50)).astype(np.int8)
    scale, bias = np.abs(random(12)) / 100, random(12)
    exact = x @ (weight * scale[:, None]).T + bias
    for bounds in (None, (-4.0, 4.0)):
        y = ops.linear_int8(x, weight, scale, bias, bounds=bounds, isa=isa)
        assert np.abs(y - exact).max() < 0.05 * np.abs(exact).max()
        assert y.tobytes() == ops.linear_int8(x, weight, scale, bias, bounds=bounds, isa="scalar").tobytes()


def test_attention(isa: str) -> None:
    q, k, v = random(2, 10, 24), random(2, 10, 24), random(2, 10, 24)
    lengths = np.array([10, 4])
    split = [torch.from_numpy(part).reshape(2, 10, 3, 8).transpose(1, 2) for part in (q, k, v)]
    real = torch.arange(10) < torch.from_numpy(lengths)[:, None]
    want = functional.scaled_dot_product_attention(*split, attn_mask=real[:, None, None, :].expand(2, 3, 10, 10))
    want = want.transpose(1, 2).reshape(2, 10, 24) * real[:, :, None]
    close(ops.attention(q, k, v, 3, lengths, isa), want)


def test_lstm(isa: str) -> None:
    layer = torch.nn.LSTM(6, 9, batch_first=True)
    x = random(3, 5, 6)
    w, r, b = (getattr(layer, f"{name}_l0").detach().numpy() for name in ("weight_ih", "weight_hh", "bias_ih"))
    with torch.no_grad():
        layer.bias_hh_l0.zero_()
        want = layer(torch.from_numpy(x))[0]
    close(ops.lstm(x, w, r, b, isa=isa), want)
    assert not ops.lstm(x, w, r, b, [5, 2, 1], isa=isa)[1, 2:].any()


@pytest.mark.parametrize(
    "change", [lambda x: x.astype(np.float64), np.asfortranarray, lambda x: np.repeat(x, 2, 0)[::2]]
)
@pytest.mark.parametrize(
    "kernel", [ops.gelu, ops.softmax, lambda x: ops.layer_norm(x, x[0], x[1]), lambda x: ops.matmul(x, x.T)]
)
def test_any_strides_and_float64(kernel: Callable, change: Callable) -> None:
    x = random(6, 10)
    changed = change(x)
    changed.flags.writeable = False
    before = changed.copy()
    close(kernel(changed), kernel(x))
    assert np.array_equal(changed, before)


def test_no_rows() -> None:
    assert ops.softmax(np.zeros((0, 4))).shape == (0, 4)
    assert ops.gelu(np.zeros((3, 0))).shape == (3, 0)
    assert ops.linear(np.zeros((0, 4)), np.zeros((2, 4))).shape == (0, 2)


@pytest.mark.parametrize(
    ("call", "text"),
    [
        (lambda: ops.gelu(np.arange(3)), "x: float32 or float64 expected, not int"),
        (lambda: ops.softmax(np.zeros(3, complex)), "x: float32 or float64 expected, not complex"),
        (lambda: ops.softmax(np.float32(1)), "x: rows expected, not a single number"),
        (lambda: ops.linear(random(2, 3), random(4, 5)), "x: rows of 5 columns expected"),
        (lambda: ops.linear(random(2, 3), random(3)), "weight: 2 dimensions expected, not 1"),
        (lambda: ops.linear(random(2, 3), random(4, 3), random(5)), "bias: 4 numbers expected, not 5"),
        (lambda: ops.linear(random(2, 3), random(4, 3), activation="swish"), "activation: one of none, relu"),
        (lambda: ops.linear_int8(random(2, 3), random(4, 3), random(4)), "weight: int8"),
        (lambda: ops.attention(random(1, 2, 4), random(1, 3, 4), random(1, 2, 4)), "q, k and v differ"),
        (lambda: ops.attention(*[random(1, 2, 4)] * 3, 3), "heads: a divisor of the width 4 expected, not 3"),
        (lambda: ops.attention(*[random(1, 2, 4)] * 3, 2, [3]), r"lengths\[0\] is 3"),
        (lambda: ops.lstm(random(1, 2, 4), random(8, 4), random(8, 3)), "w_input: shape"),
        (lambda: ops.layer_norm(random(2, 3), random(2), random(3)), "gamma and beta"),
        (lambda: ops.gelu(random(2), isa="mmx"), "no instruction set 'mmx'"),
    ],
)
def test_refuses_clearly(call: Callable[[], object], text: str) -> None:
    with pytest.raises(ValueError, match=text):
        call()


CALLS: dict[str, tuple[Callable[..., np.ndarray], bool]] = {
    # name: (on x [4, 6], whether it may write over x)
    **{name: (getattr(ops, name), True) for name in ("relu", "gelu", "tanh", "sigmoid", "exp", "softmax")},
    "layer_norm": (lambda x, **out: ops.layer_norm(x, np.ones(6), np.zeros(6), **out), True),
    "matmul": (lambda x, **out: ops.matmul(x, np.ones((6, 6)), **out), False),
    "linear": (lambda x, **out: ops.linear(x.reshape(2, 2, 6), np.ones((5, 6)), **out), False),
    "linear_int8": (lambda x, **out: ops.linear_int8(x, np.ones((6, 6), np.int8), np.ones(6), **out), False),
    "attention": (lambda x, **out: ops.attention(*[x.reshape(2, 2, 6)] * 3, 2, **out), False),
    "lstm": (lambda x, **out: ops.lstm(x.reshape(2, 2, 6), np.ones((24, 6)), np.ones((24, 6)), **out), False),
}


@pytest.mark.parametrize("name", CALLS)
def test_out_takes_the_result(name: str) -> None:
    call, over_x = CALLS[name]
    x = random(4, 6)
    want = call(x)
    out = np.full_like(want, np.nan)
    assert call(x, out=out) is out
    assert np.array_equal(out, want)
    for changed in (x.astype(np.float64), np.asfortranarray(x), np.repeat(x, 2, 0)[::2]):
        out[...] = np.nan
        call(changed, out=out)
        close(out, want)
    if over_x:
        assert call(x, out=x) is x
        assert np.array_equal(x, want)


@pytest.mark.parametrize("name", CALLS)
def test_out_is_refused_clearly(name: str) -> None:
    call, over_x = CALLS[name]
    x = random(4, 6)
    shape = call(x).shape
    read_only = np.zeros(shape, np.float32)
    read_only.flags.writeable = False
    wrong = [
        np.zeros(shape),
        np.zeros((*shape, 1), np.float32),
        np.zeros((2, *shape[1:]), np.float32)[:1],
        np.zeros((*shape, 2), np.float32)[..., 0],
        np.zeros(shape, ">f4"),
        read_only,
    ]
    for out in wrong:
        before = out.copy()
        with pytest.raises(ValueError, match=r"^out: C-contiguous, writable float32"):
            call(x, out=out)
        assert np.array_equal(out, before)
    with pytest.raises(ValueError, match=r"^out: "):
        call(x, out=[0.0])
    room = random(int(np.prod(shape)) + 24)  # x and out in one memory, three floats apart
    x, out = room[3:27].reshape(4, 6), room[: np.prod(shape)].reshape(shape)
    if name == "attention":  # reads a copy of x
        assert call(x, out=out) is out
    else:
        with pytest.raises(ValueError, match=r"^out: overlaps x"):
            call(x, out=out)
    if not over_x and name != "attention":
        with pytest.raises(ValueError, match=r"^out: overlaps x"):
            call(room[:24].reshape(4, 6), out=out)


def test_out_apart_from_the_other_operands() -> None:
    room = random(24)
    with pytest.raises(ValueError, match="out: overlaps gamma or beta"):
        ops.layer_norm(random(4, 6), room[:6], np.zeros(6, np.float32), out=room.reshape(4, 6))
