"""The wheels in dist/: what is in them, what they need, and whether they run where nothing else is installed. `make
test` leaves one there, `make wheel` one for every Python; without any these tests are skipped, except in CI."""

from __future__ import annotations

import importlib.util
import json
import os
import platform
import re
import subprocess
import sys
import tarfile
import zipfile
from functools import lru_cache
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[2]
PACKAGE = ROOT / "python" / "claude_flow"
DIST = ROOT / "dist"
WHEELS = sorted(DIST.glob("claude_flow-*.whl")) or [None]
VERSION = re.search(r'^__version__ = "(.+)"$', (PACKAGE / "__init__.py").read_text("utf-8"), re.MULTILINE)[1]
MODULES = {f"claude_flow/wasm/{name}.wasm" for name in ("simd128", "relaxed", "relaxed+threads")}
# Of the libraries that manylinux has everywhere, those that this engine may use.
SYSTEM = {"libc.so.6", "libm.so.6", "libpthread.so.0", "libdl.so.2", "libstdc++.so.6", "libgcc_s.so.1"}


def name(wheel: Path | None) -> str:
    return "-".join(wheel.stem.split("-")[i] for i in (2, 4)) if wheel else "none"


@lru_cache
def stale() -> str:
    """Why the wheels say nothing about this tree, or ""."""
    here = {f"claude_flow/{p.relative_to(PACKAGE).as_posix()}": p.read_bytes() for p in PACKAGE.rglob("*.py")}
    for path in WHEELS:
        if path is None:
            return "there is no wheel in dist/: run  make wheel"
        with zipfile.ZipFile(path) as wheel:
            if here != {name: wheel.read(name) for name in wheel.namelist() if name.endswith(".py")}:
                return f"{path.name} was built from other sources: run  make wheel"
    return ""


@pytest.fixture(scope="module", autouse=True)
def _fresh() -> None:
    if reason := stale():
        (pytest.fail if os.environ.get("CI") else pytest.skip)(reason)


@pytest.mark.parametrize("wheel", WHEELS, ids=name)
def test_a_wheel_holds_the_package_and_nothing_else(wheel):
    with zipfile.ZipFile(wheel) as archive:
        assert archive.testzip() is None
        names = set(archive.namelist())
        (scripts,) = [archive.read(name).decode() for name in names if name.endswith("entry_points.txt")]
    info = f"claude_flow-{VERSION}.dist-info"
    assert {name.split("/")[0] for name in names} == {"claude_flow", info}
    assert names >= MODULES | {"claude_flow/py.typed", "claude_flow/_core.pyi", f"{info}/licenses/LICENSE"}
    assert len([name for name in names if name.endswith(".so")]) == 1
    models = {f"claude_flow/{path.relative_to(PACKAGE).as_posix()}" for path in PACKAGE.rglob("*.safetensors")}
    assert {name for name in names if name.endswith(".safetensors")} == models
    assert "claude-flow = claude_flow.cli:main" in scripts


@pytest.mark.skipif(sys.platform != "linux", reason="manylinux is Linux's")
@pytest.mark.parametrize("wheel", WHEELS, ids=name)
def test_a_wheel_needs_no_newer_glibc_than_its_name_says(wheel, tmp_path):
    elffile = pytest.importorskip("elftools.elf.elffile", reason="auditwheel brings it: run  make wheel")
    *_, oldest = sorted(re.findall(r"manylinux_(\d+)_(\d+)_", wheel.name), key=lambda found: int(found[1]))
    with zipfile.ZipFile(wheel) as archive:
        (module,) = [name for name in archive.namelist() if name.endswith(".so")]
        path = archive.extract(module, tmp_path)
    with open(path, "rb") as file:
        section = elffile.ELFFile(file).get_section_by_name(".gnu.version_r")
        needed = {lib.name: [v.name for v in versions] for lib, versions in section.iter_versions()}
    assert "libc.so.6" in needed
    assert {lib for lib in needed if not lib.startswith("ld-linux")} <= SYSTEM  # the loader is glibc's
    glibc = [version for versions in needed.values() for version in versions if version.startswith("GLIBC_")]
    assert max(tuple(map(int, version[6:].split(".")))[:2] for version in glibc) <= tuple(map(int, oldest))
    shown = subprocess.run([sys.executable, "-m", "auditwheel", "show", wheel], capture_output=True, text=True)
    assert "manylinux_{}_{}_".format(*oldest) in shown.stdout, shown.stderr


def interpreter(wheel: Path) -> Path:
    """The Python that the wheel is for; the test is skipped where it is not to be found."""
    found = importlib.util.spec_from_file_location("wheel_builder", ROOT / ".ci" / "wheel.py")
    builder = importlib.util.module_from_spec(found)
    found.loader.exec_module(builder)
    version = f"3.{re.search(r'-cp3([0-9]+)-', wheel.name)[1]}"
    if version == "{}.{}".format(*sys.version_info):
        return Path(sys.executable)
    return builder.find_python(version) or pytest.skip(f"there is no Python {version} here")


@pytest.fixture(scope="module")
def environment(request, tmp_path_factory) -> Path:
    """A new environment with the wheel, what it requires, and the extra for WebAssembly."""
    if request.param and sys.platform == "linux" and not request.param.stem.endswith(platform.machine()):
        pytest.skip("a wheel of another machine: .ci/emulated.py runs it")
    folder = tmp_path_factory.mktemp("environment")
    subprocess.run([interpreter(request.param), "-m", "venv", folder], check=True)
    install = [folder / "bin" / "python", "-m", "pip", "install", "-q", f"{request.param}[wasm]"]
    done = subprocess.run(install, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return folder


def run(folder: Path, *words: object) -> str:
    """What a command of that environment prints; it sees no workspace, cache or Python path of ours."""
    keep = {key: value for key, value in os.environ.items() if not key.startswith(("PYTHON", "CLAUDE", "VIRTUAL_"))}
    done = subprocess.run(
        [folder / "bin" / words[0], *map(str, words[1:])],
        cwd=folder,
        env=keep | {"CLAUDE_FLOW_HOME": str(folder / "workspace"), "XDG_CACHE_HOME": str(folder / "cache")},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.parametrize("environment", WHEELS, indirect=True, ids=name)
def test_a_wheel_runs_the_demo_in_a_clean_environment(environment):
    swarm = f"@{ROOT / 'docs' / 'examples' / 'swarm.json'}"
    demo = ["claude-flow", "neural", "infer", "coordination", "--input", swarm, "--explain-decision", "true"]
    assert VERSION in run(environment, "claude-flow", "--version")
    assert "torch" not in run(environment, "pip", "list", "--disable-pip-version-check")
    assert "code-001" in run(environment, *demo)

    def answer(backend: str) -> list[dict[str, Any]]:
        rows: list[dict[str, Any]] = json.loads(run(environment, *demo, "--backend", backend, "--format", "json"))[
            "assignments"
        ]
        return rows

    native, wasm = answer("native"), answer("wasm")
    assert [row["agent"] for row in native] == [row["agent"] for row in wasm] == ["arch-001", "code-001"]
    assert [row["confidence"] for row in native] == pytest.approx([row["confidence"] for row in wasm], abs=1e-3)


def test_the_sdist_holds_what_a_build_needs():
    """`make wheel` builds from it; this looks for what a build could do without, too."""
    (path,) = DIST.glob("claude_flow-*.tar.gz")
    assert path.name == f"claude_flow-{VERSION}.tar.gz"
    with tarfile.open(path) as archive:
        names = {name.split("/", 1)[1] for name in archive.getnames() if "/" in name}
    assert names >= {f"python/{name}" for name in MODULES} | {"LICENSE", "README.md", "Makefile", "CMakeLists.txt"}
    sources = [
        p.relative_to(ROOT).as_posix() for folder in ("cpp", "python") for p in (ROOT / folder).rglob("*.[chip]*")
    ]
    assert names >= {name for name in sources if name.endswith((".cpp", ".h", ".inc", ".py", ".pyi"))}
    assert not {name for name in names if name.endswith((".so", ".pyc"))}
    assert not {name.split("/")[0] for name in names} & {".ci", "bench", "build", "dist", ".venv"}
