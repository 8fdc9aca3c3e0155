"""What the numbers were measured on."""

from __future__ import annotations

import datetime
import importlib.metadata
import os
import platform
import subprocess
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np

import claude_flow as cf
from claude_flow.measure import machine

ROOT = Path(__file__).parents[1]


def environment(packages: Iterable[str]) -> dict[str, Any]:
    """CPU, caches, instruction sets, commit, and the versions of the packages that took part."""
    blas = np.show_config("dicts")["Build Dependencies"]["blas"]
    return {
        "cpu": machine.cpu_name(),
        "cpus": os.cpu_count(),
        "load": os.getloadavg()[0],
        "caches": machine.caches(),
        "isa": cf.engine.isa(),
        "available": cf.engine.available(),
        "claude_flow": cf.__version__,
        "versions": versions(packages),
        "blas": f"{blas['name']} {blas['version']}",
        "blas_kernels": os.environ.get("OPENBLAS_CORETYPE", "by CPU"),
        "python": platform.python_version(),
        "system": platform.platform(),
        "commit": commit(),
        "time": datetime.datetime.now(datetime.timezone.utc).strftime("%Y-%m-%d %H:%M UTC"),
    }


def versions(packages: Iterable[str]) -> dict[str, str]:
    return {name: importlib.metadata.version(name) for name in packages}


def commit() -> str:
    """What is checked out, and whether it was changed since."""
    return _git("rev-parse", "--short=12", "HEAD") + ("+changes" if _git("status", "--porcelain") else "")


def _git(*words: str) -> str:
    return subprocess.run(["git", *words], cwd=ROOT, capture_output=True, text=True).stdout.strip()
