"""The native inference engine: which instruction sets run here, and the model that executes an op list.

A program (the op list of a model file, see docs/model_format.md) and its tensors become a `Model`: everything
is checked, copied and prepacked once, and `run` allocates nothing but its result.

>>> import numpy as np
>>> program = np.array([1, 2, 1, 0, 1, 1,  0, 3, 0, 2,  1, 7, 0, 1, 0, 0, -1, -1, 1], np.int32)
>>> weight = np.array([[1, 0, 0], [0, -1, 0]], np.float32)
>>> Model(program, [weight]).run(np.array([[4, 5, 6]], np.float32))  # relu(x W^T)
array([[4., 0.]], dtype=float32)
"""

from claude_flow._core import Model, available, selected

__all__ = ["Model", "available", "isa"]


def isa() -> str:
    """The instruction set that `isa="auto"` takes: the best of `available()`, or what CLAUDE_FLOW_ISA names.

    Raises ValueError when CLAUDE_FLOW_ISA names one that this CPU or this build lacks.

    >>> isa() in available()
    True
    """
    return selected()
