"""Run an aarch64 wheel here: Debian's arm64 Python under qemu, in build/emulated. `make emulated` runs it.

    python .ci/emulated.py [WHEEL | --quick | --fetch]

WHEEL is by default the one in dist/ for Debian's Python. What it answers is compared with this machine's own engine:
the demo request, every shipped model in its own precision within 1e-5, and in 8 bits to the bit. On a CPU without the
dot product, asking for `neondot` must be one line and no end by a signal.

``--quick``, for `make test`, takes the wheel that `make` has installed and gives it the engine that `make arm` has
compiled. ``--fetch`` only gets that Python, whose headers `make wheels` needs before.

Debian's packages are fetched and unpacked, never installed; so this needs no root, and leaves the system as it is.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import shutil
import subprocess
import sys
import time
import zipfile
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
WORK = ROOT / "build" / "emulated"
SYSTEM, SITE = WORK / "root", WORK / "site"
INSTALLED = ROOT / "build" / "installed"  # the wheel that the Makefile has built for its own environment
ENGINE = ROOT / "build" / "aarch64" / "libengine.a"
PACKAGES = "{0}-minimal lib{0}-stdlib libstdc++6"  # with what they depend on
TOLERANCE = 1e-5  # relative to the largest value, as of the float parity elsewhere


def run(*command: object, ok: bool = True, at: Path = WORK, **settings: str) -> subprocess.CompletedProcess[str]:
    done = subprocess.run(
        [str(word) for word in command], cwd=at, env={**os.environ, **settings}, capture_output=True, text=True
    )
    if ok and done.returncode:
        sys.exit(f"emulated: failed: {' '.join(map(str, command))}\n{done.stdout[-2000:]}{done.stderr[-4000:]}")
    return done


def fetch_system() -> Path:
    """Debian's Python for arm64, unpacked; by an apt that knows only that architecture and only this folder."""
    if not (found := list(SYSTEM.glob("usr/bin/python3.*"))):
        debs = WORK / "debs"
        for folder in (WORK / "apt/lists/partial", debs / "partial"):
            folder.mkdir(parents=True, exist_ok=True)
        (WORK / "apt" / "status").touch()
        options = {
            "APT::Architecture": "arm64",
            "APT::Architectures": "arm64",
            "APT::Sandbox::User": "",
            "Acquire::Languages": "none",
            "Debug::NoLocking": "1",
            "Dir::State": WORK / "apt",
            "Dir::State::lists": WORK / "apt" / "lists",
            "Dir::State::status": WORK / "apt" / "status",
            "Dir::Cache": WORK / "apt" / "cache",
        }
        words = [word for name, value in options.items() for word in ("-o", f"{name}={value}")]
        get = ["apt-get", "-qq", *words]
        run(*get, "update")
        about = run("apt-cache", *words, "depends", "python3-minimal").stdout
        python = re.findall(r"Depends: (python3\.\d+)-minimal", about)[0]
        only = ["--download-only", "--no-install-recommends", "-y", f"-oDir::Cache::archives={debs}"]
        run(*get, "install", *only, *PACKAGES.format(python).split())
        run(*get, "download", f"lib{python}-dev", at=debs)  # its headers alone: it depends on a whole compiler
        unpacked = WORK / "unpacked"
        for package in sorted(debs.glob("*.deb")):
            run("dpkg", "-x", package, unpacked)
        if not (unpacked / "lib").exists():  # in newer ones a link that another package makes
            (unpacked / "lib").symlink_to("usr/lib")
        unpacked.rename(SYSTEM)
        found = list(SYSTEM.glob("usr/bin/python3.*"))
    return found[0]


def quick_wheel(version: str) -> Path:
    """The installed wheel with the engine of `make arm` in place of its own: the binding alone is compiled."""
    if not ENGINE.exists():
        sys.exit("emulated: there is no engine for aarch64: run  make arm")
    (source,) = INSTALLED.glob("*.whl")
    tag = "cp" + version.replace(".", "")
    module = WORK / f"_core.{tag.replace('cp', 'cpython-')}-aarch64-linux-gnu.so"
    include = SYSTEM / "usr" / "include"
    found = run(sys.executable, "-m", "pybind11", "--includes").stdout.split()
    folders = [ROOT / "cpp", ROOT / "cpp" / "include", include / f"python{version}", include]
    # Without much optimization, which would take twice as long: the engine has its own.
    options = ["-O1", "-std=c++17", "-fvisibility=hidden", "-fPIC", "-shared", "-s", "-pthread"]
    words = [found[-1], *(f"-I{folder}" for folder in folders), ROOT / "cpp" / "bind" / "python.cpp", ENGINE]
    run("aarch64-linux-gnu-g++", *options, *words, "-o", module)
    target = WORK / f"{'-'.join(source.name.split('-')[:2])}-{tag}-{tag}-linux_aarch64.whl"
    with zipfile.ZipFile(source) as old, zipfile.ZipFile(target, "w") as new:
        for name in old.namelist():
            data = old.read(name)
            if name.endswith(".dist-info/WHEEL"):
                data = re.sub(rb"(?m)^Tag: .*$", f"Tag: {tag}-{tag}-linux_aarch64".encode(), data)
            if name.endswith(".so"):
                name, data = f"claude_flow/{module.name}", module.read_bytes()
            new.writestr(name, data)
    return target


def install(wheel: Path, version: str) -> None:
    """The wheel and what it requires, as pip chooses them for that machine."""
    shutil.rmtree(SITE, ignore_errors=True)
    target = ["--target", SITE, "--only-binary", ":all:", "--implementation", "cp", "--python-version", version]
    tags = ("manylinux_2_28", "manylinux2014", "linux")
    machine = [word for tag in tags for word in ("--platform", f"{tag}_aarch64")]
    run(sys.executable, "-m", "pip", "install", "--quiet", "--no-compile", *target, *machine, wheel)


def emulated(python: Path, *words: object, cpu: str = "max", ok: bool = True, **settings: str) -> Any:
    environment = {"PYTHONHOME": str(SYSTEM / "usr"), "PYTHONPATH": str(SITE), "PYTHONNOUSERSITE": "1"}
    environment |= {"OPENBLAS_NUM_THREADS": "1", "PYTHONDONTWRITEBYTECODE": "", "CLAUDE_FLOW_HOME": str(WORK / "home")}
    return run("qemu-aarch64", "-cpu", cpu, "-L", SYSTEM, python, *words, ok=ok, **environment, **settings)


done: list[str] = []


def check(holds: bool, what: str) -> None:
    done.append(what)
    print(f"emulated: {what}: {'yes' if holds else 'NO'}", flush=True)
    if not holds:
        sys.exit(1)


def compare(python: Path) -> None:
    """What the emulated machine answers, beside this one."""
    import numpy as np  # not needed to fetch

    swarm = ROOT / "docs" / "examples" / "swarm.json"
    ask = ["neural", "infer", "coordination", "--input", f"@{swarm}", "--format", "json"]
    demo = emulated(python, "-m", "claude_flow", *ask)
    agents = [row["agent"] for row in json.loads(demo.stdout)["assignments"]]
    check(agents == ["arch-001", "code-001"], "the demo's answer")

    script = ROOT / "tests" / "packaging" / "answers.py"
    here, there = json.loads(run(sys.executable, script).stdout), json.loads(emulated(python, script).stdout)
    check(
        there["machine"] == "aarch64" and there["isa"] == ["scalar", "neon", "neondot", "neoni8mm"],
        "aarch64, up to neoni8mm",
    )
    for model, ours in here["answers"].items():
        theirs = there["answers"][model]
        for case in ours:
            if case.startswith("int8"):
                same = theirs[case] == ours[case] == ours["int8 scalar"]
                check(same, f"{model}, {case}: the bits of {here['machine']}")
            else:
                a, b = (np.frombuffer(bytes.fromhex(side[case]), "<f4") for side in (ours, theirs))
                error = float(np.abs(a - b).max() / max(1.0, np.abs(a).max()))
                check(error <= TOLERANCE, f"{model}, {case}: within {TOLERANCE:g} of {here['machine']} ({error:.1e})")

    for word, cpu in (("neondot", "cortex-a53"), ("avx2", "max")):
        refused = emulated(python, "-m", "claude_flow", *ask, cpu=cpu, ok=False, CLAUDE_FLOW_ISA=word)
        line = refused.stderr.strip()
        one = refused.returncode == 2 and "\n" not in line and f"no instruction set '{word}'" in line
        check(one, f"a CPU without {word} says so in a line")


def main() -> None:
    parser = argparse.ArgumentParser(prog="python .ci/emulated.py")
    parser.add_argument("wheel", nargs="?", type=Path)
    parser.add_argument("--quick", action="store_true", help="the installed wheel with the engine of  make arm")
    parser.add_argument("--fetch", action="store_true", help="only Debian's Python for arm64")
    options = parser.parse_args()
    began = time.monotonic()
    WORK.mkdir(parents=True, exist_ok=True)
    try:
        python = fetch_system()
    except (OSError, SystemExit) as problem:  # no apt-get, no such machine among its mirrors, no network
        if not options.quick or os.environ.get("CI"):
            raise
        return print(f"emulated: skipped: Debian's Python for arm64 cannot be fetched ({str(problem).strip()})")
    if options.fetch:
        return None
    version = python.name.removeprefix("python")
    wheel = options.wheel.resolve() if options.wheel else quick_wheel(version) if options.quick else None
    if wheel is None:
        wheels = sorted((ROOT / "dist").glob(f"*-cp{version.replace('.', '')}-*aarch64.whl"))
        if not wheels:
            sys.exit(f"emulated: there is no aarch64 wheel for {python.name} in dist/: run  make wheels")
        wheel = wheels[0]
    install(wheel, version)
    compare(python)
    record = ROOT / "build" / "records" / f"emulated{'-short' if options.quick else ''}.json"
    record.parent.mkdir(parents=True, exist_ok=True)
    about = {"wheel": wheel.name, "python": version, "checks": done}
    record.write_text(json.dumps(about, indent=1) + "\n", "utf-8")
    print(f"emulated: {wheel.name}: {len(done)} checks in {time.monotonic() - began:.0f} s")
    return None


if __name__ == "__main__":
    main()
