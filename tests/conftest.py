"""Fixtures that every test may use: the public data (absent on most machines) and small models made on the spot."""

from __future__ import annotations

import json
import os
import signal
from datetime import datetime, timedelta, timezone
from importlib import import_module
from pathlib import Path

import pytest

from claude_flow import engine

ROOT = Path(__file__).parents[1]
ISAS = ("scalar", "sse41", "avx2", "avxvnni", "avx512", "avx512vnni", "neon", "neondot", "neoni8mm")
unknown = [word for word in engine.available() if word not in ISAS]
assert not unknown, f"the engine has instruction sets that no test names: {unknown}"

# A shell that runs the tests in the background makes them ignore Ctrl-C, and every process that they start with them:
# the tests that send it need its usual effect.
signal.signal(signal.SIGINT, signal.default_int_handler)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """The guide's walk first: it is the longest test, and beside the others it costs no time."""
    items.sort(key=lambda item: not item.nodeid.startswith("tests/guide"))


@pytest.fixture(scope="session")
def public_data() -> Path:
    """The folder of public data sets that may not be redistributed; tests that need it are skipped without it."""
    path = Path(os.environ.get("CLAUDE_FLOW_TEST_DATA", ROOT.parent / "shared" / "data"))
    if not path.is_dir():
        pytest.skip(f"the public data sets are not at {path} (set CLAUDE_FLOW_TEST_DATA)")
    return path


@pytest.fixture(params=ISAS)
def isa(request: pytest.FixtureRequest) -> str:
    """Each instruction set in turn; one that this CPU lacks is skipped, never passed."""
    if request.param not in engine.available():
        pytest.skip(f"this CPU has no {request.param}")
    return request.param


@pytest.fixture(autouse=True)
def _own_workspace(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No test sees the developer's workspace."""
    monkeypatch.setenv("CLAUDE_FLOW_HOME", str(tmp_path / "workspace"))


@pytest.fixture(scope="session")
def swarm_log(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two months of a swarm whose testers are quick and good at tests, and whose coders at code, as docs/events.md."""
    kinds = {"testing": ("tester", "test"), "implementation": ("coder", "write")}
    begin, lines = datetime(2026, 1, 5, tzinfo=timezone.utc), []
    for i in range(160):
        kind = ("testing", "implementation")[i % 2]
        fits = i % 8 < 6  # the dispatcher errs at every fourth
        agent = kinds[kind][0] if fits else {"tester": "coder", "coder": "tester"}[kinds[kind][0]]
        start = begin + timedelta(hours=9 * i)
        lines.append(
            {
                "event": "run",
                "run_id": f"r-{i}",
                "group": "shop",
                "project": "shop",
                "agent": f"{agent}-{i % 3}",
                "agent_type": agent,
                "task": f"t-{i}",
                "task_type": kind,
                "description": f"{kinds[kind][1]} page {i % 7}",
                "submitted": start.isoformat(),
                "start": start.isoformat(),
                "end": (start + timedelta(seconds=100 + 10 * (i % 7) + (0 if fits else 600))).isoformat(),
                "status": "completed" if fits else "failed",
                "success": fits,
                "tokens": 1000 * (1 + i % 5),
            }
        )
    path = tmp_path_factory.mktemp("log") / "events.jsonl"
    path.write_text("".join(json.dumps(line) + "\n" for line in lines) + "a line that was cut o")
    return path


@pytest.fixture(scope="session")
def small_models(swarm_log: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """One small model per network, trained for one epoch on the log above and on simulated swarms."""
    torch = pytest.importorskip("torch", reason="training needs the extra: pip install 'claude-flow[train]'")
    torch.set_num_threads(1)  # the tests run side by side
    from claude_flow.data.collect import collect
    from claude_flow.files import atomic_folder
    from claude_flow.train import config
    from claude_flow.train.loop import fit

    folder = tmp_path_factory.mktemp("models")
    collect([swarm_log], folder / "tables")
    sizes = {
        "coordination": {"width": 32, "heads": 2, "feed_forward": [32]},
        "optimization": {"hidden": [32]},
        "prediction": {"width": 16, "layers": 1},
    }
    for network, size in sizes.items():
        prepare = import_module(f"claude_flow.networks.{network}.prepare").preprocess
        tables, options = (None, {"simulate": 300}) if network == "optimization" else (folder / "tables", {})
        with atomic_folder(folder / f"{network}-data") as data:
            prepare(tables, data, options)
        settings = config.parse({f"{network}-training": {"epochs": 1, "network": size}}, network)
        fit(network, settings, folder / f"{network}-data", folder / network)
    return {network: folder / network / "model.safetensors" for network in sizes}
