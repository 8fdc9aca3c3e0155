"""What people call the inputs of a coordination network."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

__all__ = ["tokens"]


def tokens(batch: Mapping[str, Any], item: int) -> list[str]:
    """Names of the tokens of an item of a training batch, in their order."""
    agents, tasks = int(batch["agents"][item]), int(batch["tasks"][item])
    return ["state", *(f"agent {i + 1}" for i in range(agents)), *(f"task {i + 1}" for i in range(tasks))]
