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
from claude_flow.lowering import Lowering
from claude_flow.modelfile import ModelFile, ranges, write
from claude_flow.modelfile.quantize import dequantize, products, quantize

if TYPE_CHECKING:
    from torch import nn

__all__ = ["from_file", "lower", "save"]


def lower(module: nn.Module) -> ModelFile:
    """Lower a network of :mod:`claude_flow.nets` to a :class:`ModelFile` in memory.

    Raises :class:`InputError` for any other module.
    """
    from claude_flow import nets, networks

    row = next((row for row in networks.NETWORKS.values() if type(module) is row.net.Net), None)
    if row is None:
        known = ", ".join(row.net.Net.__name__ for row in networks.NETWORKS.values())
        raise InputError(f"cannot export a {type(module).__name__}: this package exports {known}")
    state = {name: t.detach().cpu().float().numpy() for name, t in module.state_dict().items()}
    tensors, config = row.net.stored(state, module.config)
    # A network without a token axis has one row per item.
    program = Lowering(tensors, getattr(config, "max_tokens", 1))
    row.net.lower(program, config)
    return ModelFile(row.name, nets.config_dict(config), program.words(), program.tensors, dict(tensors))


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
    the file halves and the arithmetic stays fp32), or ``"int8"`` or ``"int4"`` for arithmetic on integers;
    ``calibration``, a representative batch of inputs, then fixes the ranges of those activations that one range serves
    at every length (:func:`claude_flow.modelfile.ranges.static`).
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
    if precision not in ("fp32", "fp16", "int8", "int4"):
        raise InputError(f"precision {precision!r}: export writes 'fp32', 'fp16', 'int8' or 'int4'")
    if calibration is not None and precision not in ("int8", "int4"):
        raise InputError(f"calibration inputs are for precision 'int8' or 'int4', not {precision!r}")
    model = lower(module)
    if calibration is not None and not (len(calibration) and np.isfinite(calibration).all()):
        raise InputError("calibration: inputs that are finite numbers expected, of one item or more")
    if precision in ("int8", "int4"):
        found = None if calibration is None else ranges.static(model, [(calibration, None)])
        model = quantize(model, found, four=products(model) if precision == "int4" else ())
    if precision == "fp16":
        model.tensors = {name: half(name, t) for name, t in model.tensors.items()}
    for name, value in (metadata or {}).items():
        if name not in ("features", "calibration", "provenance"):
            raise InputError(f"metadata field {name!r}: a model file takes features, calibration and provenance")
        setattr(model, name, dict(value))
    write(path, model)


def half(name: str, tensor: NDArray[Any]) -> NDArray[Any]:
    """A tensor in half precision; :class:`InputError` for one with larger numbers than it holds."""
    if np.abs(tensor).max(initial=0.0) > np.finfo(np.float16).max:
        raise InputError(f"tensor {name!r} exceeds the range of half precision; save it as fp32")
    return tensor.astype(np.float16)


def from_file(model: ModelFile) -> nn.Module:
    """The torch module of a model file, in evaluation mode: the reference that the engine is compared with."""
    import torch

    from claude_flow import networks

    row = networks.get(model.network)
    module: nn.Module = row.net.Net(row.config(model.config))
    state = row.net.restored(dequantize(model), module.config)
    try:
        module.load_state_dict({name: torch.from_numpy(np.array(t)) for name, t in state.items()})
    except RuntimeError as error:
        raise InputError(f"the tensors do not fit the network's configuration: {str(error).splitlines()[-1]}") from None
    return module.eval()
