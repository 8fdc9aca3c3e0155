"""python -m bench.learning [JOB ...] [--data FOLDER] [--seeds N] [--seconds S]: what learning beyond one log brings.

A job is a module of this folder. Its figures are kept cell by cell in bench/learning/JOB.json, so that an interrupted
run goes on where it was (--seconds ends one in between); its section of a page of docs is written from what there is.
--data names the folder of the public data sets; jobs that need it are left out without it.
"""

from __future__ import annotations

import argparse
import importlib
import json
import re
import sys
import time
from pathlib import Path
from typing import Any

from bench import ROOT
from bench.learning.cells import Cells
from claude_flow import files

#: A job says where its section is (PAGE, below docs), whether it needs the public data (NEEDS_DATA), which cells it
#: measures (``cells(data, seeds)``, name -> function without arguments) and what its section says (``section(found)``).
JOBS = ("digits", "incremental", "transfer", "meta", "federated", "multimodal", "nas")
SEEDS = 5


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m bench.learning", description=__doc__)
    parser.add_argument("jobs", nargs="*", metavar="JOB", help=f"of {', '.join(JOBS)}; all of them")
    parser.add_argument("--data", type=Path, help="the folder of the public data sets")
    parser.add_argument("--seeds", type=int, default=SEEDS)
    parser.add_argument("--seconds", type=float, default=1e9, help="begin nothing new after this time")
    options = parser.parse_args()
    for job in options.jobs:
        if job not in JOBS:
            parser.error(f"there is no job {job!r}: it is one of {', '.join(JOBS)}")
    until = time.monotonic() + options.seconds
    for job in options.jobs or JOBS:
        module = importlib.import_module(f"bench.learning.{job}")
        kept = Path(__file__).parent / f"{job}.json"
        found: Cells = json.loads(kept.read_text("utf-8")) if kept.is_file() else {}
        if module.NEEDS_DATA and options.data is None:
            print(f"{job}: not measured, it needs --data FOLDER", file=sys.stderr)
        else:
            for name, measure in module.cells(options.data, options.seeds).items():
                if name in found or time.monotonic() > until:
                    continue
                print(f"{job} {name} ...", file=sys.stderr, flush=True)
                found[name] = measure()
                files.atomic_write(kept, json.dumps(found, indent=1, sort_keys=True) + "\n")
        if found:
            write(ROOT / "docs" / module.PAGE, job, section(module, found))
    return 0


def section(module: Any, found: Cells) -> str:
    """What a job's section says of the cells found."""
    wanted = module.cells(None, SEEDS)
    lacks = len(set(wanted) - set(found))
    note = f"**Not complete: {lacks} of {len(wanted)} cells are yet to be measured.**\n\n" if lacks else ""
    return note + str(module.section(found))


def write(page: Path, job: str, said: str) -> None:
    """Put a job's section between its marks on a page."""
    mark = re.compile(rf"(<!-- bench.learning {job} -->\n).*?(<!-- end -->)", re.DOTALL)
    text, count = mark.subn(lambda found: f"{found[1]}\n{said.strip()}\n\n{found[2]}", page.read_text("utf-8"))
    if count != 1:
        raise SystemExit(f"{page}: no marks of {job}")
    files.atomic_write(page, text)


if __name__ == "__main__":
    sys.exit(main())
