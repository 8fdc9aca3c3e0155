"""A federation whose participants run Flower clients (https://flower.ai, `flwr` 1.42): SuperLink and SuperNodes.

The command hands a small Flower app to a running SuperLink. Its ServerApp, a child of the SuperLink, runs the rounds of
:class:`Federation`; its ClientApp, a child of every SuperNode, trains and judges on the node's own dataset. What the
ServerApp has to say goes into a folder of this workspace, so the command runs on the SuperLink's machine.
"""

from __future__ import annotations

import json
import math
import os
import re
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import torch

from claude_flow import files, networks
from claude_flow.data import preprocess
from claude_flow.errors import ClaudeFlowError, InputError, require
from claude_flow.train import config as training
from claude_flow.train.recipes import federated
from claude_flow.train.recipes.federated import Federation, Participant, Weights
from claude_flow.values import read_json

__all__ = ["Nodes", "addressed", "client_app", "rounds", "server_app"]

_ADDRESS = re.compile(r"flower://([^/\s]+:\d{1,5})/([\w.-]+)")
_WAIT = 60.0  # seconds for the nodes to appear
_POLL = 0.3
_HIDDEN = 0.2  # of a node's data, to validate on
_APP = """\
[project]
name = "claude-flow-federation"
version = "1.0.0"
license = "MIT"
dependencies = []

[tool.flwr.app]
publisher = "claude-flow"

[tool.flwr.app.components]
serverapp = "federation:server"
clientapp = "federation:client"

[tool.flwr.app.config]
folder = ""
"""
_MODULE = """\
from claude_flow.train.recipes.flower import client_app, server_app

server = server_app()
client = client_app()
"""


def addressed(names: Sequence[str]) -> tuple[str, list[str]] | None:
    """The SuperLink's HOST:PORT and the nodes' names of ``flower://HOST:PORT/NAME``; None where no name is such.

    >>> addressed(["flower://127.0.0.1:8000/a", "flower://127.0.0.1:8000/b"])
    ('127.0.0.1:8000', ['a', 'b'])

    Raises:
        InputError: another form, two SuperLinks, or datasets among them.
    """
    flower = [name for name in names if name.startswith("flower:")]
    if not flower:
        return None
    matches = [_ADDRESS.fullmatch(name) for name in names]
    for name, match in zip(names, matches, strict=True):
        if match is None:
            what = "is a dataset, the others are Flower clients: name one kind" if name not in flower else "has a form"
            raise InputError(f"participant {name}: it {what}; a Flower client is flower://HOST:PORT/NAME")
    links = {match[1] for match in matches if match}
    if len(links) > 1:
        raise InputError(f"the participants name two SuperLinks, {' and '.join(sorted(links))}: a federation has one")
    return links.pop(), [match[2] for match in matches if match]


# The command's side ------------------------------------------------------------------------------------------


def rounds(
    link: str,
    job: Mapping[str, Any],
    start: Weights,
    folder: Path,
    state: Mapping[str, Any],
    progress: Callable[[int, int, dict[str, Any]], None],
) -> dict[str, Any]:
    """Have the SuperLink at ``link`` run ``job`` from ``start`` (or go on from ``state``); what its ServerApp found.

    ``job``: network, nodes, strategy, rounds, local_epochs, seed, config, privacy, seconds.

    Raises:
        ClaudeFlowError: no SuperLink there, nodes missing, or its ServerApp failed; the message says which.
    """
    require("flwr", "flower")
    folder.mkdir(parents=True, exist_ok=True)
    for name in ("history.jsonl", "done.pt", "error.txt"):
        (folder / name).unlink(missing_ok=True)
    app = folder / "app"
    app.mkdir(exist_ok=True)
    files.atomic_write(app / "pyproject.toml", _APP)
    files.atomic_write(app / "federation.py", _MODULE)
    files.atomic_write(folder / "job.json", json.dumps(dict(job)))
    torch.save({"start": start, "state": dict(state)}, folder / "start.pt")
    home = folder / "flower"
    connection = f'[superlink]\ndefault = "it"\n\n[superlink.it]\naddress = "{link}"\ninsecure = true\n'
    home.mkdir(exist_ok=True)
    files.atomic_write(home / "config.toml", connection)
    setting = {**os.environ, "FLWR_HOME": str(home)}
    answer = _flwr(setting, "run", str(app), "it", "--run-config", f'folder="{folder}"', "--format", "json")
    if not answer.get("success"):
        why = " ".join(str(answer.get("error-message") or answer.get("said")).split())[:300]
        raise ClaudeFlowError(f"the SuperLink at {link} did not take the federation: {why}")
    shown, looked = 0, time.monotonic()
    try:
        while not (folder / "done.pt").exists():
            shown = _follow(folder, shown, int(job["rounds"]), progress)
            if (folder / "error.txt").exists():
                raise ClaudeFlowError(files.read_text(folder / "error.txt").strip())
            if time.monotonic() - looked > 10:
                looked = time.monotonic()
                listed = _flwr(setting, "list", "it", "--run-id", str(answer["run-id"]), "--format", "json")
                status = str((listed.get("runs") or [{}])[0].get("status", ""))
                if status.startswith("finished") and not (folder / "done.pt").exists():
                    raise ClaudeFlowError(
                        f"the SuperLink at {link} ended the federation without a result ({status}): "
                        "it must run on this machine, where claude-flow[flower] is installed"
                    )
            time.sleep(_POLL)
    except BaseException:
        _flwr(setting, "stop", str(answer["run-id"]), "it")
        raise
    _follow(folder, shown, int(job["rounds"]), progress)
    found: dict[str, Any] = torch.load(folder / "done.pt", map_location="cpu", weights_only=True)
    return found


def _flwr(setting: Mapping[str, str], *words: str) -> dict[str, Any]:
    """A command of Flower's; its JSON, or what it said."""
    ended = subprocess.run(
        [sys.executable, "-c", "from flwr.cli.app import app; app()", *words],
        env=dict(setting),
        capture_output=True,
        encoding="utf-8",
        check=False,
    )
    try:
        found = json.loads(ended.stdout[ended.stdout.index("{") :])
        return found if isinstance(found, dict) else {}
    except ValueError:
        lines = [line.strip(" │") for line in (ended.stdout + ended.stderr).splitlines() if line.strip(" │╭╮╰╯─")]
        return {"said": " ".join(lines[-3:])[:300]}


def _follow(folder: Path, shown: int, of: int, progress: Callable[[int, int, dict[str, Any]], None]) -> int:
    """Tell of the rounds that are new in the history; how many there are."""
    path = folder / "history.jsonl"
    lines = files.read_text(path).splitlines() if path.exists() else []
    for line in lines[shown:]:
        entry = json.loads(line)
        progress(entry["round"], of, entry)
    return len(lines)


# The server's side -------------------------------------------------------------------------------------------


class Nodes(Federation):
    """A federation whose participants are reached by ``ask(kind, weights, more)`` -> node's name -> its reply."""

    ask: Callable[[str, Weights, dict[str, Any]], dict[str, dict[str, Any]]]

    def trained(self, weights: Weights, number: int, deadline: float) -> tuple[dict[str, Weights], dict[str, str]]:
        """All nodes at once; one that does not answer is absent."""
        left = deadline - time.monotonic()
        replies = self.ask("train", weights, {"round": number, "seconds": 1e9 if math.isinf(left) else left})
        after = {name: reply["weights"] for name, reply in replies.items() if "weights" in reply}
        self.spent |= {name: reply["epsilon"] for name, reply in replies.items() if reply.get("epsilon")}
        silent = {p.name: "it did not answer" for p in self.participants if p.name not in replies}
        failed = {name: str(reply["error"]) for name, reply in replies.items() if "error" in reply}
        return after, silent | failed

    def judge(self, weights: Weights) -> dict[str, float]:
        """The validation losses of the nodes that answer."""
        replies = self.ask("judge", weights, {"split": "validation"})
        found = {name: reply["loss"] for name, reply in replies.items() if "loss" in reply}
        if not found:
            raise ClaudeFlowError("no node could judge the round")
        return found

    spent: dict[str, float]


def server_app() -> Any:
    """The ServerApp: the rounds of the job in the run's folder."""
    flower, server = require("flwr.app", "flower"), require("flwr.serverapp", "flower")
    app = server.ServerApp()

    @app.main()  # type: ignore[untyped-decorator]
    def main(grid: Any, context: Any) -> None:
        folder = Path(str(context.run_config["folder"]))
        try:
            _serve(flower, grid, folder)
        except Exception as error:  # the command that waits shall know
            files.atomic_write(folder / "error.txt", f"{error}\n")
            raise

    return app


def _serve(flower: Any, grid: Any, folder: Path) -> None:
    job = read_json(folder / "job.json")
    begun = torch.load(folder / "start.pt", map_location="cpu", weights_only=True)
    deadline = math.inf if job["seconds"] is None else time.monotonic() + job["seconds"]
    asked = {key: job[key] for key in ("network", "strategy", "local_epochs", "seed", "privacy", "config", "rounds")}
    known: dict[int, str] = {}

    def ask(kind: str, weights: Weights, more: dict[str, Any], to: Sequence[int] | None = None) -> dict[str, Any]:
        text = json.dumps({**asked, **more, "kind": kind})
        messages = [
            flower.Message(
                flower.RecordDict({"weights": flower.ArrayRecord(weights), "job": flower.ConfigRecord({"job": text})}),
                dst_node_id=node,
                message_type="train",
            )
            for node in (known if to is None else to)
        ]
        left = deadline - time.monotonic()
        timeout = None if math.isinf(left) else max(30.0, 2 * left)
        found: dict[str, Any] = {}
        for message in grid.send_and_receive(messages, timeout=timeout):
            node = message.metadata.src_node_id
            if message.has_error():
                found[known.get(node, str(node))] = {"error": message.error.reason}
                continue
            reply = json.loads(str(message.content["reply"]["reply"]))
            if "weights" in message.content.array_records:
                reply["weights"] = message.content["weights"].to_torch_state_dict()
            found[known.get(node, str(node))] = {**reply, "node": node}
        return found

    sizes: dict[str, int] = {}
    features: dict[str, Any] = {}
    until = time.monotonic() + _WAIT
    while True:
        new = [node for node in grid.get_node_ids() if node not in known]
        for reply in ask("hello", {}, {}, new).values() if new else ():
            if "error" in reply:
                raise ClaudeFlowError(f"a node cannot take part: {reply['error']}")
            if reply["name"] in job["nodes"]:
                known[reply["node"]] = reply["name"]
                sizes[reply["name"]], features[reply["name"]] = reply["size"], reply["features"]
        missing = [name for name in job["nodes"] if name not in sizes]
        if not missing:
            break
        if time.monotonic() > until:
            raise ClaudeFlowError(f"{', '.join(missing)}: no SuperNode of this name is there (--node-config name=…)")
        time.sleep(1.0)
    federated.alike(features)
    members = [Participant(name, None, sizes[name]) for name in job["nodes"]]
    federation = Nodes(job["network"], _config(job), members, job["strategy"], job["local_epochs"], job["seed"])
    federation.ask, federation.spent, federation.state = ask, {}, dict(begun["state"])

    def tell(done: int, of: int, entry: dict[str, Any]) -> None:
        with (folder / "history.jsonl").open("a", encoding="utf-8") as stream:
            stream.write(json.dumps(entry) + "\n")

    best, stopped = federation.run(
        begun["start"],
        job["rounds"],
        deadline=deadline,
        progress=tell,
        save=lambda state: torch.save(_plain(state), folder / "state.pt"),
    )
    scores = {
        name: reply["metrics"] for name, reply in ask("judge", best, {"split": "test"}).items() if "metrics" in reply
    }
    found = {
        "weights": best,
        "stopped": stopped,
        "history": federation.history,
        "sizes": sizes,
        "scores": scores,
        "epsilon": federation.spent,
    }
    torch.save(found, folder / "done.part")
    (folder / "done.part").rename(folder / "done.pt")


def _config(job: Mapping[str, Any]) -> training.TrainingConfig:
    config = training.parse(job["config"], job["network"])
    config.learning_rate = config.learning_rate or federated.RATE
    return config


def _plain(state: Mapping[str, Any]) -> dict[str, Any]:
    return {**state, "adam": {key: torch.from_numpy(np.asarray(value)) for key, value in state["adam"].items()}}


# A node's side -----------------------------------------------------------------------------------------------


def client_app() -> Any:
    """The ClientApp: trains and judges on the dataset that the SuperNode's ``--node-config data=… name=…`` names."""
    flower, client = require("flwr.app", "flower"), require("flwr.clientapp", "flower")
    app = client.ClientApp()

    @app.train()  # type: ignore[untyped-decorator]
    def train(message: Any, context: Any) -> Any:
        job = json.loads(str(message.content["job"]["job"]))
        weights = message.content["weights"].to_torch_state_dict()
        content = flower.RecordDict()
        try:
            reply, after = _answer(job, weights, dict(context.node_config), context.state, flower)
            if after:
                content["weights"] = flower.ArrayRecord(after)
        except (ClaudeFlowError, OSError) as error:
            reply = {"error": str(error)}
        content["reply"] = flower.ConfigRecord({"reply": json.dumps(reply)})
        return flower.Message(content, reply_to=message)

    return app


def _answer(
    job: Mapping[str, Any], weights: Weights, node: Mapping[str, Any], state: Any, flower: Any
) -> tuple[dict[str, Any], Weights]:
    """What a node replies, and its weights after training."""
    if "data" not in node:
        raise InputError('start the SuperNode with --node-config \'data="DATASET" name="NAME"\'')
    name = str(node.get("name", node["data"]))
    config = training.parse(job["config"], job["network"])
    row = networks.get(job["network"])
    data = row.learn.Data.load(
        preprocess.for_network(row.name, str(node["data"])), _HIDDEN, job["seed"], asdict(config)
    )
    (member,) = federated.participants({name: data}, [name], config.batch_size)
    if job["kind"] == "hello":
        with torch.no_grad():
            features = data.metadata(data.module(config.network).eval())["features"]
        return {"name": name, "size": member.size, "features": federated.kinds(features)}, {}
    if job["kind"] == "judge":
        module = data.module(config.network)
        module.load_state_dict(weights)
        split = job["split"] if job["split"] in data.splits else "validation"
        with torch.no_grad():
            metrics = {k: float(v) for k, v in data.metrics(module.eval(), split).items() if np.isfinite(v)}
        return {"loss": metrics["loss"], "metrics": metrics}, {}
    private = None
    if job["privacy"]:
        private = federated.private(member, config, job["rounds"], job["local_epochs"], job["seed"], **job["privacy"])
        before = int(state["privacy"]["steps"]) if "privacy" in state else 0
        private.resume(before)
    federation = Federation(
        row.name,
        config,
        [member, member],  # of which the first is trained: a federation has two at least
        job["strategy"],
        job["local_epochs"],
        job["seed"],
        None if private is None else lambda _: private,
    )
    after = federation.locally(member, weights, job["round"], job["seconds"])
    reply: dict[str, Any] = {}
    if private:
        state["privacy"] = flower.ConfigRecord({"steps": private.steps})
        reply["epsilon"] = private.epsilon
    return reply, after
