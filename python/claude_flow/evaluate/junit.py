"""Results of tests as JUnit XML, which every CI service reads."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from xml.etree import ElementTree

from claude_flow import files

__all__ = ["Test", "write"]


@dataclass(frozen=True)
class Test:
    """One test case: ``failure`` says in a line what is wrong, ``skipped`` why it did not run; empty: it passed."""

    group: str
    name: str
    failure: str = ""
    skipped: str = ""
    seconds: float = 0.0


def write(path: Path, suite: str, tests: Sequence[Test]) -> None:
    """Write the ``tests`` of a ``suite`` to ``path``, atomically.

    >>> import tempfile
    >>> file = Path(tempfile.mkdtemp()) / "junit.xml"
    >>> write(file, "unit", [Test("linear", "depth 7 on avx2"), Test("linear", "depth 8 on avx2", failure="off")])
    >>> ElementTree.parse(file).getroot().attrib
    {'name': 'unit', 'tests': '2', 'failures': '1', 'skipped': '0', 'time': '0.000'}
    """
    failures, skipped = sum(bool(t.failure) for t in tests), sum(bool(t.skipped) for t in tests)
    counts = {"tests": str(len(tests)), "failures": str(failures), "skipped": str(skipped)}
    time = f"{sum(t.seconds for t in tests):.3f}"
    root = ElementTree.Element("testsuite", {"name": suite, **counts, "time": time})
    for test in tests:
        where = {"classname": f"{suite}.{test.group}", "name": test.name, "time": f"{test.seconds:.3f}"}
        case = ElementTree.SubElement(root, "testcase", where)
        for tag, message in (("failure", test.failure), ("skipped", test.skipped)):
            if message:
                ElementTree.SubElement(case, tag, {"message": message}).text = message
    ElementTree.indent(root)
    text = ElementTree.tostring(root, "unicode", xml_declaration=True)
    files.atomic_write(path, text + "\n")
