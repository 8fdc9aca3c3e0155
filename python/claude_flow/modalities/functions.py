"""Functions of Python packages: what the docstring says, the code without it, and the call graph.

Read by tree-sitter, which also reads files of another Python version and ones with mistakes.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import Any

import numpy as np

from claude_flow.errors import InputError, require
from claude_flow.modalities.diagram import call_graph
from claude_flow.values import did_you_mean

__all__ = ["Function", "Package", "installed", "package", "read"]

#: licences that let their code be used so, as words of a package's own statement
PERMISSIVE = re.compile(r"\b(MIT|BSD|0BSD|Apache|ISC|Zlib|PSF|Python Software Foundation|CC0|Unlicense)\b", re.I)
_OTHER = re.compile(r"\b(GPL|LGPL|AGPL|MPL|Mozilla|EPL|Proprietary|Commercial|SSPL|BUSL|CC.BY)\b", re.I)
_LEAST_WORDS, _MOST_WORDS = 3, 60
_MOST_CODE = 6000  # characters
_MOST_FILE = 400_000  # bytes


@dataclass(frozen=True)
class Function:
    """A function: the first paragraph of its docstring, the code without it, its call graph in DOT."""

    package: str
    name: str
    text: str
    code: str
    diagram: str


@dataclass(frozen=True)
class Package:
    """One package, or a folder, and the licence that it states."""

    name: str
    version: str
    licence: str
    where: Any  # importlib's distribution, or the folder's path

    def files(self) -> list[Path]:
        """Its source files, by path; tests and vendored copies are left out."""
        if isinstance(self.where, Path):
            found = list(self.where.rglob("*.py"))
        else:
            names = [file for file in self.where.files or () if str(file).endswith(".py")]
            found = [Path(str(self.where.locate_file(file))) for file in names]
        return sorted(file for file in found if _is_source(file))


def _licence(about: Any) -> str:
    stated = about.get("License-Expression") or ""
    classifiers = [c.rpartition(" :: ")[2] for c in about.get_all("Classifier") or () if c.startswith("License ::")]
    return stated or "; ".join(classifiers) or (about.get("License") or "").strip().split("\n")[0][:60]


def installed() -> list[Package]:
    """The installed packages whose stated licence is permissive, by name."""
    found: dict[str, Package] = {}
    for distribution in metadata.distributions():
        known = _permissive(distribution)
        if known and known.name != "claude-flow":
            found.setdefault(known.name, known)
    return [found[name] for name in sorted(found, key=str.lower)]


def _permissive(distribution: metadata.Distribution) -> Package | None:
    about: Any = distribution.metadata
    licence = _licence(about)
    if not PERMISSIVE.search(licence) or _OTHER.search(licence):
        return None
    return Package(str(about["Name"]), str(about["Version"]), licence, distribution)


def _is_source(file: Path) -> bool:
    parts = {part.lower() for part in file.parts[-6:]}
    hidden = parts & {"tests", "test", "testing", "_vendor", "vendor", "vendored", "third_party", "externals", "extern"}
    return not hidden and not file.name.startswith(("test_", "conftest"))


def package(source: str) -> Package:
    """An installed package by name, or a folder of code of one's own.

    Raises:
        InputError: neither, or one without Python files, or a package whose licence is not known to be permissive.
    """
    folder = Path(source)
    if folder.is_dir():
        own = Package(folder.resolve().name, "", "own", folder)
        if not own.files():
            raise InputError(f"{source}: no Python file is in this folder")
        return own
    try:
        known = _permissive(metadata.distribution(source))
    except (metadata.PackageNotFoundError, ValueError):
        near = did_you_mean(source, [package.name for package in installed()])
        raise InputError(f"{source}: neither a folder nor an installed package{near}") from None
    if known is None:
        raise InputError(f"{source}: its licence is not known to be permissive; give the folder of code of your own")
    return known


class _Reader:
    """tree-sitter's parser of Python, and the questions put to it."""

    def __init__(self) -> None:
        tree_sitter = require("tree_sitter", "multimodal")
        language = tree_sitter.Language(require("tree_sitter_python", "multimodal").language())
        self._parser = tree_sitter.Parser(language)
        self._cursor = tree_sitter.QueryCursor
        self._functions = tree_sitter.Query(language, "(function_definition) @function")
        self._calls = tree_sitter.Query(language, "(call function: (_) @called)")

    def functions(self, source: bytes) -> list[Any]:
        return sorted(self._captured(self._functions, self._parser.parse(source).root_node), key=lambda n: n.start_byte)

    def calls(self, node: Any) -> list[str]:
        """Names of what is called, in order; of ``a.b.c()`` the last."""
        names: list[str] = []
        for called in sorted(self._captured(self._calls, node), key=lambda n: n.start_byte):
            name = called.text.decode("utf-8", "replace").rpartition(".")[2]
            if name.isidentifier() and name not in names:
                names.append(name)
        return names

    def _captured(self, query: Any, node: Any) -> list[Any]:
        found: dict[str, list[Any]] = self._cursor(query).captures(node)
        return [node for nodes in found.values() for node in nodes]


def read(package: Package, most: int, seed: int = 0) -> Iterator[Function]:
    """Up to ``most`` functions of a package, of files in an order drawn with ``seed``."""
    reader = _Reader()
    count, files = 0, package.files()
    for index in np.random.default_rng(seed).permutation(len(files)):
        try:
            source = files[index].read_bytes()
        except OSError:  # a package's list of files may name one that was removed
            continue
        for function in _of_file(reader, package.name, source) if len(source) <= _MOST_FILE else ():
            yield function
            count += 1
            if count == most:
                return


def _of_file(reader: _Reader, package: str, source: bytes) -> Iterator[Function]:
    nodes = reader.functions(source)
    names = [node.child_by_field_name("name").text.decode("utf-8", "replace") for node in nodes]
    calls: Sequence[list[str]] | None = None
    for place, (node, name) in enumerate(zip(nodes, names, strict=True)):
        body = node.child_by_field_name("body")
        if body is None or (name.startswith("__") and name.endswith("__")) or not body.named_children:
            continue
        first = body.named_children[0]
        string = first.named_children[0] if first.type == "expression_statement" and first.named_children else first
        if string.type != "string" or len(body.named_children) < 2:
            continue
        text = _summary(string.text.decode("utf-8", "replace"))
        if text is None:
            continue
        calls = calls or [reader.calls(one) for one in nodes]
        code = source[node.start_byte : first.start_byte] + source[first.end_byte : node.end_byte]
        graph = call_graph(name, calls[place], zip(names, calls, strict=True))
        yield Function(package, name, text, code.decode("utf-8", "replace")[:_MOST_CODE], graph.dot())


def _summary(literal: str) -> str | None:
    """A docstring's first paragraph, or None where it says too little."""
    text = re.sub(r"^[rRuUbBfF]*(\"\"\"|'''|\"|')|(\"\"\"|'''|\"|')$", "", literal.strip()).strip()
    words = re.split(r"\n\s*\n", text)[0].split()[:_MOST_WORDS]
    summary = " ".join(words)
    is_prose = sum(word.isalpha() for word in words) >= _LEAST_WORDS and summary.isascii()
    return summary if is_prose else None
