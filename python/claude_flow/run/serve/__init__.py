"""The networks over HTTP: ``claude-flow neural serve``, and :func:`claude_flow.serve` in a program.

::

    client ── connection (limits of a socket) ── app (token, sizes, deadlines) ── line (bounded) ── one thread: batches
                                                                                                     │          │
                                                            journal (the workspace's log, a thread) ─┘          │
                                                            versions (current models, a thread) ────────────────┘
"""

from claude_flow.run.serve.server import Limits, Server, serve

__all__ = ["Limits", "Server", "serve"]
