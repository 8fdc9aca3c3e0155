"""The parameter types of the command line: :mod:`claude_flow.values` for click, and true|false switches."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, TypeVar

import click

from claude_flow import values
from claude_flow.errors import InputError
from claude_flow.networks.network import Option

__all__ = [
    "BOOLEAN",
    "DURATION",
    "INTEGERS",
    "NAME",
    "NAMES",
    "SHARE",
    "SHARES",
    "SIZE",
    "Json",
    "Number",
    "Parsed",
    "of",
    "switch",
]

_Function = TypeVar("_Function", bound=Callable[..., Any])


class Parsed(click.ParamType):  # type: ignore[type-arg]  # generic since click 8.4 only
    """The type whose values ``parse`` reads from text; ``name`` is what the help shows."""

    def __init__(self, name: str, parse: Callable[[str], Any]) -> None:
        self.name = name
        self._parse = parse

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """The value of the text ``value``; one that is no text (a default) is one already."""
        if not isinstance(value, str):
            return value
        try:
            return self._parse(value)
        except InputError as error:
            self.fail(str(error), param, ctx)


BOOLEAN = Parsed("true|false", values.boolean)
DURATION = Parsed("duration", values.duration)  # seconds: 60s, 5m, 30d, 6 months
SIZE = Parsed("size", values.size)  # bytes: 512MB, 4GB, 16GiB
SHARE = Parsed("share", values.share)  # 0.8 or 80%
SHARES = Parsed("shares", values.shares)  # "80%,95%"
INTEGERS = Parsed("integers", values.integers)  # "50,90,99", "2-4" or "[1,4,8]"
NAMES = Parsed("names", values.names)  # "a,b" or '["a","b"]'
NAME = Parsed("name", values.valid_name)  # of a model, a dataset, a run that is to be made


class Number(Parsed):
    """A finite number within ``low`` … ``high``, both included."""

    def __init__(self, low: float = -math.inf, high: float = math.inf) -> None:
        super().__init__("number", lambda text: values.number(text, low, high))


class Json(click.ParamType):  # type: ignore[type-arg]
    """A JSON object (``Json(dict)``) or list (``Json(list)``): its text, ``@FILE``, or the path of a file."""

    def __init__(self, kind: type[dict[str, Any]] | type[list[Any]]) -> None:
        self._kind = kind
        self.name = "json object" if kind is dict else "json list"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """The value that the argument stands for."""
        if not isinstance(value, str):
            return value
        try:
            found = values.json_argument(value)
        except InputError as error:
            self.fail(str(error), param, ctx)
        if not isinstance(found, self._kind):
            self.fail(f"a {self.name} is wanted here, not {_kind_of(found)}", param, ctx)
        return found


def _kind_of(value: Any) -> str:
    kinds = {dict: "an object", list: "a list", str: "a string", bool: "true or false", type(None): "null"}
    return kinds.get(type(value), "a number")


def switch(
    name: str, default: bool | None = False, help: str = "", *, without: str = "", envvar: str | None = None
) -> Callable[[_Function], _Function]:
    """An option that is written ``--name true``, ``--name false``, or ``--name`` alone for true.

    With the ``default`` None a command can tell whether it was named; ``without`` says what that means.
    """
    return click.option(
        name,
        type=BOOLEAN,
        is_flag=False,
        flag_value="true",
        default=None if default is None else str(default).lower(),
        show_default=without or True,
        envvar=envvar,
        show_envvar=True,
        help=help,
    )


def _targets(text: str) -> Any:
    return values.json_argument(text) if text.lstrip().startswith(("{", "@")) else list(values.names(text))


def of(option: Option) -> click.Option:
    """The click option of one that a network's ``answer`` module declares."""
    low, high = option.limits or (-math.inf, math.inf)
    kinds: dict[str, Any] = {
        "object": Json(dict),
        "text": click.STRING,
        "share": SHARE,
        "shares": SHARES,
        "duration": DURATION,
        "number": Number(low, high),
        "targets": Parsed("targets", _targets),
    }
    if option.kind == "switch":
        return _option(switch(f"--{option.name}", bool(option.default), option.help))
    if option.kind == "count":
        kinds["count"] = click.IntRange(int(low), int(high))
    return click.Option(
        [f"--{option.name}", option.key],
        type=kinds[option.kind],
        required=option.required,
        **({} if option.default is None else {"default": option.default}),  # None given would do for a required one
        show_default=option.default is not None,
        metavar=option.metavar,
        help=option.help,
    )


def _option(decorate: Callable[[Any], Any]) -> click.Option:
    """The option that a decorator would add to a command."""
    function = decorate(lambda: None)
    option: click.Option = function.__click_params__[0]
    return option
