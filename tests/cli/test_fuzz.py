"""Every command with damaged words, configurations and files: what cannot be used is one line, and never a traceback.

``CLAUDE_FLOW_FUZZ_RUNS`` says how many runs (``make fuzz``: 20,000), ``CLAUDE_FLOW_FUZZ_SEED`` where they begin. A run
follows from its number alone: a failure names it.
"""

from __future__ import annotations

import contextlib
import io
import json
import os
import random
import shlex
import shutil
import signal
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from claude_flow import registry
from claude_flow.cli import main, reference
from claude_flow.cli.command import Command
from claude_flow.errors import Interrupted

pytest.importorskip("torch", reason="training needs the extra: pip install 'claude-flow[train]'")

RUNS = int(os.environ.get("CLAUDE_FLOW_FUZZ_RUNS", "60"))
FIRST = int(os.environ.get("CLAUDE_FLOW_FUZZ_SEED", "0"))
SECONDS = 3.0  # of one run: what is not refused by then works, and is stopped as by Ctrl-C
VERDICTS = {
    ("data", "validate"),
    ("version", "create"),
    *(("test", kind) for kind in ("unit", "integration", "regression")),
}
EXIT_CODES = {0, 1, 2, 128 + signal.SIGALRM}
COMMANDS = [context for context in reference.commands() if isinstance(context.command, Command)]
JUNK = (
    *(
        "",
        " ",
        "-1",
        "0",
        "0.5",
        "1e400",
        "nan",
        "inf",
        "99999999999999999999",
        "1" * 5000,
        "1,2,x",
        "3-1",
        "60s",
        "0s",
    ),
    *("1e9d", "true", "maybe", "null", "[]", "{}", "[1,", '{"a":', '{"a": NaN}', "[[[[]]]]", '{"":""}', '{"id": [1]}'),
    *("é", "go \U0001f680", "\ufeff{}", "a\tb", "../up", "no/such/file", "@", "@-", "@no-such-file", "/dev/null", "--"),
    *("coordination-v3", "coordination/9.9.9", "x" * 300, "config.json", "@config.json", "damaged", "CON", "\udcff"),
)
VALUES: tuple[Any, ...] = (
    *(None, True, False, 0, -1, 1, 3, 0.5, -0.5, 1e30, 1e308, 10**18, 10**30, "", "x", "32", "auto", "é\U0001f680"),
    *([], [0], ["a"], [[]], {}, {"a": 1}, {"": {}}, [None], "\ud800", "2026-01-01T00:00:00Z", "validation-loss"),
)
REQUEST = {
    "current-agents": [{"id": "a", "type": "coder", "load": 0.5, "capabilities": ["x"]}, {"id": "b", "type": "tester"}],
    "pending-tasks": [{"id": "t", "type": "testing", "priority": "high", "complexity": 0.7, "features": {"f": 1}}],
    "system-state": {"memory-usage": 0.6, "cpu-usage": 0.4, "network-latency": 25},
}
CONFIG = {
    "model-architecture": "transformer",
    "optimizer": "AdamW",
    "learning-rate": {"initial": 0.001, "schedule": "cosine-annealing", "warmup-steps": 5},
    "batch-size": 8,
    "sequence-length": 16,
    "epochs": 1,
    "early-stopping": {"patience": 3, "monitor": "validation-loss"},
    "ema-decay": 0.0,
    "gradient-clipping": 1.0,
    "regularization": {"weight-decay": 0.01, "dropout": 0.1, "label-smoothing": 0.1, "layer-norm": True},
    "attention-config": {"num-heads": 2, "attention-dropout": 0.1, "scale-attention": True},
    "network": {"width": 16, "hidden": [16], "feed_forward": [16], "layers": 1, "heads": 2, "max_tokens": 32},
    "data": {"forget": 0.1},
}


@pytest.fixture(scope="module")
def workspace(small_models: dict[str, Path], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small workspace with tables, tensors, a model and a run of each network."""
    made = next(iter(small_models.values())).parents[1]
    home = tmp_path_factory.mktemp("fuzz") / "home"
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("CLAUDE_FLOW_HOME", str(home))
        shutil.copytree(made / "tables", home / "datasets" / "swarm-training-data")
        for network, model in small_models.items():
            shutil.copytree(made / f"{network}-data", home / "datasets" / f"preprocessed-{network}-data")
            shutil.copytree(model.parent, home / "runs" / network)
            registry.add_model(network, None, model, json.loads((model.parent / "card.json").read_text()))
    (home / "runtime.json").write_text('{"backend": "native", "threads": 1}')
    return home


def mutated(value: Any, rng: random.Random) -> Any:
    """``value`` with one place of it replaced, misspelt, doubled or left out."""
    if isinstance(value, dict) and value and rng.random() < 0.8:
        key = rng.choice(list(value))
        if rng.random() < 0.6:
            return {**value, key: mutated(value[key], rng)}
        rest = {name: item for name, item in value.items() if name != key}
        return rest if rng.random() < 0.3 else {**rest, key[:-1] + rng.choice(["", "z", "-x"]): value[key]}
    if isinstance(value, list) and value and rng.random() < 0.5:
        place = rng.randrange(len(value))
        return [*value[:place], mutated(value[place], rng), *value[place + 1 :]]
    return rng.choice(VALUES)


def damaged(content: bytes, rng: random.Random) -> bytes:
    """``content`` cut short, with bytes changed, or something else altogether."""
    if rng.random() < 0.2:
        return rng.choice([b"", b"{", b"[]", b"null", b"\xff\xfe{", b"\xef\xbb\xbf{}", b'{"format": 1}', b"PAR1"])
    if rng.random() < 0.3:
        return content[: rng.randrange(len(content) + 1)]
    changed = bytearray(content)
    near = min(len(changed), 2000) if rng.random() < 0.7 else len(changed)  # headers are where it hurts
    for _ in range(rng.randint(1, 4) if changed else 0):
        changed[rng.randrange(near)] = rng.randrange(256)
    return bytes(changed)


def words_of(rng: random.Random) -> list[str]:
    """A command line: an example of a command, with some of its words changed."""
    context = rng.choice(COMMANDS)
    words = shlex.split(rng.choice(context.command.examples).replace("\\\n", " "))[1:]
    path = len((context.info_name or "").split()) - 1
    for _ in range(rng.choice([0, 1, 1, 2, 3])):
        options = [option for option in context.command.params if option.opts[0] not in ("--debug", "--help")]
        kind, place = rng.random(), rng.randrange(path, len(words)) if len(words) > path else path
        if kind < 0.45 and len(words) > path:
            words[place] = rng.choice(JUNK) if not words[place].startswith("--") else words[place] + rng.choice("xs-")
        elif kind < 0.85:
            option = rng.choice(options)
            words += [option.opts[0], rng.choice(JUNK)]
        elif len(words) > path:
            del words[place]
    if words[1:2] == ["infer"] and "--input" in words[:-1] and rng.random() < 0.7:
        words[words.index("--input") + 1] = json.dumps(mutated(REQUEST, rng))
    return [*words, "--format", rng.choice(["table", "json"])]


def ran(words: list[str], stdin: bytes) -> tuple[int, str, str]:
    """Run the command in this process: exit code, standard output and error."""
    out, err = io.StringIO(), io.StringIO()

    def late(number: int, frame: Any) -> None:
        raise Interrupted(number)

    before = signal.signal(signal.SIGALRM, late)
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err), pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "stdin", None if stdin == b"closed" else io.TextIOWrapper(io.BytesIO(stdin)))
        signal.setitimer(signal.ITIMER_REAL, SECONDS)
        try:
            code = main(words)
        except Interrupted:
            code = 128 + signal.SIGALRM
        finally:
            signal.setitimer(signal.ITIMER_REAL, 0)
            signal.signal(signal.SIGALRM, before)
    return code, out.getvalue(), err.getvalue()


@contextlib.contextmanager
def one_file_damaged(home: Path, rng: random.Random) -> Iterator[str]:
    """With one of the workspace's files changed in the body."""
    files = sorted(file for file in home.rglob("*") if file.is_file() and file.name != ".lock")
    file = rng.choice(files)
    content = file.read_bytes()
    if file.suffix == ".json" and rng.random() < 0.7:
        file.write_text(json.dumps(mutated(json.loads(content), rng)))
    else:
        file.write_bytes(damaged(content, rng))
    yield f", {file.relative_to(home)} damaged"
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_bytes(content)


def test_no_command_fails_without_saying_why(
    workspace: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, swarm_log: Path
) -> None:
    home = tmp_path / "home"
    monkeypatch.setenv("CLAUDE_FLOW_HOME", str(home))
    monkeypatch.setenv("CLAUDE_FLOW_TIME_BUDGET", "200ms")
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    failures: list[str] = []
    for run in range(FIRST, FIRST + RUNS):
        rng = random.Random(run)
        if (run - FIRST) % 50 == 0:
            shutil.rmtree(home, ignore_errors=True)
            shutil.copytree(workspace, home)
        words, about = words_of(rng), ""
        (tmp_path / "events.jsonl").write_bytes(damaged(swarm_log.read_bytes(), rng))
        if words[1] == "train" and words[2] in ("coordination", "optimization", "prediction") and rng.random() < 0.7:
            section = mutated(CONFIG, rng)
            (tmp_path / "config.json").write_text(json.dumps({f"{words[2]}-training": section}))
            words += ["--config", "config.json"]
            about = f", configuration {section}"
        stdin = rng.choice([b"", b"{}", b"closed", json.dumps(mutated(REQUEST, rng)).encode()])
        damage = one_file_damaged(home, rng) if rng.random() < 0.4 else contextlib.nullcontext("")
        with damage as what:
            code, out, err = ran(words, stdin)
        ended = code in (0, 128 + signal.SIGALRM)
        said = any(line.startswith("error: ") for line in err.splitlines())
        findings = code == 1 and tuple(words[1:3]) in VERDICTS and bool(out)
        silent = not (out or err) or not (ended or said or findings)
        if code not in EXIT_CODES or "internal error" in err or "Traceback" in err or silent:
            line = shlex.join(["claude-flow", *words])
            failures.append(f"run {run}: {line!r}{about}{what}: exit {code}: {out[-200:]}{err[-800:]}")
    assert not failures, "\n".join(failures[:20])
