"""The history of a task holds exactly the runs that had ended by its decision: checked against plain loops."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from claude_flow.networks.prediction.history import KEYS, NO_TIME, SCOPES, TARGETS, Runs, as_of

SECOND = 10**6

run_rows = st.lists(
    st.tuples(
        st.integers(0, 40),  # submitted, s
        st.integers(0, 5),  # waiting
        st.integers(1, 30),  # running
        st.sampled_from(["a", "b", None]),
        st.sampled_from(["review", "build", None]),
        st.sampled_from(["completed", "failed", "censored"]),
    ),
    min_size=1,
    max_size=25,
)


def table(rows: list[tuple[int, int, int, str | None, str | None, str]]) -> Runs:
    columns = list(zip(*rows, strict=True))
    submitted, wait, duration = (np.array(column, np.int64) for column in columns[:3])
    return Runs.from_columns(
        {
            "submitted": submitted * SECOND,
            "start": (submitted + wait) * SECOND,
            "end": (submitted + wait + duration) * SECOND,
            "duration_s": duration.astype(float),
            "queue_s": wait.astype(float),
            "agent": columns[3],
            "task_type": columns[4],
            "status": columns[5],
            "source": ["log"] * len(rows),
            "description": [f"{kind} it" for kind in columns[4]],
        }
    )


@settings(max_examples=150, deadline=None)
@given(run_rows)
def test_only_ended_runs_are_in_the_history(rows):
    runs = table(rows)
    history = as_of(runs, runs, 8)
    agent, kind = KEYS.index("agent"), KEYS.index("task_type")
    for i in range(len(runs)):
        ended = [j for j in range(len(runs)) if runs.end[j] <= runs.decision[i]]
        assert i not in ended
        assert history.finished[i] == len(ended)
        shown = [j for j in history.index[i] if j >= 0]
        assert len(set(shown)) == len(shown) == min(8, len(ended))
        assert set(shown) <= set(ended)
        for scope, key in (("source", None), ("type", kind), ("agent", agent)):
            own = [
                j for j in ended if key is None or (runs.keys[i, key] != 0 and runs.keys[j, key] == runs.keys[i, key])
            ]
            at = SCOPES.index(scope)
            assert history.seen[i, at] == len(own)
            latest = sorted(own, key=lambda j: (runs.end[j], j))[-(8 if scope == "agent" else 64) :]
            known = [float(runs.numbers[j, 0]) for j in latest if not np.isnan(runs.numbers[j, 0])]
            assert history.count[i, at, 0] == len(known)
            assert history.mean[i, at, 0] == pytest.approx(np.mean(known) if known else 0, abs=1e-5)
            failed = [runs.failed[j] for j in latest if not np.isnan(runs.failed[j])]
            assert history.failures[i, at].tolist() == [len(failed), sum(failed)]
            if scope == "agent":
                told = history.latest[i, 0]  # duration, requested and processors apart, failed, age
                for place, j in enumerate(latest[::-1][:3]):
                    age = np.log1p((runs.decision[i] - runs.end[j]) / SECOND)
                    want = [runs.numbers[j, 0], np.nan, np.nan, runs.failed[j], age]
                    np.testing.assert_allclose(told[place], want, atol=1e-5)
                assert np.isnan(told[len(latest) :]).all()
            last = known[::-1][:2]
            if last:
                assert history.spread[i, at, 3] == pytest.approx(np.log1p(np.mean(np.expm1(last))), abs=1e-5)
                recent = [float(runs.numbers[j, 0]) for j in latest[-20:] if not np.isnan(runs.numbers[j, 0])]
                if recent:
                    assert history.spread[i, at, :3] == pytest.approx(np.quantile(recent, [0.1, 0.5, 0.9]), abs=1e-5)


@settings(max_examples=60, deadline=None)
@given(run_rows, st.integers(0, 40))
def test_what_happens_later_changes_nothing(rows, now):
    """Rewriting every outcome that was unknown at a moment leaves the histories up to that moment as they are."""
    runs = table(rows)
    changed = [row if sum(row[:3]) <= now else (*row[:2], 99, *row[3:5], "failed") for row in rows]
    before, after = as_of(runs, runs, 8), as_of(table(changed), table(changed), 8)
    for i in np.flatnonzero(runs.decision <= now * SECOND):
        for name in ("index", "finished", "seen", "count", "mean", "spread", "failures", "latest"):
            np.testing.assert_array_equal(getattr(before, name)[i], getattr(after, name)[i], err_msg=name)


def test_like_and_late_runs_come_first():
    rows = [(i, 0, 1, "b", "build", "completed") for i in range(30)] + [(31, 0, 1, "a", "review", "completed")]
    rows += [(33 + i, 0, 1, "b", "build", "completed") for i in range(6)] + [(60, 0, 1, "a", "review", "completed")]
    runs = table(rows)
    first = as_of(runs, runs, 4).index[-1]
    assert 30 in first[:2]  # the only one of its agent and kind
    assert 36 in first  # the latest of all


def test_a_run_without_times_has_no_history_and_is_in_none():
    columns = {"duration_s": [5.0, 5.0], "status": ["completed"] * 2, "start": [NO_TIME, 10 * SECOND]}
    runs = Runs.from_columns(columns | {"source": ["log"] * 2})
    assert as_of(runs, runs, 4).finished.tolist() == [0, 0]


def test_statuses_and_clocks_that_make_no_sense():
    runs = Runs.from_columns(
        {
            "start": [0, 0, 0, 0, 0],
            "duration_s": [5.0, -3.0, 0.0, 7.0, np.nan],
            "status": ["completed", "completed", "completed", "rejected", "censored"],
            "tokens": [-1.0, 5.0, 5.0, np.inf, 8.0],
        }
    )
    assert runs.row.tolist() == [0, 3, 4]  # durations of zero or less are unusable
    assert np.isnan(runs.numbers[:, 0]).tolist() == [False, True, True]  # a rejected run's time says nothing
    assert np.isnan(runs.numbers[:, TARGETS.index("tokens")]).tolist() == [True, True, False]


def test_idle_gaps_do_not_count():
    runs = Runs.from_columns({"start": [0], "duration_s": [7200.0], "active_s": [60.0], "status": ["completed"]})
    assert np.expm1(runs.numbers[0, 0]) == pytest.approx(60)
    assert runs.end[0] == 7200 * SECOND
