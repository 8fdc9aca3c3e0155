"""What stands for data here: which environment, world and reward. Nothing is learned from logs."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from claude_flow import schema
from claude_flow.data import manifest
from claude_flow.environments import REWARDS, WORLDS
from claude_flow.environments.rules import RULES, play
from claude_flow.environments.swarm import Swarm
from claude_flow.errors import InputError
from claude_flow.files import atomic_write
from claude_flow.networks.coordination import prepare as coordination

__all__ = ["asked", "preprocess", "read_manifest", "requests", "suite"]

_FIELDS: dict[str, schema.Kind] = {
    "environment": schema.Choice("swarm-coordination-env"),
    "world": schema.Choice(*WORLDS),
    "reward": schema.Choice(*REWARDS),
    "episodes": schema.Whole(1, 1_000_000),
    "judged": schema.Whole(1, 10_000),
}


def preprocess(tables: Path | None, folder: Path, options: Mapping[str, Any]) -> dict[str, Any]:
    """Write the manifest of an environment; refused for tables, since no log says what else would have come of it."""
    if tables is not None:
        raise InputError("it learns by acting, not from a log: claude-flow neural train reinforcement")
    found = {
        "format": 1,
        "kind": "tensors",
        "network": "action",
        "environment": "swarm-coordination-env",
        "world": options.get("world", "simulated"),
        "reward": options.get("reward", "efficiency-improvement"),
        "episodes": options.get("episodes", 100),
        "judged": options.get("judged", 20),
    }
    atomic_write(folder / "manifest.json", json.dumps(found, indent=1) + "\n")
    return found


def read_manifest(folder: Path) -> dict[str, Any]:
    """The settings that a manifest holds."""
    found = manifest.read(folder, "tensors", _FIELDS, "action")
    return {name: found[name] for name in _FIELDS if name != "environment"}


def suite(folder: Path, seed: int, share: float) -> tuple[Path | None, dict[str, Any]]:
    """The standard suite: 20 episodes of the test part, fewer for a share of it."""
    return None, {"judged": max(3, round(20 * share))}


def requests(count: int, seed: int) -> Iterator[dict[str, Any]]:
    """Swarms at moments of simulated episodes, one each."""
    for i in range(count):
        swarm, steps = Swarm(WORLDS["simulated"], seed + i), i % 20
        for _ in range(steps):
            if swarm.over:
                break
            swarm.step(RULES["shortest-first"](swarm))
        while not swarm.ready:
            swarm = play(RULES["least-loaded"], "simulated", seed + i, most=1)
        yield swarm.request()


def asked(runs: Sequence[Mapping[str, Any]]) -> Iterator[tuple[list[int], dict[str, Any], int]]:
    """The requests that the runs of a log stand for: those to coordination."""
    return coordination.asked(runs)
