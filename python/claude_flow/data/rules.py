"""A dataset owner's own rules for the table of runs: a pandera schema, as YAML or JSON."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from claude_flow.data.events import Run
from claude_flow.data.tables import read_table, schema
from claude_flow.errors import InputError, require

__all__ = ["broken"]


def broken(folder: Path, rules: Path) -> Iterator[tuple[str | None, str, NDArray[np.int64]]]:
    """The rules that the runs of the dataset ``folder`` break: column (or None), the rule, and the rows that break it.

    The rows are empty where a rule is about the table as a whole, such as a column that must be there.

    Raises:
        InputError: ``rules`` cannot be read, or is no pandera schema of a table.
        MissingExtra: pandera, or pandas or PyYAML, which it reads such files with, is not installed.
    """
    errors = require("pandera.errors", "validate")
    reader = require("pandera.io.pandas_io", "validate")
    try:
        text = rules.read_text("utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"{rules}: cannot be read ({error})") from None
    try:
        runs = read_table(folder, "runs")
        table = schema(Run).empty_table() if runs is None else runs
        reader.from_yaml(text).validate(table.to_pandas(), lazy=True)
    except errors.SchemaErrors as error:
        for (column, rule), cases in error.failure_cases.groupby(["column", "check"], dropna=False, sort=True):
            if rule == "column_in_dataframe":
                for name in cases["failure_case"]:
                    yield str(name), "the column must be there", np.zeros(0, np.int64)
            else:
                rows = cases["index"].dropna().to_numpy().astype(np.int64)
                yield (column if isinstance(column, str) else None), str(rule), np.unique(rows)
    except Exception as error:  # pandera raises whatever its parts do: yaml's, AttributeError, TypeError ...
        reason = " ".join(str(error).split())[:200]
        message = f"{rules}: not a pandera schema that fits the runs ({type(error).__name__}: {reason})"
        raise InputError(message) from None
