"""Text, code and diagrams: read, aligned, carried over and found, on packages that are installed with this one."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("torch", reason="training needs the extra: pip install 'claude-flow[train]'")
pytest.importorskip("tree_sitter_python", reason="needs the extra: pip install 'claude-flow[multimodal]'")

from claude_flow import cli, modelfile, registry
from claude_flow.errors import InputError
from claude_flow.modalities import dataset, diagram, embedder, features, functions, retrieval
from claude_flow.train.recipes import crossmodal, latent, multimodal

Neural = Callable[..., tuple[int, Any, str]]
PACKAGES = ("click", "filelock", "packaging", "pluggy")


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A workspace with a small dataset of functions and a model of it."""
    folder = tmp_path_factory.mktemp("modalities")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("CLAUDE_FLOW_HOME", str(folder))
        dataset.collect(PACKAGES, folder / "datasets" / "functions", most=120)
        data = multimodal.Data("functions", ["text", "code", "diagrams"])
        multimodal.train(data, "multimodal", epochs=3, batch_size=64, width=32)
    return folder


@pytest.fixture
def neural(home: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Neural:
    monkeypatch.setenv("CLAUDE_FLOW_HOME", str(home))

    def run(*words: str) -> tuple[int, Any, str]:
        capsys.readouterr()
        code = cli.main(["neural", *words, "--format", "json"])
        out, error = capsys.readouterr()
        return code, json.loads(out) if code == 0 else None, error

    return run


# Functions ------------------------------------------------------------------------------------------------

SOURCE = '''
class Store:
    def save(self, path):
        """Write the whole store to a file.

        More of it.
        """
        with open(path) as stream:  # the words "whole store" stay out of a docstring
            stream.write(encode(self.items))

def encode(items):
    """Turn all items into bytes."""
    return dumps(items).encode()

def broken(:
    """This line is not Python at all."""
    return 1
'''


def test_a_function_loses_its_docstring_and_gains_its_calls(tmp_path: Path) -> None:
    (tmp_path / "store.py").write_text(SOURCE)
    found = {f.name: f for f in functions.read(functions.package(str(tmp_path)), 10)}
    save = found["save"]
    assert save.text == "Write the whole store to a file."
    assert '"""' not in save.code
    assert "stream.write(encode(self.items))" in save.code
    graph = diagram.parse(save.diagram)
    assert graph.nodes[:4] == ("save", "open", "write", "encode")
    assert (3, graph.nodes.index("dumps")) in graph.edges  # what a function of the same file calls in turn


@pytest.mark.parametrize("licence", ["GPL-3.0", "MPL-2.0", "Proprietary", "LGPL"])
def test_only_permissive_licences_are_read_by_themselves(licence: str) -> None:
    assert functions.PERMISSIVE.search("BSD-3-Clause")
    assert functions._OTHER.search(licence)
    assert "hypothesis" not in {package.name for package in functions.installed()}


def test_diagrams_survive_being_written_and_lie_in_the_picture() -> None:
    graph = diagram.call_graph("a", ["b", "c"], [("b", ["c", "d"]), ("d", ["a"])])
    assert diagram.parse(graph.dot()) == graph
    assert diagram.parse('graph LR\n a["load file"] --> b[parse]\n b -->|then| c').nodes == ("load file", "parse", "c")
    picture = diagram.raster(graph)
    assert picture.min() == 0
    assert picture.max() == 1
    assert not np.array_equal(picture, diagram.raster(diagram.call_graph("a", ["b"])))
    with pytest.raises(InputError, match="no edge"):
        diagram.parse("hello")


def test_packages_are_never_divided(home: Path) -> None:
    packages = ["a"] * 50 + ["b"] * 20 + ["c"] * 10 + ["d"] * 20
    parts = dataset.parts(packages, 3)
    assert sorted(np.concatenate(list(parts.values()))) == list(range(100))
    of = [{packages[i] for i in rows} for rows in parts.values()]
    assert sum(map(len, of)) == len(set().union(*of))
    assert "a" in of[0]  # what is half of all is learned from


# Alignment ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("fusion", multimodal.FUSION)
def test_the_engine_computes_what_torch_does_whatever_is_missing(
    home: Path, fusion: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CLAUDE_FLOW_HOME", str(home))
    data = multimodal.Data("functions", ["text", "code", "diagrams"], fusion=fusion)
    net = data.module({"width": 32, "layers": 2}).eval()
    for parameter in net.parameters():
        parameter.data += 0.05 * np.random.default_rng(0).normal()
    data.export(net, tmp_path / "m.safetensors", {})
    engine = embedder.Embedder(tmp_path / "m.safetensors")
    rows = np.arange(20)
    _, _, bags = dataset.load("functions")
    for names, wanted in data.embedded(net, rows).items():
        got = engine.vectors({name: bags[name].take(rows) for name in names.split("+")})
        assert np.abs(got - wanted).max() < 1e-4, names
    again = multimodal.read(modelfile.read(tmp_path / "m.safetensors"))
    one, other = (list(data.ranks(module, "test").values()) for module in (net, again))
    assert np.array_equal(one, other)


def test_the_guides_line_learns_beyond_its_start(home: Path, neural: Neural) -> None:
    line = ("train", "multimodal", "--modalities", '["text","code","diagrams"]', "--fusion-strategy", "late-fusion")
    line += ("--alignment-loss", "contrastive", "--data-augmentation", "cross-modal", "--epochs", "4")
    code, answer, error = neural(*line, "--output", "aligned", "--batch-size", "64", "--width", "32")
    assert code == 0, error
    assert answer["held_out"]["diagrams-to-code-recall@10"] > 3 * answer["baselines"]["chance"]["recall"]
    assert "text-to-code-recall@10" in answer["baselines"]["bm25"]
    card = registry.model_card(registry.model_path("aligned"))
    assert max(card["history"]["validation-recall"]) >= card["history"]["validation-recall"][0]


def test_a_resumed_alignment_equals_one_without_interruption(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CLAUDE_FLOW_HOME", str(home))
    files = []
    for name, epochs in (("whole", (2,)), ("parts", (1, 2))):
        for place, last in enumerate(epochs):
            data = multimodal.Data("functions", ["text", "code"])
            options: dict[str, Any] = {"batch_size": 64, "width": 16, "patience": 99}
            if last == 1:  # a run that ends after the first of two epochs

                def stop(epoch: int, of: int, share: float, values: dict[str, float]) -> None:
                    if epoch == 2:
                        raise KeyboardInterrupt

                with pytest.raises(KeyboardInterrupt):
                    multimodal.train(data, name, epochs=2, progress=stop, **options)
                continue
            trained = multimodal.train(data, name, epochs=2, resume=place > 0, **options)
            assert trained is not None
            files.append(modelfile.read(trained.path).tensors)
    assert all(np.array_equal(files[0][name], files[1][name]) for name in files[0])


def test_functions_are_found_by_any_modality(neural: Neural, tmp_path: Path) -> None:
    _, table, _ = dataset.load("functions")
    row = table["name"].index("prompt") if "prompt" in table["name"] else 0
    (tmp_path / "calls.mmd").write_text(table["diagram"][row])
    (tmp_path / "code.py").write_text(table["code"][row])
    for question in (
        ("--text", table["text"][row]),
        ("--code", str(tmp_path / "code.py")),
        ("--text", table["text"][row], "--diagram", str(tmp_path / "calls.mmd")),
    ):
        code, answer, error = neural("infer", "multimodal", *question, "--by", "text,code,diagrams")
        assert code == 0, error
        assert table["name"][row] in {found["name"] for found in answer["functions"]}


def test_a_rare_word_that_two_items_share_finds_one_by_the_other(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CLAUDE_FLOW_HOME", str(home))
    codes = [f"def f{i}(x): return g(x, {i})" for i in range(30)] + ["def solve(x): return zyxwv_transform(x)"]
    items = {"code": features.bags("code", codes)}
    model = embedder.Embedder(registry.model_path("multimodal"))
    assert model._match[0].any(), "the validation packages chose no weight for the match of words"
    [(row, _)] = model.nearest({"text": "the zyxwv of a thing"}, items, 1)
    assert row == 30
    index = retrieval.Index(items["code"])
    assert index.scores(features.bags("text", ["", "nothing of it"])).tolist() == [[0.0] * 31] * 2
    named = retrieval.Index(features.bags("code", ["def save(x): load(x)", "def load(x): save(x)"]))
    assert named.scores(features.bags("text", ["load"]))[0].argmax() == 1, "a function's own name counts more"


def test_functions_of_another_version_are_refused(neural: Neural, home: Path) -> None:
    old = home / "datasets" / "old"
    shutil.copytree(home / "datasets" / "functions", old)
    manifest = json.loads((old / "manifest.json").read_text())
    (old / "manifest.json").write_text(json.dumps({**manifest, "format": 1}))
    code, _, error = neural("train", "multimodal", "--data", "old")
    assert code == 2
    assert "data functions" in error


# Cross-modal transfer ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("technique", crossmodal.TECHNIQUES)
def test_cross_modal_transfer_stands_beside_its_rivals(neural: Neural, technique: str) -> None:
    line = ("transfer", "cross-modal", "--source-modality", "text-coordination")
    line += ("--target-modality", "visual-coordination", "--adaptation-layers", "2", "--time-budget", "6s")
    code, answer, error = neural(*line, "--alignment-technique", technique, "--output", technique)
    assert code == 0, error
    ways = answer["accuracy"]
    assert {"zero-shot", "few-shot", "few-shot, without the source", "largest class"} <= set(ways)
    assert all(0 <= value <= 1 for value in ways.values())
    code, answer, error = neural("infer", "multimodal", "--text", "open a file", "--by", "visual", "--model", technique)
    assert code == 0, error


def test_canonical_correlation_agrees_with_scikit_learn() -> None:
    decomposition = pytest.importorskip("sklearn.cross_decomposition")
    generator = np.random.default_rng(0)
    common = generator.normal(size=(400, 2))
    x = np.c_[common + 0.5 * generator.normal(size=(400, 2)), generator.normal(size=(400, 2))]
    y = np.c_[generator.normal(size=(400, 1)), common + 0.5 * generator.normal(size=(400, 2))]
    a, b, correlations = latent.canonical(x, y, ridge=0.0)
    u, v = decomposition.CCA(2, max_iter=5000, tol=1e-12).fit_transform(x, y)
    theirs = [np.corrcoef(u[:, i], v[:, i])[0, 1] for i in range(2)]
    assert correlations[:2] == pytest.approx(theirs, abs=1e-4)
    ours = np.corrcoef((x @ a)[:, 0], (y @ b)[:, 0])[0, 1]
    assert ours == pytest.approx(correlations[0], abs=1e-6)


# What cannot be used ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (("train", "multimodal", "--modalities", "text"), "one modality only"),
        (("train", "multimodal", "--modalities", "text,cod"), "did you mean code"),
        (("train", "multimodal", "--data", "function"), "did you mean functions"),
        (("train", "multimodal", "--fusion-strategy", "no"), "late-fusion"),
        (("infer", "multimodal"), "nothing is asked"),
        (("infer", "multimodal", "--text", "x", "--model", "coordination-v3"), "is a coordination model"),
        (("infer", "multimodal", "--text", "x", "--by", "sound"), "no modality"),
        (("infer", "coordination", "--model", "multimodal"), "multimodal"),
        (("data", "functions", "--source", "click", "--source", "nobody-has-this"), "nobody-has-this"),
        (("data", "functions", "--source", "click", "--output", "few"), "needs three"),
        (("transfer", "cross-modal", "--source-modality", "text", "--target-modality", "language"), "same modality"),
        (("transfer", "cross-modal", "--source-modality", "text", "--target-modality", "smell"), "no modality"),
    ],
)
def test_wrong_input_is_one_line(neural: Neural, words: tuple[str, ...], says: str) -> None:
    if words[:2] == ("infer", "coordination"):
        words = (*words, "--input", str(Path(__file__).parents[2] / "docs/examples/swarm.json"))
    code, _, error = neural(*words)
    assert code == 2, error
    assert says in error
    assert "Traceback" not in error
