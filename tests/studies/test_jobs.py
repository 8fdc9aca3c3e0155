"""The protocol of cluster jobs on a log written here: its rules, its contenders, its measures."""

from __future__ import annotations

import math

import numpy as np
import pytest

from claude_flow.data.collect import collect
from claude_flow.errors import InputError
from claude_flow.evaluate.result import OURS
from claude_flow.networks.prediction.prepare import preprocess

pytest.importorskip("torch", reason="training needs claude-flow[train]")
pytest.importorskip("lightgbm", reason="baselines need claude-flow[baselines]")

from claude_flow.studies import jobs


def write_log(path, size=600, seed=0, begin=1_000_000_000):
    """Users with habits: a user's run times lie within a factor of 1.5 of the user's own mean."""
    rng = np.random.default_rng(seed)
    lines = [f"; UnixStartTime: {begin}"]
    for i in range(size):
        user = int(rng.integers(8))
        seconds = max(1, int(20 * 3**user * np.exp(rng.normal(0, 0.4)) / 10))
        status = int(rng.random() > 0.1 * user)
        line = [i + 1, 600 * i, 5, seconds, 4, -1, -1, 4, 3600, -1, status, user, 1, 1, -1, -1, -1, -1]
        lines.append(" ".join(map(str, line)))
    path.parent.mkdir(exist_ok=True)
    path.write_text("\n".join(lines) + "\n")
    return path


@pytest.fixture(scope="module")
def result(tmp_path_factory):
    path = write_log(tmp_path_factory.mktemp("log") / "habits.swf")
    write_log(path.with_name("elsewhere.swf"), 300, seed=1, begin=1_200_000_000)
    write_log(path.with_name("same-time.swf"), 300, seed=0)
    return jobs.run(path, seeds=[0, 1], quick=True, progress=lambda share, what: None)


def value(result, contender, measure):
    return next(s.value for s in result.scores if (s.contender, s.measure, s.unit) == (contender, measure, ""))


def test_detects_a_log_and_nothing_else(tmp_path):
    log = write_log(tmp_path / "a.swf", 3)
    (tmp_path / "b.txt").write_text("1 2 3\n")
    assert jobs.detect(log)
    assert not jobs.detect(tmp_path / "b.txt")
    assert not jobs.detect(tmp_path)  # a folder of logs is several data sets
    assert not jobs.detect(tmp_path / "absent.swf")


def test_every_contender_is_scored_on_the_same_jobs(result):
    assert result.rows["test"] == 120
    contenders = {score.contender for score in result.scores}
    assert {OURS, "LightGBM", "requested time", "shrunken log-mean"} <= contenders
    for boosted in ("LightGBM from the anchor", "LightGBM from the anchor, all logs"):
        assert {boosted, f"{boosted} + CQR", f"{boosted} + adaptive CQR"} <= contenders
    for contender in contenders:
        tenths = [s.value for s in result.scores if s.contender == contender and s.measure == "pinball" and s.unit]
        assert np.mean(tenths) == pytest.approx(value(result, contender, "pinball"))
        assert 0 <= value(result, contender, "coverage of 80%") <= 1
    assert {score.seed for score in result.scores} == {0}  # quick: one seed
    assert not [s for s in result.scores if s.measure == "failure AUC" and not s.unit and math.isnan(s.value)]


def test_other_logs_lend_their_training_part_alone(result):
    """Of the two logs beside it only the one of another time is learned from: its first 70 %."""
    assert result.rows["train, other logs"] == pytest.approx(0.7 * 300, abs=8)  # some end too late for their part
    assert sum(result.rows[part] for part in ("train", "validation", "calibration", "test")) <= 600
    assert any(note.endswith("training parts of these logs too: elsewhere") for note in result.notes)


def test_a_log_that_could_tell_of_the_test_is_no_company(tmp_path):
    own = write_log(tmp_path / "own.swf", 30)
    later = write_log(tmp_path / "later.swf", 50, begin=1_100_000_000)
    earlier = write_log(tmp_path / "earlier.swf", 40, begin=900_000_000)
    write_log(tmp_path / "overlaps.swf", 40, begin=1_000_000_000 + 600 * 29)
    write_log(tmp_path / "without a clock.swf", 40, begin="unknown")
    assert jobs._company(own) == [earlier, later]  # the smallest first
    assert jobs._company(write_log(tmp_path / "alone" / "a.swf", 30)) == []


def test_no_forecast_exceeds_what_a_request_allows(tmp_path):
    """A machine that stops every job at its request, as its training part shows."""
    rng = np.random.default_rng(0)
    lines = ["; UnixStartTime: 1000000000"]
    for i in range(600):
        seconds = min(3600, int(3600 * np.exp(rng.normal(0, 1))))
        lines.append(
            " ".join(map(str, [i + 1, 600 * i, 5, seconds, 4, -1, -1, 4, 3600, -1, 1, i % 3, 1, 1, *[-1] * 4]))
        )
    path = tmp_path / "stopped.swf"
    path.write_text("\n".join(lines) + "\n")
    collect([path], tmp_path / "tables", quality_filter="none")
    preprocess(tmp_path / "tables", tmp_path / "tensors", {"history": 3})
    log = jobs._open(tmp_path / "tensors", path, jobs.VALIDATION, 0, jobs._settings(True))
    forecast = np.tile([9.0, -1.0, 5.0, 4.0, 8.0], (len(log.rows("test")), 1))
    top = np.log1p(3600)
    np.testing.assert_allclose(jobs._possible(log, forecast), np.tile([0, 4, 5, 8, top], (120, 1)), rtol=1e-6)


def test_habits_are_learned(result):
    assert value(result, OURS, "pinball") < 0.7 * value(result, "global median", "pinball")
    assert value(result, "LightGBM", "pinball") < 0.7 * value(result, "global median", "pinball")
    assert value(result, OURS, "failure AUC") > 0.6


def test_the_width_that_covers_is_the_width_of_a_forecast_that_is_right(result):
    """Grown by the constant with which 80 % are covered, an interval that covers less becomes wider."""
    for contender in (OURS, "LightGBM", "requested time"):
        covered, width = (value(result, contender, f"{what} of 80%") for what in ("coverage", "width"))
        grown = value(result, contender, "width that covers 80%")
        assert grown >= width if covered < 0.8 else grown <= width


def test_too_small_a_log_is_one_clear_line(tmp_path):
    with pytest.raises(InputError) as caught:
        jobs.run(write_log(tmp_path / "few.swf", 40), seeds=[0], quick=True, progress=lambda share, what: None)
    assert "\n" not in str(caught.value)
