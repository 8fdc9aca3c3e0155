"""The other engines, each as a function from an input array to the output array."""

from __future__ import annotations

import contextlib
import logging
import os
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import torch

from bench.environment import versions
from claude_flow import nets

Run = Callable[[np.ndarray], np.ndarray]
CACHE = Path(__file__).parents[1] / "build" / "bench"
CALIBRATION_ITEMS = 256  # samples from which NNCF takes the ranges of activations
PACKAGES = ("torch", "onnxruntime", "openvino", "nncf", "onnx", "numpy")


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """Without the chatter of the exporters, which write to every stream there is."""
    logging.disable(logging.WARNING)
    out = os.dup(1)
    with warnings.catch_warnings(), open(os.devnull, "w") as null:
        warnings.simplefilter("ignore")
        os.dup2(null.fileno(), 1)
        try:
            yield
        finally:
            os.dup2(out, 1)
            os.close(out)
            logging.disable(logging.NOTSET)


def network(name: str) -> torch.nn.Module:
    """The network at its full size, with the same random weights in every run."""
    torch.manual_seed(0)
    return nets.create(name).eval()


def _file(net: str, shape: tuple[int, ...], kind: str) -> Path:
    CACHE.mkdir(parents=True, exist_ok=True)
    tag = "-".join(versions(("torch", "onnxruntime", "nncf")).values())
    return CACHE / f"{net}-{'x'.join(map(str, shape))}-{tag}{kind}"


def onnx_file(net: str, shape: tuple[int, ...]) -> Path:
    """The network exported at this very shape: static shapes are the best case of both engines."""
    path = _file(net, shape, ".onnx")
    if not path.exists():
        with quiet():
            # The exporter of torch 2.13's dynamo spends 20 s per network and gives graphs that run no faster.
            torch.onnx.export(
                network(net), (torch.zeros(shape),), str(path), input_names=["x"], output_names=["y"], dynamo=False
            )
    return path


def onnx_runtime(path: Path, threads: int) -> Run:
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    options.log_severity_level = 3
    session = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    return lambda x: session.run(None, {"x": x})[0]


def _vector_products(path: Path) -> list[str]:
    """The products with a constant vector, for which the quantizer writes a graph that does not load."""
    import onnx

    graph = onnx.load(str(path)).graph
    vectors = {tensor.name for tensor in graph.initializer if len(tensor.dims) == 1}
    return [node.name for node in graph.node if node.op_type == "MatMul" and node.input[1] in vectors]


def onnx_int8_file(net: str, shape: tuple[int, ...]) -> Path:
    """Dynamic quantization: u8 activations, s8 weights per channel."""
    from onnxruntime import quantization

    path = _file(net, shape, ".int8.onnx")
    if not path.exists():
        prepared = _file(net, shape, ".prepared.onnx")
        with quiet():
            quantization.quant_pre_process(str(onnx_file(net, shape)), str(prepared))
            quantization.quantize_dynamic(
                str(prepared),
                str(path),
                per_channel=True,
                weight_type=quantization.QuantType.QInt8,
                nodes_to_exclude=_vector_products(prepared),
            )
    return path


def onnx_runtime_int8(net: str, shape: tuple[int, ...], threads: int) -> Run:
    return onnx_runtime(onnx_int8_file(net, shape), threads)


def openvino(path: Path, threads: int, precision: str = "f32", snippets: bool = True) -> Run:
    from openvino import Core

    core = Core()
    settings = {
        "INFERENCE_NUM_THREADS": threads,
        "INFERENCE_PRECISION_HINT": precision,
        "PERFORMANCE_HINT": "LATENCY",
        "NUM_STREAMS": 1,
    }
    if not snippets:
        settings["SNIPPETS_MODE"] = "DISABLE"
    request = core.compile_model(core.read_model(str(path)), "CPU", settings).create_infer_request()
    return lambda x: request.infer(x, share_inputs=True, share_outputs=True)[0]


def openvino_int8(net: str, shape: tuple[int, ...], threads: int, snippets: bool = True) -> Run:
    """Static quantization by NNCF, calibrated on the distribution that is measured."""
    path = _file(net, shape, ".int8.xml")
    if not path.exists():
        with quiet():
            import nncf
            from openvino import Core, save_model

            generator = np.random.default_rng(1)
            batches = max(1, CALIBRATION_ITEMS // (8 * shape[0]))
            data = [generator.standard_normal(shape, np.float32) for _ in range(batches)]
            quantized = nncf.quantize(
                Core().read_model(str(onnx_file(net, shape))),
                nncf.Dataset(data),
                subset_size=batches,
                model_type=nncf.ModelType.TRANSFORMER if net == "coordination" else None,
            )
            save_model(quantized, str(path), compress_to_fp16=False)
    return openvino(path, threads, snippets=snippets)


def pytorch(net: str, threads: int) -> Run:
    torch.set_num_threads(threads)
    module = network(net)

    def run(x: np.ndarray) -> np.ndarray:
        with torch.inference_mode():
            return module(torch.from_numpy(x)).numpy()

    return run
