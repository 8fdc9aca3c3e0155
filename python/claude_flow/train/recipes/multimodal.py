"""One space for text, code and diagrams: an encoder for each, aligned so that what belongs together lies together.

Contrastive alignment is the symmetric InfoNCE of Radford et al. 2021 (arXiv 2103.00020) over every pair of modalities,
and between each modality and the fusion of the others. An item's missing modality is a row of zeros, which the encoders
map to zeros, so the fusion of what is there needs no mask, in training and on the engine alike.

Rare names decide much of such a search, and no vector of a few hundred numbers keeps them. So a similarity has two
terms: of the vectors, which know what words mean, and the match of the words themselves (:class:`Index`), whose weight
for each direction, and share where several modalities are asked by or searched, are chosen on the validation packages.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from itertools import combinations, permutations
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional as F

from claude_flow import modelfile
from claude_flow.errors import InputError
from claude_flow.lowering import GELU, Lowering
from claude_flow.modalities import COMBINED, chosen, dataset, features, retrieval
from claude_flow.modelfile import PER_ITEM, ModelFile
from claude_flow.train import run
from claude_flow.train.config import TrainingConfig
from claude_flow.train.recipes import latent
from claude_flow.train.recipes.aligned import LOSSES, Batch, alignment
from claude_flow.train.run import Trained
from claude_flow.train.start import data_hash

__all__ = ["AUGMENTATION", "FUSION", "Data", "Net", "Sizes", "read", "train"]

FUSION = ("late-fusion", "early-fusion")
AUGMENTATION = ("cross-modal", "none")
_DROPPED, _MIXED, _MIX = 0.15, 0.3, 0.3  # words left out; items mixed with another modality, and how much of it
#: multiples of the learning rate: a vector for each word learns the training packages by heart if it may
_SHARES = {
    **dict.fromkeys(("norm", "scale"), 1.0),
    **dict.fromkeys(("first", "second"), 0.1),
    **dict.fromkeys(("words", "picture"), 0.02),
}
_JUDGED = 2000  # items among which one is to be found, at most
#: weights that the match of words may have beside the vectors' cosine
_MATCHES = (0.0, 0.1, 0.2, 0.4, 0.8, 1.6, 3.2)
#: shares that the first of two modalities may have of the similarity, where both are asked by or searched
_PARTS = (0.02, 0.05, 0.1, 0.2, 0.35, 0.5, 0.65, 0.8, 0.9, 0.95, 0.98)


@dataclass(frozen=True)
class Sizes:
    """The sizes of a model."""

    modalities: tuple[str, ...]
    fusion: str = FUSION[0]
    width: int = 256
    layers: int = 1
    words: bool = True


class Net(nn.Module):
    """Bags of words and pictures to one vector [B, width] for each set of modalities.

    h = x W (W alike for all modalities at first, so that equal words begin as equal vectors), then per layer
    h <- h + B gelu(A h), then e = norm(h). Late fusion has layers for each modality and sums the e; early fusion sums
    the h and has layers once.
    """

    def __init__(self, config: Sizes) -> None:
        super().__init__()
        self.config = config
        width = config.width
        shared = torch.randn(features.BUCKETS, width) / width**0.5
        self.words = nn.ParameterDict({name: nn.Parameter(shared.clone()) for name in config.modalities})
        if "diagrams" in config.modalities:
            pixels = features.WIDTHS["diagrams"] - features.BUCKETS
            self.picture = nn.Parameter(torch.randn(pixels, width) * 0.1 / (pixels * width) ** 0.5)
        blocks = config.modalities if config.fusion == "late-fusion" else ("fused",)

        def linears() -> nn.ModuleList:
            return nn.ModuleList([nn.Linear(width, width, bias=False) for _ in range(config.layers)])

        self.first = nn.ModuleDict({name: linears() for name in blocks})
        self.second = nn.ModuleDict({name: linears() for name in blocks})
        self.norm = nn.ModuleDict({name: nn.LayerNorm(width, bias=False) for name in blocks})
        for parameter in self.second.parameters():
            nn.init.zeros_(parameter)
        self.scale = nn.Parameter(torch.tensor(3.0))  # log of the similarities' factor, 1 / temperature
        if config.words:  # of questions by items, the match of words, see retrieval.parts
            self.register_buffer("match", torch.zeros(3, len(config.modalities), len(config.modalities)))

    def sums(self, batch: Batch, name: str, drop: float = 0.0) -> Tensor:
        """h of one modality [B, width]; ``drop``: the share of words left out."""
        weights = F.dropout(batch[f"weights.{name}"], drop) if drop else batch[f"weights.{name}"]
        ids, starts = batch[f"ids.{name}"], batch[f"starts.{name}"]
        h = F.embedding_bag(ids, self.words[name], starts, mode="sum", per_sample_weights=weights)
        return h + batch["pictures"] @ self.picture if name == "diagrams" else h

    def fused(self, h: Mapping[str, Tensor]) -> Tensor:
        """The unit vectors of items that have the modalities of ``h``."""
        if self.config.fusion == "late-fusion":
            e = torch.stack([self._block(name, part) for name, part in h.items()]).sum(dim=0)
        else:
            e = self._block("fused", torch.stack(list(h.values())).sum(dim=0))
        return F.normalize(e, dim=1)

    def _block(self, name: str, h: Tensor) -> Tensor:
        for a, b in zip(self.first[name], self.second[name], strict=True):  # type: ignore[call-overload]
            h = h + b(F.gelu(a(h)))
        found: Tensor = self.norm[name](h)
        return found


class Data:
    """A dataset of functions as the training data of the one loop."""

    splits = dataset.PARTS

    def __init__(
        self,
        name: str,
        modalities: Sequence[str],
        *,
        fusion: str = FUSION[0],
        alignment_loss: str = "contrastive",
        augmentation: str = AUGMENTATION[0],
        seed: int = 0,
    ) -> None:
        self.modalities = chosen(modalities)
        for value, known, what in (
            (fusion, FUSION, "fusion strategy"),
            (alignment_loss, LOSSES, "alignment loss"),
            (augmentation, AUGMENTATION, "data augmentation"),
        ):
            if value not in known:
                raise InputError(f"there is no {what} {value!r}: it is one of {', '.join(known)}")
        self._fusion, self._loss, self._augmentation = fusion, alignment_loss, augmentation
        folder, self.table, raw = dataset.load(name)
        self.fingerprint = data_hash(folder)
        self.package = np.unique(self.table["package"], return_inverse=True)[1]
        self.rows = dataset.parts(self.table["package"], seed)
        for part, rows in self.rows.items():
            if len(rows) < 2:
                raise InputError(f"{name}: its {part} part has fewer than two functions; collect more packages")
        self.idf = {m: features.document_frequency(raw[m].take(self.rows["train"])) for m in self.modalities}
        self.bags = {m: raw[m].scaled(self.idf[m]) for m in self.modalities}
        self._raw = raw
        self._matched: dict[str, dict[tuple[str, str], NDArray[np.float32]]] = {}

    def module(self, config: dict[str, Any]) -> Net:
        """The encoders."""
        return Net(Sizes(self.modalities, self._fusion, **config))

    def batch(self, rows: NDArray[np.int64]) -> Batch:
        """The items ``rows`` as tensors."""
        found: Batch = {}
        for name, bags in self.bags.items():
            part = bags.take(rows)
            found |= {f"ids.{name}": torch.from_numpy(part.ids), f"weights.{name}": torch.from_numpy(part.weights)}
            found[f"starts.{name}"] = torch.from_numpy(part.starts[:-1])
            if name == "diagrams":
                found["pictures"] = torch.from_numpy(part.pictures)
        return found

    def batches(self, split: str, batch_size: int, generator: np.random.Generator) -> Iterator[Batch]:
        """The items in a random order, so many of one package side by side: those are hard to tell apart.

        A last one alone has nothing to be told from and is not trained on.
        """
        order = generator.permutation(self.rows[split])
        order = order[np.argsort(self.package[order], kind="stable")]
        side = max(1, batch_size // 4)
        chunks = [order[first : first + side] for first in range(0, len(order), side)]
        order = np.concatenate([chunks[i] for i in generator.permutation(len(chunks))])
        for first in range(0, len(order), batch_size):
            if len(rows := order[first : first + batch_size]) > 1 or split != "train":
                yield self.batch(rows)

    def loss(self, module: nn.Module, batch: Batch) -> Tensor:
        """The mean alignment loss over the pairs of modalities, and of each with the fusion of the others."""
        net: Any = module
        cross = module.training and self._augmentation == "cross-modal"
        h = {name: net.sums(batch, name, _DROPPED if cross else 0.0) for name in self.modalities}
        views = {name: net.fused({name: part}) for name, part in (_mixed(h) if cross else h).items()}
        similar = {(a, b): views[a] @ views[b].T for a, b in combinations(self.modalities, 2)}
        if len(self.modalities) > 2:
            for m in self.modalities:
                others = tuple(o for o in self.modalities if o != m)
                similar[m, COMBINED.join(others)] = views[m] @ net.fused({o: h[o] for o in others}).T
        scale = net.scale.exp().clamp(max=100.0)
        return torch.stack([alignment(self._loss, s, scale) for s in similar.values()]).mean()

    def embedded(self, module: nn.Module, rows: NDArray[np.int64]) -> dict[str, NDArray[np.float32]]:
        """Unit vectors [N, width] of items by what of them is looked at: ``text``, ``code+diagrams``, …"""
        net: Any = module
        sets = [s for n in range(1, len(self.modalities) + 1) for s in combinations(self.modalities, n)]
        found: dict[str, list[Tensor]] = {COMBINED.join(s): [] for s in sets}
        with torch.no_grad():
            for first in range(0, len(rows), 512):
                batch = self.batch(rows[first : first + 512])
                batch = {name: t.to(net.scale.device) for name, t in batch.items()}
                h = {name: net.sums(batch, name) for name in self.modalities}
                for s in sets:
                    found[COMBINED.join(s)].append(net.fused({name: h[name] for name in s}).cpu())
        return {name: torch.cat(parts).numpy() for name, parts in found.items()}

    def judged(self, split: str) -> NDArray[np.int64]:
        """The rows of a part among which items are looked for: all, or so many drawn ones."""
        rows = self.rows[split]
        return rows if len(rows) <= _JUDGED else np.sort(np.random.default_rng(5).choice(rows, _JUDGED, replace=False))

    def metrics(self, module: nn.Module, split: str) -> dict[str, float]:
        """``loss``; per direction recall at 1 and 10, and ``recall``, the mean at 10 over single modalities.

        On the validation part the weights of the match of words are chosen first.
        """
        module.eval()
        net: Any = module
        with torch.no_grad():
            found = {"loss": float(self.loss(module, self.batch(self.judged(split)[:256])))}
        views = self.embedded(module, self.judged(split))
        if net.config.words and split == "validation":
            self._weigh(net, views)
        means = []
        for name, before_ in self._ranks(net, split, views).items():
            found |= {f"{name}-recall@{k}": retrieval.recall(before_, k) for k in (1, 10)}
            if COMBINED not in name:
                means.append(found[f"{name}-recall@10"])
        return {**found, "recall": float(np.mean(means))}

    def _weigh(self, net: Any, views: Mapping[str, NDArray[np.float32]]) -> None:
        """Choose ``net.match`` on the validation part; of a modality by itself, the mean of its other directions."""
        at = {name: place for place, name in enumerate(self.modalities)}
        matched = {}
        for (a, b), shared in self._shared("validation").items():
            near = views[a] @ views[b].T
            found = []
            for weight in _MATCHES:
                before = retrieval.places(near + weight * shared)
                found.append((retrieval.recall(before, 10), retrieval.recall(before, 1), weight))
            weight = max(found, key=lambda one: one[:2])[2]
            net.match[0, at[a], at[b]], matched[a, b] = weight, weight * shared
        net.match[1:] = 1
        late = net.config.fusion == "late-fusion"
        for m in self.modalities if len(self.modalities) > 2 else ():
            one, other = (o for o in self.modalities if o != m)
            near = views[f"{one}{COMBINED}{other}"] @ views[m].T
            for part, first, second in ((1, (one, m), (other, m)), (2, (m, one), (m, other))):
                if late:
                    scores = [views[a] @ views[b].T + matched[a, b] for a, b in (first, second)]
                else:
                    scores = [(near if part == 1 else near.T) + matched[pair] for pair in (first, second)]
                share = _share(*scores)
                net.match[part, at[first[0]], at[first[1]]] = share
                net.match[part, at[second[0]], at[second[1]]] = 1 - share
        others = ~torch.eye(len(self.modalities), dtype=torch.bool)
        for part_ in net.match:
            for row, known in zip(part_, others, strict=True):
                row[~known] = row[known].mean()

    def ranks(self, module: nn.Module, split: str) -> dict[str, NDArray[np.int64]]:
        """Direction -> per item of a part how many come before it; ``text-to-code`` asks by text for code."""
        return self._ranks(module, split, self.embedded(module, self.judged(split)))

    def _ranks(self, net: Any, split: str, views: Mapping[str, NDArray[np.float32]]) -> dict[str, NDArray[np.int64]]:
        names = [*permutations(self.modalities, 2)]
        if len(self.modalities) > 2:
            for m in self.modalities:
                others = COMBINED.join(o for o in self.modalities if o != m)
                names += [(m, others), (others, m)]
        found = {}
        for a, b in names:
            if net.config.words:
                pairs = [(x, y) for x in a.split(COMBINED) for y in b.split(COMBINED)]
                at = [(self.modalities.index(x), self.modalities.index(y)) for x, y in pairs]
                shares, weights = retrieval.parts(net.match.numpy(), at)
                if net.config.fusion == "late-fusion":
                    scores = sum(s * (views[x] @ views[y].T) for (x, y), s in zip(pairs, shares, strict=True))
                else:
                    scores = views[a] @ views[b].T
                for pair, weight in zip(pairs, weights, strict=True):
                    scores = scores + weight * self._shared(split)[pair]
            else:
                scores = views[a] @ views[b].T
            found[f"{a}-to-{b}"] = retrieval.places(scores)
        return found

    def _shared(self, split: str) -> dict[tuple[str, str], NDArray[np.float32]]:
        """The match of words [N, N] of all pairs of modalities: it is the same in every epoch."""
        if split not in self._matched:
            rows = self.judged(split)
            items = {m: self._raw[m].take(rows) for m in self.modalities}
            index = {m: retrieval.Index(items[m]) for m in self.modalities}
            self._matched = {split: {(a, b): index[b].scores(items[a]) for a, b in permutations(self.modalities, 2)}}
        return self._matched[split]

    def baselines(self, split: str) -> dict[str, dict[str, float]]:
        """``bm25`` where text asks for code or is asked for, and ``chance``."""
        rows = self.judged(split)
        chance = {"recall": min(1.0, 10 / len(rows))}
        return {"bm25": {f"{n}-recall@10": retrieval.recall(b, 10) for n, b in self.words_alone(split).items()}} | {
            "chance": chance
        }

    def words_alone(self, split: str) -> dict[str, NDArray[np.int64]]:
        """What :meth:`ranks` says, by BM25 over the same words."""
        rows = self.judged(split)
        texts = {m: [self.table[dataset.COLUMNS[m]][i] for i in rows] for m in self.modalities}
        return {f"{a}-to-{b}": retrieval.places(retrieval.bm25(texts[a], texts[b])) for a, b in _directions(texts)}

    def metadata(self, module: nn.Module) -> dict[str, Any]:
        """What the model file says of its inputs."""
        encoder = {"encoder": "hashed-words", "buckets": features.BUCKETS, "modalities": list(self.modalities)}
        return {"features": encoder, "calibration": {}, "card": {"network": "multimodal", "functions": self._sizes}}

    @property
    def _sizes(self) -> dict[str, int]:
        return {part: len(rows) for part, rows in self.rows.items()}

    def export(self, module: Any, path: Path, metadata: Mapping[str, Any]) -> None:
        """Write the encoders as a program of one input per modality; the engine runs it, native and WebAssembly."""
        modelfile.write(path, lowered(module, self.idf, metadata))


def _share(first: NDArray[np.float32], second: NDArray[np.float32]) -> float:
    """The part of the scores ``first`` beside ``second`` that ranks the right items best.

    By the mean reciprocal rank: where few items are judged, it tells more than the recall does.
    """
    return max(_PARTS, key=lambda part: retrieval.reciprocal(retrieval.places(part * first + (1 - part) * second)))


def _directions(texts: Mapping[str, Any]) -> list[tuple[str, str]]:
    return list(permutations(texts, 2))


def _mixed(h: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Some items of each modality with a part of another modality's words in them."""
    names = list(h)
    found = {}
    for place, name in enumerate(names):
        other = h[names[(place + int(torch.randint(1, len(names), ()))) % len(names)]]
        chosen_ = (torch.rand(len(other), 1, device=other.device) < _MIXED).to(other.dtype)
        found[name] = h[name] + _MIX * chosen_ * other
    return found


def lowered(net: Net, idf: Mapping[str, NDArray[np.float32]], metadata: Mapping[str, Any]) -> ModelFile:
    """The model file: the encoders' program, and the weights of the match of words beside it."""
    config = net.config
    width = config.width
    state = {name: t.detach().cpu().float().numpy() for name, t in net.state_dict().items()}
    tensors: dict[str, NDArray[Any]] = {"sum.weight": np.eye(width, dtype=np.float32)}
    for name in config.modalities:
        table = state[f"words.{name}"]
        whole = np.concatenate([table, state["picture"]]) if name == "diagrams" else table
        tensors[f"words.{name}.weight"] = np.ascontiguousarray(whole.T)
    tensors |= {name: state[name] for name in state if name.startswith(("first.", "second.", "norm."))}
    tensors |= {f"norm.{block}.bias": np.zeros(width, np.float32) for block in net.norm}
    program = Lowering(tensors, 1)
    inputs = {name: program.input(PER_ITEM, features.WIDTHS[name]) for name in config.modalities}

    def block(h: int, name: str) -> int:
        for layer in range(config.layers):
            hidden = program.linear(h, f"first.{name}.{layer}", activation=GELU)
            h = program.linear(hidden, f"second.{name}.{layer}", residual=h)
        return program.layer_norm(h, f"norm.{name}")

    late = config.fusion == "late-fusion"
    total: int | None = None
    for name, source in inputs.items():
        h = program.linear(source, f"words.{name}")
        part = block(h, name) if late else h
        total = part if total is None else program.linear(part, "sum", residual=total)
    assert total is not None
    program.target = total if late else block(total, "fused")
    extra = {f"idf.{name}": weights for name, weights in idf.items()}
    extra |= {n: t for n, t in state.items() if n in ("match", "scale")}
    extra = {name: np.ascontiguousarray(t.reshape(-1)) for name, t in extra.items()}
    file = ModelFile("multimodal", asdict(config), program.words(), program.tensors, {**tensors, **extra})
    file.config["modalities"] = list(config.modalities)
    for name, value in metadata.items():
        setattr(file, name, dict(value))
    return file


def read(file: ModelFile) -> Net:
    """The torch module of a model file that :func:`lowered` made."""
    config = Sizes(**{**file.config, "modalities": tuple(file.config["modalities"])})
    net = Net(config)
    state: dict[str, Tensor] = {}
    for name in config.modalities:
        table = torch.from_numpy(np.array(file.tensors[f"words.{name}.weight"])).T.contiguous()
        state[f"words.{name}"] = table[: features.BUCKETS]
        if name == "diagrams":
            state["picture"] = table[features.BUCKETS :]
    for name in net.state_dict():
        if name not in state:
            state[name] = torch.from_numpy(np.array(file.tensors[name])).reshape(net.state_dict()[name].shape)
    net.load_state_dict(state)
    return net.eval()


def started(
    data: Data, spaces: Mapping[str, NDArray[np.float32]], *, layers: int, words: bool, seed: int
) -> dict[str, Tensor]:
    """The weights of encoders whose words are ``spaces`` [features, width], with layers that add nothing yet."""
    torch.manual_seed(seed)
    width = next(iter(spaces.values())).shape[1]
    weights: dict[str, Tensor] = dict(data.module({"width": width, "layers": layers, "words": words}).state_dict())
    for name, matrix in spaces.items():
        whole = torch.from_numpy(np.ascontiguousarray(matrix))
        weights[f"words.{name}"] = whole[: features.BUCKETS].clone()
        if name == "diagrams":
            weights["picture"] = whole[features.BUCKETS :].clone()
    return weights


def _aligned(data: Data, width: int, seed: int) -> dict[str, NDArray[np.float32]]:
    """Latent semantic directions of every modality of the training part, by canonical correlation in one space."""
    bags = {m: data.bags[m].take(data.rows["train"]) for m in data.modalities}
    spaces = {m: latent.directions(bags[m], width, seed) for m in data.modalities}
    maps = latent.canonical(*(latent.projected(bags[m], spaces[m]) for m in data.modalities))
    return {m: (spaces[m] @ a).astype(np.float32) for m, a in zip(data.modalities, maps, strict=False)}


def train(
    data: Data,
    name: str,
    *,
    epochs: int = 75,
    learning_rate: float = 3e-3,
    batch_size: int = 256,
    width: int = 256,
    layers: int = 1,
    words: bool = True,
    patience: int = 10,
    about: Mapping[str, Any] | None = None,
    **options: Any,
) -> Trained | None:
    """Train encoders on ``data`` and store them as a version of the model ``name``.

    They start from canonical correlation, see :mod:`claude_flow.train.recipes.latent`, unless ``start`` says otherwise.
    ``about`` is what the card says of the data; ``options`` as for :func:`claude_flow.train.run.train`.
    """
    config = TrainingConfig(
        learning_rate=learning_rate,
        warmup_steps=50,
        weight_decay=0.1,
        batch_size=batch_size,
        epochs=epochs,
        patience=patience,
        monitor="validation-recall",
        network={"width": width, "layers": layers, "words": words},
    )
    config.source = {
        "multimodal-training": {
            **dict(about or {}),
            "modalities": list(data.modalities),
            "epochs": epochs,
            "learning-rate": learning_rate,
            "batch-size": batch_size,
            "width": width,
            "layers": layers,
        }
    }
    options.setdefault("trainable", _SHARES if words else None)
    if "start" not in options:
        seed = options.get("seed", 0)
        options["start"] = started(data, _aligned(data, width, seed), layers=layers, words=words, seed=seed)
    return run.train("multimodal", config, data, name, **options)
