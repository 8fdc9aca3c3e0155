"""How exact single kernels are: at every scale, beside float64 and torch, and where sums or differences lose digits."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from claude_flow import ops

torch = pytest.importorskip("torch")
functional = torch.nn.functional
F32, F64 = np.float32, np.float64
Arrays = tuple[np.ndarray, ...]


def softmax(x: np.ndarray) -> np.ndarray:
    e = np.exp(x - x.max(-1, keepdims=True))
    return e / e.sum(-1, keepdims=True)


def layer_norm(x: np.ndarray, gamma: np.ndarray, beta: np.ndarray) -> np.ndarray:
    return (x - x.mean(-1, keepdims=True)) / np.sqrt(x.var(-1, keepdims=True) + 1e-5) * gamma + beta


def attention(q: np.ndarray, k: np.ndarray, v: np.ndarray) -> np.ndarray:
    return softmax(q @ k.transpose(0, 2, 1) / np.sqrt(q.shape[2])) @ v


def gelu(x: np.ndarray) -> np.ndarray:
    return 0.5 * x * torch.erfc(torch.from_numpy(-x / np.sqrt(2))).numpy()


def sigmoid(x: np.ndarray) -> np.ndarray:
    return np.where(x < 0, np.exp(np.minimum(x, 0)), 1) / (1 + np.exp(-np.abs(x)))


def lstm(x: np.ndarray, w: np.ndarray, r: np.ndarray, b: np.ndarray) -> np.ndarray:
    h = c = np.zeros((len(x), r.shape[1]))
    states = []
    for t in range(x.shape[1]):
        i, f, g, o = np.split(x[:, t] @ w.T + h @ r.T + b, 4, axis=1)
        c = sigmoid(f) * c + sigmoid(i) * np.tanh(g)
        h = sigmoid(o) * np.tanh(c)
        states.append(h)
    return np.stack(states, 1)


def torch_lstm(x, w, r, b):
    layer = torch.nn.LSTM(w.shape[1], r.shape[1], batch_first=True)
    named = {"weight_ih_l0": w, "weight_hh_l0": r, "bias_ih_l0": b, "bias_hh_l0": torch.zeros_like(b)}
    layer.load_state_dict(named)
    return layer(x)[0]


WEIGHTS = np.random.default_rng(1).integers(-127, 128, (12, 50)).astype(np.int8)
STEPS = np.linspace(0.001, 0.01, 12, dtype=F32)
REAL = WEIGHTS * STEPS[:, None].astype(F64)

# op: (its arguments from standard normals n(...) and the scale; ours; in float64; torch's)
CASES: dict[str, tuple[Callable, Callable, Callable, Callable]] = {
    "relu": (lambda n, s: [n(200) * s], ops.relu, lambda x: np.maximum(x, 0), torch.relu),
    "gelu": (lambda n, s: [n(200) * s], ops.gelu, gelu, functional.gelu),
    "tanh": (lambda n, s: [n(200) * s], ops.tanh, np.tanh, torch.tanh),
    "sigmoid": (lambda n, s: [n(200) * s], ops.sigmoid, sigmoid, torch.sigmoid),
    "exp": (lambda n, s: [-np.abs(n(200)) * s], ops.exp, np.exp, torch.exp),
    "softmax": (lambda n, s: [n(4, 333) * s], ops.softmax, softmax, lambda x: torch.softmax(x, -1)),
    "layer_norm": (
        lambda n, s: [(n(4, 333) + 3) * s, n(333), n(333) * 0.1],
        ops.layer_norm,
        layer_norm,
        lambda x, gamma, beta: functional.layer_norm(x, (333,), gamma, beta),
    ),
    "matmul": (lambda n, s: [n(5, 300) * s, n(300, 7)], ops.matmul, np.matmul, torch.matmul),
    "linear": (
        lambda n, s: [n(5, 300) * s, n(7, 300), n(7) * s],
        lambda x, w, b, isa: ops.linear(x, w, b, "tanh", isa),
        lambda x, w, b: np.tanh(x @ w.T + b),
        lambda x, w, b: torch.tanh(functional.linear(x, w, b)),
    ),
    "linear_int8": (
        lambda n, s: [n(9, 50) * s],
        lambda x, isa: ops.linear_int8(x, WEIGHTS, STEPS, isa=isa),
        lambda x: x @ REAL.T,
        lambda x: x @ torch.from_numpy(REAL.T).float(),
    ),
    "attention": (
        lambda n, s: [n(2, 20, 8), n(2, 20, 8), n(2, 20, 8) * s],
        ops.attention,
        attention,
        functional.scaled_dot_product_attention,
    ),
    "attention by scores": (
        lambda n, s: [n(2, 20, 8) * s, n(2, 20, 8), n(2, 20, 8)],
        ops.attention,
        attention,
        functional.scaled_dot_product_attention,
    ),
    "lstm": (lambda n, s: [n(3, 12, 6) * s, n(36, 6), n(36, 9) * 0.3, n(36) * 0], ops.lstm, lstm, torch_lstm),
    "lstm of small weights": (
        lambda n, s: [n(3, 12, 6), n(36, 6) * s, n(36, 9) * 0.3, n(36) * 0],
        ops.lstm,
        lstm,
        torch_lstm,
    ),
}
SEVEN_BITS = 3e-2


def relative_error(found: np.ndarray, exact: np.ndarray) -> float:
    return float(np.abs(found - exact).max() / np.abs(exact).max())


def test_every_op_is_swept() -> None:
    assert {name.split()[0] for name in CASES} == set(ops.__all__)


@pytest.mark.parametrize("exponent", range(-30, 19, 4))
@pytest.mark.parametrize("name", CASES)
def test_at_every_scale(name: str, exponent: int, isa: str) -> None:
    """Relative to the largest output, an error of a few roundings, or not much more than torch's."""
    arguments, ours, exact, theirs = CASES[name]
    generator = np.random.default_rng(0)
    x = [np.asarray(a, F32) for a in arguments(lambda *shape: generator.normal(size=shape), 10.0**exponent)]
    want = exact(*[a.astype(F64) for a in x])
    if not want.any():
        pytest.skip("all results are 0")
    with torch.no_grad():
        peer = relative_error(theirs(*map(torch.from_numpy, x)).numpy(), want)
    bound = SEVEN_BITS if name == "linear_int8" else max(1e-6, 8 * peer)
    assert relative_error(ours(*x, isa=isa), want) <= bound


@pytest.mark.parametrize("scale", [1e-35, 1e-2, 1.0, 1e3, 1e5, 1e18])
@pytest.mark.parametrize("columns", [1, 3, 16, 255, 512, 768, 5000])
def test_layer_norm_of_equal_values(columns: int, scale: float, isa: str) -> None:
    x = np.full((5, columns), 1.001 * scale, F32)
    beta = np.linspace(-1, 1, columns).astype(F32)
    assert np.array_equal(ops.layer_norm(x, np.ones(columns), beta, isa=isa), np.tile(beta, (5, 1)))


@pytest.mark.parametrize("different", [1, 7, 256])
@pytest.mark.parametrize("value", [1.0, 100.1, 12345.6, -3e7])
def test_layer_norm_of_nearly_equal_values(value: float, different: int, isa: str) -> None:
    """Some lie one unit in the last place above the others, which the rounded mean does not resolve."""
    x = np.full((3, 512), value, F32)
    x[1:, :different] = np.nextafter(F32(value), F32(np.inf))
    gamma, beta = np.ones(512), np.zeros(512)
    found = ops.layer_norm(x, gamma, beta, 1e-20, isa)
    want = x.astype(F64) - x.astype(F64).mean(1, keepdims=True)
    want /= np.sqrt(want.var(1, keepdims=True) + 1e-20)
    np.testing.assert_allclose(found, want, rtol=2e-5, atol=1e-6)


def test_rows_of_millions(isa: str) -> None:
    columns = 3_000_001
    x = (np.random.default_rng(0).normal(size=(1, columns)) + 3).astype(F32)
    ones, zeros = np.ones(columns, F32), np.zeros(columns, F32)
    exact = layer_norm(x.astype(F64), ones.astype(F64), zeros.astype(F64))
    assert np.abs(ops.layer_norm(x, ones, zeros, isa=isa) - exact).max() < 3e-6
    assert relative_error(ops.softmax(x, isa=isa), softmax(x.astype(F64))) < 3e-6


def test_pooling_many_tokens_is_no_worse_than_few(isa: str) -> None:
    v = np.random.default_rng(0).uniform(1, 2, size=(1, 30_000, 3)).astype(F32)
    q = np.zeros_like(v)
    q[0, 0], k = 1, v
    found = ops.attention(q, k, v, isa=isa)[0, 0]
    assert relative_error(found, attention(q[:, :1].astype(F64), k.astype(F64), v.astype(F64))[0, 0]) < 3e-6


@pytest.mark.parametrize("shape", [(4,), (40,), (3, 700), (2, 5000)])
def test_softmax_of_masked_scores_is_0(shape: tuple[int, ...], isa: str) -> None:
    generator = np.random.default_rng(0)
    x = generator.normal(size=shape).astype(F32)
    x[..., ::3] = -np.inf
    x[..., 1] = -200
    y = ops.softmax(x, isa=isa)
    assert not y[..., ::3].any()
    assert not y[..., 1].any()
    np.testing.assert_allclose(y, softmax(x.astype(F64)), rtol=2e-6, atol=1e-37)
    x[...] = -np.inf
    assert np.isnan(ops.softmax(x, isa=isa)).all()  # as torch's


@pytest.mark.parametrize("dead", [1, 255, 256, 257, 512, 600])
@pytest.mark.parametrize("how", ["overflow", "infinity"])
def test_attention_behind_keys_of_minus_infinity(dead: int, how: str, isa: str) -> None:
    tokens = dead + 9
    q, k = np.zeros((2, 1, tokens, 4), F32)
    v = np.random.default_rng(0).normal(size=(1, tokens, 4)).astype(F32)
    q[..., 0], k[:, :dead, 0] = (1e20, -1e20) if how == "overflow" else (1, -np.inf)
    want = np.broadcast_to(v[0, dead:].mean(0), (tokens, 4))
    np.testing.assert_allclose(ops.attention(q, k, v, isa=isa)[0], want, rtol=1e-5, atol=1e-6)
    v[:, :dead] = 1e30  # a weight of 0, not of almost 0
    np.testing.assert_allclose(ops.attention(q, k, v, isa=isa)[0], want, rtol=1e-5, atol=1e-6)


def test_down_to_minus_infinity(isa: str) -> None:
    """Bounds that the docstrings state. What is denormal may be 0 with AVX-512."""
    x = np.array([-16.6, -50, -87, -87.5, -88, -95, -103, -104, -1000, -3e38, -np.inf], F32)
    denormal = 1.2e-38 if isa.startswith("avx512") else 0.0
    for function, exact, ulp in ((ops.sigmoid, sigmoid, 3), (ops.exp, np.exp, 2)):
        want = exact(x.astype(F64))
        error = np.abs(function(x, isa=isa) - want)
        assert (error <= np.maximum(ulp * np.spacing(want.astype(F32)).astype(F64), denormal)).all()
        assert function(x[-1:], isa=isa) == 0
    assert ops.tanh(x[-1:], isa=isa) == -1
    assert ops.gelu(x[-1:], isa=isa) == 0


@pytest.mark.parametrize(("forget", "other"), [(20, -40), (9, -30), (40, -60), (-20, -3), (-30, -30), (-3, -60)])
def test_lstm_of_nearly_closed_gates(forget: float, other: float, isa: str) -> None:
    """A cell that is kept for a thousand steps, or that next to nothing reaches."""
    units, tokens = 9, 1000
    x = np.zeros((2, tokens, 1), F32)
    x[:, 0] = 1
    w, r, b = np.zeros((4 * units, 1), F32), np.zeros((4 * units, units), F32), np.zeros(4 * units, F32)
    w[:units] = 3 - other if forget > 0 else 0
    w[2 * units : 3 * units, 0] = np.linspace(0.1, 2, units)
    b[:units] = other
    b[units : 2 * units] = forget + np.linspace(0, 0.7, units)
    b[3 * units :] = 0.5
    want = lstm(*(a.astype(F64) for a in (x, w, r, b)))
    with torch.no_grad():
        peer = torch_lstm(*map(torch.from_numpy, (x, w, r, b))).numpy()
    found = ops.lstm(x, w, r, b, isa=isa)
    for t in (0, 10, tokens - 1):
        scale = max(np.abs(want[:, t]).max(), 1e-30)
        error, theirs = (np.abs(y[:, t] - want[:, t]).max() / scale for y in (found, peer))
        assert error <= max(1e-5, 2 * theirs)


def test_lstm_that_grows_from_almost_nothing(isa: str) -> None:
    generator = np.random.default_rng(0)
    x = (generator.normal(size=(7, 40, 1)) * 1e-6).astype(F32)
    w, r = generator.normal(size=(64, 1)).astype(F32), generator.normal(size=(64, 16)).astype(F32)
    want = lstm(*(a.astype(F64) for a in (x, w, r, np.zeros(64))))
    assert np.abs(want).max() > 0.01
    assert relative_error(ops.lstm(x, w, r, isa=isa), want) < 5e-6
