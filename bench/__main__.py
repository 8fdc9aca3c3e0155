"""python -m bench [--quick] [--only models|kernels|footprint] [--out FILE]: measure, write JSON."""

from __future__ import annotations

import os

# Read when the libraries load. One thread each unless a benchmark says otherwise; and OpenBLAS with its AVX2 kernels,
# which are the mark for isa="avx2", whatever the CPU has.
os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
os.environ["OPENBLAS_CORETYPE"] = "Haswell"
os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")

import argparse
import json
import sys
import time
from pathlib import Path

from bench import footprint, kernels, models, peers, results
from bench.environment import environment
from claude_flow import engine

SUITES = {"footprint": footprint, "kernels": kernels, "models": models}


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m bench", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="a few points, short races: does it run at all?")
    parser.add_argument("--only", choices=SUITES, action="append", help="one suite; the others keep their results")
    parser.add_argument("--seconds", type=float, help="of each race (default 5, quick 0.5)")
    parser.add_argument(
        "--out", type=Path, help="default bench/results.json, or results_avx2.json where there is no AVX-512"
    )
    options = parser.parse_args()
    seconds = options.seconds or (0.5 if options.quick else 5.0)
    options.out = options.out or results(engine.isa())
    found = json.loads(options.out.read_text("utf-8")) if options.only and options.out.exists() else {}
    begin = time.perf_counter()
    for name in options.only or SUITES:
        found[name] = SUITES[name].measure(seconds, lambda text: print(text, file=sys.stderr), options.quick)
        found["environment"] = {
            **environment(peers.PACKAGES),
            "quick": options.quick,
            "seconds": time.perf_counter() - begin,
        }
        options.out.write_text(json.dumps(found, indent=1) + "\n", "utf-8")
    print(f"{options.out}: {found['environment']['seconds']:.0f} s", file=sys.stderr)
    return 0


if __name__ == "__main__":
    sys.exit(main())
