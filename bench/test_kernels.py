"""Single kernels: square products against OpenBLAS, rows of floats against PyTorch, ONNX Runtime and a copy."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

torch = pytest.importorskip("torch", reason="a peer, and the reference: run  pip install 'claude-flow[train]'")

from bench import kernels, points
from bench.conftest import require


@pytest.mark.parametrize("size", points.PRODUCTS)
@pytest.mark.parametrize("engine", [*(f"{points.OURS} {isa}" for isa in kernels.product_isas()), "openblas"])
def test_product(contender: Callable[..., Any], size: int, engine: str) -> None:
    call = kernels.gemm_calls(size)[engine]
    contender(f"product {size}×{size}×{size}", engine, call, operations=2 * size**3)


@pytest.mark.parametrize("size", points.BYTES, ids=lambda size: f"{size >> 10}KiB")
@pytest.mark.parametrize("kernel", points.ELEMENTWISE)
@pytest.mark.parametrize("engine", points.ELEMENTWISE_ENGINES)
def test_elementwise(contender: Callable[..., Any], size: int, kernel: str, engine: str) -> None:
    require(engine)
    call = kernels.elementwise_call(kernel, size, engine)
    with torch.inference_mode():
        contender(f"{kernel}, {size >> 10} KiB", engine, call, bytes=size)
