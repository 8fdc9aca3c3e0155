"""Who may import whom, read from the sources; and what a plain import loads, read from a real process."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

import claude_flow

PACKAGE = Path(claude_flow.__file__).parent
#: package -> the folders that alone may import it
HOMES = {
    "torch": {"evaluate", "nets", "train", "export.py", "model.py"},
    "tensorboard": {"train"},
    "pyarrow": {"data", "evaluate"},
    "wasmtime": {"wasm"},
    "click": {"cli"},
    "rich": {"cli"},
}
#: our own parts -> what they may not import
FORBIDDEN = {
    "features": {"cli", "data", "evaluate", "infer", "model", "nets", "train"},
    "nets": {"cli", "data", "evaluate", "features", "infer", "model", "train"},
    "data": {"cli", "evaluate", "infer", "model", "nets", "train"},
    "train": {"cli", "evaluate", "infer", "measure", "model"},
    "measure": {"cli", "data", "evaluate", "nets", "train"},
    "evaluate": {"cli"},
    "infer": {"cli", "evaluate", "nets", "train"},
    "registry.py": {"cli", "data", "evaluate", "features", "infer", "model", "nets", "train"},
    "modelfile.py": {"cli", "data", "evaluate", "features", "infer", "model", "nets", "train"},
}


def _imports(file: Path) -> set[str]:
    found = set()
    for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            found |= {f"{node.module}.{alias.name}" for alias in node.names} | {node.module}
    return found


FILES = sorted(PACKAGE.rglob("*.py"))


@pytest.mark.parametrize("file", FILES, ids=lambda f: f.relative_to(PACKAGE).as_posix())
def test_imports_point_one_way(file: Path) -> None:
    part = file.relative_to(PACKAGE).parts[0]
    for name in _imports(file):
        top = name.split(".")[0]
        assert part in HOMES.get(top, {part}), f"{file} imports {name}"
        if top == "claude_flow" and "." in name:
            assert name.split(".")[1] not in FORBIDDEN.get(part, set()), f"{file} imports {name}"


@pytest.mark.parametrize(
    ("code", "absent"),
    [
        ("import claude_flow", {"torch", "numpy", "pyarrow", "click", "rich", "safetensors"}),
        ("import claude_flow; claude_flow.load, claude_flow.engine", {"torch", "pyarrow", "click", "rich"}),
        ("from claude_flow.cli import main; main(['--help'])", {"torch", "numpy", "pyarrow", "claude_flow._core"}),
        ("from claude_flow.cli import main; main(['neural', '--help'])", {"torch", "numpy", "pyarrow"}),
        ("from claude_flow.cli import main; main(['neural', 'train', '--help'])", {"torch", "numpy", "pyarrow"}),
        ("from claude_flow.cli import main; main(['neural', 'infer', 'coordination', '--help'])", {"torch", "pyarrow"}),
    ],
)
def test_start_up_loads_only_what_it_needs(code: str, absent: set[str]) -> None:
    code += f"; import sys; loaded = {absent!r} & set(sys.modules); sys.exit(f'loaded {{loaded}}' if loaded else 0)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
