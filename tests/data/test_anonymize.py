"""Anonymization, proved on secrets planted in arbitrary text."""

from __future__ import annotations

import string

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from claude_flow.data.anonymize import Anonymizer
from claude_flow.data.collect import collect
from claude_flow.data.events import Run
from claude_flow.data.tables import read_table

WORD = string.ascii_letters + string.digits
LOWER_HEX = "0123456789abcdef"


def exactly(alphabet: str, low: int, high: int | None = None) -> st.SearchStrategy[str]:
    return st.text(alphabet, min_size=low, max_size=high or low)


def token(prefix: str, alphabet: str, low: int, high: int | None = None) -> st.SearchStrategy[str]:
    return exactly(alphabet, low, high).map(lambda tail: prefix + tail)


NAME = exactly(string.ascii_lowercase, 4, 12).map(lambda tail: "zq" + tail)
# (what is written into the text, the part that must vanish)
WHOLE = st.one_of(
    token("sk-ant-api03-", WORD + "-_", 40, 90),
    token("sk-proj-", WORD, 40, 60),
    token("sk-", WORD, 48),
    token("ghp_", WORD, 36),
    token("gho_", WORD, 36),
    token("github_pat_", WORD + "_", 60),
    token("glpat-", WORD, 20),
    token("AKIA", string.ascii_uppercase + string.digits, 16),
    token("AIza", WORD + "-_", 35),
    token("xoxb-", string.digits, 24),
    token("hf_", string.ascii_letters, 34),
    token("npm_", WORD, 36),
    token("sk_live_", WORD, 24),
    token("dop_v1_", LOWER_HEX, 64),
    st.tuples(exactly(WORD, 20), exactly(WORD, 40), exactly(WORD, 43)).map(lambda p: f"eyJ{p[0]}.eyJ{p[1]}.{p[2]}"),
    st.tuples(NAME, NAME).map(lambda p: f"{p[0]}@{p[1]}.example"),
    st.tuples(NAME, NAME).map(lambda p: f"{p[0]}+tag@mail.{p[1]}.co.uk"),
    st.ip_addresses(v=4).map(str),
    st.ip_addresses(v=6).map(str).filter(lambda text: len(text) > 6),
    exactly(WORD + "+/", 200).map(
        lambda body: f"-----BEGIN RSA PRIVATE KEY-----\n{body}\n-----END RSA PRIVATE KEY-----"
    ),
).map(lambda secret: (secret, secret))
INSIDE = st.one_of(
    NAME.map(lambda n: (f"/home/{n}/work/app.py", n)),
    NAME.map(lambda n: (f"/Users/{n}", n)),
    NAME.map(lambda n: (f"C:\\Users\\{n}\\src", n)),
    NAME.map(lambda n: (f"-Users-{n}-dev-shop", n)),
    NAME.map(lambda n: (f"see /home/{n}/x, said {n}!", n)),
    NAME.map(lambda n: (f"\\\\wsl$\\Ubuntu\\home\\{n}\\x", n)),
    NAME.map(lambda n: (f"\\\\wsl.localhost\\Debian\\home\\{n}", n)),
    NAME.map(lambda n: (f"\\\\files01\\users\\{n}\\x", n)),
    NAME.map(lambda n: (f"\\\\files01\\home$\\{n}\\x", n)),
    NAME.map(lambda n: (f"//files01/users/{n}/x", n)),
    NAME.map(lambda n: (f"/mnt/c/Users/{n}/x", n)),
    NAME.map(lambda n: (f"file:///C%3A/Users/{n}/x", n)),
    NAME.map(lambda n: (f"vscode-remote://wsl%2Bubuntu/home/{n}/x", n)),
    NAME.map(lambda n: (f"path=%2Fhome%2F{n}%2Fx", n)),
    NAME.map(lambda n: (f"path=%252Fhome%252F{n}%252Fx", n)),
    NAME.map(lambda n: (f"C:%5CUsers%5C{n}%5Cx", n)),
    NAME.map(lambda n: (f"C:\\\\Users\\\\{n}\\\\x", n)),
    NAME.map(lambda n: (f"C--Users-{n}-shop", n)),
    NAME.map(lambda n: (f"-mnt-c-Users-{n}-shop", n)),
    NAME.map(lambda n: (f"--wsl--Ubuntu-home-{n}-shop", n)),
    st.tuples(NAME, NAME).map(lambda p: (f"postgres://{p[0]}:{p[1]}@db.local/main", p[1])),
    NAME.map(lambda n: (f"password={n}", n)),
    NAME.map(lambda n: (f'"passwd": "{n}"', n)),
    exactly(WORD, 12, 30).map(lambda s: s + "7x").map(lambda s: (f"api_key={s}", s)),
    exactly(WORD, 20, 30).map(lambda s: (f"Authorization: Bearer {s}", s)),
)
PROSE = st.text(string.ascii_letters + " .,;()\n'ÄéΩ中", max_size=30)


@given(PROSE, st.one_of(WHOLE, INSIDE), PROSE, st.booleans())
@settings(max_examples=400, deadline=None)
def test_no_planted_secret_survives(before, planted, after, prose):
    written, secret = planted
    result = Anonymizer().text(f"{before} {written} {after}", prose=prose or "\\" in written)
    assert secret not in result


@given(st.text(max_size=200))
@settings(max_examples=200, deadline=None)
def test_any_text_is_survived_and_a_second_pass_changes_nothing(content):
    anonymizer = Anonymizer()
    once = anonymizer.text(content)
    assert anonymizer.text(once) == once


@pytest.mark.parametrize(
    "harmless",
    [
        "Refactor the token: refresh flow, secret management and password reset",
        "Bump to 2.1.80, then 10:32:05 the build of 0d1116c028 passed",
        "instance_NodeBB__NodeBB-00c70ce7b0541cfc94afe567921d7668cdc8f4ac-vnan",
        "std::vector<int> and a::b in src/engine.cpp",
        "https://example.org/docs/path?page=2",
        "toolu_01AbCdEfGhIjKlMnOpQrStUv",
        "superpowers:code-reviewer",
        "FolioSuite/ASP-Comp-2007-Lparse/SLparse/TravelingSalespersonSuite/tsp_rand_70_300_1155482584_11.gph.gz",
    ],
)
def test_ordinary_text_stays(harmless):
    assert Anonymizer().text(harmless, prose=False) == harmless
    assert Anonymizer().text(harmless) == harmless


def test_pseudonyms_are_stable_within_a_dataset_and_not_across():
    first, second = Anonymizer(), Anonymizer()
    said = [a.text("/home/quentin/x") for a in (first, first, second)]
    assert said[0] == said[1] != said[2]
    assert first.text("ask quentin") == f"ask {said[0].split('/')[2]}"
    assert first.text("dev@host", prose=False) != first.text("ops@host", prose=False)


def test_every_text_column_is_covered():
    secret = "sk-ant-api03-" + "k7" * 20
    texts = {name: f"{name} {secret}" for name in ("run_id", "group", "agent", "agent_type", "task", "task_type")}
    texts |= {name: f"{name} {secret}" for name in ("description", "parent", "executable", "queue", "partition")}
    texts |= {name: f"{name} {secret}" for name in ("project", "model", "batch", "user", "user_group")}
    run = Run(source="jsonl", status="completed", **texts)
    Anonymizer().record(run)
    assert not [name for name in texts if secret in getattr(run, name)]
    assert (run.source, run.status) == ("jsonl", "completed")


def test_numeric_users_of_workload_archives_stay():
    run = Run(run_id="log/1", source="swf", user="17", agent="17")
    Anonymizer().record(run)
    assert (run.user, run.agent) == ("17", "17")


def test_a_whole_dataset(tmp_path, transcript):
    key = "ghp_" + "A1b2C3d4E5f6" * 3
    t = transcript()
    t.spawns(0, "toolu_1", description=f"Ask mirabel@example.com, key {key}, host 10.1.2.3")
    t.completes(9, "toolu_1", "a1", ms=8_000)
    t.spawns(20, "toolu_2", message="m2", description="mirabel wants /home/mirabel/notes and more from mirabel")
    t.answers(21, "toolu_2", {"status": "teammate_spawned", "teammate_id": "mirabel@shop"})
    path = t.write(tmp_path / "projects" / "-home-mirabel-shop" / "5e55-1.jsonl")
    path.write_text(path.read_text() + "{broken\n")
    manifest = collect([path], tmp_path / "d", quality_filter="none", anonymize=True)
    content = b"".join(file.read_bytes() for file in (tmp_path / "d").iterdir())
    for secret in ("mirabel", key, "10.1.2.3"):
        assert secret.encode() not in content
        assert secret not in str(manifest)
        assert secret not in str(read_table(tmp_path / "d", "runs").to_pylist())
    assert manifest["filters"]["anonymized"]["token"] == 1
    assert manifest["sources"][0]["sha256"]


@pytest.mark.parametrize(
    ("said", "names"),
    [
        ("Signed-off-by: Zoë Quartz <z@example.org>", ["Zoë", "Quartz"]),
        ("Co-authored-by: Anna-Lena van der Meer", ["Anna-Lena", "Meer"]),
        ("fix by Petra Okonkwo <po@x.example>, please", ["Petra", "Okonkwo"]),
        ("mail petra.okonkwo@corp.example; Petra Okonkwo knows", ["Petra", "Okonkwo", "petra.okonkwo"]),
        ("Hi Thandeka,\nthe build is red", ["Thandeka"]),
        ("my name is Oluwaseun Adeyemi and I own this", ["Oluwaseun", "Adeyemi"]),
        ("Author: J. Featherstone", ["Featherstone"]),
        ("Thanks,\nMirjam O'Rourke", ["Mirjam", "O'Rourke"]),
    ],
)
def test_names_that_something_gives_away_vanish_there_and_later(said, names):
    anonymizer = Anonymizer(key=b"k")
    result = anonymizer.text(said)
    assert not [name for name in names if name in result], result
    later = [name for name in names if name[0].isupper() and len(name) > 3]
    assert not [name for name in later if name in anonymizer.text(f"then {name} said so")]


@pytest.mark.parametrize(
    "harmless",
    [
        "Thanks, I will look at it",
        "Hi team, the Owner field is Required",
        "Hello Claude, write a parser for Markdown. Thanks everyone!",
        "Fixed-by: rebasing; Author: unknown",
        "GET /v1/users and Set-Cookie: a=b",
    ],
)
def test_prose_without_names_stays(harmless):
    assert Anonymizer(key=b"k").text(harmless) == harmless


def test_names_with_spaces_are_whole_and_routes_are_no_homes():
    names = Anonymizer(key=b"k")
    assert "Mirabel" not in names.text("C:\\Users\\Ann Mirabel\\x") + names.text("ask Mirabel")
    assert "ann%20" not in names.text("file:///C%3A/Users/ann%20mirabel/x")
    for plain in ("GET /users/list", "--no-home-dir", "https://example.org/home/page?x=1#home"):
        assert names.text(plain) == plain or "/home/" in plain
