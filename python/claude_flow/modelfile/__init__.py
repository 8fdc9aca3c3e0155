"""Model files: what one holds, and everything that reads or rewrites it without running it.

``ops``, the list of ops; ``program``, the op list of a model as a structure; ``file``, what a model file holds, and
``container``, how it lies on disk; ``layout``, weights in the order of an instruction set; ``fuse``, products as one or
apart; ``quantize``, models of 8 and 4 bits, and ``ranges``, which interval of an activation they cover; ``probe``, a
model up to one of its values.
"""

from claude_flow.modelfile.container import FORMAT, encoded, mapped, read, write
from claude_flow.modelfile.file import ModelFile
from claude_flow.modelfile.ops import ABSENT, Activation, Op
from claude_flow.modelfile.program import PER_ITEM, PER_TOKEN, Program

__all__ = [
    "ABSENT",
    "FORMAT",
    "PER_ITEM",
    "PER_TOKEN",
    "Activation",
    "ModelFile",
    "Op",
    "Program",
    "encoded",
    "mapped",
    "read",
    "write",
]
