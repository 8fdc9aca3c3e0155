"""Unit tests of the engine's parts, for people who build on it: ``claude-flow neural test unit``.

A component is an op or a network; each has a named list of cases. A case is a program of the model file's ops with its
tensors and inputs. Every engine and instruction set of this machine runs it, and the float64 reference
(:mod:`claude_flow.evaluate.reference`) says what is right: an output may differ by the precision asked for, times the
scale of its sum. 8-bit components are also compared bit by bit between the engines, as docs/quantization.md promises,
and float ops between those that multiply and add apart: a coefficient wrong in one of them shows, however small.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from importlib.util import find_spec
from typing import Any

import numpy as np
from numpy.typing import NDArray

from claude_flow import engine, modelfile, networks
from claude_flow.errors import InputError, MissingExtra, require
from claude_flow.model import Model
from claude_flow.modelfile import ABSENT, PER_ITEM, PER_TOKEN, Op, Program
from claude_flow.modelfile.quantize import GROUP, products, quantize
from claude_flow.values import did_you_mean
from claude_flow.wasm import modules

require("torch", "train")
import torch

from claude_flow import export, nets
from claude_flow.evaluate import reference
from claude_flow.report.progress import Progress, nothing

__all__ = ["Case", "Engine", "check", "components", "engines", "of_model", "unit"]

Array = NDArray[Any]
F32 = np.float32
_EPSILON = int(F32(1e-5).view(np.int32))
_ACTIVATION_NAMES = ("none", "relu", "gelu", "tanh", "sigmoid")
#: sizes around the kernels' tiles and vector widths: 1, one less, exact, one more, odd multiples
_DEPTHS = (1, 7, 16, 33, 130)
_NATIVE = ("scalar", "sse41", "avx2", "avx512", "avx512vnni")
_HALF_A_BIT = 2.0**-24
#: instruction sets that multiply and add apart, with four virtual lanes: their float ops have the same bits
_APART = ("scalar", "sse41", "simd128")


@dataclass
class Case:
    """One run that has a known answer.

    ``limit`` multiplies the precision asked for: a chain of n ops may be off by n times that of one. ``compare`` says
    whether the float64 reference judges the result; else only that all engines agree to the last bit (``same_bits``).
    """

    name: str
    program: Program
    tensors: list[Array]
    x: Array
    lengths: Array | None = None
    limit: float = 1.0
    compare: bool = True
    same_bits: bool = False


@dataclass(frozen=True)
class Component:
    """What can be tested: ``suite`` names its list of ``cases``; ``gradient`` checks the torch side, if it has one."""

    name: str
    what: str
    suite: str
    cases: Callable[[np.random.Generator], Iterator[Case]]
    gradient: Callable[[], bool] | None = None


@dataclass(frozen=True)
class Engine:
    """One way to run a program: native or WebAssembly, and its instruction set."""

    backend: str
    isa: str

    def run(self, case: Case) -> Array:
        """The output of a case."""
        words = np.asarray(case.program.words(), np.int32)
        if self.backend == "native":
            return engine.Model(words, case.tensors, self.isa).run(case.x, case.lengths)
        from claude_flow import wasm

        return wasm.Model(words, case.tensors, self.isa).run(case.x, case.lengths)


def engines() -> tuple[list[Engine], list[str]]:
    """What this machine runs, and the names of what it cannot, with the reason."""
    found, skipped = [Engine("native", isa) for isa in engine.available()], []
    if find_spec("wasmtime") is None:
        skipped.append(f"wasm: {MissingExtra('wasmtime', 'wasm')}")
    else:
        here = modules.available()
        found += [Engine("wasm", isa) for isa in here]
        skipped += [f"wasm {isa}: not built, run  make wasm" for isa in modules.ISAS if isa not in here]
    skipped += [f"native {isa}: not on this CPU" for isa in _NATIVE if isa not in engine.available()]
    return found, skipped


# Cases of single ops ----------------------------------------------------------------------------------------------


@dataclass
class _Builder:
    """A program of one op or a few, with random tensors."""

    generator: np.random.Generator
    source: tuple[int, int]
    tensors: list[Array] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.program = Program(max_tokens=128)
        self.program.source = self.program.value(*self.source)

    def normal(self, *shape: int) -> Array:
        return self.generator.normal(size=shape).astype(F32)

    def tensor(self, data: Array) -> int:
        self.tensors.append(np.ascontiguousarray(data))
        return self.program.tensor(str(len(self.tensors)))

    def case(self, name: str, x: Array, lengths: Sequence[int] | None = None, **more: Any) -> Case:
        self.program.target = len(self.program.values) - 1
        sizes = None if lengths is None else np.array(lengths, np.int32)
        return Case(name, self.program, self.tensors, np.ascontiguousarray(x, F32), sizes, **more)


def _linear_of(b: _Builder, weight: Array, bias: Array | None, activation: int = 0, residual: int = ABSENT) -> None:
    target = b.program.value(b.program.values[0][0], len(weight))
    operands = {"source": 0, "target": target, "column": 0, "weight": b.tensor(weight)}
    place = ABSENT if bias is None else b.tensor(bias)
    b.program.op(Op.LINEAR, **operands, bias=place, residual=residual, activation=activation)


def _linear(generator: np.random.Generator) -> Iterator[Case]:
    for depth in _DEPTHS:
        b = _Builder(generator, (PER_ITEM, depth))
        _linear_of(b, b.normal(2 * depth + 3, depth), b.normal(2 * depth + 3))
        yield b.case(f"depth {depth}", b.normal(5, depth))
    b = _Builder(generator, (PER_ITEM, 64))
    _linear_of(b, b.normal(96, 64), None)
    yield b.case("every weight by itself", np.eye(64, dtype=F32))
    b = _Builder(generator, (PER_TOKEN, 32))
    _linear_of(b, b.normal(32, 32), b.normal(32), residual=0)
    yield b.case("residual, tokens, padding", b.normal(3, 9, 32), [9, 1, 4])
    b = _Builder(generator, (PER_ITEM, 48))
    _linear_of(b, b.normal(17, 48) * F32(1e4), b.normal(17))
    yield b.case("large numbers", b.normal(4, 48) * F32(1e4))
    b = _Builder(generator, (PER_ITEM, 48))
    _linear_of(b, b.normal(17, 48) * F32(1e-6), None)
    yield b.case("small numbers", b.normal(4, 48) * F32(1e-6))


def _activations(generator: np.random.Generator) -> Iterator[Case]:
    for code, name in enumerate(_ACTIVATION_NAMES[1:], 1):
        b = _Builder(generator, (PER_ITEM, 1))
        _linear_of(b, np.ones((1, 1), F32), None, code)
        ends = np.geomspace(1e-3, 90, 150)
        sweep = np.concatenate([np.linspace(-12, 12, 1201), np.linspace(-1, 1, 16001), ends, -ends])
        yield b.case(name, sweep[:, None])


def _layer_norm_of(b: _Builder, gamma: Array, beta: Array) -> None:
    target = b.program.value(*b.program.values[0])
    weight, bias = b.tensor(gamma), b.tensor(beta)
    b.program.op(Op.LAYER_NORM, source=0, target=target, weight=weight, bias=bias, epsilon=_EPSILON)


def _layer_norm(generator: np.random.Generator) -> Iterator[Case]:
    for width in (2, 15, 16, 17, 67, 512):
        b = _Builder(generator, (PER_ITEM, width))
        _layer_norm_of(b, b.normal(width), b.normal(width))
        yield b.case(f"width {width}", b.normal(5, width))
    b = _Builder(generator, (PER_ITEM, 64))
    _layer_norm_of(b, np.ones(64, F32), np.zeros(64, F32))
    yield b.case("far from zero", b.normal(5, 64) + F32(100))
    b = _Builder(generator, (PER_TOKEN, 24))
    _layer_norm_of(b, b.normal(24), b.normal(24))
    yield b.case("tokens, padding", b.normal(2, 6, 24), [6, 2])


def _attention_of(b: _Builder, heads: int) -> None:
    target = b.program.value(PER_TOKEN, b.program.values[0][1] // 3)
    b.program.op(Op.ATTENTION, source=0, target=target, heads=heads)


def _attention(generator: np.random.Generator) -> Iterator[Case]:
    for tokens in (1, 2, 7, 8, 9, 33):
        b = _Builder(generator, (PER_TOKEN, 3 * 32))
        _attention_of(b, 4)
        yield b.case(f"{tokens} tokens", b.normal(2, tokens, 96))
    for heads, width in ((1, 16), (2, 34), (8, 512)):
        b = _Builder(generator, (PER_TOKEN, 3 * width))
        _attention_of(b, heads)
        yield b.case(f"{heads} heads of {width // heads}", b.normal(2, 5, 3 * width))
    b = _Builder(generator, (PER_TOKEN, 48))
    _attention_of(b, 2)
    yield b.case("padding", b.normal(4, 11, 48), [11, 1, 5, 10])
    b = _Builder(generator, (PER_TOKEN, 48))
    _attention_of(b, 2)
    alike = b.normal(1, 1, 48) * np.ones((1, 9, 1), F32)
    alike[..., 32:] = b.normal(1, 9, 16)
    yield b.case("equal keys share evenly", alike)
    b = _Builder(generator, (PER_TOKEN, 48))
    _attention_of(b, 1)
    sharp = b.normal(1, 9, 48)
    sharp[..., :32] *= F32(20)
    yield b.case("one key takes all", sharp)
    b = _Builder(generator, (PER_TOKEN, 48))
    _attention_of(b, 1)
    shifted = b.normal(1, 9, 48)
    shifted[..., 16:32] += F32(30)
    yield b.case("keys far from zero", shifted)
    b = _Builder(generator, (PER_TOKEN, 48))
    _attention_of(b, 2)
    order = b.normal(1, 7, 48)
    yield b.case("another order of the tokens", np.concatenate([order, order[:, ::-1]]))


def _lstm_of(b: _Builder, units: int, scale: float = 1.0) -> None:
    depth = b.program.values[0][1]
    target = b.program.value(PER_TOKEN, units)
    weight, recurrent = b.normal(4 * units, depth) * F32(scale), b.normal(4 * units, units) / F32(math.sqrt(units))
    places = {"weight": b.tensor(weight), "recurrent": b.tensor(recurrent), "bias": b.tensor(b.normal(4 * units))}
    b.program.op(Op.LSTM, source=0, target=target, **places)


def _lstm(generator: np.random.Generator) -> Iterator[Case]:
    # A cell that fills through half-open gates, then inputs one at a time: what a wrong weight of any gate shows in.
    b = _Builder(generator, (PER_TOKEN, 8))
    _lstm_of(b, 8, 0.3)
    b.tensors[-1][:] = np.repeat(np.array([0, 0, 1, 1], F32), 8)
    none, each = np.zeros((8, 8), F32), np.eye(8, dtype=F32)
    yield b.case("what the cell keeps", np.stack([none, none, 2 * each, each], 1))
    for units, tokens in ((1, 3), (7, 5), (16, 8), (17, 4), (67, 2)):
        b = _Builder(generator, (PER_TOKEN, 12))
        _lstm_of(b, units, 0.3)
        yield b.case(f"{units} units, {tokens} steps", b.normal(3, tokens, 12))
    b = _Builder(generator, (PER_TOKEN, 8))
    _lstm_of(b, 8, 0.5)
    yield b.case("padding", b.normal(3, 9, 8), [9, 1, 5])
    b = _Builder(generator, (PER_TOKEN, 8))
    _lstm_of(b, 8, 10)
    yield b.case("saturated gates", b.normal(2, 6, 8))
    b = _Builder(generator, (PER_TOKEN, 16))
    _lstm_of(b, 8, 1)
    yield b.case("every input weight by itself", np.eye(16, dtype=F32)[:, None])


def _pool(generator: np.random.Generator) -> Iterator[Case]:
    for tokens, width in ((1, 5), (6, 16), (9, 33), (40, 64)):
        b = _Builder(generator, (PER_TOKEN, width))
        target = b.program.value(PER_ITEM, width)
        vector = b.tensor(b.normal(width))
        b.program.op(Op.ATTENTION_POOL, source=0, keys=0, weight=vector, target=target, column=0)
        lengths = None if tokens == 1 else [tokens, max(1, tokens // 3), 1]
        yield b.case(f"{tokens} tokens of {width}", b.normal(3, tokens, width), lengths)


def _last(generator: np.random.Generator) -> Iterator[Case]:
    b = _Builder(generator, (PER_TOKEN, 9))
    b.program.op(Op.LAST, source=0, target=b.program.value(PER_ITEM, 9), column=0)
    yield b.case("the last real token", b.normal(3, 5, 9), [5, 1, 3])


def _monotone(generator: np.random.Generator) -> Iterator[Case]:
    for q, group, groups in ((3, 3, 1), (7, 8, 8), (5, 9, 3)):
        b = _Builder(generator, (PER_ITEM, groups * group))
        target = b.program.value(PER_ITEM, groups * group)
        b.program.op(Op.MONOTONE, source=0, target=target, quantiles=q, group=group)
        yield b.case(f"{q} quantiles in groups of {group}", 4 * b.normal(6, groups * group))


def _eighths(generator: np.random.Generator, rows: int, width: int) -> Array:
    """Rows on the 7-bit grid of their own range, so that their quantization is exact: multiples of 1/8, ends taken."""
    x = generator.integers(-60, 68, (rows, width))
    x[:, 0], x[:, 1] = -60, 67
    return (x / 8).astype(F32)


def _linear_int8(generator: np.random.Generator) -> Iterator[Case]:
    for width, depth in ((5, 2), (32, 16), (33, 67), (64, 130)):
        for form in ("exact rows", "any rows", "a fixed range"):
            b = _Builder(generator, (PER_ITEM, depth))
            weight = b.tensor(b.generator.integers(-127, 128, (width, depth)).astype(np.int8))
            scale, bias = b.tensor(np.abs(b.normal(width)) + F32(0.1)), b.tensor(b.normal(width))
            bounds = b.tensor(np.array([-4, 4], F32)) if form == "a fixed range" else ABSENT
            places = {"source": 0, "target": b.program.value(PER_ITEM, width), "column": 0, "weight": weight}
            rest = {"bias": bias, "residual": ABSENT, "activation": 0, "range": bounds}
            b.program.op(Op.LINEAR_I8, **places, scale=scale, **rest)
            exact = form == "exact rows"
            x = _eighths(generator, 5, depth) if exact else b.normal(5, depth)
            yield b.case(f"{width} of {depth}, {form}", x, compare=exact, same_bits=True)


def _lstm_int8(generator: np.random.Generator) -> Iterator[Case]:
    for units, tokens in ((8, 1), (17, 1), (17, 6)):
        b = _Builder(generator, (PER_TOKEN, 12))
        target = b.program.value(PER_TOKEN, units)
        integers = [b.generator.integers(-127, 128, (4 * units, depth)).astype(np.int8) for depth in (12, units)]
        scales = [(np.abs(b.normal(4 * units)) + F32(0.1)) / F32(500) for _ in integers]
        weight, recurrent = (b.tensor(matrix) for matrix in integers)
        scale, recurrent_scale = (b.tensor(row) for row in scales)
        places = {"source": 0, "target": target, "weight": weight, "scale": scale, "recurrent": recurrent}
        b.program.op(Op.LSTM_I8, **places, recurrent_scale=recurrent_scale, bias=b.tensor(b.normal(4 * units)))
        x = _eighths(generator, 3 * tokens, 12).reshape(3, tokens, 12)
        yield b.case(f"{units} units, {tokens} steps", x, compare=tokens == 1, same_bits=True)


def _linear_int4(generator: np.random.Generator) -> Iterator[Case]:
    for width, depth in ((5, 2), (33, 67), (64, 130)):
        for form in ("exact rows", "any rows", "a fixed range"):
            b = _Builder(generator, (PER_ITEM, depth))
            pairs = b.tensor(b.generator.integers(-128, 128, (width, -(-depth // 2))).astype(np.int8))
            scale = b.tensor(np.abs(b.normal(width, -(-depth // GROUP))) + F32(0.1))
            bounds = b.tensor(np.array([-4, 4], F32)) if form == "a fixed range" else ABSENT
            places = {"source": 0, "target": b.program.value(PER_ITEM, width), "column": 0, "weight": pairs}
            rest = {"bias": b.tensor(b.normal(width)), "residual": ABSENT, "activation": 0, "range": bounds}
            b.program.op(Op.LINEAR_I4, **places, scale=scale, **rest)
            exact = form == "exact rows"
            x = _eighths(generator, 5, depth) if exact else b.normal(5, depth)
            yield b.case(f"{width} of {depth}, {form}", x, compare=exact, same_bits=True)


def _lstm_int4(generator: np.random.Generator) -> Iterator[Case]:
    for units, tokens in ((17, 1), (66, 5)):
        b = _Builder(generator, (PER_TOKEN, 12))
        target = b.program.value(PER_TOKEN, units)
        pairs = [b.generator.integers(-128, 128, (4 * units, -(-depth // 2))).astype(np.int8) for depth in (12, units)]
        groups = (1, -(-units // GROUP))
        scales = [b.tensor((np.abs(b.normal(4 * units, n)) + F32(0.1)) / F32(30)) for n in groups]
        places = {"source": 0, "target": target, "weight": b.tensor(pairs[0]), "scale": scales[0]}
        rest = {"recurrent": b.tensor(pairs[1]), "recurrent_scale": scales[1], "bias": b.tensor(b.normal(4 * units))}
        b.program.op(Op.LSTM_I4, **places, **rest)
        x = _eighths(generator, 3 * tokens, 12).reshape(3, tokens, 12)
        yield b.case(f"{units} units, {tokens} steps", x, compare=tokens == 1, same_bits=True)


# Whole networks ---------------------------------------------------------------------------------------------------


def _tiny(row: networks.Network) -> Any:
    """A network of a few units: every kind of block once, small enough for numerical gradients."""
    torch.manual_seed(0)
    return nets.create(row.name, row.part("config").TINY).eval()


def _inputs(module: Any, generator: np.random.Generator, items: int) -> tuple[Array, Array | None]:
    config = module.config
    tokens = getattr(config, "max_tokens", 0)
    if not tokens:
        return generator.normal(size=(items, config.input_width)).astype(F32), None
    tokens = min(tokens, 9)
    lengths = generator.integers(1, tokens + 1, items).astype(np.int32)
    lengths[0] = tokens
    return generator.normal(size=(items, tokens, config.input_width)).astype(F32), lengths


def _of_file(name: str, file: modelfile.ModelFile, x: Array, lengths: Array | None) -> Case:
    program = Program.parse(file.program, file.program_tensors)
    tensors = [file.tensors[tensor] for tensor in program.tensors]
    exact = file.precision != "fp32"
    return Case(name, program, tensors, x, lengths, limit=len(program.ops), compare=not exact, same_bits=exact)


def _network(row: networks.Network) -> Callable[[np.random.Generator], Iterator[Case]]:
    def cases(generator: np.random.Generator) -> Iterator[Case]:
        for label, module in (("a few units", _tiny(row)), ("the guide's sizes", nets.create(row.name).eval())):
            file = export.lower(module)
            x, lengths = _inputs(module, generator, 3)
            yield _of_file(label, file, x, lengths)
            yield _of_file(f"{label}, 8 bits", quantize(file), x, lengths)
            yield _of_file(f"{label}, 4 bits", quantize(file, four=products(file)), x, lengths)

    return cases


def _check_gradients(function: Callable[..., torch.Tensor], *inputs: torch.Tensor, fast: bool = False) -> bool:
    """``torch.autograd.gradcheck``; every input is float64. ``fast``: along random directions, not one by one."""
    return bool(torch.autograd.gradcheck(function, inputs, raise_exception=False, fast_mode=fast))


def _network_gradient(row: networks.Network) -> Callable[[], bool]:
    """Of the outputs by the input and by every weight of a tiny network."""

    def check() -> bool:
        module = _tiny(row).double()
        raw, lengths = _inputs(module, np.random.default_rng(0), 2)
        x = torch.from_numpy(raw).double().requires_grad_()
        more = () if lengths is None else (torch.from_numpy(lengths).long(),)
        names = [name for name, _ in module.named_parameters()]
        parameters = [p.detach().clone().requires_grad_() for _, p in module.named_parameters()]

        def outputs(x: torch.Tensor, *weights: torch.Tensor) -> torch.Tensor:
            y: torch.Tensor = torch.func.functional_call(module, dict(zip(names, weights, strict=True)), (x, *more))
            return y

        return _check_gradients(outputs, x, *parameters, fast=True)

    return check


def _op_gradient(make: Callable[[np.random.Generator], Iterator[Case]]) -> Callable[[], bool]:
    """Of an op's float64 definition by its input and its tensors, on its smallest cases."""

    def check() -> bool:
        done = True
        cases = [
            case for case in make(np.random.default_rng(1)) if case.x.size + sum(t.size for t in case.tensors) < 160
        ]
        for case in cases[:2]:
            tensors = [torch.from_numpy(t).double().requires_grad_() for t in case.tensors]
            x = torch.from_numpy(case.x).double().requires_grad_()
            lengths = torch.full((len(x),), x.shape[1] if x.ndim == 3 else 1)
            if case.lengths is not None:
                lengths = torch.from_numpy(case.lengths).long()
            (code, operands), *_ = case.program.ops

            def outputs(
                x: torch.Tensor,
                *weights: torch.Tensor,
                code: Any = code,
                o: Any = operands,
                sizes: torch.Tensor = lengths,
            ) -> torch.Tensor:
                return reference.OPS[code](reference.Call({0: x}, o, weights, sizes)).value

            done = done and _check_gradients(outputs, x, *tensors)
        return done

    return check


def _smooth_activations() -> bool:
    x = torch.linspace(-3, 3, 22, dtype=torch.float64).requires_grad_()
    return all(_check_gradients(f, x) for f in reference.ACTIVATIONS)


def components() -> dict[str, Component]:
    """Every component by name: the ops, then the networks."""
    ops = (
        ("linear", "act(x Wᵀ + b) + residual", "linear", _linear, _op_gradient(_linear)),
        ("activations", "ReLU, GELU, tanh, sigmoid", "activation", _activations, _smooth_activations),
        ("layer-norm", "(x - mean) / deviation · γ + β", "layer-norm", _layer_norm, _op_gradient(_layer_norm)),
        ("attention-mechanism", "softmax(q kᵀ / √d) v per head", "attention", _attention, _op_gradient(_attention)),
        ("lstm", "the hidden states of an LSTM", "lstm", _lstm, _op_gradient(_lstm)),
        ("attention-pooling", "a sequence's softmax-weighted mean", "attention-pooling", _pool, _op_gradient(_pool)),
        ("last-token", "the last real token", "last-token", _last, _op_gradient(_last)),
        ("monotone-quantiles", "quantiles that never cross", "monotone", _monotone, _op_gradient(_monotone)),
        ("linear-int8", "linear on 8-bit weights", "linear-int8", _linear_int8, None),
        ("lstm-int8", "LSTM on 8-bit weights", "lstm-int8", _lstm_int8, None),
        ("linear-int4", "linear on 4-bit weights", "linear-int4", _linear_int4, None),
        ("lstm-int4", "LSTM on 4-bit weights", "lstm-int4", _lstm_int4, None),
    )
    found = {
        name: Component(name, what, f"standard-{suite}-tests", cases, grad) for name, what, suite, cases, grad in ops
    }
    for row in networks.NETWORKS.values():
        name = f"{row.name}-network"
        suite = f"standard-{row.name}-network-tests"
        found[name] = Component(name, row.architecture, suite, _network(row), _network_gradient(row))
    return found


def check(component: str, test_cases: str | None) -> list[Component]:
    """The components that are meant: one, or ``all``; :class:`InputError` for names that are not, or do not match."""
    known = components()
    if component not in (*known, "all"):
        near = did_you_mean(component, known) or f": it is one of {', '.join(known)}, or all"
        raise InputError(f"there is no component {component!r}{near}")
    chosen = list(known.values()) if component == "all" else [known[component]]
    suites = {part.suite: part.name for part in known.values()}
    if test_cases is None or test_cases in (part.suite for part in chosen):
        return [part for part in chosen if test_cases in (None, part.suite)]
    if test_cases in suites:
        raise InputError(f"{test_cases} are cases of {suites[test_cases]}, not of {component}")
    near = did_you_mean(test_cases, suites) or f": it is one of {', '.join(suites)}"
    raise InputError(f"there are no test cases {test_cases!r}{near}")


# Running ----------------------------------------------------------------------------------------------------------


def of_model(model: Model) -> Component:
    """The ops of a model file, each on what reaches it from random inputs, with the file's own weights."""
    file = modelfile.read(model.path)
    program = Program.parse(file.program, file.program_tensors)
    tensors = [file.tensors[name] for name in program.tensors]

    def cases(generator: np.random.Generator) -> Iterator[Case]:
        rows, width = program.values[program.source]
        tokens = min(9, program.max_tokens)
        shape = (3, tokens, width) if rows == PER_TOKEN else (3, width)
        x = generator.normal(size=shape).astype(F32)
        lengths = np.array([tokens, 1, max(1, tokens // 2)], np.int32) if rows == PER_TOKEN else None
        yield _of_file("the whole program", file, x, lengths)
        if file.precision != "fp32":
            return
        for index, (code, operands) in enumerate(program.ops):
            if code is not Op.LINEAR or not 0 <= operands["weight"] < len(tensors):
                continue
            weight = tensors[operands["weight"]]
            b = _Builder(generator, (PER_ITEM, weight.shape[1]))
            _linear_of(b, weight, None)
            name = program.tensors[operands["weight"]]
            yield b.case(f"op {index}, {name}: every weight by itself", np.eye(weight.shape[1], dtype=F32))

    return Component(str(model.path.name), "the model's own ops", "", cases)


def unit(
    chosen: Sequence[Component],
    precision: float = 1e-6,
    gradients: bool = False,
    *,
    seed: int = 0,
    on: Sequence[Engine] | None = None,
    progress: Progress = nothing,
) -> dict[str, Any]:
    """Run the cases of the components on every engine, or on those given; see ``claude-flow neural test unit``.

    Raises:
        InputError: a precision that single precision cannot have.
    """
    if not precision >= _HALF_A_BIT:
        raise InputError(
            f"numerical-precision {precision:g} is below {_HALF_A_BIT:.1g}, half of the last bit of single precision"
        )
    here, skipped = engines() if on is None else (list(on), [])
    rows: list[dict[str, Any]] = []
    checked: list[dict[str, Any]] = []
    for place, component in enumerate(chosen):
        progress(place / len(chosen), component.name)
        for case in component.cases(np.random.default_rng(seed)):
            rows += [{"component": component.name, "case": case.name, **row} for row in _judge(case, here, precision)]
        if gradients and component.gradient is not None:
            checked.append({"component": component.name, "passed": component.gradient()})
    failed = [row for row in (*rows, *checked) if not row["passed"]]
    return {
        "precision": precision,
        "engines": [f"{e.backend} {e.isa}" for e in here],
        "skipped": skipped,
        "cases": rows,
        "gradients": checked,
        "failed": len(failed),
        "passed": not failed,
    }


def _judge(case: Case, here: Sequence[Engine], precision: float) -> Iterator[dict[str, Any]]:
    exact = (
        reference.run(case.program, case.tensors, case.x, case.lengths)[case.program.target] if case.compare else None
    )
    first: dict[str, bytes] = {}  # kind of arithmetic -> bits of the first engine that has it
    for on in here:
        y = on.run(case)
        row: dict[str, Any] = {"engine": on.backend, "isa": on.isa, "error": None, "passed": bool(np.isfinite(y).all())}
        row["limit"] = precision * case.limit
        if exact is not None:
            value, scale = exact.value.numpy(), exact.scale.numpy()
            row["error"] = _worst(y, value, scale, whole=case.limit > 1)
            row["passed"] &= row["error"] <= row["limit"]
        arithmetic = "integers" if case.same_bits else "apart" if on.isa in _APART and case.limit == 1 else ""
        if arithmetic:
            row["same_bits"] = y.tobytes() == first.setdefault(arithmetic, y.tobytes())
            row["passed"] &= row["same_bits"]
        yield row


def _worst(y: Array, value: Array, scale: Array, whole: bool) -> float:
    """The largest error by its scale; of a whole network, by its largest output."""
    off = np.abs(y.astype(np.float64) - value)
    if whole:
        return float(off.max() / max(np.abs(value).max(), 1e-30))
    return float((off / np.maximum(scale, 1e-30)).max())
