"""What JSON from outside must look like, said once and checked here: requests, configurations, manifests, cards.

A specification is made of the kinds below; :func:`check` returns the value as the program wants it, or raises an error
of one line with the path of the field, what belongs there, and near matches for a name.

>>> agent = Record({"id": Text(), "load": Number(0, 1)}, required=("id",))
>>> check({"agents": [{"id": "ann", "load": 0.5}]}, Record({"agents": List(agent)}), "input")
{'agents': [{'id': 'ann', 'load': 0.5}]}
>>> check({"agents": [{"id": "ann", "laod": 0.5}]}, Record({"agents": List(agent)}), "input")
Traceback (most recent call last):
claude_flow.errors.InputError: input.agents[0].laod: no such field: did you mean load?
"""

from __future__ import annotations

import re
import typing
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, fields
from itertools import chain
from typing import Any, Protocol

from claude_flow import values
from claude_flow.errors import InputError

__all__ = [
    "Anything",
    "Choice",
    "Either",
    "Fixed",
    "Flag",
    "Kind",
    "List",
    "Number",
    "Parsed",
    "Read",
    "Record",
    "Table",
    "Text",
    "Whole",
    "check",
    "check_many",
    "record_of",
    "refused",
    "shown",
]

# Sums and squares of such numbers stay finite in double precision; an integer beyond it would not even convert.
_LARGEST = 1e30
_SURROGATE = re.compile("[\ud800-\udfff]")


class Kind(Protocol):
    """A kind of value."""

    @property
    def says(self) -> str:
        """What it is, to complete "must be"."""

    def take(self, value: Any, path: str) -> Any:
        """The value as the program wants it; :class:`InputError` that begins with ``path``."""


def check(value: Any, kind: Kind, where: str = "") -> Any:
    """``value`` as ``kind`` says; ``where`` (an option, or a file with a colon) leads every message."""
    return kind.take(value, where)


def check_many(values: Sequence[Any], kind: Kind, where: str = "") -> list[Any]:
    """What :func:`check` makes of each of ``values``, or the :class:`InputError` that it raises.

    Column by column over all of them at once, a tenth of the time; what is wrong is sought by halves. The values that
    come back may be those that were given, so change neither.

    >>> [str(found) for found in check_many([0.5, 2], Number(0, 1), "load")]
    ['0.5', 'load must be a number from 0 to 1, not 2']
    """
    many = _many(kind, list(values))
    if many is not None:
        return many
    if len(values) > 2:
        half = len(values) // 2
        return [*check_many(values[:half], kind, where), *check_many(values[half:], kind, where)]
    found: list[Any] = []
    for value in values:
        try:
            found.append(kind.take(value, where))
        except InputError as error:
            found.append(error)
    return found


def _many(kind: Kind, values: list[Any]) -> list[Any] | None:
    """What ``kind`` makes of each value, the same list where that is what was given; None if it refuses any."""
    many = getattr(kind, "many", None)
    if many is not None:
        result: list[Any] | None = many(values)
        return result
    try:
        return [kind.take(value, "") for value in values]
    except InputError:
        return None


def _types(values: list[Any]) -> set[type]:
    return set(map(type, values))


def refused(path: str, says: str, value: Any) -> InputError:
    """The error for a value of another kind."""
    return InputError(f"{path} must be {says}, not {shown(value)}".lstrip())


def shown(value: Any) -> str:
    """A value as a message shows it, on one short line.

    >>> shown("a" * 50)
    "'aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa..."
    """
    try:
        text = repr(value)
    except ValueError:  # an integer of more digits than Python prints
        return "a number of thousands of digits"
    return text if len(text) <= 40 else text[:37] + "..."


# Single values ------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Number:
    """A finite number from ``low`` to ``high``, as a float; ``above``: ``low`` itself is excluded.

    >>> Number(0, 10, above=True).says, Number(0).says, Number().says
    ('a number above 0 and at most 10', 'a number of at least 0', 'a finite number')
    """

    low: float = -_LARGEST
    high: float = _LARGEST
    above: bool = False

    @property
    def says(self) -> str:
        least, most = self.low > -_LARGEST, self.high < _LARGEST
        if self.above:
            return f"a number above {self.low:g}" + (f" and at most {self.high:g}" if most else "")
        if least and most:
            return f"a number from {self.low:g} to {self.high:g}"
        if most:
            return f"a number of at most {self.high:g}"
        return f"a number of at least {self.low:g}" if least else "a finite number"

    def take(self, value: Any, path: str) -> float:
        plain = isinstance(value, int | float) and not isinstance(value, bool)
        if not plain or not self.low <= value <= self.high or (self.above and value == self.low):
            raise refused(path, self.says, value)
        return float(value)

    def many(self, values: list[Any]) -> list[Any] | None:
        """See :func:`_many`."""
        types = _types(values)
        if not types <= {float, int}:
            return None
        if values:
            try:
                total, least = sum(values), min(values)
            except OverflowError:  # beside a float, an integer that is none
                return None
            # A sum that is not itself holds a NaN.
            if total != total or not self.low <= least or max(values) > self.high or (self.above and least == self.low):
                return None
        return list(map(float, values)) if int in types else values


@dataclass(frozen=True)
class Whole:
    """A whole number from ``low`` to ``high``."""

    low: int = 0
    high: int = 2**53

    @property
    def says(self) -> str:
        most = self.high < 2**53
        return f"a whole number from {self.low} to {self.high}" if most else f"a whole number of at least {self.low}"

    def take(self, value: Any, path: str) -> int:
        if isinstance(value, bool) or not isinstance(value, int) or not self.low <= value <= self.high:
            raise refused(path, self.says, value)
        return value

    def many(self, values: list[Any]) -> list[Any] | None:
        """See :func:`_many`."""
        fits = _types(values) <= {int} and (not values or (self.low <= min(values) and max(values) <= self.high))
        return values if fits else None


@dataclass(frozen=True)
class Text:
    """A string; ``blank``: it may be empty. Lone surrogates, which no file can hold, are refused."""

    blank: bool = False

    @property
    def says(self) -> str:
        return "a string" if self.blank else "a non-empty string"

    def take(self, value: Any, path: str) -> str:
        if not isinstance(value, str) or not (value.strip() or self.blank):
            raise refused(path, self.says, value)
        if not value.isascii() and any("\ud800" <= char <= "\udfff" for char in value):
            raise InputError(f"{path} holds half of a UTF-16 pair, which is no text: {shown(value)}")
        return value

    def many(self, values: list[Any]) -> list[Any] | None:
        """See :func:`_many`."""
        if not _types(values) <= {str} or not (self.blank or all(map(str.strip, values))):
            return None
        text = "".join(values)
        return values if text.isascii() or not _SURROGATE.search(text) else None


@dataclass(frozen=True)
class Flag:
    """True or false."""

    says = "true or false"

    def take(self, value: Any, path: str) -> bool:
        if not isinstance(value, bool):
            raise refused(path, self.says, value)
        return value

    def many(self, values: list[Any]) -> list[Any] | None:
        """See :func:`_many`."""
        return values if _types(values) <= {bool} else None


@dataclass(frozen=True)
class Choice:
    """One of some words."""

    words: tuple[str, ...]

    def __init__(self, *words: str) -> None:
        object.__setattr__(self, "words", words)

    @property
    def says(self) -> str:
        return f"one of {', '.join(self.words)}" if len(self.words) > 1 else repr(self.words[0])

    def take(self, value: Any, path: str) -> str:
        if not isinstance(value, str) or value not in self.words:
            near = values.did_you_mean(value, self.words) if isinstance(value, str) else ""
            raise InputError(f"{refused(path, self.says, value)}{near}")
        return value

    def many(self, values: list[Any]) -> list[Any] | None:
        """See :func:`_many`."""
        return values if _types(values) <= {str} and set(values) <= {*self.words} else None


@dataclass(frozen=True)
class Fixed:
    """A value that may be written down, but not be another; ``why`` completes "since"."""

    value: Any
    why: str

    @property
    def says(self) -> str:
        return f"{self.value!r}, since {self.why}"

    def take(self, value: Any, path: str) -> Any:
        if value != self.value or isinstance(value, bool) != isinstance(self.value, bool):
            raise refused(path, self.says, value)
        return self.value


@dataclass(frozen=True)
class Parsed:
    """What ``parse`` reads from text, such as 16GB, or a ``number``, which stands for itself."""

    says: str
    parse: Callable[[str], Any]
    number: Number | None = None

    def take(self, value: Any, path: str) -> Any:
        if self.number and not isinstance(value, str):
            try:
                return self.number.take(value, path)
            except InputError:
                raise refused(path, f"{self.number.says}, or {self.says}", value) from None
        if not isinstance(value, str):
            raise refused(path, self.says, value)
        try:
            return self.parse(value)
        except (InputError, OverflowError) as error:
            raise InputError(f"{path}: {error}") from None

    def many(self, values: list[Any]) -> list[Any] | None:
        """See :func:`_many`."""
        if self.number and _types(values) <= {float, int}:
            return self.number.many(values)
        try:
            return [self.take(value, "") for value in values]
        except InputError:
            return None


@dataclass(frozen=True)
class Read:
    """What ``read`` makes of a value, where that is not None."""

    says: str
    read: Callable[[Any], Any]

    def take(self, value: Any, path: str) -> Any:
        if (result := self.read(value)) is None:
            raise refused(path, self.says, value)
        return result


@dataclass(frozen=True)
class Anything:
    """Anything."""

    says = "anything"

    def take(self, value: Any, path: str) -> Any:
        return value

    def many(self, values: list[Any]) -> list[Any] | None:
        """See :func:`_many`."""
        return values


# Values made of others ----------------------------------------------------------------------------------


@dataclass(frozen=True)
class Either:
    """The first of several kinds that takes the value."""

    kinds: tuple[Kind, ...]

    def __init__(self, *kinds: Kind) -> None:
        object.__setattr__(self, "kinds", kinds)

    @property
    def says(self) -> str:
        return ", or ".join(kind.says for kind in self.kinds)

    def take(self, value: Any, path: str) -> Any:
        for kind in self.kinds:
            try:
                return kind.take(value, path)
            except InputError as error:
                whole = (isinstance(value, list) and isinstance(kind, List)) or (
                    isinstance(value, dict) and isinstance(kind, Record | Table)
                )
                if whole:  # what is wrong lies within
                    raise error from None
        raise refused(path, self.says, value)

    def many(self, values: list[Any]) -> list[Any] | None:
        """See :func:`_many`."""
        result = list(values)
        for kind in _types(values):
            able = [k for k in self.kinds if kind in _TAKEN.get(type(k), (kind,))]
            places = [i for i, value in enumerate(values) if type(value) is kind]
            part = [values[i] for i in places]
            found = _many(able[0], part) if len(able) == 1 else None
            if found is None:
                try:
                    found = [self.take(value, "") for value in part]
                except InputError:
                    return None
            for i, value in zip(places, found, strict=True):
                result[i] = value
        return result


@dataclass(frozen=True)
class List:
    """A list of ``least`` to ``most`` values of one kind; ``noun`` is what one is called, ``unique`` what of it may
    occur once: the value of that field, or ("") the value itself."""

    of: Kind
    noun: str = ""
    least: int = 0
    most: int = 1_000_000
    unique: str | None = None

    @property
    def says(self) -> str:
        one = self.noun or self.of.says.removeprefix("a ").removeprefix("non-empty ").partition(" ")[0]
        return f"a list of {one}s"

    def take(self, value: Any, path: str) -> list[Any]:
        if not isinstance(value, list | tuple):
            raise refused(path, self.says, value)
        if len(value) < self.least:
            least = f"name at least {'one' if self.least == 1 else self.least} {self.noun or 'value'}"
            raise InputError(f"{path} is empty: {least}" if not value else f"{path} has {len(value)}: {least}")
        if len(value) > self.most:
            raise InputError(f"{path} has {len(value)} {self.noun or 'value'}s; at most {self.most} are taken")
        result = [self.of.take(item, f"{path}[{i}]") for i, item in enumerate(value)]
        if self.unique is not None:
            seen: dict[Any, int] = {}
            for i, item in enumerate(result):
                key = item[self.unique] if self.unique else item
                if key in seen:
                    place = f"{path}[{i}]" + (f".{self.unique}" if self.unique else "")
                    raise InputError(f"{place}: {key!r} is taken by {path.rpartition('.')[2]}[{seen[key]}]: none twice")
                seen[key] = i
        return result

    def many(self, values: list[Any]) -> list[Any] | None:
        """See :func:`_many`."""
        if not _types(values) <= {list}:
            return None
        sizes = list(map(len, values))
        if values and not (self.least <= min(sizes) and max(sizes) <= self.most):
            return None
        flat = list(chain.from_iterable(values))
        inner = _many(self.of, flat)
        if inner is None:
            return None
        rest = iter(inner)
        result = values if inner is flat else [[next(rest) for _ in range(size)] for size in sizes]
        if self.unique is not None:
            keys = [item[self.unique] for item in inner] if self.unique else inner
            each = iter(keys)
            if any(len({next(each) for _ in range(size)}) != size for size in sizes):
                return None
        return result


@dataclass(frozen=True)
class Record:
    """An object with known fields, ``required`` ones among them; ``free``: others may stand beside them.

    A field may be written with hyphens for its underscores. ``says`` is what it is, by default an object with its
    fields.
    """

    fields: Mapping[str, Kind]
    required: tuple[str, ...] = ()
    free: bool = False
    says: str = ""

    def __post_init__(self) -> None:
        if not self.says:
            names = ", ".join(self.required if self.free else self.fields)
            object.__setattr__(self, "says", f"an object with {names}" if names else "an object")

    def take(self, value: Any, path: str) -> dict[str, Any]:
        if not isinstance(value, Mapping):
            raise refused(path, self.says, value)
        result: dict[str, Any] = {}
        for key, item in value.items():
            name = key if key in self.fields or not isinstance(key, str) else key.replace("-", "_")
            place = _inside(path, key)
            if name in result:
                raise InputError(f"{place} is given twice, with hyphens and with underscores")
            if name in self.fields:
                result[name] = self.fields[name].take(item, place)
            elif self.free:
                result[key] = item
            else:
                raise unknown(place, key, self.fields)
        for name in self.required:
            if name not in result:
                where = f"{path.removesuffix(':')}: " if path else ""
                raise InputError(f"{where}{name} is missing; it must be {self.fields[name].says}")
        return result

    def many(self, values: list[Any]) -> list[Any] | None:
        """See :func:`_many`."""
        if self.free or not _types(values) <= {dict}:
            return None
        names: set[Any] = set().union(*values)
        if not names <= self.fields.keys() or (values and not names.issuperset(self.required)):
            return None
        changed: list[tuple[str, Iterator[Any]]] = []
        for name in names:
            column = [value[name] for value in values if name in value]
            if len(column) < len(values) and name in self.required:
                return None
            found = _many(self.fields[name], column)
            if found is None:
                return None
            if found is not column:
                changed.append((name, iter(found)))
        if not changed:
            return values
        result = [dict(value) for value in values]
        for name, new in changed:
            for value in result:
                if name in value:
                    value[name] = next(new)
        return result


@dataclass(frozen=True)
class Table:
    """An object with free keys, and values of one kind."""

    of: Kind
    says = "an object"

    def take(self, value: Any, path: str) -> dict[str, Any]:
        if not isinstance(value, Mapping):
            raise refused(path, self.says, value)
        return {key: self.of.take(item, _inside(path, key)) for key, item in value.items()}

    def many(self, values: list[Any]) -> list[Any] | None:
        """See :func:`_many`."""
        if not _types(values) <= {dict}:
            return None
        flat = list(chain.from_iterable(value.values() for value in values))
        found = _many(self.of, flat)
        if found is None or found is flat:
            return None if found is None else values
        rest = iter(found)
        return [{key: next(rest) for key in value} for value in values]


#: the types that a kind takes, and only those; another kind may take any
_TAKEN: dict[type, tuple[type, ...]] = {
    Number: (int, float),
    Whole: (int,),
    Text: (str,),
    Flag: (bool,),
    Choice: (str,),
    List: (list, tuple),
    Record: (dict,),
    Table: (dict,),
}


def unknown(path: str, name: Any, known: typing.Iterable[str]) -> InputError:
    """The error for a field that does not exist."""
    names = list(known)
    near = values.did_you_mean(str(name), names) or (f": it is one of {', '.join(names)}" if names else "")
    return InputError(f"{path}: no such field{near}")


def record_of(kind: type) -> Record:
    """The fields of a dataclass as a record, none of them required: what ``Annotated`` says of each.

    >>> @dataclass
    ... class Sizes:
    ...     width: typing.Annotated[int, Whole(1, 8)] = 4
    >>> record_of(Sizes).says
    'an object with width'
    """
    hints = typing.get_type_hints(kind, include_extras=True)
    return Record({f.name: typing.get_args(hints[f.name])[1] for f in fields(kind)})


def _inside(path: str, key: Any) -> str:
    """The path of a field; a ``path`` with a colon at its end is that of a file."""
    plain = isinstance(key, str) and key.isprintable() and 0 < len(key) <= 40
    name = str(key) if plain else shown(key)
    return f"{path} {name}" if path.endswith(":") else f"{path}.{name}" if path else name
