"""Coordination: a transformer encoder over one state token, the agents and the tasks (spec: "Coordination Network")."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional

from claude_flow.lowering import GELU, Lowering
from claude_flow.modelfile import PER_TOKEN, Op
from claude_flow.networks.coordination.config import CoordinationConfig

__all__ = ["CoordinationNet", "Net", "layers", "lower", "restored", "stored"]


class _Block(nn.Module):
    """Pre-norm encoder block: x + attention(norm(x)), then x + ff(norm(x))."""

    def __init__(self, config: CoordinationConfig, index: int) -> None:
        super().__init__()
        width, feed_forward = config.width, config.feed_forward[index]
        self.heads, self.head_width = config.heads_of(index), config.head_size
        self.scale = self.head_width**-0.5 if config.scale_attention else 1.0
        attended = self.heads * self.head_width
        self.attention_dropout = config.attention_dropout
        self.norm1 = nn.LayerNorm(width) if config.layer_norm else nn.Identity()
        self.qkv = nn.Linear(width, 3 * attended)
        self.projection = nn.Linear(attended, width)
        self.norm2 = nn.LayerNorm(width) if config.layer_norm else nn.Identity()
        self.up = nn.Linear(width, feed_forward)
        self.down = nn.Linear(feed_forward, width)
        self.dropout = nn.Dropout(config.dropout)

    def forward(self, x: Tensor, visible: Tensor | None) -> Tensor:
        batch, tokens, _ = x.shape
        qkv = self.qkv(self.norm1(x)).view(batch, tokens, 3, self.heads, self.head_width)
        q, k, v = qkv.permute(2, 0, 3, 1, 4).unbind(0)
        attended = functional.scaled_dot_product_attention(
            q,
            k,
            v,
            attn_mask=visible,
            dropout_p=self.attention_dropout if self.training else 0.0,
            scale=self.scale,
        )
        x = x + self.dropout(self.projection(attended.transpose(1, 2).flatten(2)))
        hidden = functional.gelu(self.up(self.norm2(x)))
        y: Tensor = x + self.dropout(self.down(hidden))
        return y


class CoordinationNet(nn.Module):
    """Token outputs for a swarm: ``[B, T, 512] -> [B, T, 256]``, one state token, then agents, then tasks.

    The pointer head is ``score(task, agent) = <out_task, out_agent> / sqrt(256)`` over the item's agents and the
    learned ``commands`` embeddings ``[commands, 256]``; :meth:`scores` computes it, and
    ``claude_flow.model.Model.decide`` does the same without torch. Without position embeddings the network treats
    agents and tasks as sets: their order changes nothing.

    Args of :meth:`forward`: ``x`` float32 ``[B, T, input_width]``; ``lengths`` int64 ``[B]``, real tokens per item
    (default: all). Outputs of padded tokens are 0.

    >>> net = CoordinationNet(CoordinationConfig(width=64, heads=4, feed_forward=(64,))).eval()
    >>> net(torch.zeros(2, 5, 512), torch.tensor([5, 3])).shape
    torch.Size([2, 5, 256])
    """

    def __init__(self, config: CoordinationConfig | None = None) -> None:
        super().__init__()
        self.config = config = config or CoordinationConfig()
        self.embedding = nn.Linear(config.input_width, config.width)
        self.blocks = nn.ModuleList(_Block(config, i) for i in range(len(config.feed_forward)))
        self.norm = nn.LayerNorm(config.width) if config.layer_norm else nn.Identity()
        self.head = nn.Linear(config.width, config.output_width)
        self.commands = nn.Parameter(torch.randn(len(config.commands), config.output_width) * 0.02)

    def forward(self, x: Tensor, lengths: Tensor | None = None) -> Tensor:
        visible = real = None
        if lengths is not None:
            real = torch.arange(x.shape[1], device=x.device) < lengths[:, None]
            visible = real[:, None, None, :]
        h = self.embedding(x)
        for block in self.blocks:
            h = block(h, visible)
        y: Tensor = self.head(self.norm(h))
        return y if real is None else y * real[:, :, None]

    def scores(self, y: Tensor, agents: Tensor, tasks: Tensor) -> Tensor:
        """Pointer scores ``[B, max(tasks), max(agents) + commands]`` from token outputs ``y`` ``[B, T, 256]``.

        ``agents`` and ``tasks`` int64 ``[B]`` count the item's tokens of each kind. Columns of absent agents are
        ``-inf``; rows of absent tasks are meaningless.
        """
        most_agents, most_tasks = int(agents.max()), int(tasks.max())
        rows = (1 + agents[:, None] + torch.arange(most_tasks, device=y.device)).clamp(max=y.shape[1] - 1)
        task_out = y.gather(1, rows[:, :, None].expand(-1, -1, y.shape[2]))
        scale = y.shape[2] ** -0.5
        agent_scores = task_out @ y[:, 1 : 1 + most_agents].transpose(1, 2) * scale
        absent = torch.arange(most_agents, device=y.device) >= agents[:, None]
        agent_scores = agent_scores.masked_fill(absent[:, None, :], float("-inf"))
        return torch.cat([agent_scores, task_out @ self.commands.T * scale], dim=2)


Net = CoordinationNet


def layers(config: Any) -> dict[str, list[str]]:
    """Layer name -> beginnings of its parameters' names, from the input to the output."""
    blocks = {f"attention-{i}": [f"blocks.{i}"] for i in range(len(config.feed_forward))}
    return {"embedding": ["embedding"], **blocks, "output": ["norm", "head", "commands"]}


def lower(program: Lowering, config: Any) -> None:
    """Write the ops of a network of this configuration."""
    program.source = program.value(PER_TOKEN, config.input_width)
    h = program.linear(program.source, "embedding")
    for i in range(len(config.feed_forward)):
        block = f"blocks.{i}"
        qkv = program.linear(program.layer_norm(h, f"{block}.norm1"), f"{block}.qkv")
        attended = program.value(PER_TOKEN, config.heads_of(i) * config.head_size)
        program.op(Op.ATTENTION, source=qkv, target=attended, heads=config.heads_of(i))
        h = program.linear(attended, f"{block}.projection", residual=h)
        up = program.linear(program.layer_norm(h, f"{block}.norm2"), f"{block}.up", activation=GELU)
        h = program.linear(up, f"{block}.down", residual=h)
    program.target = program.linear(program.layer_norm(h, "norm"), "head")


def stored(tensors: dict[str, NDArray[np.float32]], config: Any) -> tuple[dict[str, NDArray[np.float32]], Any]:
    """The tensors of the module as the ops take them, and the configuration that then holds."""
    if config.scale_attention:
        return tensors, config
    # The op always divides by sqrt(head width), so an unscaled network's queries are scaled up instead.
    for name in [name for name in tensors if ".qkv." in name]:
        tensors[name] = tensors[name].copy()
        tensors[name][: len(tensors[name]) // 3] *= np.float32(config.head_size**0.5)
    return tensors, replace(config, scale_attention=True)


def restored(tensors: dict[str, NDArray[np.float32]], config: Any) -> dict[str, NDArray[np.float32]]:
    """The module's tensors out of those of a model file: the inverse of :func:`stored`."""
    return tensors
