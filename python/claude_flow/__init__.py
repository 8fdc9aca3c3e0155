"""Small neural networks that run a swarm of coding agents: coordination, optimization, prediction.

>>> import claude_flow as cf
>>> sorted(cf.__all__)
['Model', 'Pipeline', '__version__', 'engine', 'export', 'load', 'nets', 'ops', 'serve']
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from claude_flow import engine, export, nets, ops
    from claude_flow.model import Model, load
    from claude_flow.networks.action.answer import Pipeline
    from claude_flow.run.serve import serve

__version__ = "2.0.0"
__all__ = ["Model", "Pipeline", "__version__", "engine", "export", "load", "nets", "ops", "serve"]

# Attributes load on first use (PEP 562), so that importing the package costs no NumPy and never torch.
_LAZY = {
    "Model": "claude_flow.model",
    "Pipeline": "claude_flow.networks.action.answer",
    "load": "claude_flow.model",
    "serve": "claude_flow.run.serve",
}


def __getattr__(name: str) -> Any:
    if name in _LAZY:
        value = getattr(import_module(_LAZY[name]), name)
    elif name in __all__:
        value = import_module(f"claude_flow.{name}")
    else:
        raise AttributeError(f"module 'claude_flow' has no attribute {name!r}")
    globals()[name] = value
    return value
