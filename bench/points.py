"""What is measured: the one list of points that the races (`python -m bench`), the suites (`pytest bench`) and the
comparison of two commits (`python -m bench.compare`) share."""

from __future__ import annotations

import sys
from pathlib import Path

ROOT = Path(__file__).parents[1]
OURS = "claude-flow"

# Networks at the guide's sizes, and the shape of their input.
NETWORKS: list[tuple[str, tuple[int, ...]]] = [
    ("coordination", (1, 8, 512)),
    ("coordination", (1, 128, 512)),
    ("coordination", (32, 128, 512)),
    ("optimization", (1, 256)),
    ("optimization", (32, 256)),
    ("optimization", (256, 256)),
    ("prediction", (1, 32, 128)),
    ("prediction", (1, 128, 128)),
    ("prediction", (32, 128, 128)),
]
PRECISIONS = ("fp32", "int8")
THREADS = (1, 2)
# Engines whose fastest one a ratio is to; in fp32 PyTorch, the reference of every result, stands beside them.
RIVALS = {"fp32": ("onnxruntime", "openvino"), "int8": ("onnxruntime-int8", "openvino-int8", "openvino-bf16")}
ENGINES = {"fp32": (OURS, *RIVALS["fp32"], "pytorch"), "int8": (OURS, *RIVALS["int8"])}
SCALAR_LIMIT = 1 << 16  # floats of input, above which scalar code takes seconds a call
# Without the batches for which WebAssembly is the wrong host.
WASM = [point for point in NETWORKS if point[1][0] == 1 or point == ("optimization", (32, 256))]

# Single kernels: square products, and rows of ROW floats of so many bytes.
PRODUCTS = (128, 256, 512, 1024)
ELEMENTWISE = ("layer_norm", "softmax", "gelu", "tanh", "sigmoid", "exp")
ELEMENTWISE_ENGINES = (OURS, "pytorch", "onnxruntime", "copy")
BYTES = (64 << 10, 256 << 10, 512 << 10)
ROW = 512
WASM_PRODUCT = (128, 512, 512)

# A step of training: the shape of a batch.
TRAINING: list[tuple[str, tuple[int, ...]]] = [
    ("coordination", (8, 32, 512)),
    ("optimization", (64, 256)),
    ("prediction", (8, 32, 128)),
]

# Whole processes, Python's own start included.
_CLI = [sys.executable, "-m", "claude_flow"]
STARTS = {
    "python -c pass": [sys.executable, "-c", "pass"],
    "python -c 'import numpy'": [sys.executable, "-c", "import numpy"],
    "python -c 'import claude_flow'": [sys.executable, "-c", "import claude_flow"],
    "claude-flow --help": [*_CLI, "--help"],
    "claude-flow neural --help": [*_CLI, "neural", "--help"],
    "claude-flow neural infer --help": [*_CLI, "neural", "infer", "--help"],
    "claude-flow neural infer coordination": [
        *(*_CLI, "neural", "infer", "coordination", "--input"),
        f"@{ROOT / 'docs' / 'examples' / 'swarm.json'}",
    ],
}


def label(net: str, shape: tuple[int, ...]) -> str:
    """``coordination 1×8×512``."""
    return f"{net} {'×'.join(map(str, shape))}"


def ident(net: str, shape: tuple[int, ...]) -> str:
    """``coordination-1x8x512``, as pytest names tests in plain letters."""
    return f"{net}-{'x'.join(map(str, shape))}"
