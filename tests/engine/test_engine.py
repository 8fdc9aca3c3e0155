"""The engine against torch, op by op and on whole networks, on every instruction set that this CPU has."""

from __future__ import annotations

import struct
import time

import numpy as np
import pytest

from claude_flow import _core

torch = pytest.importorskip("torch")
NONE = -1


class Builder:
    """Writes the words of a program: values, tensors and ops in the order in which they are asked for."""

    def __init__(self, width: int, per_token: bool, max_tokens: int = 128) -> None:
        self.values: list[tuple[int, int]] = [(int(per_token), width)]
        self.ops: list[list[int]] = []
        self.tensors: list[np.ndarray] = []
        self.max_tokens = max_tokens

    def value(self, width: int, per_token: bool) -> int:
        self.values.append((int(per_token), width))
        return len(self.values) - 1

    def tensor(self, data) -> int:
        if data is None:
            return NONE
        if isinstance(data, torch.Tensor):
            data = data.detach().numpy()
        self.tensors.append(np.ascontiguousarray(data, np.float32))
        return len(self.tensors) - 1

    def op(self, code: int, *operands: int) -> None:
        self.ops.append([code, len(operands), *operands])

    def width(self, value: int) -> int:
        return self.values[value][1]

    def linear(self, x: int, weight, bias=None, residual: int = NONE, activation: int = 0) -> int:
        out = self.value(weight.shape[0], bool(self.values[x][0]))
        self.op(1, x, out, 0, self.tensor(weight), self.tensor(bias), residual, activation)
        return out

    def layer_norm(self, x: int, gamma, beta, eps: float = 1e-5) -> int:
        out = self.value(self.width(x), bool(self.values[x][0]))
        bits = struct.unpack("<i", struct.pack("<f", eps))[0]
        self.op(2, x, out, self.tensor(gamma), self.tensor(beta), bits)
        return out

    def attention(self, qkv: int, heads: int) -> int:
        out = self.value(self.width(qkv) // 3, True)
        self.op(3, qkv, out, heads)
        return out

    def lstm(self, x: int, w_input, w_recurrent, bias=None) -> int:
        out = self.value(w_recurrent.shape[1], True)
        self.op(4, x, out, self.tensor(w_input), self.tensor(w_recurrent), self.tensor(bias))
        return out

    def monotone(self, x: int, quantiles: int, group: int) -> int:
        out = self.value(self.width(x), bool(self.values[x][0]))
        self.op(7, x, out, quantiles, group)
        return out

    def words(self, output: int, source: int = 0) -> np.ndarray:
        flat = [1, len(self.values), len(self.ops), source, output, self.max_tokens]
        flat += [n for v in self.values for n in v] + [n for op in self.ops for n in op]
        return np.array(flat, np.int32)

    def model(self, output: int, isa: str = "auto", threads: int = 1) -> _core.Model:
        return _core.Model(self.words(output), self.tensors, isa, threads)


def close(got: np.ndarray, want, tolerance: float = 1e-5) -> None:
    """Relative to the size of the whole result, as float32 sums differ by their order."""
    want = want.detach().numpy() if isinstance(want, torch.Tensor) else want
    assert got.shape == want.shape
    assert got.dtype == np.float32
    assert np.abs(got - want).max() <= tolerance * max(1.0, float(np.abs(want).max()))


def random_lengths(generator: np.random.Generator, items: int, tokens: int) -> np.ndarray:
    lengths = generator.integers(1, tokens + 1, items).astype(np.int32)
    lengths[generator.integers(items)] = tokens
    return lengths


ACTIVATIONS = [lambda x: x, torch.relu, torch.nn.functional.gelu, torch.tanh, torch.sigmoid]


@pytest.mark.parametrize("activation", range(5))
@pytest.mark.parametrize(("items", "depth", "width"), [(1, 1, 1), (3, 7, 33), (15, 257, 64), (40, 300, 129)])
def test_linear(isa: str, activation: int, items: int, depth: int, width: int) -> None:
    torch.manual_seed(depth)
    x, w, b = torch.randn(items, depth), torch.randn(width, depth), torch.randn(width)
    skip = torch.randn(width, depth)
    builder = Builder(depth, per_token=False)
    residual = builder.linear(0, skip)
    model = builder.model(builder.linear(0, w, b, residual, activation), isa)
    want = ACTIVATIONS[activation](x.double() @ w.double().T + b) + x.double() @ skip.double().T
    close(model.run(x.numpy()), want)


def test_linear_writes_beside_other_columns(isa: str) -> None:
    torch.manual_seed(0)
    x, first, second = torch.randn(9, 20), torch.randn(5, 20), torch.randn(40, 20)
    builder = Builder(20, per_token=False)
    out = builder.value(45, per_token=False)
    builder.op(1, 0, out, 0, builder.tensor(first), NONE, NONE, 0)
    builder.op(1, 0, out, 5, builder.tensor(second), NONE, NONE, 2)
    gelu = torch.nn.functional.gelu
    close(builder.model(out, isa).run(x.numpy()), torch.cat([x @ first.T, gelu(x @ second.T)], 1))


@pytest.mark.parametrize("width", [1, 15, 16, 17, 512])
def test_layer_norm(isa: str, width: int) -> None:
    torch.manual_seed(width)
    x, gamma, beta = torch.randn(5, width) * 3 + 7, torch.randn(width), torch.randn(width)
    builder = Builder(width, per_token=False)
    model = builder.model(builder.layer_norm(0, gamma, beta), isa)
    close(
        model.run(x.numpy()),
        torch.nn.functional.layer_norm(x.double(), (width,), gamma.double(), beta.double()),
    )


@pytest.mark.parametrize("tokens", [1, 2, 7, 8, 9, 128, 300])
@pytest.mark.parametrize(("heads", "head_width"), [(1, 5), (8, 64), (2, 33)])
def test_attention(isa: str, tokens: int, heads: int, head_width: int) -> None:
    generator = np.random.default_rng(tokens)
    width = heads * head_width
    x = generator.normal(0, 2, (3, tokens, 3 * width)).astype(np.float32)
    lengths = random_lengths(generator, 3, tokens)
    builder = Builder(3 * width, per_token=True, max_tokens=300)
    model = builder.model(builder.attention(0, heads), isa)
    q, k, v = (
        part.reshape(3, tokens, heads, head_width).transpose(1, 2).double()
        for part in torch.from_numpy(x).split(width, dim=2)
    )
    for given in (None, lengths):
        real = torch.arange(tokens) < torch.from_numpy(lengths if given is not None else np.full(3, tokens))[:, None]
        mask = real[:, None, None, :].expand(3, heads, tokens, tokens)
        want = torch.nn.functional.scaled_dot_product_attention(q, k, v, attn_mask=mask)
        want = want.transpose(1, 2).reshape(3, tokens, width) * real[:, :, None]
        close(model.run(x, given), want)


@pytest.mark.parametrize("units", [1, 15, 16, 17, 256])
@pytest.mark.parametrize("items", [1, 3, 13])
def test_lstm(isa: str, units: int, items: int) -> None:
    torch.manual_seed(units)
    generator = np.random.default_rng(units)
    layer = torch.nn.LSTM(12, units, batch_first=True).double()
    x = torch.randn(items, 9, 12)
    lengths = random_lengths(generator, items, 9)
    builder = Builder(12, per_token=True)
    weights = [getattr(layer, f"{kind}_l0").float() for kind in ("weight_ih", "weight_hh")]
    model = builder.model(builder.lstm(0, *weights, (layer.bias_ih_l0 + layer.bias_hh_l0).float()), isa)
    want = layer(x.double())[0]
    close(model.run(x.numpy()), want)
    real = torch.arange(9) < torch.from_numpy(lengths)[:, None]
    close(model.run(x.numpy(), lengths), want * real[:, :, None])


@pytest.mark.parametrize("width", [3, 16, 40])
def test_attention_pool_beside_last(isa: str, width: int) -> None:
    generator = np.random.default_rng(width)
    torch.manual_seed(width)
    x = torch.randn(5, 11, width)
    lengths = random_lengths(generator, 5, 11)
    weight, vector = torch.randn(7, width), torch.randn(7)
    builder = Builder(width, per_token=True)
    keys = builder.linear(0, weight, None, NONE, 3)
    out = builder.value(2 * width, per_token=False)
    builder.op(5, 0, keys, builder.tensor(vector), out, 0)
    builder.op(6, 0, out, width)
    real = torch.arange(11) < torch.from_numpy(lengths)[:, None]
    scores = (torch.tanh(x @ weight.T) @ vector).masked_fill(~real, -torch.inf).softmax(1)
    pooled = (scores[:, :, None] * x).sum(1)
    final = x[torch.arange(5), torch.from_numpy(lengths).long() - 1]
    close(builder.model(out, isa).run(x.numpy(), lengths), torch.cat([pooled, final], 1))


def monotone(x: torch.Tensor, quantiles: int, group: int) -> torch.Tensor:
    groups = x.reshape(*x.shape[:-1], -1, group)
    r, rest = groups[..., :quantiles], groups[..., quantiles:]
    m = quantiles // 2
    steps = torch.nn.functional.softplus(r)
    up = r[..., m : m + 1] + steps[..., m + 1 :].cumsum(-1)
    down = r[..., m : m + 1] - steps[..., :m].flip(-1).cumsum(-1).flip(-1)
    return torch.cat([down, r[..., m : m + 1], up, rest], -1).reshape(x.shape)


@pytest.mark.parametrize(("quantiles", "group"), [(1, 1), (7, 8), (20, 21), (4, 4)])
def test_monotone(isa: str, quantiles: int, group: int) -> None:
    torch.manual_seed(group)
    x = torch.randn(4, 3 * group) * 20
    builder = Builder(3 * group, per_token=False)
    close(
        builder.model(builder.monotone(0, quantiles, group), isa).run(x.numpy()),
        monotone(x, quantiles, group),
    )


def test_a_profile_names_every_op_and_its_time(isa):
    b = Builder(64, per_token=True)
    h = b.linear(0, torch.randn(192, 64))
    y = b.layer_norm(b.attention(h, 4), torch.ones(64), torch.zeros(64))
    model = _core.Model(b.words(y), b.tensors, isa)
    x = np.zeros((40, 128, 64), np.float32)  # several chunks
    begin = time.perf_counter()
    rows = model.profile(x)
    elapsed = time.perf_counter() - begin
    assert [(index, code) for index, code, _ in rows] == [(0, 1), (1, 3), (2, 2)]
    assert all(seconds > 0.0 for _, _, seconds in rows)
    assert 0.1 * elapsed < sum(seconds for _, _, seconds in rows) < elapsed
    with pytest.raises(ValueError, match="lengths"):
        model.profile(x, np.zeros(40, np.int32))


def test_the_ceilings_count_their_work(isa):
    assert _core.ceiling_fma(isa, 1000) == 2 * 192 * 1000
    assert _core.ceiling_dot(isa, 1000) == 8 * 192 * 1000
    assert _core.ceiling_read(isa, np.zeros(1001, np.float32), 3) == 3 * 1001 * 4
    with pytest.raises(ValueError, match="avx9000"):
        _core.ceiling_fma("avx9000", 1)
    with pytest.raises(ValueError, match="float32"):
        _core.ceiling_read(isa, np.zeros(8), 1)
