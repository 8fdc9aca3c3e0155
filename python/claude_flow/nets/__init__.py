"""The networks as torch modules; the engine runs the same ones from a model file.

>>> import torch
>>> from claude_flow import nets
>>> nets.OptimizationNet().eval()(torch.zeros(3, 256)).shape
torch.Size([3, 128])
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, fields
from typing import Any

from claude_flow.errors import InputError, MissingExtra

try:
    import torch
except ImportError as error:
    raise MissingExtra("torch", "train") from error

from claude_flow.nets.coordination import CoordinationConfig, CoordinationNet
from claude_flow.nets.optimization import OptimizationConfig, OptimizationNet
from claude_flow.nets.prediction import PredictionConfig, PredictionNet

__all__ = [
    "NETWORKS",
    "CoordinationConfig",
    "CoordinationNet",
    "OptimizationConfig",
    "OptimizationNet",
    "PredictionConfig",
    "PredictionNet",
    "config_dict",
    "create",
]

#: network name -> (module class, configuration class)
NETWORKS: dict[str, tuple[Any, Any]] = {
    "coordination": (CoordinationNet, CoordinationConfig),
    "optimization": (OptimizationNet, OptimizationConfig),
    "prediction": (PredictionNet, PredictionConfig),
}


def create(network: str, config: Mapping[str, Any] | None = None) -> torch.nn.Module:
    """Build a network from its name and a plain dictionary of configuration fields (defaults: the spec's sizes).

    Raises :class:`InputError` for an unknown network, an unknown field or sizes that do not fit together.

    >>> create("coordination", {"width": 64, "heads": 4, "feed_forward": [64, 128]}).config.width
    64
    """
    if network not in NETWORKS:
        raise InputError(f"unknown network {network!r}: it is one of {', '.join(NETWORKS)}")
    module_class, config_class = NETWORKS[network]
    known = {field.name for field in fields(config_class)}
    config = dict(config or {})
    unknown = sorted(set(config) - known)
    if unknown:
        raise InputError(f"network.{unknown[0]}: no such field of {network}; it has {', '.join(sorted(known))}")
    values = {name: tuple(v) if isinstance(v, list) else v for name, v in config.items()}
    return module_class(config_class(**values))  # type: ignore[no-any-return]


def config_dict(module: torch.nn.Module) -> dict[str, Any]:
    """The configuration of a network of this package as JSON-ready values: the inverse of :func:`create`."""
    return {name: list(v) if isinstance(v, tuple) else v for name, v in asdict(module.config).items()}  # type: ignore[call-overload]
