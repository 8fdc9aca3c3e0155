"""What generic code may ask of a network: one :class:`Network` row each, listed in :mod:`claude_flow.networks`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields
from importlib import import_module
from typing import Any

from claude_flow.errors import InputError
from claude_flow.values import did_you_mean

__all__ = ["Network", "Option"]


@dataclass(frozen=True)
class Option:
    """One thing that a request may say, as the command line, HTTP and MCP offer it.

    ``part`` says where it goes: ``"request"`` is the whole request, ``"field"`` a field of it by the option's name,
    ``"keyword"`` an argument of the network's ``answer.answer``. ``kind`` is a word that
    :func:`claude_flow.cli.params.of` knows: object, text, share, shares, number, count, duration, switch, targets.
    """

    name: str
    kind: str
    help: str
    part: str = "field"
    default: Any = None
    required: bool = False
    show_default: str | bool = True
    metavar: str | None = None
    limits: tuple[float, float] | None = None

    @property
    def key(self) -> str:
        """The option as a Python name."""
        return self.name.replace("-", "_")


@dataclass(frozen=True)
class Network:
    """One network: its name, and the folder that holds all that it is.

    The folder ``package`` has one module for each thing that may be asked of a network. Modules load when they are
    asked for, since some need torch.

    =========== ================================================================================= =====
    module      what generic code uses of it                                                      torch
    =========== ================================================================================= =====
    ``config``  ``Config``: a frozen dataclass of sizes; the defaults are the guide's             no
    ``net``     ``Net(config)``: the module, with ``config``; ``lower(program, config)`` writes    yes
                its ops, ``stored(tensors, config)`` gives the tensors as the ops want them with
                the configuration of the file, ``restored(tensors, config)`` goes back
    ``prepare`` ``preprocess(tables, folder, options)``: tensors to learn from, returns the       no
                manifest; ``suite(folder, seed, share)``: tables and options of simulated data
    ``learn``   ``Data``: see :class:`claude_flow.train.loop.Data`                                yes
    ``judge``   ``Judge``: see :class:`claude_flow.evaluate.judge.Judge`; ``folds`` or            yes
                ``windows``: parts of a dataset to train and judge anew on
    ``answer``  ``HELP``, ``EXAMPLES``, ``OPTIONS``; ``answer(model, request, ...)`` and          no
                ``render(answer)``, the same as tables
    ``head``    where ``has_head``: ``Head(path, file)`` whose ``decide`` is ``Model.decide``      no
    =========== ================================================================================= =====

    ``question`` completes "it learns ..." and "say ..."; ``architecture`` is the word of a training configuration;
    ``training_fields`` are those fields of a training configuration that not every network has a use for;
    ``simulates``: its data can be simulated without any log; ``input_shape`` is for people.
    """

    name: str
    package: str
    question: str
    architecture: str
    train_examples: Sequence[str]
    training_fields: frozenset[str] = frozenset()
    simulates: bool = False
    has_head: bool = False

    def part(self, name: str) -> Any:
        """The module ``name`` of the network's folder."""
        return import_module(f"{self.package}.{name}")

    @property
    def answer(self) -> Any:
        """Requests and answers."""
        return self.part("answer")

    @property
    def judge(self) -> Any:
        """How models are judged on held-out data."""
        return self.part("judge")

    @property
    def learn(self) -> Any:
        """Training data, loss and measures."""
        return self.part("learn")

    @property
    def net(self) -> Any:
        """The torch module, and how it is lowered."""
        return self.part("net")

    @property
    def prepare(self) -> Any:
        """Tables to tensors."""
        return self.part("prepare")

    def head(self, path: Any, file: Any) -> Any:
        """What :meth:`claude_flow.model.Model.decide` asks, or None where outputs are the answer."""
        return self.part("head").Head(path, file) if self.has_head else None

    def check(self, model: Any, why: str = "") -> None:
        """Refuse a loaded model of another network: :class:`InputError`; ``why`` says what the network is asked for."""
        if model.network != self.name:
            why = why or f"name a {self.name} model, or ask  infer {model.network}"
            raise InputError(f"{model.path} is a {model.network} model: {why}")

    def config(self, values: dict[str, Any] | None = None) -> Any:
        """The configuration with the given fields; :class:`InputError` for an unknown one.

        >>> from claude_flow import networks
        >>> networks.get("optimization").config({"hidden": [64]}).hidden
        (64,)
        """
        kind = self.part("config").Config
        known = [field.name for field in fields(kind)]
        values = dict(values or {})
        unknown = sorted(set(values) - set(known))
        if unknown:
            near = did_you_mean(unknown[0], known)
            raise InputError(
                f"network.{unknown[0]}: no such field of {self.name}{near or '; it has ' + ', '.join(sorted(known))}"
            )
        return kind(**{name: tuple(v) if isinstance(v, list) else v for name, v in values.items()})
