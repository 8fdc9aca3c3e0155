"""What followed a run that wrote files: weak signs of whether it held. Evidence for a reader, never an outcome.

Read of the parent's next events, until it hands out its next task, six hours at most: its own checks (tests, builds,
lints) and whether they passed, whether its first words name a fault, whether it edits the same files again; and of the
run's own answer, whether that admits failure. On public transcripts such signs hardly agree with each other
(docs/signals.md), so nothing is trained on them. A pipe hides a command's exit code: then only words count.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from claude_flow.data.events import Run
from claude_flow.data.sources.claude_code.steps import InnerSteps
from claude_flow.data.sources.claude_code.words import admits_failure

__all__ = ["add"]

_UNTIL_S = 6 * 3600.0
_WORDS = 3  # of the parent's texts, the first ones


def add(run: Run, answer: str, written: Iterable[str], parent: InnerSteps | None, stops: Sequence[float]) -> None:
    """Set the signs of a run that wrote files; ``stops`` are when the parent got other tasks or handed them out."""
    paths = set(written)
    if run.end is None or not paths:
        return
    run.admits_failure = admits_failure(answer)
    if parent is None:
        return
    end = run.end.timestamp()
    until = min([end + _UNTIL_S, *(stop for stop in stops if stop > end)])
    checks = [passed for at, passed in parent.checks if end <= at < until]
    run.checks_passed, run.checks_failed = sum(checks), len(checks) - sum(checks)
    said = sorted(entry for entry in parent.texts if end <= entry[0] < until)[:_WORDS]
    run.fault_named = any(fault for _, fault in said) if said else None
    run.edited_again = len(paths & {path for at, path in parent.written if end <= at < until})
