"""Our own event log, as docs/events.md documents it."""

from __future__ import annotations

import json
import re
from datetime import datetime, timedelta, timezone
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from claude_flow.data.collect import collect
from claude_flow.data.events import STATUSES, Run, column_types, moment
from claude_flow.data.quality import RULES
from claude_flow.data.tables import read_table

BEGIN = datetime(2026, 8, 1, 9, tzinfo=timezone.utc)
DOCUMENT = (Path(__file__).parents[2] / "docs" / "events.md").read_text(encoding="utf-8")


@pytest.fixture
def events(tmp_path, gather):
    def read(*lines: object):
        path = tmp_path / "events.jsonl"
        path.write_text("".join((line if isinstance(line, str) else json.dumps(line)) + "\n" for line in lines))
        return gather(path)

    return read


def test_the_documented_example_parses_to_what_it_says(tmp_path):
    example = re.search(r"```jsonl\n(.*?)```", DOCUMENT, re.DOTALL).group(1)
    (tmp_path / "events").mkdir()
    (tmp_path / "events" / "day.jsonl").write_text(example)
    manifest = collect([tmp_path / "events"], tmp_path / "d", quality_filter="high")
    assert (manifest["rejected_total"], manifest["notes"]) == (0, {})
    runs = {row["run_id"]: row for row in read_table(tmp_path / "d", "runs").to_pylist()}
    assert (runs["r-1"]["duration_s"], runs["r-1"]["queue_s"], runs["r-1"]["steps"]) == (240.0, 2.0, 2)
    assert (runs["r-1"]["success"], runs["r-1"]["tokens"], runs["r-1"]["cost"]) == (True, 48210, 0.31)
    assert (runs["r-2"]["duration_s"], runs["r-2"]["status"]) == (30.0, "failed")
    assert [s["action"] for s in read_table(tmp_path / "d", "steps").to_pylist()] == ["search", "edit"]
    task = read_table(tmp_path / "d", "tasks").to_pylist()[0]
    assert (task["x:files"], task["x:priority"]) == (3.0, 2.0)


def test_the_document_lists_every_column_status_and_rule():
    kinds = {"text": str, "count": int, "number": float, "yes/no": bool}
    listed = dict(re.findall(r"^\| `(\w+)` \| (text|time|number|count|yes/no) \|", DOCUMENT, re.MULTILINE))
    assert list(listed) == list(column_types(Run))
    for name, kind in listed.items():
        assert kind == "time" or kinds[kind] is column_types(Run)[name], name
    status = re.search(r"^\| `status` .*$", DOCUMENT, re.MULTILINE).group()
    assert set(re.findall(r"`(\w+)`", status)) == {"status", *STATUSES}
    rules = re.findall(r"^\| `(low|medium|high)` \| (.+?) \| (.+?) \|$", DOCUMENT, re.MULTILINE)
    assert rules == [(rule.level, rule.name, rule.why) for rule in RULES]


START = {"event": "start", "run_id": "r", "time": "2026-03-02T09:00:00Z", "agent": "a", "task": "t"}


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        ({"event": "run"}, "run_id must be a non-empty string"),
        ({"event": "start", "run_id": "x"}, "time must be an ISO 8601 time"),
        (START, "this run has started already"),
        ({"event": "end", "run_id": "zz", "time": START["time"]}, "no start of this run came before"),
        ({"event": "end", "run_id": "r", "time": START["time"]}, "status is missing"),
        ({"event": "end", "run_id": "r", "time": START["time"], "status": "fine"}, "status must be one of completed"),
        ({"event": "step", "run_id": "r"}, "action must be a non-empty string"),
        (
            {"event": "step", "run_id": "r", "action": "x", "seconds": -1},
            "seconds must be a number of at least 0",
        ),
        ({"event": "run", "run_id": "q", "tokens": 1.5}, "tokens must be a whole number of at least 0, not 1.5"),
        ({"event": "run", "run_id": "q", "cost": "3"}, "cost must be a number of at least 0, not '3'"),
        ({"event": "run", "run_id": "q", "success": 1}, "success must be true or false, not 1"),
        ({"event": "run", "run_id": "q", "start": 12}, "start must be an ISO 8601 time, not 12"),
        ({"event": "run", "run_id": "q", "agent": ["a"]}, "agent must be a non-empty string, not ['a']"),
        ({"event": "task", "task": "t", "features": [1]}, "features must be an object, not [1]"),
        ({"event": "task", "task": "t", "features": {"f": "1"}}, "features.f must be a finite number"),
        ('{"event": "run", "run_id": "q", "cost": Infinity}', "column 41: Infinity is not JSON"),
    ],
)
def test_what_a_line_cannot_say(events, line, reason):
    _, log = events(START, line)
    assert [(r["line"], r["reason"][: len(reason)]) for r in log.rejected] == [(2, reason)]


PATIENT = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
SPELLED = {
    "2026-08-01T09:00Z": 0,
    "2026-08-01T09Z": 0,
    "2026-08-01 09:00:00,123": 0.123,
    "2026-08-01t09:00:00z": 0,
    "20260801T090000Z": 0,
    "20260801T0900+0200": -7200,
    "2026-08-01T09:00:00+02": -7200,
    "2026-08-01T09:00:00.123456789-00:30": 1800.123456,
    "2026-08-01T09:00:00−00:30": 1800,
    "2026-W31-6T09:00:00Z": 0,
    "2026-213T09:00:00Z": 0,
    "2026-08-01T09:30,5Z": 1830,
    "2026-08-01 09:00:00 UTC": 0,
    "2026-08-01T11:00:00+02:00[Europe/Rome]": 0,
    "2026-07-31T24:00:00Z": -9 * 3600,
    "2026-08-01T08:59:60Z": 0,
    " 2026-08-01T09:00:00Z ": 0,
}
NO_TIMES = (
    *("2026-08-01", "09:00:00Z", "2026-08-01T", "2026-08-01T25:00Z", "2026-08-01T24:01Z", "2026-08-01T09:61Z"),
    *("2026-13-01T09:00Z", "2026-02-30T09:00Z", "2025-366T09:00Z", "2026-W54-1T09:00Z", "1/8/2026 09:00", "1754038800"),
    *("2026-08-01T09:00+99:00", "1969-08-01T09:00Z", "9999-08-01T09:00Z", "2026-08-01T09:00:00+", "T09:00"),
)


@pytest.mark.parametrize("spelled", SPELLED)
def test_times_in_the_common_forms_of_iso_8601(spelled):
    assert moment(spelled) == BEGIN + timedelta(seconds=SPELLED[spelled])


@pytest.mark.parametrize("spelled", NO_TIMES)
def test_what_is_no_time_is_quoted(events, spelled):
    found, log = events({"event": "run", "run_id": "q", "start": spelled})
    assert found["Run"] == []
    assert log.rejected[0]["reason"] == f"start must be an ISO 8601 time, not {spelled!r}"


@given(
    st.datetimes(datetime(1971, 1, 1), datetime(8999, 12, 30)),
    st.sampled_from(["T", "t", " "]),
    st.sampled_from([".", ","]),
    st.integers(-23 * 60, 23 * 60),
    st.booleans(),
)
@PATIENT
def test_every_time_that_is_written_is_read(at, between, point, minutes, basic):
    zone = f"{'-' if minutes < 0 else '+'}{abs(minutes) // 60:02}{'' if basic else ':'}{abs(minutes) % 60:02}"
    clock = f"%H%M%S{point}%f" if basic else f"%H:%M:%S{point}%f"
    written = at.strftime(f"{'%Y%m%d' if basic else '%Y-%m-%d'}{between}{clock}") + zone
    assert moment(written) == at.replace(tzinfo=timezone.utc) - timedelta(minutes=minutes)


@given(st.text(alphabet="0123456789-:.,+TZWz []/", max_size=32) | st.text(max_size=12))
@PATIENT
def test_no_text_breaks_the_clock(text):
    found = moment(text)
    assert found is None or 1970 <= found.year < 9000


def test_a_refused_end_leaves_the_run_as_it_was(events):
    found, log = events(START, {"event": "end", "run_id": "r", "time": "2026-03-02T10:00:00Z", "status": "fine"})
    assert log.rejected_total == 1
    assert [(run.status, run.end, run.duration_s) for run in found["Run"]] == [("censored", None, None)]


def test_drift_is_counted(events):
    found, log = events(START | {"mood": "good"}, {"event": "nap"})
    assert log.notes == {"field mood": 1, "event nap": 1}
    assert found["Run"][0].status == "censored"
    assert log.rejected_total == 0


def test_negative_utility_is_allowed(events):
    found, _ = events({"event": "run", "run_id": "q", "utility": -2})
    assert found["Run"][0].utility == -2.0


def test_surrogates_reach_the_table_as_plain_text(tmp_path):
    path = tmp_path / "e.jsonl"
    path.write_text('{"event": "run", "run_id": "q", "agent": "a\\ud800", "task": "t", "status": "completed"}\n')
    collect([path], tmp_path / "d")
    assert read_table(tmp_path / "d", "runs").column("agent").to_pylist() == ["a?"]
