"""The playground in a terminal: the fields of a request are changed by keys, and the models answer at every change."""

from __future__ import annotations

import copy
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from claude_flow.errors import ClaudeFlowError, require
from claude_flow.run.playground import Models

__all__ = ["app", "fields", "turned"]

Path = tuple[str | int, ...]
#: words that a field may say, in order
WORDS = {
    "priority": ("low", "medium", "high", "critical"),
    "experience-level": ("junior", "mid", "intermediate", "senior"),
}
_SHARE, _RATIO = 0.05, 1.1  # of one press: of a number up to 1, of a larger one


def fields(request: Any, path: Path = (), name: str = "") -> Iterator[tuple[Path, str]]:
    """Path and name of every field that keys can change: numbers, switches, known words.

    >>> list(fields({"agents": [{"id": "a", "load": 0.5}], "priority": "low", "note": "x"}))
    [(('agents', 0, 'load'), 'a load'), (('priority',), 'priority')]
    """
    if isinstance(request, Mapping):
        name = str(request.get("id") or name)
        for key, value in request.items():
            is_group = isinstance(value, Mapping | list)
            yield from fields(value, (*path, key), name if is_group else f"{name} {key}".strip())
    elif isinstance(request, list):
        for i, value in enumerate(request):
            yield from fields(value, (*path, i), name)
    elif isinstance(request, bool | int | float) or request in WORDS.get(str(path[-1]), ()):
        yield path, name


def turned(name: str, value: Any, steps: int) -> Any:
    """A field's next value, so many steps up or down.

    >>> turned("load", 0.98, 1), turned("agents", 4, -1), turned("latency", 120.0, 1), turned("priority", "low", 1)
    (1.0, 3, 132.0, 'medium')
    """
    if isinstance(value, bool):
        return not value
    if isinstance(value, str):
        words = WORDS[name]
        return words[min(max(words.index(value) + steps, 0), len(words) - 1)]
    if isinstance(value, int):
        return max(0, value + steps * max(1, value // 10))
    if 0 <= value <= 1:
        return round(min(max(value + steps * _SHARE, 0.0), 1.0), 4)
    return float(f"{value * _RATIO**steps:.4g}")


def app(models: Models, live: bool = True) -> Any:
    """The program (textual's ``App``), to be run: a page per network, its request left, its models' answers right.

    Raises:
        MissingExtra: textual is not installed.
    """
    textual = require("textual.app", "terminal")
    binding = require("textual.binding", "terminal").Binding
    containers, widgets = require("textual.containers", "terminal"), require("textual.widgets", "terminal")
    base: Any = textual.App
    begin = models.setup()
    of = {name: [m["name"] for m in begin["models"] if m["network"] == name] for name in begin["examples"]}

    class Terminal(base):  # type: ignore[misc]
        TITLE = "Playground"
        ENABLE_COMMAND_PALETTE = False
        CSS = "DataTable { width: 2fr; } .answer { width: 3fr; padding: 0 1; }"
        BINDINGS = (
            binding("left", "turn(-1)", "Less", priority=True),
            binding("right", "turn(1)", "More", priority=True),
            binding("n", "page", "Next network"),
            binding("a", "ask", "Ask"),
            binding("w", "why", "Say why"),
            binding("c", "line", "CLI line"),
            binding("r", "reset", "Start again"),
            binding("q", "quit", "End"),
        )

        def __init__(self) -> None:
            super().__init__()
            self.requests = copy.deepcopy(begin["examples"])
            self.why = self.shows_line = False

        def compose(self) -> Iterator[Any]:
            with widgets.TabbedContent(*of):
                for name in of:
                    with containers.Horizontal():
                        yield widgets.DataTable(id=f"fields-{name}", cursor_type="row")
                        with containers.VerticalScroll(classes="answer"):
                            yield widgets.Static(id=f"answer-{name}", markup=False)
            yield widgets.Footer()

        def on_mount(self) -> None:
            for name in of:
                table = self.query_one(f"#fields-{name}", widgets.DataTable)
                table.add_columns("field", "value")
                self._fill(name)
            self.query_one(f"#fields-{next(iter(of))}").focus()
            self.action_ask()

        @property
        def network(self) -> str:
            """The one whose page is shown."""
            names: list[str] = list(of)
            active: str = self.query_one(widgets.TabbedContent).active
            return names[int(active.rpartition("-")[2]) - 1]

        def _fill(self, network: str) -> None:
            table = self.query_one(f"#fields-{network}", widgets.DataTable)
            row = table.cursor_row
            table.clear()
            for path, name in fields(self.requests[network]):
                table.add_row(name, str(_at(self.requests[network], path)))
            table.move_cursor(row=row)

        def action_turn(self, steps: int) -> None:
            """Change the field under the cursor."""
            network = self.network
            row = self.query_one(f"#fields-{network}", widgets.DataTable).cursor_row
            path, _ = list(fields(self.requests[network]))[row]
            place = _at(self.requests[network], path[:-1])
            place[path[-1]] = turned(str(path[-1]), place[path[-1]], steps)
            self._fill(network)
            if live:
                self._ask(network)

        def action_page(self) -> None:
            """Show the next network."""
            names = list(of)
            place = (names.index(self.network) + 1) % len(names)
            self.query_one(widgets.TabbedContent).active = f"tab-{place + 1}"
            self.query_one(f"#fields-{names[place]}").focus()

        def action_ask(self) -> None:
            """Ask all models."""
            for name in of:
                self._ask(name)

        def action_why(self) -> None:
            """Say what the answers rest on, or no longer."""
            self.why = not self.why
            self.action_ask()

        def action_line(self) -> None:
            """Show the lines that ask the same, or no longer."""
            self.shows_line = not self.shows_line
            self.action_ask()

        def action_reset(self) -> None:
            """Go back to the first requests."""
            self.requests = copy.deepcopy(begin["examples"])
            for name in of:
                self._fill(name)
            self.action_ask()

        def _ask(self, network: str) -> None:
            told = [_answer(models, name, self.requests[network], self.why, self.shows_line) for name in of[network]]
            self.query_one(f"#answer-{network}", widgets.Static).update("\n\n".join(told))

    return Terminal()


def _at(request: Any, path: Path) -> Any:
    for key in path:
        request = request[key]
    return request


def _answer(models: Models, name: str, request: Any, why: bool, line: bool) -> str:
    """What a model answers, as text; a request that it refuses is told, too."""
    try:
        found = models.ask({"model": name, "arguments": request, "explain": why})
    except ClaudeFlowError as error:
        return f"{name}\n{error}"
    parts = [f"{name}, {1e3 * found['seconds']:.1f} ms", *(_table(*table) for table in found["tables"])]
    return "\n\n".join([*parts, *([found["command"]] if line else [])])


def _table(title: str, columns: Sequence[str], rows: Sequence[Sequence[Any]]) -> str:
    """A table as text.

    >>> print(_table("Tasks", ["task", "share"], [["t1", 0.51234], ["t2", None]]))
    Tasks
    task  share
    t1    0.5123
    t2
    """
    cells = [[_text(cell) for cell in row] for row in (columns, *rows)]
    widths = [max(len(row[i]) for row in cells if i < len(row)) for i in range(max(map(len, cells)))]
    lines = ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=False)).rstrip() for row in cells]
    return "\n".join([title, *lines])


def _text(value: Any) -> str:
    return "" if value is None else f"{value:.4g}" if isinstance(value, float) else str(value)
