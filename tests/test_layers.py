"""Who may import whom, read from the sources; and what a plain import loads, read from a real process."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
from collections.abc import Iterator
from fnmatch import fnmatch
from pathlib import Path
from typing import NamedTuple

import pytest

import claude_flow
from claude_flow.cli import layers

PACKAGE = Path(claude_flow.__file__).parent
CPP = Path(__file__).parents[1] / "cpp"
FILES = sorted(PACKAGE.rglob("*.py"))


class Import(NamedTuple):
    """A dotted name, whether it is for type checking alone, whether it happens in a function only."""

    name: str
    for_types: bool
    in_function: bool


def imports(tree: ast.AST, for_types: bool = False, in_function: bool = False) -> Iterator[Import]:
    for node in ast.iter_child_nodes(tree):
        if isinstance(node, ast.Import):
            yield from (Import(alias.name, for_types, in_function) for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            for alias in node.names:
                yield Import(f"{node.module}.{alias.name}", for_types, in_function)
        else:
            types = for_types or (isinstance(node, ast.If) and "TYPE_CHECKING" in ast.dump(node.test))
            function = in_function or isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
            yield from imports(node, types, function)


def part_of(file: Path) -> str:
    return file.relative_to(PACKAGE).parts[0].removesuffix(".py")


@pytest.mark.parametrize("file", FILES, ids=lambda f: f.relative_to(PACKAGE).as_posix())
def test_a_part_imports_what_its_row_allows(file: Path) -> None:
    part = part_of(file)
    assert part in layers.PYTHON, f"{part} has no row in cli/layers.py: say what it is and what it may import"
    row, path = layers.PYTHON[part], file.relative_to(PACKAGE).as_posix()
    for name, for_types, _ in imports(ast.parse(file.read_text("utf-8"))):
        top, _, rest = name.partition(".")
        if top == "claude_flow":
            other = rest.partition(".")[0]
            is_part = other in layers.PYTHON or other == "_core"  # else a name of claude_flow itself
            allowed = row.ours == "*" or other == part or other in row.ours.split() or for_types or not is_part
            assert allowed, f"{path} imports {name}, which its row in cli/layers.py does not allow"
        elif top == "torch":
            assert for_types or any(fnmatch(path, pattern) for pattern in layers.TORCH), f"{path} imports torch"
        elif top not in sys.stdlib_module_names and not for_types:
            known = top in layers.CORE and (top in {"numpy", "safetensors"} or top in row.libraries.split())
            assert known, f"{path} imports {top} plainly: optional libraries come in through errors.require"


def test_optional_libraries_are_those_of_the_row() -> None:
    door = re.compile(r'require\("([a-z_0-9]+)[a-z_.]*", "([a-z]+)"\)')
    extras = (CPP.parent / "pyproject.toml").read_text("utf-8").partition("[project.optional-dependencies]")[2]
    seen = 0
    for file in FILES:
        for module, extra in door.findall(file.read_text("utf-8")):
            if file.name == "errors.py":
                continue
            seen += 1
            allowed = {*layers.PYTHON[part_of(file)].libraries.split(), "torch"}
            assert module in allowed, f"{file} requires {module}, which its row in cli/layers.py does not name"
            assert re.search(rf"^{extra} = ", extras, re.MULTILINE), f"{file}: there is no extra {extra}"
    assert seen > 20


def test_no_module_imports_itself_through_others() -> None:
    """No circles, counting also what is imported in functions; what is for type checking alone makes none."""
    modules = {".".join(("claude_flow", *file.relative_to(PACKAGE).with_suffix("").parts)): file for file in FILES}
    modules = {name.removesuffix(".__init__"): file for name, file in modules.items()}
    edges: dict[str, set[str]] = {}
    for module, file in modules.items():
        found = {name for name, types, _ in imports(ast.parse(file.read_text("utf-8"))) if not types}
        targets = {name if name in modules else name.rpartition(".")[0] for name in found}
        edges[module] = {target for target in targets if target in modules and target != module}
        if file.name == "__init__.py" and module != "claude_flow":  # a package's own parts belong to it
            edges[module] = {target for target in edges[module] if not target.startswith(f"{module}.")}
    edges["claude_flow"] = set()  # what it names loads on first use
    done: set[str] = set()

    def visit(module: str, way: tuple[str, ...]) -> None:
        assert module not in way, " -> ".join([*way[way.index(module) :], module])
        if module not in done:
            for target in sorted(edges[module]):
                visit(target, (*way, module))
            done.add(module)

    for module in edges:
        visit(module, ())


def test_cpp_includes_point_one_way() -> None:
    files = [file for file in CPP.rglob("*") if file.suffix in {".h", ".cpp", ".inc"}]
    assert {file.relative_to(CPP).parts[0] for file in files} <= set(layers.CPP), "a folder of cpp/ has no row"
    for file in files:
        part, path = file.relative_to(CPP).parts[0], file.relative_to(CPP).as_posix()
        for name in re.findall(r'^#include "([^"]+)"', file.read_text("utf-8"), re.MULTILINE):
            other = name.partition("/")[0] if "/" in name else part
            assert other == part or other in layers.CPP[part].ours.split(), f"cpp/{path} includes {name}"
            inside = part == "kernels" or name in {"kernels/table.h", "kernels/args.h", "kernels/kernels.inc"}
            assert other != "kernels" or inside, f"cpp/{path} includes {name}: table.h is all that others see"
            is_reference = name == "kernels/reference.h" and file.name != "reference.cpp"
            assert not is_reference, f"cpp/{path}: the reference is for tests and bench"


def test_the_architecture_prints_the_table() -> None:
    present = {part_of(file) for file in FILES}
    page = (CPP.parent / "docs" / "architecture.md").read_text("utf-8")
    assert layers.markdown(present) in page, "run  python -m claude_flow.cli.reference"


@pytest.mark.parametrize(
    ("code", "absent"),
    [
        ("import claude_flow", {"torch", "numpy", "pyarrow", "click", "rich", "safetensors"}),
        ("import claude_flow; claude_flow.load, claude_flow.engine", {"torch", "pyarrow", "click", "rich"}),
        ("from claude_flow.cli import main; main(['--help'])", {"torch", "numpy", "pyarrow", "claude_flow._core"}),
        ("from claude_flow.cli import main; main(['neural', '--help'])", {"torch", "numpy", "pyarrow"}),
        ("from claude_flow.cli import main; main(['neural', 'train', '--help'])", {"torch", "numpy", "pyarrow"}),
        ("from claude_flow.cli import main; main(['neural', 'infer', '--help'])", {"torch", "numpy", "pyarrow"}),
        ("from claude_flow.cli import main; main(['neural', 'infer', 'coordination', '--help'])", {"torch", "pyarrow"}),
    ],
)
def test_start_up_loads_only_what_it_needs(code: str, absent: set[str]) -> None:
    code += f"; import sys; loaded = {absent!r} & set(sys.modules); sys.exit(f'loaded {{loaded}}' if loaded else 0)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
