"""Names in prose, found by Presidio with a small spaCy model that is trained here: none can be taken for granted."""

from __future__ import annotations

import random

import pytest

pytest.importorskip("spacy", reason="needs the extra: pip install 'claude-flow[privacy]'")
pytest.importorskip("presidio_analyzer", reason="needs the extra: pip install 'claude-flow[privacy]'")

import spacy

from claude_flow.data.anonymize import Anonymizer
from claude_flow.data.collect import collect
from claude_flow.data.people import People
from claude_flow.data.tables import read_table
from claude_flow.errors import InputError

GIVEN = ["Petra", "Oluwaseun", "Mirjam", "Thandeka", "Anselm", "Ines", "Rafael", "Katya", "Bruno", "Noor"]
FAMILY = ["Quartz", "Adeyemi", "Hollis", "Featherstone", "Lindqvist", "Marchetti", "Okafor", "Sorel", "Tanaka", "Vance"]
SAID = [
    "{} wants the parser rewritten",
    "ask {} about the failing build",
    "the review by {} is late",
    "pair with {} on the cache",
]
UNSAID = ["Rewrite the Parser for Markdown", "the Build is red again", "Use Postgres behind the cache"]


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    """A named entity recognizer that has seen half of the names."""
    from spacy.training import Example

    chance = random.Random(0)
    spacy.util.fix_random_seed(0)
    nlp = spacy.blank("en")
    nlp.add_pipe("ner").add_label("PERSON")
    examples = [Example.from_dict(nlp.make_doc(text), {"entities": []}) for text in UNSAID for _ in range(8)]
    for _ in range(120):
        name = f"{chance.choice(GIVEN[:5])} {chance.choice(FAMILY[:5])}"
        said = chance.choice(SAID)
        begin = said.index("{}")
        entities = [(begin, begin + len(name), "PERSON")]
        examples.append(Example.from_dict(nlp.make_doc(said.format(name)), {"entities": entities}))
    nlp.initialize(lambda: examples)
    for _ in range(6):
        chance.shuffle(examples)
        for at in range(0, len(examples), 16):
            nlp.update(examples[at : at + 16])
    folder = tmp_path_factory.mktemp("spacy") / "names"
    nlp.to_disk(folder)
    return folder


def test_names_that_no_rule_gives_away(model):
    anonymizer = Anonymizer(key=b"k", people=People(str(model)))
    for said in SAID:
        for given, family in zip(GIVEN[5:], FAMILY[5:], strict=True):  # names that the model has not seen
            text = said.format(f"{given} {family}")
            assert Anonymizer(key=b"k").text(text) == text
            assert given not in anonymizer.text(text)
            assert family not in anonymizer.text(text)
    for text in UNSAID:
        assert anonymizer.text(text) == text
    assert anonymizer.replaced["person"] >= len(SAID) * 5


@pytest.mark.parametrize(
    ("text", "secret", "kind"),
    [
        ("call me at +1 212-456-7890 please", "212-456-7890", "phone"),
        ("the customer paid with credit card 4111 1111 1111 1111", "4111 1111 1111 1111", "card"),
        ("refund to iban GB33BUKB20201555555555", "GB33BUKB20201555555555", "account"),
    ],
)
def test_numbers_of_people(model, text, secret, kind):
    anonymizer = Anonymizer(key=b"k", people=People(str(model)))
    assert secret not in anonymizer.text(text)
    assert anonymizer.replaced[kind] == 1


def test_pseudonyms_are_not_taken_for_names(model):
    anonymizer = Anonymizer(key=b"k", people=People(str(model)))
    assert anonymizer.text("ask eve@example.com about it").count("[") == 1


def test_a_whole_dataset(model, tmp_path, transcript):
    t = transcript()
    t.spawns(0, "toolu_1", description="ask Katya Sorel about the failing build")
    t.completes(9, "toolu_1", "a1", ms=8_000)
    path = t.write(tmp_path / "projects" / "p" / "5e55-1.jsonl")
    manifest = collect([path], tmp_path / "d", quality_filter="none", anonymize=True, names_model=str(model))
    assert manifest["filters"]["names_model"] == "names"
    assert manifest["filters"]["anonymized"]["person"] >= 1
    assert "Sorel" not in str(read_table(tmp_path / "d", "runs").to_pylist())


def test_a_model_that_is_not_there_is_never_downloaded(tmp_path):
    for name in ("no_such_model_xyz", str(tmp_path), "../../etc"):
        with pytest.raises(InputError, match="spacy download"):
            People(name)


def test_a_model_that_knows_no_persons(tmp_path):
    spacy.blank("en").to_disk(tmp_path / "blank")
    with pytest.raises(InputError, match="marks no persons"):
        People(str(tmp_path / "blank"))


def test_a_model_without_anonymization_is_refused(tmp_path):
    with pytest.raises(InputError, match="--anonymize-sensitive true"):
        collect([tmp_path], tmp_path / "d", names_model="en_core_web_sm")
