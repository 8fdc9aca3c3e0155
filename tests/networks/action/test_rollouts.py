"""Learning by rollouts: what commands lead to, remembered and fitted; the command's own ways."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch

from claude_flow.cli import main
from claude_flow.environments.thresholds import Thresholds
from claude_flow.networks.action.learn import Settings
from claude_flow.networks.action.rollouts import Rollouts


def test_it_comes_near_to_its_teacher_and_to_what_commands_are_worth():
    data = Rollouts(Settings(hidden=("coordination", "optimization", "prediction"), judged=3))
    data.__dict__["teacher"] = Thresholds()
    torch.manual_seed(0)
    module = data.module({})
    before = data.metrics(module.eval(), "validation")["reward"]
    optimizer = torch.optim.Adam(module.parameters(), 1e-3)
    for _ in range(30):
        optimizer.zero_grad()
        loss = data.loss(module.train(), {"decisions": torch.tensor([64])})
        loss.backward()
        optimizer.step()
    assert data.metrics(module.eval(), "validation")["reward"] > before + 3
    kept = slice(0, data._count)
    tried = np.isfinite(data._worth[kept]).any(1)
    assert 0.05 < tried.mean() < 0.25
    assert (np.isfinite(data._worth[kept][tried]) == data._mask[kept][tried]).all()
    with torch.no_grad():
        values = module(torch.from_numpy(data._x[kept].astype(np.float32))).numpy()
    best = np.where(data._mask[kept], values, -np.inf).argmax(1)
    assert (best == data._taught[kept]).mean() > 0.4


def test_the_command_trains_by_rollouts_resumes_and_says_who_taught(tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("CLAUDE_FLOW_HOME", str(tmp_path))
    line = ["neural", "train", "reinforcement", "--algorithm", "rollouts", "--agent", "state-features", "--episodes",
            "1", "--update-frequency", "1", "--time-budget", "3s", "--format", "json"]  # fmt: skip
    assert main(line) == 0
    card = json.loads(capsys.readouterr().out)["card"]
    assert set(card["teacher"]) == set(Thresholds.__dataclass_fields__)
    assert {"teacher", "tuned-rule"} <= set(card["baselines"])
    assert main([*line, "--resume"]) == 0


@pytest.mark.parametrize(
    ("options", "near"),
    [(["--algorithm", "rollout"], "rollouts"), (["--world", "jobs"], "make worlds"), (["--world", "burst"], "bursts"),
     (["--world", "bursts", "--world-from", "x"], "one of them")],
)  # fmt: skip
def test_what_cannot_be_learned_is_one_line(options, near, capsys):
    assert main(["neural", "train", "reinforcement", *options]) == 2
    message = capsys.readouterr().err.strip()
    assert near in message
    assert "\n" not in message
