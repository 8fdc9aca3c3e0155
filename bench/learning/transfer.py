"""Transfer to a target with little data, beside training from scratch and fine-tuning every layer."""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path

from bench.learning import worlds
from claude_flow.train.recipes.source import Source, chosen_layers

__all__ = ["SAYS", "TARGETS", "WAYS", "run"]

#: target -> network
TARGETS = {
    **dict.fromkeys(worlds.SWF, "prediction"),
    **dict.fromkeys(worlds.SCENARIOS[:3], "coordination"),
}
WAYS = ("source as it is", "scratch", "fine-tune-all", "ours")
SAYS = (
    "Mean loss on the target's test part; lower is better. Of a machine's log the source is the other machine's, of a "
    "portfolio three other portfolios. A target's training part is 10 % of it. *ours*: the lower half of the layers "
    "frozen, the rest fine-tuned, each layer below the output at half the rate of the one above. Tests are paired by "
    "seed; five seeds cannot show p below 1/16."
)
_JOBS, _SOURCE_JOBS, _EPOCHS, _SHARE = 2000, 2000, 12, 0.1


def run(data: Path, target: str, seed: int) -> dict[str, float]:
    """The losses of all ways for one seed."""
    network = TARGETS[target]
    if network == "prediction":
        other = next(log for log in worlds.SWF if log != target)
        source = _source(network, worlds.jobs(data, other, 0, _SOURCE_JOBS, 0.1))
        held = worlds.opened(network, worlds.jobs(data, target, 20_000, _JOBS, 0.8), _SHARE, seed)
    else:
        others = list(worlds.SCENARIOS[3:])
        source = _source(network, worlds.scenario(data, others))
        held = worlds.thinned(worlds.opened(network, worlds.scenario(data, [target]), 0.2, seed), _SHARE, seed)
    layers = list(source.layers)
    _, trained = chosen_layers(source.layers, layers[: len(layers) // 2], None)
    decayed = {
        prefix: 0.5 ** (len(trained) - 1 - place)
        for place, layer in enumerate(trained)
        for prefix in source.layers[layer]
    }
    start = {"start": source.weights}
    found = {"source as it is": worlds.loss(source, held)}
    for way, rate, options in (
        ("scratch", 2e-3, {}),
        ("fine-tune-all", 5e-4, start),
        ("ours", 5e-4, {**start, "trainable": decayed}),
    ):
        found[way] = worlds.loss(
            worlds.fitted(network, worlds.settings(network, _EPOCHS, rate), held, seed, **options), held
        )
    return found


@lru_cache(8)
def _source(network: str, folder: Path) -> Source:
    data = worlds.opened(network, folder, 0.1, 0)
    return worlds.fitted(network, worlds.settings(network, _EPOCHS), data, 0)
