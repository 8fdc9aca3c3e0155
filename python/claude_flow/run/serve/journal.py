"""Answers to the workspace's log, written by a thread of its own in the order they were given.

A disk that is full stops no answer: what cannot be written waits while there is room for it, then the oldest is
dropped; the first failure and the recovery are told, and the count of what was lost is among the metrics.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable

from claude_flow import requests
from claude_flow.errors import ClaudeFlowError
from claude_flow.requests import Request

__all__ = ["Journal"]

_PAUSE = 0.1  # seconds in which answers gather
_AGAIN = 1.0  # seconds after a failure
_MOST = 10_000  # answers that may wait
_AT_ONCE = 500


class Journal:
    """The thread, until :meth:`close`; ``told`` hears what people should know."""

    def __init__(self, told: Callable[[str], None]) -> None:
        self._told = told
        self._waiting: deque[Request] = deque()
        self._lock = threading.Lock()
        self._ended = threading.Event()
        self.lost = self.written = 0
        self.wrong = ""
        self._thread = threading.Thread(target=self._run, name="journal", daemon=True)
        self._thread.start()

    def add(self, entry: Request) -> None:
        """Write it soon."""
        with self._lock:
            if len(self._waiting) >= _MOST:
                self._waiting.popleft()
                self.lost += 1
            self._waiting.append(entry)

    def close(self) -> None:
        """Write what waits, if that can be."""
        self._ended.set()
        self._thread.join()
        self._flush()
        if self._waiting:
            self.lost += len(self._waiting)
            self._told(f"{len(self._waiting)} answers are not in the log: {self.wrong}")

    def _run(self) -> None:
        while not self._ended.wait(_AGAIN if self.wrong else _PAUSE):
            self._flush()

    def _flush(self) -> None:
        while self._waiting:
            with self._lock:
                entries = [self._waiting[i] for i in range(min(len(self._waiting), _AT_ONCE))]
            try:
                requests.keep_all(entries)
            except (ClaudeFlowError, OSError, ValueError) as error:
                words = getattr(error, "strerror", None) or str(error)
                if words != self.wrong:
                    self._told(f"answers are not logged: {words}; requests are answered all the same")
                self.wrong = words
                return
            if self.wrong:
                self._told(f"answers are logged again; {self.lost} were lost")
            self.wrong = ""
            self.written += len(entries)
            with self._lock:  # some may have been dropped meanwhile
                written = set(map(id, entries))
                while self._waiting and id(self._waiting[0]) in written:
                    self._waiting.popleft()
