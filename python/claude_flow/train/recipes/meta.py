"""Meta-learning: weights from which a few steps on a new task's few examples go far.

MAML (Finn et al. 2017, arXiv 1703.03400), ANIL, which adapts the output layer alone (Raghu et al. 2019, arXiv
1909.09157), and Reptile (Nichol et al. 2018, arXiv 1803.02999). A task is a preprocessed dataset: a project, a site, a
scenario. Its training part is cut into a support of few examples and a query.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.func import functional_call
from torch.nn.attention import SDPBackend, sdpa_kernel

from claude_flow import export, modelfile
from claude_flow.errors import InputError
from claude_flow.files import temporary_folder
from claude_flow.train import loop, run
from claude_flow.train.loop import data_hash
from claude_flow.train.recipes.source import Source, read, suits
from claude_flow.train.run import Trained

__all__ = ["ALGORITHMS", "Joint", "MetaData", "adapt", "adapted", "meta"]

ALGORITHMS = ("maml", "anil", "reptile")
Weights = dict[str, Tensor]
Batch = dict[str, Tensor]


def _steps(
    loss: Callable[[nn.Module, Batch], Tensor],
    module: nn.Module,
    weights: Weights,
    batches: Sequence[Batch],
    steps: int,
    rate: float,
    names: Sequence[str],
    second_order: bool,
) -> Weights:
    """``weights`` after plain gradient steps on ``names`` over ``batches`` in turn."""
    weights = dict(weights)
    for step in range(steps):
        # The fused attention has no second derivative.
        with sdpa_kernel(SDPBackend.MATH):
            value = loss(_Called(module, weights), batches[step % len(batches)])
        gradients = torch.autograd.grad(
            value, [weights[name] for name in names], create_graph=second_order, allow_unused=True
        )
        for name, gradient in zip(names, gradients, strict=True):
            if gradient is not None:
                weights[name] = weights[name] - rate * gradient
    return weights


class _Called(nn.Module):
    """A module that computes with other weights than its own, and otherwise is it."""

    def __init__(self, module: nn.Module, weights: Weights) -> None:
        super().__init__()
        object.__setattr__(self, "_module_", module)
        object.__setattr__(self, "_weights_", weights)
        self.training = module.training

    def forward(self, *args: Any) -> Any:
        return functional_call(self._module_, self._weights_, args)

    def __getattr__(self, name: str) -> Any:
        # What the losses call besides forward (scores, each) runs on a module whose weights were swapped.
        if name in ("_module_", "_weights_"):
            raise AttributeError(name)
        value = getattr(object.__getattribute__(self, "_module_"), name)
        if not callable(value) or isinstance(value, nn.Module):
            return value
        module, weights = self._module_, self._weights_

        def call(*args: Any) -> Any:
            return functional_call(_Method(module, name), {f"module.{k}": v for k, v in weights.items()}, args)

        return call


class _Method(nn.Module):
    """A method of a module as a module's forward, so that ``functional_call`` can run it."""

    def __init__(self, module: nn.Module, name: str) -> None:
        super().__init__()
        self.module, self._name = module, name

    def forward(self, *args: Any) -> Any:
        return getattr(self.module, self._name)(*args)


def adapt(
    source: Source, data: Path, *, steps: int = 5, rate: float = 0.01, examples: int = 20, seed: int = 0
) -> tuple[nn.Module, dict[str, Any]]:
    """A copy of the source's module after ``steps`` steps on ``examples`` training examples of ``data``, and what its
    model file says of the data: feature schema and calibration.

    Raises:
        InputError: nothing of the data can be learned from.
    """
    held = source.row.learn.Data.load(data, 0.2, seed, asdict(source.config()))
    batches = list(held.batches("train", examples, np.random.default_rng(seed)))[:1]
    if not batches:
        raise InputError(f"{data}: nothing in its training part can be adapted to")
    source.module.train()
    weights = {name: p.detach().clone().requires_grad_() for name, p in source.module.named_parameters()}
    layers = dict(list(source.layers.items())[-1:] if _told(source).get("algorithm") == "anil" else source.layers)
    names = [n for n in weights if any(n == p or n.startswith(f"{p}.") for part in layers.values() for p in part)]
    new = _steps(held.loss, source.module, weights, batches, steps, rate, names, second_order=False)
    module = copy.deepcopy(source.module)
    module.load_state_dict({**module.state_dict(), **{name: w.detach() for name, w in new.items()}})
    module.eval()
    with torch.no_grad():
        metadata: dict[str, Any] = held.metadata(module)
    return module, {name: metadata[name] for name in ("features", "calibration")}


def adapted(path: Path, data: Path, target: Path) -> dict[str, Any]:
    """Write what the meta-trained model ``path`` becomes on the examples of ``data`` to ``target``, and, beside it, the
    model as it is with the same schema and calibration (``plain.safetensors``); returns how it was adapted.

    Raises:
        InputError: the model was not meta-trained, or nothing of the data can be learned from.
    """
    source = read(path)
    told = _told(source)
    if not told:
        raise InputError(f"{path}: it was not meta-trained; make one: claude-flow neural train meta --base-model MODEL")
    how = {"steps": told["inner_steps"], "rate": told["rate"], "examples": told["examples"]}
    for steps, file in ((0, target.parent / "plain.safetensors"), (how["steps"], target)):
        module, metadata = adapt(source, data, **{**how, "steps": steps})
        about = {"config": {f"{source.row.name}-training": source.document}, "adapted": {**how, "steps": steps}}
        export.save(module, file, metadata={**metadata, "provenance": about})
    return how


def _told(source: Source) -> dict[str, Any]:
    """How the model was meta-trained; nothing of one that was not."""
    told: dict[str, Any] = modelfile.read(source.path).provenance.get("meta") or {}
    return told


class MetaData:
    """The tasks as training data of the one loop: a batch is a task's support and query.

    The loss is the query's after ``inner_steps`` steps on the support. For reptile, which has no query, it is half the
    squared distance to the adapted weights, whose gradient is reptile's step.
    """

    splits = ("train", "validation")

    def __init__(
        self,
        tasks: Sequence[Any],
        held_out: Sequence[Any],
        *,
        algorithm: str,
        inner_steps: int,
        rate: float,
        examples: int,
        per_epoch: int,
        output_names: Sequence[str],
        whole: Any,
        fingerprint: str,
    ) -> None:
        if algorithm not in ALGORITHMS:
            raise InputError(f"meta-algorithm {algorithm!r}: it is one of {', '.join(ALGORITHMS)}")
        if len(tasks) < 2:
            raise InputError("meta-learning needs at least two tasks to train on, and one to judge on")
        self.tasks, self.held_out = list(tasks), list(held_out)
        self._algorithm, self._steps, self._rate = algorithm, inner_steps, rate
        self._whole, self.fingerprint = whole, fingerprint
        self._examples, self._per_epoch, self._output = examples, per_epoch, list(output_names)

    def batches(self, split: str, batch_size: int, generator: np.random.Generator) -> Iterator[Batch]:
        """``per_epoch`` draws of a task each, in batches named ``support.*`` and ``query.*``."""
        if split != "train":
            yield from (self._draw(task, generator) for task in self.held_out)
            return
        for _ in range(self._per_epoch):
            yield self._draw(self.tasks[int(generator.integers(len(self.tasks)))], generator)

    def _draw(self, task: Any, generator: np.random.Generator) -> Batch:
        found = []
        for batch in task.batches("train", self._examples, generator):
            found.append(batch)
            if len(found) == 2:
                break
        support, query = found[0], found[-1]
        return {
            **{f"support.{name}": t for name, t in support.items()},
            **{f"query.{name}": t for name, t in query.items()},
        }

    def loss(self, module: nn.Module, batch: Batch) -> Tensor:
        """See the class."""
        support = {name.removeprefix("support."): t for name, t in batch.items() if name.startswith("support.")}
        query = {name.removeprefix("query."): t for name, t in batch.items() if name.startswith("query.")}
        base = self.tasks[0].loss
        weights: Weights = dict(module.named_parameters())
        names = [n for n in weights if self._algorithm != "anil" or any(n.startswith(p) for p in self._output)]
        if not torch.is_grad_enabled():
            with torch.enable_grad():
                copies = {name: w.detach().clone().requires_grad_() for name, w in weights.items()}
                new = _steps(base, module, copies, [support], self._steps, self._rate, names, False)
            value: Tensor = base(_Called(module, new), query)
            return value
        if self._algorithm == "reptile":
            copies = {name: w.detach().clone().requires_grad_() for name, w in weights.items()}
            new = _steps(base, module, copies, [support, query], self._steps, self._rate, names, False)
            gaps = [(weights[name] - new[name].detach()).square().sum() for name in weights]
            return 0.5 * torch.stack(gaps).sum()
        new = _steps(base, module, weights, [support], self._steps, self._rate, names, True)
        with sdpa_kernel(SDPBackend.MATH):
            return base(_Called(module, new), query)  # type: ignore[no-any-return]

    def metrics(self, module: nn.Module, split: str) -> dict[str, float]:
        """``loss``: the mean held-out task's query loss after adaptation; ``loss-before``: without it."""
        generator = np.random.default_rng(3)
        after, before = [], []
        tasks = self.held_out if split != "train" else self.tasks
        with torch.no_grad():
            for task in tasks:
                for _ in range(4):
                    batch = self._draw(task, generator)
                    after.append(float(self.loss(module, batch)))
                    query = {name.removeprefix("query."): t for name, t in batch.items() if name.startswith("query.")}
                    before.append(float(task.loss(module, query)))
        return {"loss": float(np.mean(after)), "loss-before": float(np.mean(before))}

    def baselines(self, split: str) -> dict[str, dict[str, float]]:
        """None of its own: the command measures joint training beside it."""
        return {}

    def module(self, config: dict[str, Any]) -> nn.Module:
        """The network of the tasks."""
        module: nn.Module = self.tasks[0].module(config)
        return module

    def metadata(self, module: nn.Module) -> dict[str, Any]:
        """What the model file holds besides the weights: the schema of the tasks' data, and its calibration."""
        found: dict[str, Any] = self._whole.metadata(module)
        told = {"algorithm": self._algorithm, "inner_steps": self._steps, "rate": self._rate}
        found["card"] = {**found.get("card", {}), "meta": {**told, "examples": self._examples}}
        return found

    def parts(self) -> dict[str, Any]:
        """The tasks are the parts already."""
        return dict(enumerate(self.tasks))  # type: ignore[arg-type]


def meta(
    source: Source,
    data: Path,
    name: str,
    *,
    algorithm: str = "maml",
    inner_steps: int = 5,
    outer_steps: int = 1000,
    adaptation_rate: float = 0.01,
    learning_rate: float = 1e-3,
    examples: int = 20,
    seed: int = 0,
    time_budget: float | None = None,
    **options: Any,
) -> tuple[Trained | None, dict[str, dict[str, float]]]:
    """Meta-train ``source`` on the tasks in ``data`` (its parts) and store a version of ``name``.

    A fifth of the tasks, at least one, is never trained on. Returns the model and, on those tasks, the mean loss after
    ``inner_steps`` on ``examples`` examples of: this; ``joint``, training on all tasks at once for as many steps and
    then the same adaptation; ``source``, the adaptation alone.

    Raises:
        InputError: fewer than three tasks, or data whose inputs or outputs are others than the model's.
    """
    suits(source, data)
    config = source.config(learning_rate={"initial": learning_rate})
    whole = source.row.learn.Data.load(data, 0.2, seed, asdict(config))
    tasks = [part for part in whole.parts().values() if _enough(part, examples)]
    if len(tasks) < 3:
        raise InputError(
            f"{data}: {len(tasks)} of its projects, pools or families have two batches of {examples} examples; "
            "meta-learning needs three: collect more, or give fewer --examples"
        )
    order = np.random.default_rng([seed, 9]).permutation(len(tasks))
    held = max(1, len(tasks) // 5)
    epochs = max(1, min(20, outer_steps // 10))
    chosen = [p for layer in list(source.layers)[-1:] for p in source.layers[layer]]
    made = MetaData(
        [tasks[i] for i in order[held:]],
        [tasks[i] for i in order[:held]],
        algorithm=algorithm,
        inner_steps=inner_steps,
        rate=adaptation_rate,
        examples=examples,
        per_epoch=max(1, outer_steps // epochs),
        output_names=chosen,
        whole=whole,
        fingerprint=f"{data_hash(data)} {algorithm} {inner_steps} {adaptation_rate} {examples}",
    )
    config = source.config(
        epochs=epochs, learning_rate={"initial": learning_rate}, early_stopping={"monitor": "validation-loss"}
    )
    # Half of the time is the rival's.
    share = None if time_budget is None else time_budget / 2
    options |= {"start": source.weights, "seed": seed, "time_budget": share}
    trained = run.train(source.row.name, config, made, name, **options)
    found = {"source": made.metrics(source.module, "validation")}
    if trained is not None:
        found["this"] = made.metrics(read(trained.path).module, "validation")
    with temporary_folder() as scratch:
        joint = Joint(made)
        options |= {"distributed": "off", "resume": False}
        loop.fit(source.row.name, config, joint, scratch, **options)
        found["joint"] = made.metrics(read(scratch / "model.safetensors").module, "validation")
    return trained, found


class Joint:
    """The same tasks as one data set: what meta-learning must beat, with the same steps and examples."""

    splits = ("train", "validation")

    def __init__(self, tasks: MetaData) -> None:
        self._tasks, self.fingerprint = tasks, f"{tasks.fingerprint} joint"
        self.module, self.metadata, self.baselines = tasks.module, tasks.metadata, tasks.baselines

    def batches(self, split: str, batch_size: int, generator: np.random.Generator) -> Iterator[Batch]:
        """The queries of the same draws."""
        for batch in self._tasks.batches(split, batch_size, generator):
            yield {name.removeprefix("query."): t for name, t in batch.items() if name.startswith("query.")}

    def loss(self, module: nn.Module, batch: Batch) -> Tensor:
        """The tasks' own loss."""
        value: Tensor = self._tasks.tasks[0].loss(module, batch)
        return value

    def metrics(self, module: nn.Module, split: str) -> dict[str, float]:
        """As the tasks judge it."""
        return self._tasks.metrics(module, split)

    def parts(self) -> dict[str, Any]:
        """It has none."""
        return {}


def _enough(part: Any, examples: int) -> bool:
    return sum(1 for _ in zip(part.batches("train", examples, np.random.default_rng(0)), range(2), strict=False)) == 2
