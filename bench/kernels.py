"""Single kernels against the engines that have them too, and against the machine's limits."""

from __future__ import annotations

import time
from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
import torch

import claude_flow as cf
from bench.points import BYTES, ELEMENTWISE, ELEMENTWISE_ENGINES, OURS, PRODUCTS, ROW
from bench.race import agree, race
from claude_flow import _core
from claude_flow.measure import machine

_OPSET = 18


def _linear(size: int, isa: str) -> Callable[[np.ndarray], np.ndarray]:
    """x W^T by the engine, one linear op of [size, size]; the weight is packed at load, as in every model."""
    program = np.array([1, 2, 1, 0, 1, 1, 0, size, 0, size, 1, 7, 0, 1, 0, 0, -1, -1, 0], np.int32)
    weight = np.random.default_rng(1).standard_normal((size, size), np.float32)
    return _core.Model(program, [weight], isa).run


def product_isas() -> list[str]:
    """Instruction sets whose fp32 products differ, of those that this CPU has."""
    return [isa for isa in _core.available() if isa in ("sse41", "avx2", "avx512")]


def gemm_calls(size: int) -> dict[str, Callable[[], Any]]:
    """A square product by every contender; OpenBLAS gets its weight as it likes it best, transposed in memory."""
    x = np.random.default_rng(0).standard_normal((size, size), np.float32)
    weight = np.ascontiguousarray(np.random.default_rng(1).standard_normal((size, size), np.float32).T)
    out = np.empty((size, size), np.float32)
    calls: dict[str, Callable[[], Any]] = {f"{OURS} {isa}": partial(_linear(size, isa), x) for isa in product_isas()}
    calls["openblas"] = lambda: np.matmul(x, weight, out=out)
    reference = x.astype(np.float64) @ weight
    for call in calls.values():
        agree(reference, call(), 80)
    return calls


def gemm(size: int, seconds: float) -> dict[str, Any]:
    """A race of square products, and the machine's limit beside it."""
    times = race(gemm_calls(size), seconds)
    peaks = {isa: _peak(isa, seconds / 10) for isa in product_isas()}
    return {"kernel": "gemm", "size": size, "operations": 2 * size**3, "times": times, "peaks": peaks}


def _peak(isa: str, seconds: float) -> float:
    """fp32 operations per second of independent multiply-adds, the best of many rounds beside the race."""
    best, deadline = 0.0, time.perf_counter() + seconds
    while best == 0.0 or time.perf_counter() < deadline:
        begin = time.perf_counter()
        best = max(best, _core.ceiling_fma(isa, 50_000) / (time.perf_counter() - begin))
    return best


def _onnx(op: str, shape: tuple[int, ...], **attributes: Any) -> Callable[[np.ndarray, np.ndarray], Callable[[], Any]]:
    """One ONNX node with input and output bound in place, so that ONNX Runtime pays for no copy."""
    import onnxruntime
    from onnx import TensorProto, helper

    extra = {}
    if op == "LayerNormalization":
        extra = {"gamma": np.ones(shape[-1], np.float32), "beta": np.zeros(shape[-1], np.float32)}
    tensors = [helper.make_tensor(k, TensorProto.FLOAT, v.shape, v.tobytes(), raw=True) for k, v in extra.items()]
    opset = 20 if op == "Gelu" else _OPSET
    graph = helper.make_graph(
        [helper.make_node(op, ["x", *extra], ["y"], **attributes)],
        op,
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, shape)],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, shape)],
        tensors,
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=9)
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    session = onnxruntime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])

    def bind(x: np.ndarray, y: np.ndarray) -> Callable[[], Any]:
        binding = session.io_binding()
        binding.bind_cpu_input("x", x)
        binding.bind_output("y", "cpu", 0, np.float32, y.shape, y.ctypes.data)
        arrays = x, y  # the binding keeps their addresses alone

        def run() -> np.ndarray:
            session.run_with_iobinding(binding)
            return arrays[1]

        return run

    return bind


def _torch_calls(x: torch.Tensor, y: torch.Tensor) -> dict[str, Callable[[], Any]]:
    ones, zeros = torch.ones(x.shape[-1]), torch.zeros(x.shape[-1])
    rows = [x.shape[-1]]
    return {
        "layer_norm": lambda: torch.nn.functional.layer_norm(x, rows, ones, zeros),
        "softmax": lambda: torch.softmax(x, -1, out=y),
        "gelu": lambda: torch._C._nn.gelu(x, out=y),
        "tanh": lambda: torch.tanh(x, out=y),
        "sigmoid": lambda: torch.sigmoid(x, out=y),
        "exp": lambda: torch.exp(x, out=y),
    }


_ONNX_NODES = {
    # name in claude_flow.ops: (ONNX op, its attributes)
    "layer_norm": ("LayerNormalization", {"axis": -1, "epsilon": 1e-5}),
    "softmax": ("Softmax", {"axis": -1}),
    "gelu": ("Gelu", {}),
    "tanh": ("Tanh", {}),
    "sigmoid": ("Sigmoid", {}),
    "exp": ("Exp", {}),
}


def elementwise_call(name: str, size: int, engine: str) -> Callable[[], Any]:
    """One engine's kernel, held to the result in double before it is timed; for PyTorch's, see :func:`elementwise`.

    A kernel over ``size`` bytes in and ``size`` bytes out, which every engine writes into memory that it had before;
    only PyTorch's layer norm, which knows no ``out``, takes new memory at every call."""
    op, attributes = _ONNX_NODES[name]
    x = np.random.default_rng(0).standard_normal((size // 4 // ROW, ROW), np.float32)
    out = np.empty_like(x)
    operands = (np.ones(ROW, np.float32), np.zeros(ROW, np.float32)) if name == "layer_norm" else ()
    call: Callable[[], Any]
    match engine:
        case "claude-flow":
            call = partial(getattr(cf.ops, name), x, *operands, out=out)
        case "pytorch":
            call = _torch_calls(torch.from_numpy(x), torch.from_numpy(out))[name]
        case "onnxruntime":
            call = _onnx(op, x.shape, **attributes)(x, out)
        case _:
            return partial(np.copyto, out, x)
    with torch.inference_mode():
        agree(_reference(name, x.astype(np.float64)), np.asarray(call()), 100)
    return call


def elementwise(name: str, size: int, seconds: float) -> dict[str, Any]:
    """A race of one elementwise kernel."""
    calls = {engine: elementwise_call(name, size, engine) for engine in ELEMENTWISE_ENGINES}
    with torch.inference_mode():
        return {"kernel": name, "bytes": size, "times": race(calls, seconds)}


def _reference(name: str, x: np.ndarray) -> np.ndarray:
    match name:
        case "layer_norm":
            return (x - x.mean(-1, keepdims=True)) / np.sqrt(x.var(-1, keepdims=True) + 1e-5)
        case "softmax":
            e = np.exp(x - x.max(-1, keepdims=True))
            return e / e.sum(-1, keepdims=True)
        case "gelu":
            return x * 0.5 * torch.erfc(torch.from_numpy(-x / np.sqrt(2))).numpy()
        case "tanh":
            return np.tanh(x)
        case "sigmoid":
            return 1 / (1 + np.exp(-x))
    return np.exp(x)


def ceilings(seconds: float) -> list[dict[str, Any]]:
    """The roofline of every instruction set, on one thread."""
    return [
        {
            "isa": isa,
            "operations_per_second": (found := machine.ceilings(isa, 1, seconds)).operations,
            "int8_operations_per_second": found.int8_operations,
            "bytes_per_second": list(found.bandwidth),
        }
        for isa in _core.available()
    ]


def measure(seconds: float, note: Callable[[str], None], quick: bool) -> dict[str, Any]:
    """All kernels. ``seconds``: of each race, a third of it for these."""
    note("kernels: ceilings")
    found: dict[str, Any] = {"ceilings": ceilings(seconds), "gemm": [], "elementwise": []}
    for size in PRODUCTS[:2] if quick else PRODUCTS:
        note(f"kernels: gemm {size}")
        found["gemm"].append(gemm(size, seconds / 3))
    for name in ELEMENTWISE:
        for size in BYTES[:1] if quick else BYTES:
            note(f"kernels: {name} {size >> 10} KiB")
            found["elementwise"].append(elementwise(name, size, seconds / 3))
    return found
