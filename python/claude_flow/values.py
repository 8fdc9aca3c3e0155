"""Text to values: strict JSON, durations, sizes, shares, switches, lists, names.

One reading for the command line, training configurations and requests alike. Every function takes text
from outside and raises :class:`InputError` with a message of one line. Standard library only.
"""

from __future__ import annotations

import contextlib
import json
import math
import os
import re
import sys
from collections.abc import Iterable
from pathlib import Path, PurePath
from typing import Any, NoReturn

from claude_flow import files
from claude_flow.errors import InputError, MissingExtra, require

__all__ = [
    "boolean",
    "did_you_mean",
    "duration",
    "integers",
    "json_argument",
    "names",
    "number",
    "parse_json",
    "plain",
    "quick_json",
    "quick_line",
    "read_json",
    "share",
    "shares",
    "size",
    "valid_name",
]

_UNITS_S = {
    "ms": 0.001,
    "s": 1.0,
    "m": 60.0,
    "h": 3600.0,
    "d": 86400.0,
    "w": 7 * 86400.0,
    "mo": 30 * 86400.0,
    "y": 365 * 86400.0,
}
_UNIT_NAMES = {
    **{unit: unit for unit in _UNITS_S},
    **dict.fromkeys(("sec", "secs", "second", "seconds"), "s"),
    **dict.fromkeys(("min", "mins", "minute", "minutes"), "m"),
    **dict.fromkeys(("hr", "hrs", "hour", "hours"), "h"),
    **dict.fromkeys(("day", "days"), "d"),
    **dict.fromkeys(("week", "weeks"), "w"),
    **dict.fromkeys(("month", "months"), "mo"),
    **dict.fromkeys(("year", "years"), "y"),
}
_DURATION_PART = re.compile(r"(\d+(?:\.\d+)?)[\s-]*([a-z]+)[\s,]*")
_SIZE = re.compile(r"(\d+(?:\.\d+)?)\s*([kmgtp]?)(i?)b?")
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}")


# JSON ---------------------------------------------------------------------------------------------------


class _Refused(ValueError):
    """Raised from inside the JSON decoder, whose hooks know the token but not its place."""

    def __init__(self, reason: str, token: str) -> None:
        super().__init__(reason)
        self.token = token


_TOKEN = re.compile(r'"(?:[^"\\]|\\.)*"|[{}\[\]:,]|[^\s{}\[\]:,"]+')


def _constant(token: str) -> NoReturn:
    raise _Refused(f"{token} is not JSON: give a number or null", token)


def _real(token: str) -> float:
    value = float(token)
    if math.isinf(value):
        raise _Refused(f"{token} is too large for a number", token)
    return value


def _pairs(items: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(items)
    if len(found) != len(items):
        keys = [key for key, _ in items]
        twice = next(key for key in keys if keys.count(key) > 1)
        raise _Refused(f"the key {json.dumps(twice)} is given twice", "")
    return found


try:
    _orjson: Any = require("orjson", "batch")  # for files of requests; without it the same, slower
except MissingExtra:
    _orjson = None

# Made once: json.loads with hooks makes one per call, a third of the time that a log's line takes.
_DECODER = json.JSONDecoder(parse_constant=_constant, parse_float=_real, object_pairs_hook=_pairs)


def parse_json(text: str, where: str = "") -> Any:
    """The value of strict JSON ``text``; ``where`` (a file, an option) leads every message.

    Refused, each with its line and column: what is not JSON, ``NaN`` and ``Infinity``, numbers that overflow
    a double, an object that says one key twice.

    >>> parse_json('{"load": 0.6}')
    {'load': 0.6}
    >>> parse_json('{"load": NaN}', "agents.json")
    Traceback (most recent call last):
    claude_flow.errors.InputError: agents.json: line 1 column 10: NaN is not JSON: give a number or null
    """

    text = text.removeprefix("\ufeff")  # a byte order mark, pasted along
    try:
        return _DECODER.decode(text)
    except json.JSONDecodeError as error:
        reason, offset = f"not JSON: {error.msg}", error.pos
    except _Refused as error:
        reason, offset = str(error), _offset_of(text, error.token)
    except RecursionError:
        raise InputError(_at(where, "nested too deeply")) from None
    except ValueError:  # CPython's own limit of 4300 digits per integer
        raise InputError(_at(where, "a number has too many digits")) from None
    line = text.count("\n", 0, offset) + 1
    column = offset - text.rfind("\n", 0, offset)
    raise InputError(_at(where, f"line {line} column {column}: {reason}"))


def quick_json(text: str) -> Any:
    """The value of strict JSON ``text``, in a third of the time where orjson is installed.

    Raises:
        ValueError: it is none, or looks as if it were none; :func:`parse_json` knows, and says where.

    >>> quick_json('{"load": 0.6}')
    {'load': 0.6}
    """
    if _orjson is None:
        return _DECODER.decode(text)
    value = _orjson.loads(text)
    # A key that is given twice is lost there: then more colons follow a quote than there are keys.
    if text.count('":') != _keys(value) or '" ' in text or '"\t' in text:
        return _DECODER.decode(text)
    return value


def _keys(value: Any) -> int:
    """The keys of all objects in a value."""
    inner = value.values() if type(value) is dict else value if type(value) is list else ()
    count = len(value) if type(value) is dict else 0
    for item in inner:
        if type(item) is dict or type(item) is list:
            count += _keys(item)
    return count


def quick_line(value: Any) -> bytes:
    """A value of JSON's own types as a line of JSON; a float that is not finite becomes null."""
    if _orjson is not None:
        with contextlib.suppress(TypeError):  # such as an integer beyond 64 bits
            line: bytes = _orjson.dumps(value, option=_orjson.OPT_APPEND_NEWLINE)
            return line
    return (json.dumps(plain(value), allow_nan=False, ensure_ascii=False, separators=(",", ":")) + "\n").encode("utf-8")


def plain(value: Any) -> Any:
    """``value`` in the types of JSON; a float that is not finite becomes None.

    >>> plain({"share": float("nan"), "model": Path("m"), 1: (2, 3)})
    {'share': None, 'model': 'm', '1': [2, 3]}
    """
    if hasattr(value, "tolist"):  # numpy, which this module must not import
        value = value.tolist()
    if isinstance(value, dict):
        return {str(key): plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [plain(item) for item in value]
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    return str(value) if isinstance(value, PurePath) else value


def _offset_of(text: str, token: str) -> int:
    """Where ``token`` first stands as a value, or, for no token, where an object first repeats a key."""
    seen: list[set[str]] = []
    tokens = list(_TOKEN.finditer(text))
    for match, after in zip(tokens, [*tokens[1:], None], strict=True):
        word = match.group()
        if token:
            if word == token:
                return match.start()
        elif word in "{[":
            seen.append(set())
        elif word in "}]":
            seen.pop()
        elif after is not None and after.group() == ":":
            key = json.loads(word)
            if key in seen[-1]:
                return match.start()
            seen[-1].add(key)
    return 0


def json_argument(text: str) -> Any:
    """The JSON value of an argument: JSON text itself, ``@FILE`` (``@-`` = standard input), or a FILE.

    >>> json_argument('["accuracy", "latency"]')
    ['accuracy', 'latency']
    """
    text = text.removeprefix("\ufeff")
    if text.startswith("@"):
        return _json_file(text[1:])
    if not text.lstrip().startswith(("{", "[")) and os.path.isfile(text):
        return _json_file(text)
    try:
        return parse_json(text)
    except InputError as error:
        if text.lstrip()[:1] in ("{", "["):
            raise
        raise InputError(f"{_short(text)} is neither JSON nor a file ({error})") from None


def read_json(path: Path) -> Any:
    """The JSON value of a file; :class:`InputError` with the file, line and column."""
    return parse_json(files.read_text(path), files.printable(path))


def _json_file(name: str) -> Any:
    if name != "-":
        return read_json(Path(name))
    if sys.stdin is None:  # closed
        raise InputError("-: there is no standard input")
    try:
        return parse_json(files.decoded(sys.stdin.buffer.read(), "-"), "-")
    except (OSError, ValueError) as error:
        if isinstance(error, InputError):
            raise
        raise InputError(f"-: {getattr(error, 'strerror', None) or error}") from None


# Scalars ------------------------------------------------------------------------------------------------


def duration(text: str) -> float:
    """Seconds. Units ms, s, m, h, d, w, months of 30 days, years of 365; parts add up.

    >>> duration("30d"), duration("5m"), duration("1h 30m"), duration("6 months")
    (2592000.0, 300.0, 5400.0, 15552000.0)
    """
    rest, total, wanted = (
        text.strip().lower(),
        0.0,
        "write a number with a unit, such as 60s, 5m, 7d or 6 months",
    )
    if not rest:
        raise InputError(f"an empty duration: {wanted}")
    while rest:
        part = _DURATION_PART.match(rest)
        unit = _UNIT_NAMES.get(part.group(2)) if part else None
        if part is None or unit is None:
            raise InputError(f"{_short(text)} is not a duration: {wanted}")
        total += float(part.group(1)) * _UNITS_S[unit]
        rest = rest[part.end() :]
    if not 0 < total < math.inf:
        raise InputError(f"{_short(text)} is not a duration above zero")
    return total


def size(text: str) -> int:
    """Bytes. KB, MB, GB, TB are powers of 1000, KiB, MiB … of 1024; a bare number is bytes.

    >>> size("4GB"), size("16GiB"), size("512")
    (4000000000, 17179869184, 512)
    """
    match = _SIZE.fullmatch(text.strip().lower())
    if match is None or (match.group(3) and not match.group(2)):
        raise InputError(f"{_short(text)} is not a size: write a number with a unit, such as 512MB, 4GB or 16GiB")
    step = 1024.0 if match.group(3) else 1000.0
    return round(float(match.group(1)) * math.pow(step, " kmgtp".index(match.group(2) or " ")))


def number(text: str, low: float = -math.inf, high: float = math.inf) -> float:
    """A finite number within ``low`` … ``high``, both included.

    >>> number("1e-6", 0, 1)
    1e-06
    """
    try:
        value = float(text)
    except ValueError:
        raise InputError(f"{_short(text)} is not a number") from None
    if not math.isfinite(value):
        raise InputError(f"{_short(text)} is not a finite number")
    if not low <= value <= high:
        span = f"between {low:g} and {high:g}" if high < math.inf else f"{low:g} or more"
        raise InputError(f"{_short(text)} is out of range: give a number {span}")
    return value


def share(text: str) -> float:
    """A part of one: ``0.2`` or ``20%``.

    >>> share("20%"), share("0.98")
    (0.2, 0.98)
    """
    text = text.strip()
    try:
        return number(text[:-1], 0, 100) / 100 if text.endswith("%") else number(text, 0, 1)
    except InputError:
        raise InputError(f"{_short(text)} is not a share: write 0.8 or 80%, within 0 and 1") from None


def shares(text: str) -> tuple[float, ...]:
    """Several shares, ascending, none twice.

    >>> shares("95%, 80%")
    (0.8, 0.95)
    """
    return tuple(sorted({share(str(part)) for part in _parts(text)}))


def integers(text: str) -> tuple[int, ...]:
    """Whole numbers from ``1,4,8``, ``2-4`` (both ends included) or the JSON list ``[1,4,8]``.

    >>> integers("[1,4,8,16]"), integers("2-4,7")
    ((1, 4, 8, 16), (2, 3, 4, 7))
    """
    found: list[int] = []
    for part in _parts(text):
        match = re.fullmatch(r"(\d{1,9})(?:\s*-\s*(\d{1,9}))?", str(part))
        first, last = (int(match.group(1)), int(match.group(2) or match.group(1))) if match else (1, 0)
        if not first <= last < first + 10_000:
            raise InputError(f"{_short(text)} is not a list of whole numbers: write 1,4,8 or 2-4")
        found.extend(range(first, last + 1))
    return tuple(found)


def names(text: str) -> tuple[str, ...]:
    """Words from ``a,b`` or the JSON list ``["a","b"]``, in their order, none empty, none twice.

    >>> names('["loss","accuracy"]'), names("embedding, attention-0")
    (('loss', 'accuracy'), ('embedding', 'attention-0'))
    """
    if text.lstrip().startswith("{"):
        raise InputError(f"{_short(text)} is an object, not a list of names")
    found = _parts(text)
    for item in found:
        if not isinstance(item, str) or not item:
            raise InputError(f"{_short(text)} is not a list of names: {json.dumps(item)} is not a name")
        if found.count(item) > 1:
            raise InputError(f"{_short(text)} names {item} twice")
    return tuple(found)


def boolean(text: str) -> bool:
    """``true`` or ``false`` (also yes/no, on/off, 1/0).

    >>> boolean("true"), boolean("off")
    (True, False)
    """
    word = text.strip().lower()
    if word in ("true", "yes", "on", "1"):
        return True
    if word in ("false", "no", "off", "0"):
        return False
    raise InputError(f"{_short(text)} is neither true nor false")


def valid_name(text: str, what: str = "name") -> str:
    """``text`` if it can name a model, dataset or run: one plain word, never a path or a hidden file.

    >>> valid_name("coordination-v3")
    'coordination-v3'
    """
    if not _NAME.fullmatch(text):
        raise InputError(f"{_short(text)} is not a {what}: write letters, digits, '.', '_' and '-' (at most 100)")
    return text


def did_you_mean(word: str, candidates: Iterable[str]) -> str:
    """``": did you mean a or b?"`` for the nearest candidates, or nothing.

    >>> did_you_mean("coordinatoin", ["coordination", "prediction"])
    ': did you mean coordination?'
    """
    from difflib import get_close_matches  # not needed unless something is wrong already

    near = get_close_matches(word, list(candidates), n=3, cutoff=0.7)
    return f": did you mean {' or '.join(near)}?" if near else ""


def _parts(text: str) -> list[Any]:
    is_json = text.lstrip().startswith("[")
    found: list[Any] = parse_json(text) if is_json else [part.strip() for part in text.split(",")]
    if not found or found == [""]:
        raise InputError("the list is empty")
    return found


def _short(text: str) -> str:
    return repr(text if len(text) <= 60 else text[:57] + "...")


def _at(where: str, message: str) -> str:
    return f"{where}: {message}" if where else message
