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
from claude_flow.modelfile import ModelFile, write
from claude_flow.program import ABSENT, PER_ITEM, PER_TOKEN, Op, Program
from claude_flow.quantize import dequantize, quantize

if TYPE_CHECKING:
    from torch import nn

__all__ = ["from_file", "lower", "save"]

NONE, RELU, GELU, TANH = 0, 1, 2, 3


class _Lowering(Program):
    """A program under construction over a network's tensors; each method adds one op and returns its output value."""

    def __init__(self, tensors: Mapping[str, NDArray[Any]], max_tokens: int) -> None:
        super().__init__(max_tokens)
        self.data = tensors

    def named(self, name: str) -> int:
        """The id of a tensor, or ABSENT where the network has none of this name."""
        return self.tensor(name) if name in self.data else ABSENT

    def linear(self, source: int, name: str, *, activation: int = NONE, residual: int = ABSENT) -> int:
        target = self.value(self.values[source][0], self.data[f"{name}.weight"].shape[0])
        weight, bias = self.tensor(f"{name}.weight"), self.named(f"{name}.bias")
        self.op(
            Op.LINEAR,
            source=source,
            target=target,
            column=0,
            weight=weight,
            bias=bias,
            residual=residual,
            activation=activation,
        )
        return target

    def layer_norm(self, source: int, name: str) -> int:
        if f"{name}.weight" not in self.data:  # the network was built without layer norm
            return source
        target = self.value(*self.values[source])
        weight, bias = self.tensor(f"{name}.weight"), self.tensor(f"{name}.bias")
        bits = int(np.float32(1e-5).view(np.int32))
        self.op(Op.LAYER_NORM, source=source, target=target, weight=weight, bias=bias, epsilon=bits)
        return target


def _lower_coordination(program: _Lowering, config: Any) -> None:
    program.source = program.value(PER_TOKEN, config.input_width)
    h = program.linear(program.source, "embedding")
    for i in range(len(config.feed_forward)):
        block = f"blocks.{i}"
        qkv = program.linear(program.layer_norm(h, f"{block}.norm1"), f"{block}.qkv")
        attended = program.value(PER_TOKEN, config.width)
        program.op(Op.ATTENTION, source=qkv, target=attended, heads=config.heads)
        h = program.linear(attended, f"{block}.projection", residual=h)
        up = program.linear(program.layer_norm(h, f"{block}.norm2"), f"{block}.up", activation=GELU)
        h = program.linear(up, f"{block}.down", residual=h)
    program.target = program.linear(program.layer_norm(h, "norm"), "head")


def _lower_optimization(program: _Lowering, config: Any) -> None:
    program.source = h = program.value(PER_ITEM, config.input_width)
    for i in range(len(config.hidden)):
        projected = f"layers.{i}.shortcut.weight" in program.data
        shortcut = program.linear(h, f"layers.{i}.shortcut") if projected else h
        h = program.linear(h, f"layers.{i}.linear", activation=RELU, residual=shortcut)
    program.target = program.linear(h, "head")


def _lower_prediction(program: _Lowering, config: Any) -> None:
    program.source = program.value(PER_TOKEN, config.input_width)
    raw = ABSENT
    for i in range(config.members):
        raw = _lower_member(program, config, f"members.{i}", raw)
    program.target = program.value(PER_ITEM, program.values[raw][1])
    q = config.quantiles
    program.op(Op.MONOTONE, source=raw, target=program.target, quantiles=q, group=q + 1)


def _lower_member(program: _Lowering, config: Any, name: str, total: int) -> int:
    """One member; its output, whose average is folded into its head, is added to ``total``."""
    h = program.source
    for i in range(0 if config.layers else 2):
        h = program.linear(h, f"{name}.embed.{i}", activation=GELU)
    for i in range(config.layers):
        target = program.value(PER_TOKEN, config.width)
        weight, recurrent, bias = (
            program.tensor(f"{name}.lstm.{i}.{part}") for part in ("weight_ih_l0", "weight_hh_l0", "bias_l0")
        )
        program.op(Op.LSTM, source=h, target=target, weight=weight, recurrent=recurrent, bias=bias)
        h = target
    keys = program.linear(h, f"{name}.keys", activation=TANH)
    summary = program.value(PER_ITEM, 2 * config.width + (config.input_width if config.hidden else 0))
    vector = program.tensor(f"{name}.attention")
    program.op(Op.ATTENTION_POOL, source=h, keys=keys, weight=vector, target=summary, column=0)
    program.op(Op.LAST, source=h, target=summary, column=config.width)
    if config.hidden:
        program.op(Op.LAST, source=program.source, target=summary, column=2 * config.width)
        first = program.linear(summary, f"{name}.first", activation=GELU)
        summary = program.linear(first, f"{name}.second", activation=GELU, residual=first)
    return program.linear(summary, f"{name}.head", residual=total)


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
        for name in [name for name in tensors if name.endswith(".bias_ih_l0")]:
            base = name.removesuffix("bias_ih_l0")
            tensors[f"{base}bias_l0"] = tensors.pop(name) + tensors.pop(f"{base}bias_hh_l0")
        for name in [name for name in tensors if ".head." in name]:  # the engine sums what the network averages
            tensors[name] = tensors[name] / np.float32(config.members)
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
    # Optimization has no token axis: one row per item.
    program = _Lowering(tensors, getattr(module.config, "max_tokens", 1))
    _LOWER[network](program, module.config)
    config = nets.config_dict(module)
    if network == "coordination":
        config["scale_attention"] = True  # folded into the weights by _tensors
    return ModelFile(network, config, program.words(), program.tensors, dict(tensors))


def save(
    module: nn.Module,
    path: str | Path,
    precision: str = "fp32",
    *,
    calibration: NDArray[np.float32] | None = None,
    metadata: Mapping[str, Any] | None = None,
) -> None:
    """Write a network of :mod:`claude_flow.nets` as a model file that :func:`claude_flow.load` runs without torch.

    ``precision``: ``"fp32"``, or ``"fp16"`` to store the weights in half precision (they are widened at load, so
    the file halves and the arithmetic stays fp32), or ``"int8"`` for 8-bit arithmetic; ``calibration``, a
    representative batch of inputs, then fixes the activations' ranges (:func:`claude_flow.quantize.quantize`).
    ``metadata`` may give the file's ``features``, ``calibration`` and ``provenance`` (see :class:`ModelFile`). Raises
    :class:`InputError` for another module or precision.

    >>> import tempfile, torch, claude_flow as cf
    >>> from claude_flow import export, nets
    >>> net = nets.OptimizationNet(nets.OptimizationConfig(hidden=(32,))).eval()
    >>> path = tempfile.mkdtemp() + "/m.safetensors"
    >>> export.save(net, path)
    >>> x = torch.randn(2, 256)
    >>> bool(np.allclose(cf.load(path).run(x.numpy()), net(x).detach(), atol=1e-5))
    True
    """
    if precision not in ("fp32", "fp16", "int8"):
        raise InputError(f"precision {precision!r}: export writes 'fp32', 'fp16' or 'int8'")
    if calibration is not None and precision != "int8":
        raise InputError(f"calibration inputs are for precision 'int8', not {precision!r}")
    model = lower(module)
    if precision == "int8":
        model = quantize(model, calibration)
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
    state = dequantize(model)
    for name in [name for name in state if name.endswith(".bias_l0")]:
        bias = state.pop(name)
        state[name.replace("bias_l0", "bias_ih_l0")] = bias
        state[name.replace("bias_l0", "bias_hh_l0")] = np.zeros_like(bias)
    if model.network == "prediction":
        for name in [name for name in state if ".head." in name]:
            state[name] = state[name] * np.float32(model.config["members"])
    try:
        module.load_state_dict({name: torch.from_numpy(np.array(t)) for name, t in state.items()})
    except RuntimeError as error:
        raise InputError(f"the tensors do not fit the network's configuration: {str(error).splitlines()[-1]}") from None
    return module.eval()
