"""What generic code may ask of a network: one :class:`Network` row each, listed in :mod:`claude_flow.networks`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from importlib import import_module
from typing import Any

from claude_flow import schema
from claude_flow.errors import InputError

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

    ============= =============================================================================== =====
    module        what generic code uses of it                                                    torch
    ============= =============================================================================== =====
    ``config``    ``Config``: a frozen dataclass of sizes, each annotated with what it may be;    no
                  the defaults are the guide's. ``FIXED``: those that a training cannot change;
                  ``DATA``: a record of the training data's options; ``MEASURES``: names of what
                  the validation split is judged by; ``TINY``: sizes of a few units that have
                  every kind of block, for tests
    ``net``       ``Net(config)``: the module, with ``config``; ``layers(config)``: names of its  yes
                  layers -> beginnings of their parameters' names; ``lower(program, config)``
                  writes its ops, ``stored(tensors, config)`` gives the tensors as the ops want
                  them with the configuration of the file, ``restored(tensors, config)`` goes back
    ``structure`` ``groups(config)``: what may be pruned; ``shrunk(config, sizes)``: the          no
                  configuration with so many units per group; see
                  :mod:`claude_flow.networks.structure`
    ``prepare``   ``preprocess(tables, folder, options)``: tensors to learn from, returns the     no
                  manifest; ``suite(folder, seed, share)``: tables and options of simulated data;
                  ``requests(count, seed)``: simulated requests; ``asked(runs)``: the requests
                  that the runs of a log stand for, as (rows, request, size)
    ``learn``     ``Data``: see :class:`claude_flow.train.loop.Data`; ``distillation(student,     yes
                  teacher, batch, temperature)``: the loss of a student beside its teacher
    ``judge``     ``Judge``: see :class:`claude_flow.evaluate.judge.Judge`; ``folds`` or          yes
                  ``windows``: parts of a dataset to train and judge anew on
    ``answer``    ``HELP`` beyond the question, ``EXAMPLES``, ``OPTIONS``; ``answer(model,        no
                  request, ...)`` and ``render(answer)``, the same as tables. Where what became of a
                task tells how good an answer was: ``tasks(request)``, the ids and descriptions
                of its tasks, and ``outcome(request, answer, run)`` of a run (the columns of
                :class:`claude_flow.data.events.Run`): 1 good, 0 bad, None if it says nothing
    ``explain``   ``GROUPS`` of inputs, ``Reader(model)`` with ``item(request)`` and, where there are   no
                  decisions, ``knobs(item)`` and ``changed(item, request)``: see
                  :mod:`claude_flow.networks.inputs`;
                  ``decided(answer)``: decision -> choice; ``tokens(batch, item)``: names of an
                  item's tokens, where it has self-attention
    ``head``      where ``has_head``: ``Head(path, file)`` whose ``decide`` is ``Model.decide``   no
    ============= =============================================================================== =====

    ``question`` completes "it learns ..." and "say ..."; ``architecture`` is the word of a training configuration;
    ``training_fields`` are those fields of a training configuration that not every network has a use for;
    ``simulates``: its data can be simulated without any log; ``tool`` is its name as a
    tool of agents, if it is one; ``input_shape`` is for people.
    """

    name: str
    package: str
    question: str
    architecture: str
    train_examples: Sequence[str]
    training_fields: frozenset[str] = frozenset()
    simulates: bool = False
    has_head: bool = False
    tool: str = ""

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

    @property
    def structure(self) -> Any:
        """What may be left out."""
        return self.part("structure")

    def head(self, path: Any, file: Any) -> Any:
        """What :meth:`claude_flow.model.Model.decide` asks, or None where outputs are the answer."""
        return self.part("head").Head(path, file) if self.has_head else None

    def check(self, model: Any, why: str = "") -> None:
        """Refuse a loaded model of another network: :class:`InputError`; ``why`` says what the network is asked for."""
        if model.network != self.name:
            why = why or f"name a {self.name} model, or ask  infer {model.network}"
            raise InputError(f"{model.path} is a {model.network} model: {why}")

    @property
    def sizes(self) -> schema.Record:
        """What its configuration may say."""
        return schema.record_of(self.part("config").Config)

    @property
    def trainable_sizes(self) -> schema.Record:
        """The same for a training, which cannot change what the encoder dictates."""
        config = self.part("config")
        default, why = config.Config(), "that is how its inputs are encoded"
        fixed = {name: schema.Fixed(_plain(getattr(default, name)), why) for name in config.FIXED}
        return schema.Record({**self.sizes.fields, **fixed})

    def config(self, values: dict[str, Any] | None = None) -> Any:
        """The configuration with the given fields; :class:`InputError` for one that is unknown or out of range.

        >>> from claude_flow import networks
        >>> networks.get("optimization").config({"hidden": [64]}).hidden
        (64,)
        """
        checked = schema.check(dict(values or {}), self.sizes, "network")
        return self.part("config").Config(**{k: tuple(v) if isinstance(v, list) else v for k, v in checked.items()})


def _plain(value: Any) -> Any:
    return list(value) if isinstance(value, tuple) else value
