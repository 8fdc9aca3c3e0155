"""Call graphs as diagrams: drawn as text (DOT, Mermaid) and as a small picture."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from claude_flow.errors import InputError

__all__ = ["SIDE", "Graph", "call_graph", "parse", "raster"]

#: pixels of the picture's side
SIDE = 24
#: the most nodes of a diagram: what is called first stays
MOST = 24
_EDGE = re.compile(
    r"""(?P<a>"[^"]*"|[\w.]+)(?:\s*[\[({]+"?(?P<al>[^\])}"]*)"?[\])}]+)?\s*(?:-->|->|--)\s*(?:\|[^|]*\|\s*)?"""
    r"""(?P<b>"[^"]*"|[\w.]+)(?:\s*[\[({]+"?(?P<bl>[^\])}"]*)"?[\])}]+)?"""
)


@dataclass(frozen=True)
class Graph:
    """Labels of nodes, the root first, and edges between their indices."""

    nodes: tuple[str, ...]
    edges: tuple[tuple[int, int], ...]

    def dot(self) -> str:
        """The diagram in Graphviz's language.

        >>> Graph(("save", "open"), ((0, 1),)).dot()
        'digraph {"save"; "save" -> "open";}'
        """
        lines = [f'"{self.nodes[0]}";', *(f'"{self.nodes[a]}" -> "{self.nodes[b]}";' for a, b in self.edges)]
        return f"digraph {{{' '.join(lines)}}}"

    @property
    def depth(self) -> list[int]:
        """Steps from the root, per node; what no edge reaches lies at the bottom."""
        far = [0] + [-1] * (len(self.nodes) - 1)
        queue = [0]
        for node in queue:
            for a, b in self.edges:
                if a == node and far[b] < 0:
                    far[b] = far[a] + 1
                    queue.append(b)
        return [max(far) + 1 if d < 0 else d for d in far]


def call_graph(root: str, calls: Sequence[str], elsewhere: Iterable[tuple[str, Sequence[str]]] = ()) -> Graph:
    """What ``root`` calls, in order, and what those of them call of which ``elsewhere`` knows.

    >>> call_graph("save", ["open", "write"], [("write", ["flush"])]).edges
    ((0, 1), (0, 2), (2, 3))
    """
    nodes, edges = [root], []
    known = dict(elsewhere)

    def add(caller: str, names: Sequence[str]) -> None:
        for name in names:
            if name not in nodes:
                if len(nodes) == MOST:
                    continue
                nodes.append(name)
            edge = (nodes.index(caller), nodes.index(name))
            if edge not in edges:
                edges.append(edge)

    add(root, calls)
    for name in list(nodes[1:]):
        add(name, known.get(name, ()))
    return Graph(tuple(nodes), tuple(edges))


def parse(text: str) -> Graph:
    """A diagram from DOT or Mermaid text: its edges, and the root alone where it has none.

    >>> parse("flowchart TD; a[save] --> b[open]").nodes
    ('save', 'open')
    >>> parse('digraph {"save"; "save" -> "open";}').edges
    ((0, 1),)

    Raises:
        InputError: neither an edge nor a node is in it.
    """
    nodes: list[str] = []
    labels: dict[str, str] = {}
    edges: list[tuple[int, int]] = []
    first = re.search(r'\{\s*"([^"]+)"\s*;', text)
    if first:
        nodes.append(first[1])
    for line in re.split(r"[;\n]", text):
        start = 0
        while match := _EDGE.search(line, start):
            ends = []
            for name, label in (("a", "al"), ("b", "bl")):
                key = match[name].strip('"')
                labels.setdefault(key, match[label] or key)
                if labels[key] not in nodes:
                    nodes.append(labels[key])
                ends.append(nodes.index(labels[key]))
            if (edge := (ends[0], ends[1])) not in edges:
                edges.append(edge)
            start = match.start("b")  # a -> b -> c
    if not nodes:
        raise InputError("no edge such as  a -> b  is in the diagram: give DOT or Mermaid text")
    if len(nodes) > MOST:
        nodes, edges = nodes[:MOST], [e for e in edges if max(e) < MOST]
    return Graph(tuple(nodes), tuple(edges))


def raster(graph: Graph) -> NDArray[np.float32]:
    """The diagram without its labels as a picture [SIDE, SIDE] of 0 … 1: a row of boxes per depth, lines between them.

    A box is as wide as its label is long, so the picture keeps the shape of what a renderer draws.

    >>> raster(Graph(("a", "b"), ((0, 1),))).shape
    (24, 24)
    """
    picture = np.zeros((SIDE, SIDE), np.float32)
    depth = graph.depth
    rows = max(depth) + 1
    middles = {}
    for row in range(rows):
        members = [node for node, d in enumerate(depth) if d == row]
        for place, node in enumerate(members):
            middles[node] = ((row + 0.5) * SIDE / rows, (place + 0.5) * SIDE / len(members), len(members))
    for a, b in graph.edges:
        steps = np.linspace(0, 1, 2 * SIDE)
        ys = middles[a][0] + steps * (middles[b][0] - middles[a][0])
        xs = middles[a][1] + steps * (middles[b][1] - middles[a][1])
        picture[ys.astype(int), xs.astype(int)] = 0.5
    for node, (y, x, among) in middles.items():
        half = min(SIDE / among / 2 - 0.5, 0.5 + len(graph.nodes[node]) / 8)
        left, right = int(max(0, x - max(half, 0))), int(min(SIDE - 1, x + max(half, 0)))
        picture[int(y), left : right + 1] = 1.0
    return picture
