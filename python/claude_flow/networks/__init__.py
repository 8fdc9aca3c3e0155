"""THE list of networks. Whoever needs to know something about a network asks its row.

>>> from claude_flow import networks
>>> [row.name for row in networks.NETWORKS.values()]
['coordination', 'optimization', 'prediction', 'action']
>>> networks.get("coordination").architecture
'transformer'
"""

from __future__ import annotations

import re

from claude_flow.errors import InputError
from claude_flow.networks.network import Network, Option
from claude_flow.values import did_you_mean

__all__ = ["NETWORKS", "Network", "Option", "family", "get"]

_TRAIN_COORDINATION = """\
claude-flow neural train coordination \\
  --config "coordination-training-config.json" \\
  --data "preprocessed-coordination-data" \\
  --validation-split 0.2 \\
  --checkpoint-interval 10 \\
  --tensorboard-logging true \\
  --distributed-training auto"""

#: name -> row; docs/contributing/add_a_network.md says what a new one needs
NETWORKS: dict[str, Network] = {
    row.name: row
    for row in (
        Network(
            "coordination",
            "claude_flow.networks.coordination",
            question="which agent should take which task",
            tool="coordinate",
            architecture="transformer",
            train_examples=(
                _TRAIN_COORDINATION,
                "claude-flow neural train coordination --time-budget 60s --output coordination-v3",
            ),
            training_fields=frozenset(
                {
                    "regularization.label-smoothing",
                    "regularization.layer-norm",
                    "attention-config.num-heads",
                    "attention-config.attention-dropout",
                    "attention-config.scale-attention",
                }
            ),
            has_head=True,
        ),
        Network(
            "optimization",
            "claude_flow.networks.optimization",
            question="what to change to remove the bottleneck",
            tool="optimize",
            architecture="residual-feedforward",
            train_examples=(
                "claude-flow neural train optimization --data preprocessed-optimization-data --time-budget 5m",
                "claude-flow neural train optimization --find-learning-rate",
            ),
            simulates=True,
        ),
        Network(
            "prediction",
            "claude_flow.networks.prediction",
            question="when a task will be done, and how sure that is",
            tool="predict",
            architecture="lstm-attention",
            train_examples=(
                "claude-flow neural train prediction --seed 1 --time-budget 5m",
                "claude-flow neural train prediction --resume",
            ),
        ),
        Network(
            "action",
            "claude_flow.networks.action",
            question="what to do now: who takes which task, and how the swarm should change",
            tool="act",
            architecture="dueling-q-network",
            train_examples=("claude-flow neural train action --data my-environment --time-budget 5m",),
        ),
    )
}


_FAMILY = re.compile(r"(.+)-v\d+")


def family(model: str) -> str:
    """The family of a model's name: coordination of coordination-v3; another name is its own.

    >>> family("coordination-v3"), family("mine-v3"), family("coordination/3.1.0")
    ('coordination', 'mine-v3', 'coordination')
    """
    name = model.partition("/")[0]
    match = _FAMILY.fullmatch(name)
    return match.group(1) if match and match.group(1) in NETWORKS else name


def get(name: str) -> Network:
    """The row of the network ``name``; :class:`InputError` with near matches for an unknown one.

    >>> get("coordinatoin")
    Traceback (most recent call last):
    ...
    claude_flow.errors.InputError: unknown network 'coordinatoin': did you mean coordination?
    """
    if name not in NETWORKS:
        raise InputError(
            f"unknown network {name!r}{did_you_mean(name, NETWORKS) or ': it is one of ' + ', '.join(NETWORKS)}"
        )
    return NETWORKS[name]
