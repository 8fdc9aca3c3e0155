"""What a run starts from: what tells its data from another's, its first weights, and what of them is trained."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from pathlib import Path

from torch import Tensor, nn

from claude_flow.errors import InputError
from claude_flow.train.learnable import Learnable

__all__ = ["begin_with", "data_hash", "fingerprint", "shares", "weights_hash"]


def data_hash(path: Path) -> str:
    """SHA-256 over the names and contents of a preprocessed data set."""
    digest = hashlib.sha256()
    for file in sorted(p for p in path.rglob("*") if p.is_file()):
        digest.update(file.relative_to(path).as_posix().encode() + b"\0")
        content = hashlib.sha256()
        with file.open("rb") as stream:
            while part := stream.read(1 << 20):
                content.update(part)
        digest.update(content.digest())
    return digest.hexdigest()


def fingerprint(data: Path | Learnable) -> str:
    """What tells one run's data from another's."""
    return data_hash(data) if isinstance(data, Path) else str(getattr(data, "fingerprint", type(data).__name__))


def begin_with(module: nn.Module, start: Mapping[str, Tensor]) -> None:
    """Copy ``start`` into the module; :class:`InputError` for a name or a shape that it does not have."""
    own = module.state_dict()
    for name, tensor in start.items():
        if name not in own:
            raise InputError(f"the weights to start from have {name!r}, which this network lacks")
        if own[name].shape != tensor.shape:
            shapes = f"{list(tensor.shape)}, not {list(own[name].shape)}"
            raise InputError(f"the weights to start from do not fit this network: {name} is {shapes}")
    module.load_state_dict({**own, **start})


def shares(module: nn.Module, trainable: Mapping[str, float] | None) -> dict[str, float] | None:
    """Parameter name -> multiple of the learning rate; freezes what has none."""
    if trainable is None:
        return None
    found: dict[str, float] = {}
    for name, parameter in module.named_parameters():
        fits = [prefix for prefix in trainable if name == prefix or name.startswith(f"{prefix}.")]
        found[name] = trainable[max(fits, key=len)] if fits else 0.0
        parameter.requires_grad_(found[name] > 0)
    if not any(found.values()):
        raise InputError(f"nothing is left to train: no parameter begins with {', '.join(trainable) or 'anything'}")
    return found


def weights_hash(weights: Mapping[str, Tensor]) -> str:
    digest = hashlib.sha256()
    for name in sorted(weights):
        digest.update(name.encode() + b"\0" + weights[name].detach().cpu().contiguous().numpy().tobytes())
    return digest.hexdigest()
