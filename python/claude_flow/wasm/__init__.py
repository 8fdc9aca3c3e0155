"""The engine as WebAssembly, run by wasmtime: the same core, the same model files, the same `Model` as the native one.

>>> import numpy as np
>>> program = np.array([1, 2, 1, 0, 1, 1,  0, 3, 0, 2,  1, 7, 0, 1, 0, 0, -1, -1, 1], np.int32)
>>> weight = np.array([[1, 0, 0], [0, -1, 0]], np.float32)
>>> Model(program, [weight]).run(np.array([[4, 5, 6]], np.float32))  # relu(x W^T)
array([[4., 0.]], dtype=float32)
"""

from claude_flow.wasm.host import Model, layout
from claude_flow.wasm.modules import available

__all__ = ["Model", "available", "layout"]
