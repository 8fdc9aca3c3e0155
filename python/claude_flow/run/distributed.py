"""A file of requests answered by many nodes: placed, checked against each other, and every one answered once."""

from __future__ import annotations

import contextlib
import itertools
import json
import time
from collections import Counter, deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timezone
from pathlib import Path
from statistics import fmean
from typing import Any

from claude_flow import engine, networks, registry
from claude_flow.errors import ClaudeFlowError, InputError
from claude_flow.run import balance, batch
from claude_flow.run.batch import Item, Summary
from claude_flow.run.cluster import Cluster, Lost
from claude_flow.run.worker import Worker, digests

__all__ = ["AGGREGATIONS", "FAULT_TOLERANCE", "Node", "Progress", "answer_file"]

FAULT_TOLERANCE = ("redundant-processing", "retry")
AGGREGATIONS = ("majority-vote", "mean", "first")
_HERE = "this process"  # the third opinion where the nodes have none
_QUEUED = 2  # shards that a node has: one that it answers, one that waits, so that it never idles
_AHEAD = 4  # shards per node that are read before the oldest is written: the bound of memory
_RESTARTS = 5
_DEATHS = 2  # of nodes that answered a shard, after which its requests are tried one by one, and then given up
_START_S = 120.0


@dataclass
class Node:
    """A node, and what became of what it was given. ``state``: answering, lost, or outvoted."""

    name: str
    state: str = "answering"
    host: str = ""
    pid: int | None = None
    isa: str = ""
    shards: int = 0
    requests: int = 0
    busy_seconds: float = 0.0
    restarts: int = 0
    outvoted: int = 0
    disagreed: int = 0
    why: str = ""
    handle: Any = field(default=None, repr=False)
    queue: deque[tuple[Any, _Shard, float]] = field(default_factory=deque, repr=False)  # oldest first

    def has_room(self, shard: _Shard) -> bool:
        """Whether it may be given the shard now."""
        if shard.is_suspect or any(other.is_suspect for _, other, _ in self.queue):
            return not self.queue
        return len(self.queue) < _QUEUED

    def about(self) -> dict[str, Any]:
        """What there is to say of it."""
        hidden = ("handle", "queue")
        found = {name: value for name, value in vars(self).items() if name not in hidden}
        rate = self.requests / self.busy_seconds if self.busy_seconds else None
        return {**found, "busy_seconds": round(self.busy_seconds, 4), "requests_per_second": rate}


@dataclass(eq=False)
class _Shard:
    """Lines that travel together; ``begin`` counts lines of the file. ``copies``: answers by node, as they came."""

    begin: int
    items: list[Item]
    copies: dict[str, list[bytes]] = field(default_factory=dict)
    sent: set[str] = field(default_factory=set)
    deaths: int = 0
    is_suspect: bool = False  # it travels alone: an answer that a dying node had just sent may be lost with it
    is_settled: bool = False


@dataclass
class Progress:
    """How far it is: what was written, and every node."""

    summary: Summary
    nodes: list[dict[str, Any]]


def answer_file(
    source: Path,
    target: Path,
    cluster: Cluster,
    models: Sequence[str] = (),
    *,
    load_balancing: str = "neural-weighted",
    fault_tolerance: str = "redundant-processing",
    aggregation: str = "majority-vote",
    batch_size: int = 64,
    resume: bool = False,
    patience: float = 300.0,
    options: dict[str, Any] | None = None,
) -> Iterator[Progress]:
    """Answer ``source`` into ``target`` as :func:`claude_flow.run.batch.answer_file`, on the nodes of ``cluster``,
    which this enters and leaves.

    Every request is answered exactly once, in the order of the file, whatever nodes are lost: this process alone
    writes, and a shard of ``batch_size`` lines that a node did not bring back goes to another. With ``retry`` one
    node answers a shard. With ``redundant-processing`` two do, and their answers are compared byte by byte; where
    they differ a third node, or this process, is asked:

    * ``majority-vote``: what most of them say is the answer, and a node that said otherwise gets no more work;
    * ``mean``: the same, with the mean of all their numbers as the answer;
    * ``first``: the answer that came first counts; a difference is only counted.

    All nodes run the best instruction set that they share, so equal models give equal bits. A node whose process ends,
    or that holds a shard for longer than ``patience`` seconds, is started anew, five times at most. A request at
    which two nodes ended gets an error record.

    Yields:
        Progress: now and then, and at the end.

    Raises:
        InputError: a file that cannot be read, a model that nodes lack or have otherwise, one node for two answers.
        ClaudeFlowError: no node is left.
    """
    run = _Run(cluster, models, load_balancing, fault_tolerance, aggregation, batch_size, patience, options or {})
    done = run.summary.resumed = batch.answered(target) if resume else 0
    items = itertools.islice(batch.lines(source), done, None)
    first = next(items, None)  # a file that cannot be read starts no node
    with cluster:
        try:
            run.start()
            with batch.written(target, resume) as out:
                yield from run.answer(str(source), itertools.chain([] if first is None else [first], items), out.write)
                out.flush()
        finally:
            run.end()
    yield run.progress()


class _Run:
    def __init__(
        self,
        cluster: Cluster,
        models: Sequence[str],
        load_balancing: str,
        fault_tolerance: str,
        aggregation: str,
        batch_size: int,
        patience: float,
        options: dict[str, Any],
    ) -> None:
        self.summary = Summary()
        self._cluster, self._options = cluster, options
        self._models = list(models) or _newest()
        self._digests = digests(self._models)
        self._nodes = {name: Node(name) for name in cluster.names}
        self._balance = balance.STRATEGIES[load_balancing](cluster.names)
        self._copies = 2 if fault_tolerance == "redundant-processing" else 1
        if self._copies > len(self._nodes):
            raise InputError("redundant-processing compares the answers of two nodes: name two or more, or take retry")
        self._aggregation = aggregation
        self._size = batch_size
        self._patience = patience
        now = datetime.now(timezone.utc).isoformat(timespec="seconds")
        self._moment = now.replace("+00:00", "Z")  # one for all nodes, or copies could not be equal
        self._waiting: deque[_Shard] = deque()
        self._ready: dict[int, list[bytes]] = {}  # by the first line's count
        self._written = 0
        self._here: Worker | None = None

    # Nodes -----------------------------------------------------------------------------------------------

    def start(self) -> None:
        """Start a worker on every node, and give all the same models and the same arithmetic."""
        for node in self._nodes.values():
            node.handle = self._cluster.start(node.name)
        abouts = [(node, node.handle.about.remote(self._models)) for node in self._nodes.values()]
        shared = set(engine.available())
        for node, reference in abouts:
            try:
                about = self._cluster.get(reference, _START_S)
            except Lost as error:
                node.state, node.why = "lost", str(error)
                continue
            except InputError as error:
                raise InputError(f"{node.name}: {error}") from None
            node.host, node.pid = about["host"], about["pid"]
            shared &= set(about["isas"])
            other = [name for name, digest in self._digests.items() if about["models"][name] != digest]
            if other:
                raise InputError(f"{node.name} has another {other[0]} than this machine: copy the model there")
        best = [isa for isa in engine.available() if isa in shared][-1]
        self._options = {"isa": best, **self._options}
        for node in self._alive():
            node.isa = best
        for reference in [self._load(node) for node in self._alive()]:
            self._cluster.get(reference, _START_S)
        if not self._alive():
            raise ClaudeFlowError(f"no node started: {next(iter(self._nodes.values())).why}")

    def _load(self, node: Node) -> Any:
        return node.handle.load.remote(self._models, self._moment, self._options)

    def _alive(self) -> list[Node]:
        return [node for node in self._nodes.values() if node.state == "answering"]

    def end(self) -> None:
        """Stop every worker."""
        for node in self._nodes.values():
            if node.handle is not None:
                self._cluster.stop(node.handle)

    def progress(self) -> Progress:
        """How far it is."""
        return Progress(
            self.summary, [{**node.about(), **self._balance.about(node.name)} for node in self._nodes.values()]
        )

    # The loop ---------------------------------------------------------------------------------------------

    def answer(self, where: str, items: Iterator[Item], write: Callable[[bytes], object]) -> Iterator[Progress]:
        """Read, place, collect and write until every line is answered."""
        self._where = where
        head = list(itertools.islice(items, self._size * len(self._nodes)))
        if len(head) < self._size * len(self._nodes):  # a short file: something for every node
            self._size = max(1, -(-len(head) // len(self._nodes)))
        items = itertools.chain(head, items)
        read, is_over, told = 0, False, time.monotonic()
        while True:
            while not is_over and read - self._written < _AHEAD * self._size * len(self._nodes):
                lines = list(itertools.islice(items, self._size))
                is_over = len(lines) < self._size
                if lines:
                    self._waiting.append(_Shard(read, lines))
                    read += len(lines)
            self._place()
            self._collect()
            self._write(write)
            if is_over and self._written == read and not any(node.queue for node in self._alive()):
                return
            if time.monotonic() - told > 0.25:
                told = time.monotonic()
                yield self.progress()

    def _place(self) -> None:
        """Send waiting shards to nodes that have room for them."""
        again: deque[_Shard] = deque()
        while self._waiting:
            shard = self._waiting.popleft()
            alive = self._alive()
            if shard.is_settled and (self._aggregation != "first" or len(alive) < self._copies):
                continue
            if not alive:
                first = next((node.why for node in self._nodes.values() if node.why), "")
                raise ClaudeFlowError(
                    f"no node is left ({first}): {self._written} requests are answered, go on with --resume"
                )
            if all(node.name in shard.sent for node in alive):  # the nodes have nothing more to say
                self._ask_here(shard)
                continue
            free = [node.name for node in alive if node.has_room(shard) and node.name not in shard.sent]
            queued = {
                node.name: [len(other.items) for _, other, _ in node.queue]
                for node in alive
                if node.name not in shard.sent
            }
            name = self._balance.choose(free, queued, len(shard.items)) if free else None
            if name is None:
                again.append(shard)
                if all(node.queue for node in alive) and len(again) >= len(alive):
                    break
                continue
            self._send(self._nodes[name], shard)
            if len(shard.sent) < self._copies:
                self._waiting.appendleft(shard)
        self._waiting.extendleft(reversed(again))

    def _send(self, node: Node, shard: _Shard) -> None:
        shard.sent.add(node.name)
        reference = node.handle.answer.remote(self._where, shard.items)
        node.queue.append((reference, shard, time.monotonic()))

    def _ask_here(self, shard: _Shard) -> None:
        if self._here is None:
            self._here = Worker()
            self._here.load(self._models, self._moment, self._options)
        shard.sent.add(_HERE)
        self._arrived(shard, _HERE, self._here.answer(self._where, shard.items)[0])

    def _collect(self) -> None:
        """Take in what came back within a moment; find nodes that are gone or too slow."""
        references = {node.queue[0][0]: node for node in self._alive() if node.queue}
        if not references:
            return
        for reference in self._cluster.wait(list(references), 0.2):
            node = references[reference]
            shard = node.queue[0][1]
            try:
                lines, seconds = self._cluster.get(reference)
            except Lost as error:
                self._restart(node, str(error))
                continue
            node.queue.popleft()
            if node.queue:  # its turn begins now
                waiting, other, _ = node.queue[0]
                node.queue[0] = (waiting, other, time.monotonic())
            node.shards += 1
            node.requests += len(lines)
            node.busy_seconds += seconds
            self._balance.learn(node.name, len(lines), seconds)
            self._arrived(shard, node.name, lines)
        for node in self._alive():
            if node.queue and time.monotonic() - node.queue[0][2] > self._patience:
                self._restart(node, f"it held a shard for over {self._patience:g} s")

    def _restart(self, node: Node, why: str) -> None:
        """A node's process is gone: its shards go to others, and it gets a new one, unless it had several."""
        self._cluster.stop(node.handle)
        node.why = why
        queue, node.queue = list(node.queue), deque()
        for i, (_, shard, _) in enumerate(queue):
            shard.sent.discard(node.name)
            self._died(shard) if i == 0 else self._again(shard)
        node.restarts += 1
        if node.restarts > _RESTARTS:
            node.state = "lost"
            return
        node.handle = self._cluster.start(node.name)
        try:
            self._cluster.get(self._load(node), _START_S)
        except Lost as error:
            node.state, node.why = "lost", str(error)

    def _again(self, shard: _Shard) -> None:
        if not shard.is_settled and shard not in self._waiting:
            self._waiting.appendleft(shard)

    def _died(self, shard: _Shard) -> None:
        """A node ended while it answered the shard: chance at first, then a request of it is suspected."""
        shard.deaths += 1
        shard.is_suspect = True
        if shard.is_settled or shard.deaths < _DEATHS:
            self._again(shard)
        elif len(shard.items) > 1:
            parts = [_Shard(shard.begin + i, [item], is_suspect=True) for i, item in enumerate(shard.items)]
            self._waiting.extendleft(reversed(parts))
            shard.is_settled = True
        else:
            number = shard.items[0][0]
            reason = f"{_DEATHS} nodes ended while they answered this request"
            self._settle(shard, [batch.text({"id": str(number), "line": number, "error": reason})])

    # Answers ----------------------------------------------------------------------------------------------

    def _arrived(self, shard: _Shard, name: str, lines: list[bytes]) -> None:
        """Compare a copy with the others; the shard is settled, or another node is asked."""
        if len(lines) != len(shard.items):
            lines = []  # it left requests out
        shard.copies[name] = lines
        if self._aggregation == "first":
            if not shard.is_settled:
                self._settle(shard, lines)
            elif any(other != lines for other in shard.copies.values()):
                for other in shard.copies:
                    if other in self._nodes:
                        self._nodes[other].disagreed += 1
            return
        if shard.is_settled:
            return
        votes = Counter(tuple(copy) for copy in shard.copies.values())
        (answer, most), *others = votes.most_common()
        agreed = most >= self._copies and (not others or most > others[0][1])
        if not agreed and name != _HERE:
            if len(shard.copies) == len(shard.sent):  # all that were asked differ: ask one more
                self._again(shard)
            return
        if not agreed:  # no two agree, and nobody is left to ask: this process is the one that is known
            answer = tuple(lines)
        for other, copy in shard.copies.items():
            if tuple(copy) != answer and other in self._nodes:
                self._outvote(self._nodes[other], shard)
        copies = [copy for copy in shard.copies.values() if copy]
        if self._aggregation == "mean" and len(set(map(tuple, copies))) > 1:
            self._settle(shard, [_mean(line, [copy[i] for copy in copies]) for i, line in enumerate(answer)])
        else:
            self._settle(shard, list(answer))

    def _outvote(self, node: Node, shard: _Shard) -> None:
        """A node's answers differ from what most say: it gets no more work, and what it has goes to others."""
        node.outvoted += 1
        if node.state != "answering":
            return
        node.state = "outvoted"
        node.why = f"its answers to lines {shard.items[0][0]} to {shard.items[-1][0]} differ from the others'"
        queue, node.queue = list(node.queue), deque()
        self._cluster.stop(node.handle)
        for _, other, _ in queue:
            other.sent.discard(node.name)
            self._again(other)

    def _settle(self, shard: _Shard, lines: list[bytes]) -> None:
        shard.is_settled = True
        self._ready[shard.begin] = lines

    def _write(self, write: Callable[[bytes], object]) -> None:
        while (lines := self._ready.pop(self._written, None)) is not None:
            write(b"".join(lines))
            self._written += len(lines)
            for line in lines:
                self.summary.count(json.loads(line))


def _newest() -> list[str]:
    """The models that answer here when none is named."""
    names = []
    for name in networks.NETWORKS:
        with contextlib.suppress(InputError):  # a network without a model
            names.append(registry.model_name(registry.newest_model(name)))
    return names


def _mean(answer: bytes, copies: Sequence[bytes]) -> bytes:
    """The answer with the means of the copies' numbers; copies of another form have no part."""
    return batch.text(_average(json.loads(answer), [json.loads(copy) for copy in copies]))


def _average(answer: Any, copies: Sequence[Any]) -> Any:
    same = [copy for copy in copies if type(copy) is type(answer)]
    if isinstance(answer, dict):
        return {key: _average(value, [copy[key] for copy in same if key in copy]) for key, value in answer.items()}
    if isinstance(answer, list):
        same = [copy for copy in same if len(copy) == len(answer)]
        return [_average(value, [copy[i] for copy in same]) for i, value in enumerate(answer)]
    return fmean(same) if isinstance(answer, float) and same else answer
