"""Nodes by name: worker processes of Ray, on a running cluster or on this machine alone."""

from __future__ import annotations

import os
import secrets
import shutil
import socket
import sys
import tempfile
from collections.abc import Sequence
from typing import Any

from claude_flow import registry
from claude_flow.errors import ClaudeFlowError, InputError, require
from claude_flow.run.worker import Worker
from claude_flow.values import did_you_mean

__all__ = ["Cluster"]

_REACH_S = 5.0
_STARTS = 3
_STORE_BYTES = 80 << 20  # Ray's least for shared objects is 75 MiB; shards are a few kilobytes


class Cluster:
    """The nodes that answer; a context manager.

    Without an ``address`` it is a Ray of its own on this machine, in which every name is one worker process: the
    names share the machine's cores. With one (``auto``, ``HOST:PORT``, ``ray://HOST:PORT``) a name is a node of the
    running cluster: its node name, host name, address, or a custom resource that it alone has.

    Raises:
        InputError: no name, a name twice, an address that does not answer, a name that the cluster lacks.
    """

    def __init__(self, names: Sequence[str], address: str | None = None) -> None:
        if not names:
            raise InputError('--nodes names no node: give one or more, such as \'["node-1","node-2"]\'')
        twice = [name for name in dict.fromkeys(names) if list(names).count(name) > 1]
        if twice:
            raise InputError(f"--nodes names {twice[0]} twice")
        self.names = list(names)
        self.address = address
        self._ids: dict[str, str] = {}
        self._folder: str | None = None
        self._is_ours = False

    @property
    def where(self) -> str:
        """What the nodes are, in words."""
        if self.address is None:
            return (
                f"{len(self.names)} worker processes of a Ray on this machine, which share its {os.cpu_count()} cores"
            )
        return f"{len(self.names)} nodes of the Ray cluster at {self.address}"

    def __enter__(self) -> Cluster:
        if self.address is not None:
            _reach(self.address)
        os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")  # Ray would report its use to its makers
        os.environ.setdefault(
            "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0"
        )  # else a warning about GPUs that none asked for
        if self.address is None and "ray" not in sys.modules:  # it reads this once, as it is imported
            # Without a token anybody on this machine could run code in the nodes; Ray's own would stay in the home.
            os.environ.setdefault("RAY_AUTH_MODE", "token")
            os.environ.setdefault("RAY_AUTH_TOKEN", secrets.token_hex(32))
        self._ray = require("ray", "distributed")
        try:
            if not self._ray.is_initialized():
                self._is_ours = True
                self._start()
            if self.address is not None:
                self._ids = self._look_up()
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *error: object) -> None:
        if self._is_ours:
            self._ray.shutdown()
        if self._folder:
            shutil.rmtree(self._folder, ignore_errors=True)

    def _start(self) -> None:
        quiet = {"configure_logging": False, "log_to_driver": False}
        if self.address is None:
            self._folder = tempfile.mkdtemp(prefix="cf-ray-")  # short: it holds sockets, whose paths have a limit
            for _ in range(_STARTS):
                try:
                    self._ray.init(
                        address="local",
                        num_cpus=len(self.names),
                        num_gpus=0,
                        include_dashboard=False,
                        object_store_memory=_STORE_BYTES,
                        _temp_dir=self._folder,
                        **quiet,
                    )
                    return
                except Exception as error:  # Ray gives its parts half a minute, and raises a plain Exception then
                    self._ray.shutdown()
                    if "timed out" not in str(error):
                        raise
            raise ClaudeFlowError(f"Ray did not start in {_STARTS} attempts of 30 s: this machine is too busy for it")
        try:
            self._ray.init(address=self.address, **quiet)
        except (OSError, RuntimeError, ValueError) as error:
            reason = str(error).strip().splitlines() or [type(error).__name__]
            raise InputError(f"--address {self.address}: no Ray cluster answers there ({reason[0]})") from None

    def _look_up(self) -> dict[str, str]:
        """Node ids by the names asked for."""
        alive = [node for node in self._ray.nodes() if node["Alive"]]
        known: dict[str, list[str]] = {}
        for node in alive:
            standard = ("node:", "CPU", "GPU", "memory", "object_store_memory", "accelerator_type")
            resources = [name for name in node["Resources"] if not name.startswith(standard)]
            labels = (node["NodeName"], node["NodeManagerHostname"], node["NodeManagerAddress"])
            for label in {*labels, *resources}:
                known.setdefault(label, []).append(node["NodeID"])
        for name in self.names:
            if len(known.get(name, ())) != 1:
                what = "names several nodes" if name in known else "is no node"
                near = did_you_mean(name, known) or f": it has {', '.join(sorted(known))}"
                raise InputError(f"{name!r} {what} of the cluster at {self.address}{near}")
        return {name: known[name][0] for name in self.names}

    def start(self, name: str, **arguments: Any) -> Any:
        """A new worker process on the node ``name``: a handle, whose methods' ``remote`` give references."""
        options: dict[str, Any] = {"num_cpus": 1, "max_restarts": 0}
        if name in self._ids:
            scheduling = require("ray.util.scheduling_strategies", "distributed")
            options["scheduling_strategy"] = scheduling.NodeAffinitySchedulingStrategy(self._ids[name], soft=False)
        home = str(registry.workspace().resolve())
        return self._ray.remote(**options)(self.worker(name)).remote(folder=os.getcwd(), workspace=home, **arguments)

    def worker(self, name: str) -> type[Worker]:
        """What runs on a node."""
        return Worker

    def stop(self, handle: Any) -> None:
        """End a worker process, whatever it does."""
        self._ray.kill(handle, no_restart=True)

    def wait(self, references: Sequence[Any], seconds: float) -> list[Any]:
        """Those that are done after at most ``seconds``, as soon as there is one."""
        done, _ = self._ray.wait(list(references), num_returns=1, timeout=seconds)
        return list(done)

    def get(self, reference: Any, seconds: float | None = None) -> Any:
        """What a worker returned. Raises :class:`Lost` for one whose process or node is gone, else what it raised."""
        errors = self._ray.exceptions
        try:
            return self._ray.get(reference, timeout=seconds)
        except (errors.RayActorError, errors.WorkerCrashedError, errors.ObjectLostError) as error:
            raise Lost(str(error).strip().splitlines()[0]) from None
        except errors.GetTimeoutError:
            raise Lost(f"it did not start within {seconds:g} s") from None
        except errors.RayTaskError as error:
            raise error.cause if isinstance(error.cause, ClaudeFlowError) else error from None


class Lost(ClaudeFlowError):
    """A node's process ended, or the node itself did."""


def _reach(address: str) -> None:
    """Refuse an address at which nothing listens; Ray itself would try for minutes."""
    host, _, port = address.removeprefix("ray://").rpartition(":")
    if not host and address in ("auto", "local"):
        return
    if not host or not port.isdecimal():
        raise InputError(f"--address {address!r} is not auto, HOST:PORT or ray://HOST:PORT")
    try:
        socket.create_connection((host, int(port)), _REACH_S).close()
    except (OSError, OverflowError) as error:
        reason = getattr(error, "strerror", None) or error
        raise InputError(f"--address {address}: nothing answers there ({reason})") from None
