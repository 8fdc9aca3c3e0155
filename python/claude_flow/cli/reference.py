"""The pages of ``docs/cli`` from the commands themselves, the list of layers in ``docs/architecture.md``, and the
catalogue of recommendations for the JavaScript package.

``python -m claude_flow.cli.reference [--check]``.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import click

from claude_flow.cli import layers, root
from claude_flow.cli.command import Command
from claude_flow.cli.output import Output
from claude_flow.errors import ClaudeFlowError
from claude_flow.files import atomic_write
from claude_flow.networks.optimization.catalogue import TUNABLES

__all__ = ["commands", "pages"]

_HEAD = "<!-- Written by `python -m claude_flow.cli.reference` from the commands' own help. -->\n"
_CATALOGUE = """\
// Written by `python -m claude_flow.cli.reference` from networks/optimization/catalogue.csv: the settings that an
// optimization network may raise or lower, in the order of its outputs.
"""
_BEGIN, _END = "<!-- layers: from python/claude_flow/cli/layers.py -->\n\n", "\n<!-- end -->"
_INDEX = """
# The command line

`claude-flow --help`, `claude-flow neural GROUP --help` and `claude-flow neural GROUP COMMAND --help` say the same as
these pages.

{groups}

## Every command

- `--format table|json|quiet`, else `$CLAUDE_FLOW_FORMAT`, chooses what goes to standard output. A table is drawn on a
  terminal and is plain aligned text in a pipe; `NO_COLOR` is respected. Notes, progress and errors go to standard
  error.
- `$CLAUDE_FLOW_TIME_BUDGET`, such as `60s`, ends training at its best epoch so far, and cuts the time that a
  measurement takes.
- An error is one line. Exit codes: 0 done; 1 failed; 2 the input or the command line cannot be used; 130 interrupted
  (Ctrl-C); 141 the reader of standard output went away. `--debug` shows the traceback.
- JSON options take the text itself, `@FILE`, `@-` for standard input, or the path of a file. Durations are `60s`,
  `5m`, `7d`, `6 months` (of 30 days); sizes `512MB`, `4GB` (powers of 1000), `16GiB` (of 1024); shares `0.8` or `80%`;
  lists `a,b` or `["a","b"]`. A `true|false` option alone means true.
- Models, datasets and configurations are paths, or names in the workspace (`.claude-flow/neural/`, or
  `$CLAUDE_FLOW_HOME`), or built in. `NAME/VERSION` is one version of a model, `NAME` its latest.
  A dataset may be a view, such as `holdout-dataset` or `my-runs:swarm-1`: `claude-flow neural data list` shows them.

## Shell completion

| shell | line | file |
|---|---|---|
| bash | `eval "$(_CLAUDE_FLOW_COMPLETE=bash_source claude-flow)"` | `~/.bashrc` |
| zsh | `eval "$(_CLAUDE_FLOW_COMPLETE=zsh_source claude-flow)"` | `~/.zshrc` |
| fish | `_CLAUDE_FLOW_COMPLETE=fish_source claude-flow \\| source` | `~/.config/fish/completions/claude-flow.fish` |
"""


def commands(command: click.Command = root, path: tuple[str, ...] = ("claude-flow",)) -> Iterator[click.Context]:
    """Every group and command of the tree, each as the context that its help is printed in."""
    itself = getattr(command, "own", None) or command  # of a name that is a group and a command at once
    context = click.Context(itself, info_name=" ".join(path), terminal_width=100, max_content_width=100)
    context.help_option_names = ["--help"]
    yield context
    if isinstance(command, click.Group):
        for name in command.list_commands(context):
            child = command.get_command(context, name)
            if child is not None:
                yield from commands(child, (*path, name))


def pages() -> dict[str, str]:
    """File name -> markdown: one page per member of ``claude-flow neural``, and an index."""
    found: dict[str, str] = {}
    index = []
    for context in commands():
        words = (context.info_name or "").split()
        if len(words) < 3:
            continue
        name = f"{words[2]}.md"
        if len(words) == 3:
            index.append(f"- [`{context.info_name}`]({name}): {context.command.get_short_help_str(200)}")
            found[name] = _HEAD
        found[name] += f"\n{'#' * (len(words) - 2)} {context.info_name}\n\n```text\n{context.get_help()}\n```\n"
    found["README.md"] = _HEAD + _INDEX.replace("{groups}", "\n".join(index))
    return found


def architecture(page: str) -> str:
    """The page ``docs/architecture.md`` with the list of layers between its marks brought up to date."""
    package = Path(__file__).parents[1]
    present = {entry.stem for entry in package.iterdir() if entry.suffix == ".py" or (entry / "__init__.py").is_file()}
    before, _, rest = page.partition(_BEGIN)
    return f"{before}{_BEGIN}{layers.markdown(present)}\n{_END}{rest.partition(_END)[2]}" if rest else page


def catalogue() -> str:
    """``emscripten/catalogue.mjs``: what JavaScript needs of the optimization network's catalogue."""
    rows = [{"name": t.name, "whole": t.whole, "effects": list(t.effects)} for t in TUNABLES]
    lines = "".join(f"  {json.dumps(row, ensure_ascii=False)},\n" for row in rows)
    return f"{_CATALOGUE}export const TUNABLES = [\n{lines}];\n"


@click.command(
    cls=Command,
    examples=["python -m claude_flow.cli.reference", "python -m claude_flow.cli.reference --check"],
)
@click.option("--check", is_flag=True, help="Write nothing; fail if a page differs from the commands.")
@click.argument("folder", type=click.Path(path_type=Path, file_okay=False), default=Path("docs/cli"))
@click.pass_obj
def main(output: Output, check: bool, folder: Path) -> None:
    """Write the pages of the command line to FOLDER (docs/cli)."""
    wanted = pages()
    present = {file.name: file.read_text("utf-8") for file in folder.glob("*.md")}
    above = "../architecture.md"
    if (folder / above).is_file():
        present[above] = (folder / above).read_text("utf-8")
        wanted[above] = architecture(present[above])
    script = "../../emscripten/catalogue.mjs"
    if (folder / script).is_file():
        present[script], wanted[script] = (folder / script).read_text("utf-8"), catalogue()
    differing = sorted(name for name in wanted.keys() | present.keys() if wanted.get(name) != present.get(name))
    if check:
        if differing:
            raise ClaudeFlowError(
                f"{folder}: {', '.join(differing)} differ from the commands: run  python -m claude_flow.cli.reference"
            )
        return
    for name in differing:
        if name in wanted:
            atomic_write(folder / name, wanted[name])
        else:
            (folder / name).unlink()


if __name__ == "__main__":
    import sys

    sink = Output()
    with sink.guard():
        main.main(obj=sink, standalone_mode=False)
    sys.exit(sink.exit_code)
