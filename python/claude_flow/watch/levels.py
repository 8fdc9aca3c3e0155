"""Alarms on measures: thresholds in order, hysteresis, one alert per change of level, channels that hear of it.

A measure's level is remembered in ``alerts/levels.json``. It rises at once, and falls only when the measure is back
beyond its threshold by a tenth of the way between warning and critical: a value that wavers is one alert, not many.
"""

from __future__ import annotations

import json
import logging
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from claude_flow import files, registry
from claude_flow.errors import ClaudeFlowError, InputError, require
from claude_flow.values import did_you_mean, read_json
from claude_flow.watch import alerts

__all__ = ["CHANNELS", "Threshold", "changes", "deliver", "thresholds", "try_channels"]

LEVELS = ("ok", "warning", "critical")
_MARGIN = 0.1
_PREFIX = "CLAUDE_FLOW_NOTIFY_"
#: channels by name, and the variable that holds each one's address for apprise
CHANNELS = {name: f"{_PREFIX}{name.upper()}" for name in ("slack", "email", "pagerduty", "webhook")}
_FORM = {
    "slack": "slack://TOKEN_A/TOKEN_B/TOKEN_C",
    "email": "mailtos://USER:PASSWORD@HOST",
    "pagerduty": "pagerduty://INTEGRATION_KEY@API_KEY",
    "webhook": "jsons://HOST/PATH",
}


@dataclass(frozen=True)
class Threshold:
    """Where a measure is a warning, and where critical; ``higher`` is better or not."""

    warning: float
    critical: float
    higher: bool

    def level(self, value: float, before: str) -> str:
        """The level of ``value`` after the level ``before``."""
        sign = -1.0 if self.higher else 1.0
        limits = {"warning": sign * self.warning, "critical": sign * self.critical}
        margin = _MARGIN * (limits["critical"] - limits["warning"])
        for name in ("critical", "warning"):
            held = LEVELS.index(before) >= LEVELS.index(name)
            if sign * value >= limits[name] - (margin if held else 0.0):
                return name
        return "ok"


def thresholds(given: Mapping[str, Any], measures: Mapping[str, bool]) -> dict[str, Threshold]:
    """The thresholds of ``{"latency": {"warning": 100, "critical": 200}}``; ``measures``: name -> higher is better.

    Raises:
        InputError: an unknown measure, a threshold that is missing or no number, or a warning worse than critical.
    """
    found = {}
    for name, limits in given.items():
        where = f"--alert-thresholds: {name}"
        if name not in measures:
            raise InputError(f"{where}: there is no such metric{did_you_mean(name, measures)}")
        if not isinstance(limits, dict) or set(limits) != {"warning", "critical"}:
            raise InputError(f'{where}: write {{"warning": NUMBER, "critical": NUMBER}}')
        for level, value in limits.items():
            if isinstance(value, bool) or not isinstance(value, (int, float)):
                raise InputError(f"{where}.{level}: a number is wanted")
        warning, critical, higher = float(limits["warning"]), float(limits["critical"]), measures[name]
        if (warning <= critical) if higher else (warning >= critical):
            word = "below" if higher else "above"
            raise InputError(f"{where}: critical must lie {word} warning, not {critical:g} and {warning:g}")
        found[name] = Threshold(warning, critical, higher)
    return found


def changes(values: Mapping[str, tuple[float | None, Threshold]], source: str) -> list[dict[str, Any]]:
    """Set the level of every measure by its value, and record an alert for each that changed its level.

    A value of None changes nothing: what is not known has not recovered.
    """
    path = registry.workspace() / "alerts" / "levels.json"
    raised = []
    with files.locked(path.with_name(".levels.lock")):
        known = read_json(path) if path.is_file() else {}
        known = known if isinstance(known, dict) else {}
        own: dict[str, str] = {str(k): str(v) for k, v in known.items() if v in LEVELS}
        for key, (value, threshold) in values.items():
            before = own.get(key, "ok")
            if value is None:
                continue
            level = threshold.level(value, before)
            if level == before:
                continue
            own[key] = level
            limit = threshold.warning if level != "critical" else threshold.critical
            word = "recovered" if level == "ok" else level
            side = "below" if threshold.higher == (level != "ok") else "above"
            message = f"{key} is {value:.4g}: {word} ({limit:g} or {side})"
            if alert := alerts.raise_alert(source, key, word, message):
                raised.append(alert)
        if raised:
            files.atomic_write(path, json.dumps(own, indent=1) + "\n")
    return raised


# Channels -------------------------------------------------------------------------------------------------


def _variable(channel: str) -> str:
    return CHANNELS.get(channel) or f"{_PREFIX}{channel.upper().replace('-', '_')}"


def _address(channel: str) -> str | None:
    """The address of a channel, from its variable. It holds secrets: it is never shown, logged, kept or passed on."""
    return os.environ.get(_variable(channel)) or None


def try_channels(channels: Sequence[str]) -> list[dict[str, Any]]:
    """Send a test message to every channel that has an address; one row each: channel, state, what is missing.

    A channel is one of :data:`CHANNELS`, or any name whose variable ``CLAUDE_FLOW_NOTIFY_NAME`` is set.

    Raises:
        InputError: an unknown channel, an address in place of a name, or a channel that did not take the message.
    """
    rows: list[dict[str, Any]] = []
    for channel in channels:
        if "://" in channel:
            raise InputError(
                f"{channel.partition('://')[0]}://...: an address holds secrets, which every list of processes would "
                f"show: set {_PREFIX}OPS to it and name the channel ops"
            )
        if channel not in CHANNELS and _address(channel) is None:
            known = ", ".join(CHANNELS)
            raise InputError(
                f"there is no channel {channel!r}{did_you_mean(channel, CHANNELS)}: {known}, or a name with an address "
                f"in {_PREFIX}NAME"
            )
    for channel in channels:
        address = _address(channel)
        if address is None:
            needs = f"{CHANNELS[channel]}={_FORM[channel]}"
            rows.append({"channel": channel, "state": "waiting", "needs": needs})
            continue
        if not _send(address, "claude-flow: this channel works", "info"):
            raise InputError(f"the channel {channel} did not take a test message: check {_variable(channel)}")
        rows.append({"channel": channel, "state": "tested", "needs": None})
    return rows


def _send(address: str, message: str, kind: str) -> bool:
    apprise = require("apprise", "notify")
    logging.getLogger("apprise").setLevel(logging.CRITICAL + 1)  # it logs addresses, which hold secrets
    sender = apprise.Apprise()
    return bool(sender.add(address)) and bool(sender.notify(body=message, title="claude-flow", notify_type=kind))


_KINDS = {"warning": "warning", "critical": "failure", "recovered": "success"}


def deliver(channels: Sequence[str]) -> list[str]:
    """Send the alerts that a channel has not heard of, oldest first; returns what went wrong.

    What cannot be sent stays in the record and is tried again the next time; how far each channel got is kept in
    ``alerts/delivered.json``.
    """
    path = registry.workspace() / "alerts" / "delivered.json"
    wrong = []
    with files.locked(path.with_name(".delivered.lock"), timeout=60):
        done = read_json(path) if path.is_file() else {}
        done = done if isinstance(done, dict) else {}
        entries = list(alerts.entries())
        for channel in channels:
            address = _address(channel)
            first = int(done.get(channel, 0))
            if address is None or first >= len(entries):
                continue
            for entry in entries[first:]:
                try:
                    sent = _send(address, str(entry["message"]), _KINDS.get(str(entry["level"]), "info"))
                except ClaudeFlowError as error:
                    wrong.append(str(error))
                    break
                if not sent:
                    wrong.append(f"the channel {channel} does not take alerts: they wait in alerts/log.jsonl")
                    break
                first += 1
            if first != done.get(channel):
                done[channel] = first
                files.atomic_write(path, json.dumps(done) + "\n")
    return wrong
