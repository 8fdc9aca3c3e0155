"""People in prose, found by Presidio with a spaCy model that the user has installed; needs the extra ``privacy``.

Rules know formats; that a capitalized word is somebody's name takes a language model. None ships with the package and
none is downloaded behind the user's back.
"""

from __future__ import annotations

import importlib.util
import logging
from collections.abc import Iterator
from pathlib import Path

from claude_flow.errors import InputError, require

__all__ = ["People"]

#: Presidio's entities that the rules of :mod:`claude_flow.data.anonymize` do not cover -> what a pseudonym calls them
_KINDS = {
    "PERSON": "person",
    "PHONE_NUMBER": "phone",
    "CREDIT_CARD": "card",
    "IBAN_CODE": "account",
    "US_SSN": "social-security",
}
_SURE = (
    0.4  # of 1: what a number scores that could be dialled; nine digits alone score 0.05 as a social security number
)


class People:
    """Finds names, telephone, card, account and social security numbers in English prose.

    :param model: a spaCy pipeline with named entities: an installed package such as ``en_core_web_sm``, or a folder.
    :raises MissingExtra: Presidio is not installed.
    :raises InputError: there is no such model, or it does not know persons.
    """

    def __init__(self, model: str) -> None:
        spacy = require("spacy", "privacy")
        presidio, engines = require("presidio_analyzer", "privacy"), require("presidio_analyzer.nlp_engine", "privacy")
        # Looked up here: Presidio would download a name that it does not know.
        if not (importlib.util.find_spec(model) if model.isidentifier() else Path(model, "config.cfg").is_file()):
            raise InputError(
                f"names model {model!r}: neither an installed spaCy model nor a folder with one; "
                "get one with  python -m spacy download en_core_web_sm"
            )
        try:
            labels = spacy.load(model).pipe_labels
        except (OSError, ValueError, ImportError) as error:
            raise InputError(f"names model {model!r}: {str(error).splitlines()[0]}") from error
        if not {"PERSON", "PER"} & set(labels.get("ner", ())):
            raise InputError(f"names model {model!r}: it marks no persons; its labels: {labels.get('ner', 'none')}")
        logging.getLogger("presidio-analyzer").setLevel(logging.ERROR)  # it lists what it has for other languages
        engine = engines.SpacyNlpEngine([{"lang_code": "en", "model_name": model}])
        self._analyzer = presidio.AnalyzerEngine(nlp_engine=engine, supported_languages=["en"])

    def find(self, text: str) -> Iterator[tuple[str, str]]:
        """(kind, the characters found), the surest first."""
        found = self._analyzer.analyze(text, language="en", entities=list(_KINDS), score_threshold=_SURE)
        for match in sorted(found, key=lambda match: -match.score):
            yield _KINDS[match.entity_type], text[match.start : match.end]
