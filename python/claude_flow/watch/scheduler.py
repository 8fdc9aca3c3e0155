"""When schedules are looked at, in the foreground: APScheduler, with next times that survive the process.

They stand in ``maintain/times.sqlite``. What was due while no process ran is done once, as soon as one runs.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Sequence
from datetime import datetime, timezone
from typing import Any

from claude_flow import registry
from claude_flow.errors import InputError, require
from claude_flow.watch import audit, retrain
from claude_flow.watch.policies import known, schedules

__all__ = ["follow", "look", "trigger"]

_EXTRA = "maintain"
#: what `follow` was given; the stored times name a function and a model, and cannot hold it
_given: dict[str, Any] = {"deadline": None, "progress": lambda step: None}


def look(model: str) -> dict[str, Any]:
    """Look at one schedule. The stored times call it by this name."""
    kept = schedules()
    if model not in kept:  # stopped meanwhile
        return {"triggers": [], "state": audit.state(model), "did": "nothing: its schedule was stopped"}
    return retrain.check(known(model, kept), deadline=_given["deadline"], progress=_given["progress"])


def trigger(every: float, cron: str | None) -> Any:
    """When: every so many seconds, or at the times (UTC) of a line for cron. :class:`InputError` if it is none."""
    if cron is None:
        return require("apscheduler.triggers.interval", _EXTRA).IntervalTrigger(seconds=every)
    try:
        return require("apscheduler.triggers.cron", _EXTRA).CronTrigger.from_crontab(cron, timezone.utc)
    except ValueError:
        raise InputError(f"--cron: {cron!r} is no line for cron: write five fields such as '0 3 * * *'") from None


def follow(
    models: Sequence[str],
    when: Any,
    budget: float | None,
    told: Callable[[str, dict[str, Any]], None],
    progress: Callable[[str], None],
) -> None:
    """Look at the models at their times until Ctrl-C, or ``budget`` seconds are over.

    The first look is at once, unless an earlier process left a time; a cycle that has not ended goes on at once.
    ``told`` hears what came out of every look, ``progress`` of every step.

    Raises:
        ClaudeFlowError: a look failed.
    """
    events = require("apscheduler.events", _EXTRA)
    logging.getLogger("apscheduler").setLevel(logging.CRITICAL + 1)  # what goes wrong is raised
    _given.update(deadline=None if budget is None else time.monotonic() + budget, progress=progress)
    path = registry.workspace() / "maintain" / "times.sqlite"
    path.parent.mkdir(parents=True, exist_ok=True)
    scheduler = require("apscheduler.schedulers.blocking", _EXTRA).BlockingScheduler(
        jobstores={"default": {"type": "sqlalchemy", "url": f"sqlite:///{path.resolve()}"}},
        executors={"default": {"type": "debug"}},  # in this thread, so that Ctrl-C reaches what runs
        job_defaults={"coalesce": True, "misfire_grace_time": None},
        timezone=timezone.utc,
    )
    failed: list[BaseException] = []

    def begin(event: Any) -> None:
        now = datetime.now(timezone.utc)
        for model in models:
            kept, state = scheduler.get_job(model), audit.state(model)
            goes_on = state["cycle"] is not None and state["ended"] is None
            at = kept.next_run_time if kept and str(kept.trigger) == str(when) and not goes_on else now
            scheduler.add_job(look, when, args=[model], id=model, next_run_time=at, replace_existing=True)
        for job in scheduler.get_jobs():
            if job.id not in models:  # of an earlier schedule
                job.remove()

    def heard(event: Any) -> None:
        if event.exception is not None:
            failed.append(event.exception)
            scheduler.shutdown(wait=False)
        else:
            told(event.job_id, event.retval)

    scheduler.add_listener(begin, events.EVENT_SCHEDULER_STARTED)
    scheduler.add_listener(heard, events.EVENT_JOB_EXECUTED | events.EVENT_JOB_ERROR)
    end = threading.Timer(budget or 0, scheduler.shutdown, kwargs={"wait": False})  # it waits for a look that runs
    end.daemon = True
    if budget is not None:
        end.start()
    try:
        scheduler.start()
    finally:
        end.cancel()
        if scheduler.running:
            scheduler.shutdown(wait=False)
    if failed:
        raise failed[0]
