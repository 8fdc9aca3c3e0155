"""Who may include whom in cpp/: a folder without a row here fails."""

import re
import sys
from pathlib import Path

ABI = "claude_flow.h"
#: folder -> what its files may include of ours: folders, or single files
ALLOWED = {
    "include": set(),
    "base": {"base", ABI},
    "simd": {"simd", "base"},
    "kernels": {"kernels", "simd", "base", ABI},
    "ops": {"ops", "kernels/table.h", "kernels/args.h", "base", ABI},
    "model": {"model", "ops", "kernels/table.h", "base", ABI},
    "bind": {ABI},
}
#: the kernels' own prose, for tests and benchmarks alone
REFERENCE = "kernels/reference.h"


def problems(cpp: Path) -> list[str]:
    """What cpp/ and emscripten/exports do that they may not."""
    found = []
    for folder in sorted(path.name for path in cpp.iterdir() if path.is_dir()):
        if folder not in ALLOWED:
            found.append(f"cpp/{folder} has no row in {Path(__file__).name}")
            continue
        for file in sorted((cpp / folder).rglob("*")):
            if file.suffix not in {".h", ".cpp", ".inc"}:
                continue
            own = f"{folder}/{file.relative_to(cpp / folder).as_posix()}"
            for name in re.findall(r'^\s*#\s*include\s+"([^"]+)"', file.read_text("utf-8"), re.MULTILINE):
                allowed = name in ALLOWED[folder] or name.split("/")[0] in ALLOWED[folder]
                if not allowed or (name == REFERENCE and own != "kernels/reference.cpp"):
                    found.append(f"cpp/{own} includes {name}")
    declared = set(re.findall(r"\b(cf_\w+)\(", (cpp / "include" / ABI).read_text("utf-8")))
    exported = (cpp.parent / "emscripten" / "exports").read_text("utf-8").split()
    found += [
        f"emscripten/exports names {name}, which {ABI} has not"
        for name in exported
        if name not in {"_malloc", "_free"} and name.removeprefix("_") not in declared
    ]
    return found


if __name__ == "__main__":
    lines = problems(Path(sys.argv[1]))
    print("\n".join(lines) or "every include is allowed")
    sys.exit(1 if lines else 0)
