"""Example notebooks, written as Markdown beside this file: a fence of ``python`` or ``sh`` is a cell to run.

``copy`` makes Jupyter notebooks of them; what runs them is in :mod:`claude_flow.notebooks.jupyter`; marimo's are made
by :mod:`claude_flow.notebooks.marimo`.
"""

from __future__ import annotations

import html
import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from claude_flow import files

__all__ = ["EXAMPLES", "Page", "copy", "notebook", "parts"]

EXAMPLES = tuple(sorted(Path(__file__).parent.glob("*.md")))
_FENCE = re.compile(r"^```(python|sh)\n(.*?)^```$", re.MULTILINE | re.DOTALL)


class Page:
    """A page of HTML to show in a notebook, whichever it is: as the last value of a cell."""

    def __init__(self, path: str | Path, height: int = 480) -> None:
        self.path, self.height = Path(path), height

    def _repr_html_(self) -> str:
        text = html.escape(self.path.read_text("utf-8"))
        return f'<iframe srcdoc="{text}" style="border: 0; width: 100%; height: {self.height}px"></iframe>'


def parts(markdown: str) -> Iterator[tuple[str, str]]:
    """The parts of a page in order: ("text" | "python" | "sh", what it says).

    >>> list(parts("# One\\n```sh\\nls\\n```\\n"))
    [('text', '# One'), ('sh', 'ls')]
    """
    # text, language, code, text, language, code, ..., text
    split = _FENCE.split(markdown)
    for text, language, code in zip(split[::3], [*split[1::3], ""], [*split[2::3], ""], strict=True):
        if text.strip():
            yield "text", text.strip()
        if code:
            yield language, code.strip()


def notebook(markdown: str) -> dict[str, Any]:
    """The Jupyter notebook (format 4.5) of a page.

    A cell of ``sh`` ends at its first command that fails, and is then an error as one of Python would be.

    >>> [cell["source"] for cell in notebook("# One\\n```sh\\nls\\n```\\n")["cells"]]
    ['# One', '%%bash -e\\nls']
    """
    cells: list[dict[str, Any]] = []
    for kind, text in parts(markdown):
        if kind == "text":
            cells.append({"cell_type": "markdown", "metadata": {}, "source": text})
        else:
            source = ("%%bash -e\n" if kind == "sh" else "") + text
            cells.append(
                {"cell_type": "code", "metadata": {}, "source": source, "execution_count": None, "outputs": []}
            )
    for index, cell in enumerate(cells):
        cell["id"] = f"cell-{index}"
    kernel = {"name": "python3", "display_name": "Python 3", "language": "python"}
    return {"cells": cells, "metadata": {"kernelspec": kernel}, "nbformat": 4, "nbformat_minor": 5}


def copy(folder: Path) -> list[Path]:
    """Write every example that ``folder`` lacks into it; one that is there, edited or not, stays as it is.

    Returns:
        The notebooks of the examples, in the order in which to read them.
    """
    made = []
    for page in EXAMPLES:
        file = folder / f"{page.stem}.ipynb"
        if not file.exists():
            files.atomic_write(file, json.dumps(notebook(page.read_text("utf-8")), indent=1) + "\n")
        made.append(file)
    return made
