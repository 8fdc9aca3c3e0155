"""Losses that pull together what belongs together and push apart what does not."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

__all__ = ["LOSSES", "Batch", "alignment"]

Batch = dict[str, Tensor]
LOSSES = ("contrastive", "triplet")
_MARGIN = 0.2


def alignment(kind: str, similar: Tensor, scale: Tensor) -> Tensor:
    """The loss of similarities [B, B] of which the diagonal's belong together.

    ``contrastive``: the cross entropy of finding each row's partner among all, both ways, with similarities times
    ``scale``. ``triplet``: by how much the nearest wrong row of the batch comes within a margin of .2 of the right one.

    >>> float(alignment("triplet", torch.eye(4), torch.tensor(1.0)))
    0.0
    """
    if kind == "triplet":
        right = similar.diagonal()
        wrong = similar - 2 * torch.eye(len(similar), device=similar.device)
        worst = torch.stack([wrong.max(dim=1).values, wrong.max(dim=0).values])
        return F.relu(_MARGIN + worst - right).mean()
    target = torch.arange(len(similar), device=similar.device)
    return (F.cross_entropy(scale * similar, target) + F.cross_entropy(scale * similar.T, target)) / 2
