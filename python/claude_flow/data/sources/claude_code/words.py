"""What a parent's commands and words say of work that was handed back: is it a check, did it pass, is a fault named.

Regular expressions, in English and for the usual tools; ``python -m bench.signals`` compares them with labels that
others read from public transcripts (docs/signals.md).
"""

from __future__ import annotations

import re

__all__ = ["admits_failure", "is_check", "names_fault", "passed"]

_CHECK = re.compile(
    r"\b(?:pytest|tox|vitest|jest|playwright|tsc|eslint|biome|ruff|mypy|golangci-lint|markdownlint\S*|xcodebuild"
    r"|gradlew?|mvn|(?:go|swift) (?:test|build|vet)|cargo (?:\w+ )?(?:test|build|check|clippy)"
    r"|(?:make|just|task|mise(?: run)?|turbo(?: run)?) [\w:-]*(?:test|check|lint|build|ci)[\w:-]*"
    r"|(?:npm|pnpm|yarn|bun)(?: run| -\S+)* [\w:-]*(?:test|build|lint|check)[\w:-]*)(?!\w)"
)
_FAILS = re.compile(
    r"\b[1-9]\d* (?:tests? )?(?:failed|failing|failures?|errors?|issues?\b|problems?)\b|\bFAIL(?:ED|URES?)?\b"
    r"|\bBUILD FAILED\b|\b(?:error|panic)(?:\[\w+\]| TS\d+)?: |\bERROR\b|[Ee]xit(?:ed)?(?: with)?(?: code)?:? [1-9]"
    r"|command not found|is not recognized|cannot use |undefined: "
)
_PASSES = re.compile(
    r"\b[1-9]\d* (?:tests? )?pass(?:ed|ing)?\b|^ok\s|\bPASS\b|\b0 (?:issues|errors|problems|warnings|fail)\b"
    r"|\bBUILD SUCCEEDED\b|\bFinished `?\w+`? profile|test result: ok|[Ee]xit(?: code)?[:=] ?0"
    r"|no (?:issues|problems)|✓",
    re.MULTILINE,
)
_FAULT = re.compile(
    r"\b(?:agents?|subagents?|it|implementation|changes?|fix|code|output|report|tests?)"
    r" (?:\w+ )?(?:missed|forgot|broke|introduced|overlooked|failed|fails?|did(?:n't| not)|does(?:n't| not))\b"
    r"|\bthere(?:'s| is| are) (?:still |also )?(?:an? |some |\w+ )?(?:\w+ )?"
    r"(?:bugs?|problems?|issues?|errors?|mistakes?|failures?|mismatch\w*)\b"
    r"|\bfound (?:an? |some |two |three |\d+ )?(?:\w+ )?(?:bugs?|problems?|issues?|errors?|mistakes?)\b"
    r"|\b(?:still|incorrectly|wrongly) (?:fail|broken|miss|wrong)\w*|\b(?:lint|compil\w+|build|type|syntax) errors?\b"
    r"|\bfix (?:them|those|these|that|it|the (?:\w+ )?(?:issues?|errors?|bugs?|problems?|failures?))\b",
    re.IGNORECASE,
)
_ADMITS = re.compile(
    r"\bI (?:was unable|was not able|could(?: not|n't)|can(?:not|'t)|failed)\b"
    r"|\bI do(?: not|n't) have (?:permission|access)\b"
    r"|\b[Uu]nable to (?:complete|write|edit|finish|create|proceed)\b"
    r"|\b[Pp]ermission(?:s)? (?:(?:was|were|is|being) )?denied\b"
    r"|\b(?:was|were|been|are|is) (?:being )?(?:auto-)?denied\b|\bblocked (?:by|from)\b|\bnot (?:been )?granted\b"
    r"|\AAPI Error\b|\bdid not (?:complete|finish)\b"
)


def is_check(command: str) -> bool:
    """Whether a command tests, builds or lints.

    >>> is_check("cd api && npm run test:unit"), is_check("git status")
    (True, False)
    """
    return _CHECK.search(command[:2000]) is not None


def passed(command: str, said: str, failed: bool) -> bool | None:
    """Whether a check passed, by its exit or, where a pipe hides that, by its words; None where they do not tell.

    >>> passed("pytest -q", "12 passed in 3 s", False), passed("pytest -q | tail -1", "1 failed, 11 passed", False)
    (True, False)
    >>> passed("go vet ./... | head", "", False) is None
    True
    """
    end = said[-4000:]
    if failed or _FAILS.search(end):
        return False
    return True if "|" not in command or _PASSES.search(end) else None


def names_fault(said: str) -> bool:
    """Whether a parent's words name a fault of what it got.

    >>> names_fault("The agent missed one caller. Let me fix it."), names_fault("All good, let me commit.")
    (True, False)
    """
    return _FAULT.search(said[:4000]) is not None


def admits_failure(answer: str) -> bool:
    """Whether an answer says that the work was not done.

    >>> admits_failure("I was unable to write the file."), admits_failure("Done: three files written.")
    (True, False)
    """
    return _ADMITS.search(answer) is not None
