"""``claude-flow neural version``: which version of a model its name means."""

from __future__ import annotations

from typing import Any

import click

from claude_flow import files, networks, registry
from claude_flow.cli import params
from claude_flow.cli.command import Group
from claude_flow.cli.output import Output, Table
from claude_flow.errors import InputError

__all__ = ["group"]

group = Group("version", help="Choose which version of a model its name means.")


@group.command(
    "create",
    examples=[
        """\
claude-flow neural version create \\
  --model "coordination-v3" \\
  --version "3.2.1" \\
  --changes "improved attention mechanism, reduced latency" \\
  --compatibility-check true \\
  --backward-compatibility true""",
        "claude-flow neural version create --model runs-of-mine --version 1.1.0 --changes 'more data'",
    ],
)
@click.option("--model", required=True, metavar="MODEL", help="The model to keep: a name, NAME/VERSION, or a path.")
@click.option("--version", "number", required=True, metavar="X.Y.Z", help="Its number.")
@click.option("--changes", required=True, metavar="TEXT", help="What changed, in words.")
@click.option("--family", type=params.NAME, show_default="coordination of coordination-v3", help="Whose version it is.")
@params.switch("--compatibility-check", default=True, help="Compare it with the family's current version.")
@params.switch("--backward-compatibility", default=False, help="Refuse it if callers of the current one would break.")
@click.option(
    "--output-tolerance",
    "tolerance",
    type=params.SHARE,
    show_default="any",
    help="How far outputs may lie from the current version's (root mean square), such as 0.05.",
)
@click.pass_obj
def create(
    output: Output,
    model: str,
    number: str,
    changes: str,
    family: str | None,
    compatibility_check: bool,
    backward_compatibility: bool,
    tolerance: float | None,
) -> None:
    """Keep a model as a numbered version of its family.

    coordination is the family of coordination-v3, and then means this version. Compatible means: this engine runs it,
    was made no earlier, has its ops and gives the golden answers that were recorded with it; and request schema, sizes
    and the fields of answers are those of the current version. How far outputs differ is told. Exit code 1, with
    nothing kept, when --backward-compatibility is asked for and not given.
    """
    path = registry.model_path(model)
    name = family or networks.family(registry.model_name(path) if path.parent.parent.name else model)
    checks: list[Any] = []
    if number in registry.versions(name):
        raise InputError(f"the model {name} has a version {number} already: choose another number")
    from claude_flow.evaluate import compatibility

    if compatibility_check or backward_compatibility or tolerance is not None:
        checks = compatibility.compare(path, _current(name), tolerance)
    rows = [[c.name, "yes" if c.ok else "no", c.finding] for c in checks]
    tables: list[Table] = [("Compatibility", ["what", "compatible", "finding"], rows)] if rows else []
    broken = [c.name for c in checks if not c.ok and c.breaks]
    answer: dict[str, Any] = {"family": name, "version": number, "checks": [vars(c) for c in checks]}
    if broken and (backward_compatibility or tolerance is not None or broken[0] == "runs on the engine"):
        output.result({**answer, "created": False}, tables)
        output.warn(f"nothing is kept: {', '.join(broken)} would break callers of {name}")
        raise click.exceptions.Exit(1)
    card = registry.model_card(path) or _provenance(path)
    card = {**card, "changes": changes, "made_from": registry.model_name(path), "version": number}
    with files.temporary_folder() as scratch:
        (scratch / compatibility.GOLDEN).write_text(compatibility.golden(path), "utf-8")
        golden = [scratch / compatibility.GOLDEN]
        new = registry.add_model(name, number, path, card, golden, points=True, why=changes)
    entries = registry.history(name)
    answer |= {"created": True, "path": new, "history": entries}
    output.result(answer, [*tables, _history(name, entries)])


def _provenance(path: Any) -> dict[str, Any]:
    from claude_flow import modelfile

    file = modelfile.read(path)
    return {**file.provenance, "network": file.network}


def _newest(versions: list[str]) -> str:
    """The newest eight versions, and how many there are besides."""
    rest = len(versions) - 8
    return f"{', '.join(versions[-8:])}{f' and {rest} earlier ones' if rest > 0 else ''}"


def _current(name: str) -> Any:
    if registry.versions(name):
        return registry.model_path(name)
    return None


def _history(name: str, entries: list[dict[str, Any]]) -> Table:
    rows = [[e["version"], e["time"], e["who"], e["why"]] for e in reversed(entries)]
    return f"{name} means {entries[-1]['version']}", ["version", "since", "who", "why"], rows


@group.command(
    "rollback",
    examples=[
        """\
claude-flow neural version rollback \\
  --model "coordination" \\
  --target-version "3.1.0" \\
  --reason "performance-regression" \\
  --immediate true""",
        "claude-flow neural version rollback --model coordination --reason 'worse on Mondays'",
    ],
)
@click.option("--model", "name", required=True, metavar="NAME", help="The name that is to mean another version.")
@click.option(
    "--target-version", "number", metavar="X.Y.Z", show_default="the one before", help="The version to go back to."
)
@click.option("--reason", required=True, metavar="TEXT", help="Why, for the history.")
@params.switch("--immediate", default=True, help="false: only show what would change.")
@click.pass_obj
def rollback(output: Output, name: str, number: str | None, reason: str, immediate: bool) -> None:
    """Make a name mean an earlier version again.

    Processes that ask for the model by name load the version from then on; running servers switch when they next look.
    A version of other request schema, outputs or sizes is refused.
    """
    entries = registry.history(name)
    now = registry.current(name)
    if number is None:
        earlier = [e["version"] for e in entries if e["version"] != now]
        if not earlier:
            raise InputError(f"{name} has meant no other version than {now}: name one with --target-version")
        number = earlier[-1]
    if number == now:
        raise InputError(f"{name} means version {number} already")
    if number not in registry.versions(name):
        raise InputError(f"the model {name!r} has no version {number!r}: it has {_newest(registry.versions(name))}")
    from claude_flow.evaluate.compatibility import compare

    checks = compare(registry.model_path(f"{name}/{number}"), registry.model_path(f"{name}/{now}"))
    broken = [c for c in checks if not c.ok and c.breaks]
    if broken:
        raise InputError(f"{name} {number} cannot take the place of {now}: {broken[0].name}: {broken[0].finding}")
    if immediate:
        entries = registry.point(name, number, reason)
    answer = {"model": name, "from": now, "to": number, "done": immediate, "checks": [vars(c) for c in checks]}
    rows = [[c.name, "yes" if c.ok else "no", c.finding] for c in checks]
    tables: list[Table] = [("Compatibility", ["what", "compatible", "finding"], rows)]
    output.result({**answer, "history": entries}, [*tables, *([_history(name, entries)] if entries else [])])


@group.command("list", examples=["claude-flow neural version list", "claude-flow neural version list --format json"])
@click.pass_obj
def list_(output: Output) -> None:
    """List every model of the workspace and its versions."""
    folder = registry.workspace() / "models"
    names = sorted(child.name for child in folder.iterdir() if registry.versions(child.name)) if folder.is_dir() else []
    found: dict[str, dict[str, Any]] = {
        name: {
            "current": registry.current(name),
            "versions": registry.versions(name),
            "canary": registry.canary(name),
        }
        for name in names
    }
    rows = [[name, entry["current"], _newest(entry["versions"]), _tried(entry["canary"])]
            for name, entry in found.items()]  # fmt: skip
    output.result({"models": found}, [("Models of the workspace", ["name", "means", "versions", "canary"], rows)])


def _tried(canary: Any) -> str | None:
    return None if canary is None else f"{canary['version']} of {canary['share']:.0%} of the requests"


@group.command("show", examples=["claude-flow neural version show --model coordination"])
@click.option("--model", required=True, metavar="MODEL", help="A name, NAME/VERSION, or a path.")
@click.pass_obj
def show(output: Output, model: str) -> None:
    """Show a version: its card, and what its name has meant."""
    path = registry.model_path(model)
    card = registry.model_card(path) or _provenance(path)
    name = registry.model_name(path).partition("/")[0]
    entries = registry.history(name) if registry.versions(name) else []
    canary = registry.canary(name) if entries else None
    plain: list[list[Any]] = [[key, value] for key, value in card.items() if isinstance(value, str | int | float)]
    plain += [["canary", _tried(canary)]] if canary else []
    tables: list[Table] = [(registry.model_name(path), ["what", "value"], plain)]
    output.result({"model": registry.model_name(path), "card": card, "history": entries, "canary": canary},
                  [*tables, *([_history(name, entries)] if entries else [])])  # fmt: skip


@group.command(
    "diff", examples=["claude-flow neural version diff --model coordination/3.2.1 --with coordination/3.1.0"]
)
@click.option("--model", required=True, metavar="MODEL", help="The one.")
@click.option("--with", "other", required=True, metavar="MODEL", help="The other.")
@click.pass_obj
def diff(output: Output, model: str, other: str) -> None:
    """Compare two versions: request schema, sizes, and how far their answers differ."""
    from claude_flow.evaluate.compatibility import compare

    checks = compare(registry.model_path(model), registry.model_path(other))
    rows = [[c.name, "yes" if c.ok else "no", c.finding] for c in checks]
    title = f"{model} in place of {other}"
    output.result({"checks": [vars(c) for c in checks]}, [(title, ["what", "compatible", "finding"], rows)])
