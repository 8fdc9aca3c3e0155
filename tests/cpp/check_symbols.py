"""Each isa_<word> object defines one symbol, table_<word>, and needs nothing that throws, allocates or prints."""

import re
import subprocess
import sys

ALLOWED = {"memcpy", "memset", "memmove", "_GLOBAL_OFFSET_TABLE_", "__stack_chk_fail"}


def main(nm: str, objects: list[str]) -> int:
    problems, seen = [], 0
    for path in objects:
        word = re.search(r"isa_(\w+)\.cpp\.(o|obj)$", path)
        if word is None:
            continue
        seen += 1
        lines = subprocess.run([nm, "-C", path], check=True, capture_output=True, text=True).stdout.splitlines()
        symbols = [line.split(maxsplit=2) if line[0].isalnum() else ["", *line.split(maxsplit=1)] for line in lines]
        exported = [name for _, kind, name in symbols if (kind.isupper() and kind != "U") or kind in "vw"]
        if exported != [f"claude_flow::table_{word[1]}"]:
            problems.append(f"{path} exports {exported}")
        needed = {name for _, kind, name in symbols if kind == "U"}
        if not needed <= ALLOWED:
            problems.append(f"{path} needs {sorted(needed - ALLOWED)}")
    if seen < 1:
        problems.append("no isa_*.cpp object among the arguments")
    for problem in problems:
        print(problem, file=sys.stderr)
    print(f"{seen} objects checked")
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1], sys.argv[2:]))
