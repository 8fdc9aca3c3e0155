"""A name that is a command and a group at once, whose members load on demand: a toy one, in the real program."""

from __future__ import annotations

import re
import subprocess
import sys

import pytest

GROUP = '''
import click
from claude_flow.cli.command import Group

members = {"cross-modal": ("toy_cross_modal:cross_modal", "Transfer between modalities.")}
group = Group("transfer", members=members)

@group.itself(examples=["claude-flow neural transfer --source-model a"])
@click.option("--source-model", required=True, help="What to start from.")
@click.option("--epochs", type=int, default=5, help="How many.")
@click.pass_obj
def transfer(output, source_model, epochs):
    """Start from another model."""
    output.result({"from": source_model, "epochs": epochs}, [("Transfer", ["from"], [[source_model]])])
'''
MEMBER = '''
import click
from claude_flow.cli.command import Command

@click.command("cross-modal", cls=Command, examples=["claude-flow neural transfer cross-modal --layers 2"])
@click.option("--layers", type=int, required=True, help="How many.")
@click.pass_obj
def cross_modal(output, layers):
    """Transfer between modalities."""
    output.result({"layers": layers}, [("Cross-modal", ["layers"], [[layers]])])
'''
PROGRAM = """
import sys
from claude_flow import cli
neural = cli.root.commands["neural"]
neural.members["transfer"] = ("toy_transfer:group", "Start from another model.")
neural.members["transmit"] = ("no.such.module:group", "Send it away.")
if sys.argv[1:] == ["pages"]:
    from claude_flow.cli import reference
    del neural.members["transmit"]
    print(reference.pages()["transfer.md"])
else:
    code = cli.main()
    print("toy_transfer" in sys.modules, "toy_cross_modal" in sys.modules, file=sys.stderr)
    sys.exit(code)
"""


@pytest.fixture
def toy(tmp_path, environment):
    """``toy("transfer", ...)``: exit code, standard output, standard error, and which toy modules were imported."""
    (tmp_path / "toy_transfer.py").write_text(GROUP)
    (tmp_path / "toy_cross_modal.py").write_text(MEMBER)

    def toy_(*words: str, **more: str) -> tuple[int, str, str, str]:
        command = [sys.executable, "-c", PROGRAM, *words]
        env = {**environment, "PYTHONPATH": str(tmp_path), **more}
        done = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path, env=env, timeout=60)
        *said, imported = done.stderr.splitlines() or [""]
        return done.returncode, done.stdout, "\n".join(said), imported

    return toy_


def test_the_name_alone_is_the_command(toy):
    assert toy("neural", "transfer", "--source-model", "a", "--epochs", "2") == (
        0,
        "Transfer\nfrom\na\n",
        "",
        "True False",
    )
    assert toy("neural", "transfer", "--source-model", "a", "--format", "json")[1].startswith('{\n  "from": "a"')


def test_a_member_needs_none_of_the_commands_options(toy):
    code, out, err, imported = toy("neural", "transfer", "cross-modal", "--layers", "2")
    assert (code, out, err, imported) == (0, "Cross-modal\nlayers\n     2\n", "", "True True")


@pytest.mark.parametrize(
    ("words", "message", "where"),
    [
        ([], "Missing option '--source-model'.", "transfer"),
        (["--epochs", "2"], "Missing option '--source-model'.", "transfer"),
        (["cross-modal"], "Missing option '--layers'.", "transfer cross-modal"),
        (["cross-modl"], "there is no command 'cross-modl': did you mean cross-modal?", "transfer"),
    ],
)
def test_what_is_wrong_is_one_line(toy, words, message, where):
    line = f"error: {message} (see claude-flow neural {where} --help)"
    assert toy("neural", "transfer", *words)[:3] == (2, "", line)


def test_help_shows_options_members_and_examples_and_imports_no_member(toy):
    code, out, _, imported = toy("neural", "transfer", "--help")
    assert (code, imported) == (0, "True False")
    order = ["Usage: claude-flow neural transfer [OPTIONS]", "Start from another model.", "--source-model TEXT"]
    order += ["Commands:", "cross-modal  Transfer between modalities.", "Examples:", "transfer --source-model a"]
    assert [out.index(part) for part in order] == sorted(out.index(part) for part in order)
    assert "Usage: claude-flow neural transfer cross-modal" in toy("neural", "transfer", "cross-modal", "--help")[1]


def test_the_parents_help_imports_nothing(toy):
    _, out, _, imported = toy("neural", "--help")
    assert re.search(r"transfer +Start from another model\.", out)
    assert imported == "False False"


def test_the_page_shows_both(toy):
    page = toy("pages")[1]
    assert page.index("\n# claude-flow neural transfer\n") < page.index(
        "\n## claude-flow neural transfer cross-modal\n"
    )
    assert page.count("Usage: ") == 2
    assert "--source-model" in page


@pytest.mark.parametrize(
    ("line", "found"),
    [
        ("neural trans", {"transfer", "transmit"}),
        ("neural transfer ", {"cross-modal"}),
        ("neural transfer --s", {"--source-model"}),
        ("neural transfer --source-model a --e", {"--epochs"}),
        ("neural transfer cross-modal --l", {"--layers"}),
    ],
)
def test_completion(toy, line, found):
    words = f"claude-flow {line}"
    asked = {"COMP_WORDS": words, "COMP_CWORD": str(words.count(" "))}
    _, out, _, imported = toy(_CLAUDE_FLOW_COMPLETE="bash_complete", **asked)
    assert {row.partition(",")[2] for row in out.splitlines()} == found
    assert line != "neural trans" or imported == "False False"
