"""Run the commands of README.md and paste what they print: ``python docs/tour.py DATA``.

Each console block's lines that start with ``$`` are run in order in one fresh workspace; what follows them up to the
next one, or the block's end, is replaced by the real output. ``DATA`` is the folder of the public data sets, which the
README calls ``logs``.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).parents[1]


def _run(command: str, folder: str) -> str:
    environment = os.environ | {
        "COLUMNS": "100",
        "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
    }
    done = subprocess.run(
        ["bash", "-c", command],
        cwd=folder,
        env=environment,
        text=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
    )
    # Where the workspace lies differs between machines; the reader's paths are their own.
    output = done.stdout.replace(folder, ".").replace(str(ROOT) + "/", "")
    # Signs of life come as the machine is slow or fast.
    return "\n".join(line.rstrip() for line in output.strip().splitlines() if not line.startswith("... "))


def _block(match: re.Match[str], folder: str) -> str:
    lines, commands = match.group(1).splitlines(), []
    while lines:
        line = lines.pop(0)
        if line.startswith("$ "):
            command = [line[2:]]
            while command[-1].endswith("\\"):
                command.append(lines.pop(0))
            commands.append("\n".join(command))
    parts = []
    for command in commands:
        print(f"$ {command}", file=sys.stderr)
        parts.append(f"$ {command}\n{_run(command, folder)}".rstrip())
    return "```console\n" + "\n".join(parts) + "\n```"


def main() -> None:
    """Rewrite README.md in place."""
    if len(sys.argv) != 2 or not Path(sys.argv[1]).is_dir():
        sys.exit("usage: python docs/tour.py FOLDER-OF-THE-PUBLIC-DATA-SETS")
    data, readme = Path(sys.argv[1]).resolve(), ROOT / "README.md"
    with tempfile.TemporaryDirectory() as folder:
        (Path(folder) / "logs").symlink_to(data)
        (Path(folder) / "swarm.json").write_text((ROOT / "docs/examples/swarm.json").read_text())
        text = re.sub(r"```console\n(.*?)\n```", lambda m: _block(m, folder), readme.read_text(), flags=re.DOTALL)
    readme.write_text(text)


if __name__ == "__main__":
    main()
