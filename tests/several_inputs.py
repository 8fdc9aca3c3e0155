"""A program of three inputs, each with a row per item or per token of its own axis, and what it must compute."""

from __future__ import annotations

import numpy as np

from claude_flow import _core
from claude_flow.modelfile import ABSENT, PER_ITEM, PER_TOKEN, ModelFile, Op, Program

F32 = np.float32
TOKENS, RECORDS = 40, 24  # the most of each axis
SWARM, HISTORY, METRICS = 24, 12, 10  # widths
GENERATOR = np.random.default_rng(0)


def weights(*shape: int) -> np.ndarray:
    return (GENERATOR.normal(size=shape) / np.sqrt(shape[-1])).astype(F32)


class Build(Program):
    """A program with its tensors."""

    def __init__(self, max_tokens: int) -> None:
        super().__init__(max_tokens)
        self.arrays: dict[str, np.ndarray] = {}

    def add(self, *shape: int) -> int:
        name = f"t{len(self.arrays)}.weight"
        self.arrays[name] = weights(*shape)
        return self.tensor(name)

    def linear(
        self, source: int, width: int, target: int | None = None, column: int = 0, residual: int = ABSENT
    ) -> int:
        rows, depth = self.values[source]
        target = self.value(rows, width) if target is None else target
        weight, bias = self.add(width, depth), self.add(width)
        self.op(
            Op.LINEAR,
            source=source,
            target=target,
            column=column,
            weight=weight,
            bias=bias,
            residual=residual,
            activation=1,
        )
        return target

    def encoder(self, source: int, target: int, column: int) -> None:
        """Attention over tokens, then a weighted mean of them into `target`."""
        qkv = self.linear(source, 3 * 16)
        attended = self.value(self.values[source][0], 16)
        self.op(Op.ATTENTION, source=qkv, target=attended, heads=2)
        keys = self.linear(attended, 5)
        self.op(Op.ATTENTION_POOL, source=attended, keys=keys, weight=self.add(5), target=target, column=column)

    def reader(self, source: int, target: int, column: int) -> None:
        """Two layers of an LSTM; the last state into `target`."""
        for _ in range(2):
            hidden = self.value(self.values[source][0], 14)
            w, r = self.add(4 * 14, self.values[source][1]), self.add(4 * 14, 14)
            self.op(Op.LSTM, source=source, target=hidden, weight=w, recurrent=r, bias=ABSENT)
            source = hidden
        self.op(Op.LAST, source=source, target=target, column=column)

    def file(self) -> ModelFile:
        return ModelFile("optimization", {}, self.words(), self.tensors, dict(self.arrays))

    def model(self, isa: str = "auto", threads: int = 1) -> _core.Model:
        return _core.Model(np.array(self.words(), np.int32), [self.arrays[n] for n in self.tensors], isa, threads)


def fused() -> Build:
    """The swarm's tokens, a history of other length and metrics per item: all three into one row."""
    b = Build(TOKENS)
    swarm = b.input(PER_TOKEN, SWARM)
    history = b.input(b.axis(RECORDS), HISTORY)
    metrics = b.input(PER_ITEM, METRICS)
    joined = b.value(PER_ITEM, 16 + 14 + 6)
    b.encoder(swarm, joined, 0)
    b.reader(history, joined, 16)
    b.linear(metrics, 6, joined, 30)
    b.target = b.linear(joined, 9)
    return b


FUSED = fused()


def alone(part: int) -> Build:
    """One input's part of FUSED as a program of that input, over the same tensors."""
    b = Build(TOKENS if part == 0 else RECORDS)
    rows, width = FUSED.values[FUSED.inputs[part]]
    source = b.input(min(rows, PER_TOKEN), width)
    b.target = b.value(PER_ITEM, (16, 14, 6)[part])
    (b.encoder, b.reader, lambda s, t, c: b.linear(s, 6, t, c))[part](source, b.target, 0)
    offset = next(i for i, (_, o) in enumerate(FUSED.ops) if o["source"] == FUSED.inputs[part])
    for (_, mine), (_, theirs) in zip(b.ops, FUSED.ops[offset:], strict=False):
        for key, name in b.tensor_names(mine).items():
            b.arrays[name] = FUSED.arrays[FUSED.tensor_names(theirs)[key]]
    return b


ALONE = [alone(part) for part in range(3)]


def batch(items: int, tokens: int, records: int, seed: int = 0) -> tuple[list[np.ndarray], list[np.ndarray | None]]:
    g = np.random.default_rng(seed)
    x = [
        g.normal(size=(items, tokens, SWARM)),
        g.normal(size=(items, records, HISTORY)),
        g.normal(size=(items, METRICS)),
    ]
    lengths = [g.integers(1, tokens + 1, items), g.integers(1, records + 1, items)]
    return [part.astype(F32) for part in x], [*(part.astype(np.int32) for part in lengths), None]


def wanted(x: list[np.ndarray], lengths: list[np.ndarray | None] | None, isa: str = "auto") -> np.ndarray:
    """What FUSED computes, from the models of its parts and a product in float64."""
    real = lengths or [None] * 3
    parts = [b.model(isa).run(part, n) for b, part, n in zip(ALONE, x, real, strict=True)]
    o = FUSED.ops[-1][1]
    weight, bias = (FUSED.arrays[FUSED.tensors[o[key]]].astype(float) for key in ("weight", "bias"))
    return np.maximum(np.concatenate(parts, axis=1) @ weight.T + bias, 0)


def close(got: np.ndarray, want: np.ndarray) -> None:
    assert got.shape == want.shape
    assert np.abs(got - want).max(initial=0) <= 1e-5 * max(1.0, np.abs(want).max(initial=0))
