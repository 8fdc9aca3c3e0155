"""The networks as torch modules; the engine runs the same ones from a model file.

>>> import torch
>>> from claude_flow import nets
>>> nets.OptimizationNet().eval()(torch.zeros(3, 256)).shape
torch.Size([3, 128])
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

from claude_flow.errors import require

require("torch", "train")
import torch

from claude_flow import networks
from claude_flow.networks.coordination.config import CoordinationConfig
from claude_flow.networks.coordination.net import CoordinationNet
from claude_flow.networks.optimization.config import OptimizationConfig
from claude_flow.networks.optimization.net import OptimizationNet
from claude_flow.networks.prediction.config import PredictionConfig
from claude_flow.networks.prediction.net import PredictionNet

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
    name: (row.net.Net, row.part("config").Config) for name, row in networks.NETWORKS.items()
}


def create(network: str, config: Mapping[str, Any] | None = None) -> torch.nn.Module:
    """Build a network from its name and a plain dictionary of configuration fields (defaults: the spec's sizes).

    Raises :class:`claude_flow.errors.InputError` for an unknown network, an unknown field or sizes that do not fit
    together.

    >>> create("coordination", {"width": 64, "heads": 4, "feed_forward": [64, 128]}).config.width
    64
    """
    row = networks.get(network)
    return row.net.Net(row.config(dict(config or {})))  # type: ignore[no-any-return]


def config_dict(module: Any) -> dict[str, Any]:
    """The configuration of a network of this package, or one by itself, as JSON-ready values; :func:`create` reads
    them."""
    config: Any = module.config if isinstance(module, torch.nn.Module) else module
    return {name: list(v) if isinstance(v, tuple) else v for name, v in asdict(config).items()}
