"""From a torch module to a model file: the network is lowered here, once, to the op list that every host runs.

docs/model_format.md lists the ops. Lowering needs torch only because it takes a torch module.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from claude_flow.errors import InputError
from claude_flow.modelfile import FORMAT, ModelFile, write

if TYPE_CHECKING:
    from torch import nn

__all__ = ["from_file", "lower", "save"]

PER_ITEM, PER_TOKEN = 0, 1
LINEAR, LAYER_NORM, ATTENTION, LSTM, ATTENTION_POOL, LAST, MONOTONE = range(1, 8)
NONE, RELU, GELU, TANH = 0, 1, 2, 3
_ABSENT = -1


class _Program:
    """Collects values, ops and tensors; words() is the flat list of docs/model_format.md."""

    def __init__(self, tensors: Mapping[str, NDArray[Any]]) -> None:
        self.tensors = tensors
        self.names: list[str] = []
        self.values: list[tuple[int, int]] = []
        self.ops: list[list[int]] = []

    def value(self, rows: int, width: int) -> int:
        self.values.append((rows, width))
        return len(self.values) - 1

    def tensor(self, name: str) -> int:
        if name not in self.tensors:
            return _ABSENT
        if name not in self.names:
            self.names.append(name)
        return self.names.index(name)

    def op(self, code: int, *operands: int) -> None:
        self.ops.append([code, len(operands), *operands])

    def linear(
        self,
        source: int,
        name: str,
        *,
        activation: int = NONE,
        residual: int = _ABSENT,
        rows: int | None = None,
    ) -> int:
        width = self.tensors[f"{name}.weight"].shape[0]
        target = self.value(self.values[source][0] if rows is None else rows, width)
        weight, bias = self.tensor(f"{name}.weight"), self.tensor(f"{name}.bias")
        self.op(LINEAR, source, target, 0, weight, bias, residual, activation)
        return target

    def layer_norm(self, source: int, name: str, eps: float) -> int:
        if f"{name}.weight" not in self.tensors:  # the network was built without layer norm
            return source
        target = self.value(*self.values[source])
        bits = int(np.float32(eps).view(np.int32))
        self.op(LAYER_NORM, source, target, self.tensor(f"{name}.weight"), self.tensor(f"{name}.bias"), bits)
        return target

    def words(self, source: int, target: int, max_tokens: int) -> list[int]:
        words = [FORMAT, len(self.values), len(self.ops), source, target, max_tokens]
        words += [word for value in self.values for word in value]
        return words + [word for op in self.ops for word in op]


def _lower_coordination(program: _Program, config: Any) -> tuple[int, int, int]:
    eps = 1e-5
    x = program.value(PER_TOKEN, config.input_width)
    h = program.linear(x, "embedding")
    for i in range(len(config.feed_forward)):
        block = f"blocks.{i}"
        qkv = program.linear(program.layer_norm(h, f"{block}.norm1", eps), f"{block}.qkv")
        attended = program.value(PER_TOKEN, config.width)
        program.op(ATTENTION, qkv, attended, config.heads)
        h = program.linear(attended, f"{block}.projection", residual=h)
        up = program.linear(program.layer_norm(h, f"{block}.norm2", eps), f"{block}.up", activation=GELU)
        h = program.linear(up, f"{block}.down", residual=h)
    return x, program.linear(program.layer_norm(h, "norm", eps), "head"), config.max_tokens


def _lower_optimization(program: _Program, config: Any) -> tuple[int, int, int]:
    x = h = program.value(PER_ITEM, config.input_width)
    for i in range(len(config.hidden)):
        projected = f"layers.{i}.shortcut.weight" in program.tensors
        shortcut = program.linear(h, f"layers.{i}.shortcut") if projected else h
        h = program.linear(h, f"layers.{i}.linear", activation=RELU, residual=shortcut)
    return x, program.linear(h, "head"), 1


def _lower_prediction(program: _Program, config: Any) -> tuple[int, int, int]:
    x = h = program.value(PER_TOKEN, config.input_width)
    for i in range(config.layers):
        target = program.value(PER_TOKEN, config.width)
        weights = [program.tensor(f"lstm.{i}.{part}") for part in ("weight_ih_l0", "weight_hh_l0", "bias_l0")]
        program.op(LSTM, h, target, *weights)
        h = target
    keys = program.linear(h, "keys", activation=TANH)
    features = program.value(PER_ITEM, 2 * config.width)
    program.op(ATTENTION_POOL, h, keys, program.tensor("attention"), features, 0)
    program.op(LAST, h, features, config.width)
    raw = program.linear(features, "head")
    y = program.value(PER_ITEM, program.values[raw][1])
    program.op(MONOTONE, raw, y, config.quantiles, config.quantiles + 1)
    return x, y, config.max_tokens


_LOWER = {
    "coordination": _lower_coordination,
    "optimization": _lower_optimization,
    "prediction": _lower_prediction,
}


def _tensors(module: nn.Module, network: str) -> dict[str, NDArray[np.float32]]:
    tensors = {name: t.detach().cpu().float().numpy() for name, t in module.state_dict().items()}
    config: Any = module.config
    if network == "coordination" and not config.scale_attention:
        # The op always divides by sqrt(head width), so an unscaled network's queries are scaled up instead.
        head = config.width // config.heads
        for name in [name for name in tensors if ".qkv." in name]:
            tensors[name] = tensors[name].copy()
            tensors[name][: config.width] *= np.float32(head**0.5)
    if network == "prediction":
        for i in range(config.layers):
            tensors[f"lstm.{i}.bias_l0"] = tensors.pop(f"lstm.{i}.bias_ih_l0") + tensors.pop(f"lstm.{i}.bias_hh_l0")
    return tensors


def lower(module: nn.Module) -> ModelFile:
    """Lower a network of :mod:`claude_flow.nets` to a :class:`ModelFile` in memory.

    Raises :class:`InputError` for any other module.
    """
    from claude_flow import nets

    network = next((name for name, (kind, _) in nets.NETWORKS.items() if type(module) is kind), None)
    if network is None:
        known = ", ".join(kind.__name__ for kind, _ in nets.NETWORKS.values())
        raise InputError(f"cannot export a {type(module).__name__}: this package exports {known}")
    tensors = _tensors(module, network)
    program = _Program(tensors)
    words = program.words(*_LOWER[network](program, module.config))
    config = nets.config_dict(module)
    if network == "coordination":
        config["scale_attention"] = True  # folded into the weights by _tensors
    return ModelFile(network, config, words, program.names, dict(tensors))


def save(
    module: nn.Module,
    path: str | Path,
    precision: str = "fp32",
    *,
    metadata: Mapping[str, Any] | None = None,
) -> None:
    """Write a network of :mod:`claude_flow.nets` as a model file that :func:`claude_flow.load` runs without torch.

    ``precision``: ``"fp32"``, or ``"fp16"`` to store the weights in half precision (they are widened at load, so
    the file halves and the arithmetic stays fp32). ``metadata`` may give the file's ``features``, ``calibration``
    and ``provenance`` (see :class:`ModelFile`). Raises :class:`InputError` for another module or precision.

    >>> import tempfile, torch, claude_flow as cf
    >>> from claude_flow import export, nets
    >>> net = nets.OptimizationNet(nets.OptimizationConfig(hidden=(32,))).eval()
    >>> path = tempfile.mkdtemp() + "/m.safetensors"
    >>> export.save(net, path)
    >>> x = torch.randn(2, 256)
    >>> bool(np.allclose(cf.load(path).run(x.numpy()), net(x).detach(), atol=1e-5))
    True
    """
    if precision not in ("fp32", "fp16"):
        raise InputError(f"precision {precision!r}: export writes 'fp32' or 'fp16'")
    model = lower(module)
    if precision == "fp16":
        model.tensors = {name: _half(name, t) for name, t in model.tensors.items()}
    for name, value in (metadata or {}).items():
        if name not in ("features", "calibration", "provenance"):
            raise InputError(f"metadata field {name!r}: a model file takes features, calibration and provenance")
        setattr(model, name, dict(value))
    write(path, model)


def _half(name: str, tensor: NDArray[Any]) -> NDArray[Any]:
    if np.abs(tensor).max(initial=0.0) > np.finfo(np.float16).max:
        raise InputError(f"tensor {name!r} exceeds the range of half precision; save it as fp32")
    return tensor.astype(np.float16)


def from_file(model: ModelFile) -> nn.Module:
    """The torch module of a model file, in evaluation mode: the reference that the engine is compared with."""
    import torch

    from claude_flow import nets

    module = nets.create(model.network, model.config)
    state = dict(model.tensors)
    for name in [name for name in state if name.endswith(".bias_l0")]:
        bias = state.pop(name)
        state[name.replace("bias_l0", "bias_ih_l0")] = bias
        state[name.replace("bias_l0", "bias_hh_l0")] = np.zeros_like(bias)
    try:
        module.load_state_dict({name: torch.from_numpy(np.array(t)) for name, t in state.items()})
    except RuntimeError as error:
        raise InputError(f"the tensors do not fit the network's configuration: {str(error).splitlines()[-1]}") from None
    return module.eval()
