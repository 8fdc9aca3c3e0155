"""Requests to the toy network, and its answers."""

from collections.abc import Mapping
from typing import Any

import numpy as np

from claude_flow.errors import InputError
from claude_flow.model import Model
from claude_flow.networks.network import Option

from .prepare import encode

HELP = ""
EXAMPLES = ("claude-flow neural infer toy --description 'write a test'",)
OPTIONS = (
    Option("description", "text", "What is to be done.", required=True),
    Option("tokens", "number", "How many tokens it may use.", limits=(0, 1e9)),
)


def answer(model: Model, request: Mapping[str, Any], *, explain: bool = False) -> dict[str, Any]:
    if not request["description"].strip():
        raise InputError("description: it is empty")
    x = np.array([encode(request["description"], request.get("tokens"))], np.float32)
    return {"network": "toy", "seconds": float(np.expm1(model.run(x)[0, 0]))}


def render(result: Mapping[str, Any]) -> list[tuple[str, list[str], list[list[str]]]]:
    return [("Forecast", ["seconds"], [[f"{result['seconds']:.1f}"]])]
