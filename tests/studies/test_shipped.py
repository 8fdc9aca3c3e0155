"""The shipped models as they are: on a log of transcripts written here."""

from __future__ import annotations

import pytest
from tests.studies.test_durations import write_transcripts

from claude_flow.errors import InputError
from claude_flow.evaluate.result import OURS

pytest.importorskip("torch", reason="judging needs claude-flow[train]")
pytest.importorskip("lightgbm", reason="baselines need claude-flow[baselines]")

from claude_flow.studies import shipped


def test_both_shipped_models_are_judged_as_they_are(tmp_path):
    folder = write_transcripts(tmp_path / "sessions", 200)
    assert shipped.detect(folder)
    result = shipped.run(folder, seeds=[0], quick=True, progress=lambda share, what: None)
    by_measure = {}
    for score in result.scores:
        by_measure.setdefault(score.measure, set()).add(score.contender)
    assert {OURS, "coordination-v3, log not shown", "most used", "first-word table"} <= by_measure["accuracy"]
    assert {OURS, "prediction-v2, intervals as shipped", "rule-based", "gradient-boosting"} <= by_measure["pinball"]
    assert result.rows["decisions"] == 200
    assert 0 < result.rows["forecasts"] < 200


def test_a_log_that_asks_nothing_is_one_line(tmp_path):
    folder = write_transcripts(tmp_path / "sessions", 2)
    with pytest.raises(InputError, match="no shipped model can be asked about it"):
        shipped.run(folder, seeds=[0], quick=True, progress=lambda share, what: None)
