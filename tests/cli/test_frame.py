"""The frame: start-up, help, examples, docs, completion, errors and exit codes, all in real processes."""

from __future__ import annotations

import json
import os
import re
import shlex
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import click
import pytest
from tests.guide import walk

from claude_flow import cli
from claude_flow.cli import output, reference
from claude_flow.cli.command import Command, Group
from claude_flow.errors import ClaudeFlowError, InputError, MissingExtra

GUIDE_LINES = [line for line in walk.lines() if walk.is_registered(line)]
CONTEXTS = list(reference.commands())
LEAVES = [context for context in CONTEXTS if isinstance(context.command, Command)]
DOCS = Path(__file__).parents[2] / "docs" / "cli"


def path(context: click.Context) -> str:
    return str(context.info_name)


def parses(line: str) -> click.Command:
    """Parse a command line down to its command, without running it; returns the command."""
    words = shlex.split(re.sub(r"^(\w+=\S+ )+", "", line.replace("\\\n", " ")))  # without variables before it
    assert words.pop(0) == "claude-flow"
    context = cli.root.make_context("claude-flow", words, obj=output.Output())
    while isinstance(context.command, click.Group):
        name, child, rest = context.command.resolve_command(context, [*context._protected_args, *context.args])
        assert child is not None
        context = child.make_context(name, rest, context)
    return context.command


# Every command ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("context", CONTEXTS, ids=path)
def test_help_says_what_it_does(context):
    assert context.command.get_short_help_str(200).endswith(".")
    for param in context.command.params:
        assert not isinstance(param, click.Option) or param.help, f"{path(context)} {param.opts} has no help"


def groups(group: Group) -> Iterator[Group]:
    context = click.Context(group)
    yield group
    for name in group.list_commands(context):
        if isinstance(member := group.get_command(context, name), Group):
            yield from groups(member)


@pytest.mark.parametrize("group", list(groups(cli.root)), ids=lambda group: group.name)
def test_the_lazy_lines_of_help_are_the_commands_own(group):
    for name, (_, line) in group.members.items():
        member = group.get_command(click.Context(group), name)
        assert (member.name, member.get_short_help_str(200)) == (name, line)


@pytest.mark.parametrize("context", LEAVES, ids=path)
def test_examples_parse(context, tmp_path, monkeypatch):
    assert context.command.examples
    monkeypatch.chdir(tmp_path)
    for example in context.command.examples:
        for word in shlex.split(example.replace("\\\n", " ")):  # the files that an example reads
            if word.endswith((".json", ".pem")):
                Path(word.removeprefix("@")).write_text("{}")
        line = re.split(r" [<>|] ", example)[0]  # what a shell does with the answer is its own affair
        assert parses(line) is context.command, example
        assert example.replace("\n", "\n  ") in context.get_help()


@pytest.mark.parametrize("line", GUIDE_LINES, ids=lambda line: line.name)
def test_the_guides_lines_parse(line, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert isinstance(parses(line.text), Command)


def test_the_docs_are_those_of_the_commands(tmp_path):
    assert {file.name: file.read_text("utf-8") for file in DOCS.glob("*.md")} == reference.pages()
    command = [sys.executable, "-m", "claude_flow.cli.reference", str(tmp_path)]
    assert subprocess.run(command).returncode == 0
    assert subprocess.run([*command, "--check"]).returncode == 0
    (tmp_path / "README.md").write_text("drifted")
    (tmp_path / "gone.md").write_text("a command that is no more")
    drift = subprocess.run([*command, "--check"], capture_output=True, text=True)
    assert drift.returncode == 1
    assert "README.md, gone.md differ" in drift.stderr
    assert (tmp_path / "README.md").read_text() == "drifted"


# Start-up -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("words", [["--help"], ["neural", "--help"], ["--version"]], ids=" ".join)
def test_start_up_loads_nothing_heavy(words, environment, capsys):
    code = f"import sys; from claude_flow.cli import main; main({words!r}); print(*sys.modules, file=sys.stderr)"
    start = time.perf_counter()
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=environment)
    took = time.perf_counter() - start
    assert done.returncode == 0
    loaded = {module.partition(".")[0] for module in done.stderr.split()}
    assert "click" in loaded
    assert not loaded & {"torch", "numpy", "pyarrow", "rich", "safetensors"}
    with capsys.disabled():
        print(f" [{' '.join(words)}: {1000 * took:.0f} ms]", end="")


def test_version(run):
    done = run("--version")
    assert (done.stdout, done.returncode) == ("claude-flow 2.0.0\n", 0)


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_completion(shell, run, environment):
    done = run(env={**environment, "_CLAUDE_FLOW_COMPLETE": f"{shell}_source"})
    assert "claude-flow" in done.stdout


def test_completion_of_a_word(run, environment):
    words = {"_CLAUDE_FLOW_COMPLETE": "bash_complete", "COMP_WORDS": "claude-flow ne", "COMP_CWORD": "1"}
    assert "neural" in run(env={**environment, **words}).stdout


# Errors -------------------------------------------------------------------------------------------------------------


def one_line(done: subprocess.CompletedProcess[str], code: int) -> str:
    assert done.returncode == code, done.stderr
    assert done.stdout == ""
    assert len(done.stderr.splitlines()) == 1, done.stderr
    assert done.stderr.startswith("error: ")
    return done.stderr


def test_an_unknown_command_names_the_near_one(run):
    assert "did you mean neural?" in one_line(run("nueral"), 2)


def test_an_unknown_option_is_one_line(run):
    assert "--verbos" in one_line(run("neural", "--verbos"), 2)


@pytest.mark.parametrize("words", [[], ["neural"]], ids=["root", "neural"])
def test_no_command_shows_the_help_as_an_error(words, run):
    done = run(*words)
    assert (done.returncode, done.stdout) == (2, "")
    assert "Commands:" in done.stderr


def test_a_full_disk_is_one_line(run):
    with open("/dev/full", "w") as full:
        done = run("--version", stdout=full, stderr=subprocess.PIPE, capture_output=False)
    assert (done.stderr, done.returncode) == ("error: disk full\n", 1)


def test_a_closed_pipe_is_quiet(run):
    reader, writer = os.pipe()
    os.close(reader)
    with os.fdopen(writer, "w") as closed:
        done = run("--help", stdout=closed, stderr=subprocess.PIPE, capture_output=False)
    assert (done.stderr, done.returncode) == ("", 141)


# A command of the test's own, driven by the real entry point: the built ones need not fail in every way.
PROGRAM = """
import os, sys, time, click
from claude_flow import cli
from claude_flow.errors import InputError
@cli.root.command("fail", examples=[])
@click.argument("how")
@click.pass_obj
def fail(output, how):
    "Fail."
    if how == "sleep":
        with output.progress("asleep", 10) as bar:
            bar.update(3, note="deep")
            print("ready", flush=True)
            time.sleep(60)
    if how == "long":
        with output.progress("long work", 4, "parts") as bar:
            bar.update(1)
            time.sleep(2)
            bar.update(3)
            time.sleep(4)
        return
    if how == "show":
        output.note("a note")
        rows = [["agent \\x1b[31m\\n[red]1", 1.23456, None], ["\\u00e9", float("nan"), True]]
        value = {"rows": rows, "none": float("inf"), "name": os.environ.get("NAME")}
        output.result(value, [("Title", ["who", "load", "free"], rows)])
    else:
        raise eval(how)
sys.exit(cli.main())
"""


@pytest.fixture
def fail(environment):
    def fail_(*words, **options):
        settings = {"env": environment, "capture_output": True, "text": True, "timeout": 60}
        return subprocess.run([sys.executable, "-c", PROGRAM, "fail", *words], **{**settings, **options})

    return fail_


@pytest.mark.parametrize(
    ("how", "code", "message"),
    [
        ("InputError('this\\nand\\x1b[2Jthat')", 2, "this and\\x1b[2Jthat"),
        ("MemoryError()", 1, "out of memory"),
        ("PermissionError(13, 'Permission denied', 'x.json')", 1, "x.json: Permission denied"),
        ("OSError(28, 'No space left on device', 'x.json')", 1, "x.json: disk full"),
        ("ModuleNotFoundError('no', name='torch.nn')", 1, "pip install 'claude-flow[train]'"),
        ("RuntimeError('what?')", 1, "internal error: RuntimeError: what? (run again with --debug)"),
        ("ZeroDivisionError()", 1, "internal error: ZeroDivisionError (run again with --debug)"),
    ],
)
def test_every_exception_is_one_line_with_its_exit_code(fail, how, code, message):
    assert message in one_line(fail(how), code)
    debugged = fail(how, "--debug")
    assert "Traceback" in debugged.stderr
    assert debugged.returncode == code


def test_explain_maps_library_errors():
    assert output.explain(InputError("a")) == ("a", 2)
    assert output.explain(ClaudeFlowError("b")) == ("b", 1)
    assert output.explain(MissingExtra("torch", "train"))[1] == 1
    assert output.explain(click.UsageError("c")) == ("c (see claude-flow --help)", 2)


def test_ctrl_c_says_interrupted(environment):
    command = [sys.executable, "-c", PROGRAM, "fail", "sleep"]
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    with subprocess.Popen(command, env=environment, **pipes) as process:
        assert process.stdout.readline() == "ready\n"
        process.send_signal(signal.SIGINT)
        assert process.wait(timeout=20) == 130
        assert process.stderr.read().endswith("error: interrupted\n")


# The sink -----------------------------------------------------------------------------------------------------------


def test_a_piped_table_is_plain_text(fail):
    done = fail("show")
    assert done.stdout.splitlines() == [
        "Title",
        "who                      load  free",
        r"agent \x1b[31m\n[red]1  1.235  -",
        "é                           -  yes",
    ]
    assert done.stderr == "a note\n"


def test_json_is_json_alone_on_standard_output(fail):
    found = json.loads(fail("show", "--format", "json").stdout, parse_constant=lambda word: pytest.fail(word))
    assert found == {"rows": [["agent \x1b[31m\n[red]1", 1.23456, None], ["é", None, True]], "none": None, "name": None}


@pytest.mark.parametrize("encoding", ["utf-8", "cp1252", "ascii", "latin-1:strict"])
def test_json_is_json_in_every_encoding(fail, environment, encoding):
    rocket = "go \U0001f680 é"
    shown = fail(
        "show", "--format", "json", env={**environment, "PYTHONIOENCODING": encoding, "NAME": rocket}, text=False
    )
    assert json.loads(shown.stdout.decode(encoding.partition(":")[0]))["name"] == rocket


def test_a_pipe_hears_of_long_work(fail):
    done = fail("long")
    first, second = done.stderr.splitlines()[:2]
    assert first.startswith("... long work: 1 of 4 parts, ")
    assert second.startswith("... long work: 3 of 4 parts, ")
    assert fail("long", "--format", "quiet").stderr == ""


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP], ids=lambda number: number.name)
def test_a_signal_ends_it_as_ctrl_c_does(environment, number):
    command = [sys.executable, "-c", PROGRAM, "fail", "sleep"]
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    with subprocess.Popen(command, env=environment, **pipes) as process:
        assert process.stdout.readline() == "ready\n"
        process.send_signal(number)
        assert process.wait(timeout=20) == 128 + number
        assert process.stderr.read().endswith("error: interrupted\n")


def test_the_environment_chooses_the_format_unless_an_option_does(fail, environment):
    env = {**environment, "CLAUDE_FLOW_FORMAT": "json"}
    assert "rows" in json.loads(fail("show", env=env).stdout)
    assert fail("show", "--format", "table", env=env).stdout.startswith("Title\n")
    assert "'yaml' is not one of" in one_line(fail("show", env={**env, "CLAUDE_FLOW_FORMAT": "yaml"}), 2)


def test_quiet_is_quiet(fail):
    done = fail("show", "--format", "quiet")
    assert (done.stdout, done.stderr, done.returncode) == ("", "", 0)


def test_any_locale_can_print_any_name(fail, environment):
    done = fail("show", env={**environment, "PYTHONIOENCODING": "ascii"})
    assert "\\xe9" in done.stdout
    assert done.returncode == 0


@pytest.mark.parametrize("no_colour", [False, True])
def test_a_terminal_gets_a_drawn_table(environment, no_colour):
    import pty

    leader, follower = pty.openpty()
    settings = {**environment, "TERM": "xterm-256color", **({"NO_COLOR": "1"} if no_colour else {})}
    command = [sys.executable, "-c", PROGRAM, "fail", "show"]
    with subprocess.Popen(command, env=settings, stdout=follower, stderr=follower) as process:
        os.close(follower)
        shown = b""
        while chunk := _read(leader):
            shown += chunk
        assert process.wait(timeout=20) == 0
    os.close(leader)
    text = shown.decode()
    assert "╭" in text
    assert "agent \\x1b[31m\\n[red]1" in text  # neither the terminal's nor rich's markup is obeyed
    assert "\x1b[3" not in text or not no_colour


def _read(leader: int) -> bytes:
    try:
        return os.read(leader, 65536)
    except OSError:  # the other side is closed
        return b""
