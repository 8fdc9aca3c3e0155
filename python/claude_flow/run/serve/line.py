"""Requests in line, and the one thread that answers them, batch by batch.

The line is bounded: what finds it full, or could not be answered in time, is refused at once with the seconds after
which to come again. A request whose client went away, or whose time is up, is passed over; the others of its batch do
not notice.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import queue
import sys
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from claude_flow.errors import ClaudeFlowError, InputError
from claude_flow.files import decoded
from claude_flow.networks.network import Network
from claude_flow.run import tools
from claude_flow.run.serve.versions import Versions
from claude_flow.values import parse_json

__all__ = ["Full", "Item", "Line", "Reply", "failure"]

#: what a request may take before one of its network was timed, in seconds; and the weight of the newest time
_FIRST_GUESS, _NEWEST = 0.005, 0.1


@dataclass(frozen=True)
class Reply:
    """An answer to a client: status, JSON, and for refusals the seconds after which to try again."""

    status: int
    body: bytes
    retry_after: float | None = None


def failure(status: int, message: str, retry_after: float | None = None) -> Reply:
    """A reply that says what is wrong."""
    return Reply(status, json.dumps({"error": message}).encode(), retry_after)


class Full(Exception):
    """The line takes no more; ``seconds`` until it has room."""

    def __init__(self, message: str, seconds: float) -> None:
        super().__init__(message)
        self.seconds = seconds


@dataclass(eq=False)
class Item:
    """A request in line. ``gone``: nobody waits for it any more."""

    row: Network
    body: bytes
    id: str
    cost: float = 0.0
    gone: bool = False
    reply: asyncio.Future[Reply] = field(default_factory=lambda: asyncio.get_running_loop().create_future())

    def finish(self, reply: Reply) -> None:
        """Give the reply to whoever waits; in the loop's thread."""
        if not self.reply.done():
            self.reply.set_result(reply)


class Line:
    """The bounded line before the thread that answers.

    Args:
        versions: the models.
        waiting: requests that may wait.
        batch: requests that are taken at a time.
        answered: hears of every answer, in the thread: ``(item, question, answer, seconds)``.
        batched: hears of every batch's size.
    """

    def __init__(
        self,
        versions: Versions,
        *,
        waiting: int,
        batch: int,
        answered: Callable[[Item, tools.Question, dict[str, Any], float], None],
        batched: Callable[[int], None],
    ) -> None:
        self._versions, self._limit, self._batch = versions, waiting, batch
        self._answered, self._batched = answered, batched
        self._queue: queue.SimpleQueue[Item | None] = queue.SimpleQueue()
        self._seconds: dict[str, float] = {}
        self._waiting = 0
        self._backlog = 0.0
        self._lock = threading.Lock()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._thread = threading.Thread(target=self._run, name="answers", daemon=True)
        self._thread.start()

    @property
    def waiting(self) -> int:
        """Requests that are not answered yet."""
        return self._waiting

    @property
    def alive(self) -> bool:
        """Whether there is anyone to answer."""
        return self._thread.is_alive()

    def put(self, item: Item, deadline: float) -> None:
        """Add a request that must be answered within ``deadline`` seconds, in the loop's thread.

        Raises:
            Full: there is no room, or what waits takes longer than that.
        """
        self._loop = self._loop or asyncio.get_running_loop()
        item.cost = self._seconds.get(item.row.name, _FIRST_GUESS)
        with self._lock:
            if self._waiting >= self._limit:
                raise Full(f"{self._waiting} requests wait, which is as many as may", self._backlog)
            if self._waiting and self._backlog + item.cost > deadline:
                raise Full(f"what waits takes {self._backlog:.2f} s, longer than the deadline", self._backlog)
            self._waiting += 1
            self._backlog += item.cost
        self._queue.put(item)

    def close(self) -> None:
        """Answer what waits, and end the thread."""
        self._queue.put(None)
        self._thread.join()

    def _run(self) -> None:
        ended = False
        while not ended:
            batch = [self._queue.get()]
            with contextlib.suppress(queue.Empty):
                while len(batch) < self._batch:
                    batch.append(self._queue.get_nowait())
            ended = None in batch
            items = [item for item in batch if item is not None]
            if items:
                self._batched(len(items))
            for together in self._parsed(items).values():
                self._answer(together)

    def _parsed(self, items: list[Item]) -> dict[Any, list[tuple[Item, tools.Question]]]:
        """The questions of a batch, those together that one model can answer in one go."""
        groups: dict[Any, list[tuple[Item, tools.Question]]] = {}
        for item in items:
            if item.gone:
                self._finish([(item, None)], 0.0)
                continue
            try:
                arguments = parse_json(decoded(item.body, "the body"), "the body")
                if not isinstance(arguments, dict):
                    raise InputError("the body must be a JSON object: the options of the network by name")
                asked = tools.question(item.row, arguments)
            except Exception as error:
                self._finish([(item, _wrong(item, error))], 0.0)
                continue
            groups.setdefault((item.row.name, asked.model, asked.explain), []).append((item, asked))
        return groups

    def _answer(self, group: list[tuple[Item, tools.Question]]) -> None:
        begin = time.perf_counter()
        gone = [item for item, _ in group if item.gone]
        group = [(item, asked) for item, asked in group if not item.gone]
        found: list[Any] = []
        try:
            if group:
                first = group[0][1]
                model = self._versions.get(first.row.name, first.model, len(group))
                found = tools.answers(model, [asked for _, asked in group])
        except Exception as error:  # a model that is not there
            found = [error] * len(group)
        seconds = time.perf_counter() - begin
        replies: list[tuple[Item, Reply | None]] = [(item, None) for item in gone]
        for (item, asked), answer in zip(group, found, strict=True):
            if isinstance(answer, Exception):
                replies.append((item, _wrong(item, answer)))
                continue
            body = json.dumps(answer, allow_nan=False, ensure_ascii=False).encode("utf-8", "backslashreplace")
            replies.append((item, Reply(200, body)))
            self._answered(item, asked, answer, seconds)
        self._finish(replies, (time.perf_counter() - begin) / max(len(group), 1))

    def _finish(self, replies: list[tuple[Item, Reply | None]], seconds: float) -> None:
        """Hand the replies over; ``seconds`` is what each answer among them took."""
        with self._lock:
            for item, reply in replies:
                self._waiting -= 1
                self._backlog = max(self._backlog - item.cost, 0.0) if self._waiting else 0.0
                if reply is not None and reply.status == 200:
                    old = self._seconds.get(item.row.name, seconds)
                    self._seconds[item.row.name] = old + _NEWEST * (seconds - old)
        given = [(item, reply) for item, reply in replies if reply is not None]
        if given and self._loop:
            with contextlib.suppress(RuntimeError):  # a loop that was closed under it: nobody waits
                self._loop.call_soon_threadsafe(_give, given)


def _give(replies: list[tuple[Item, Reply]]) -> None:
    for item, reply in replies:
        item.finish(reply)


def _wrong(item: Item, error: Exception) -> Reply:
    if isinstance(error, InputError):
        return failure(400, str(error))
    if isinstance(error, (ClaudeFlowError, OSError)):
        return failure(500, str(error))
    print(f"serve: {item.id}: {type(error).__name__}: {error}", file=sys.stderr)
    return failure(500, f"internal error: {type(error).__name__}")
