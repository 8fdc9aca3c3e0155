"""Text, code and diagrams of the same function: where they come from, and how they become numbers."""

from __future__ import annotations

from collections.abc import Sequence

from claude_flow.errors import InputError
from claude_flow.values import did_you_mean

__all__ = ["COMBINED", "MODALITIES", "chosen", "named"]

#: in the order of a model's inputs
MODALITIES = ("text", "code", "diagrams")
#: between the names of modalities that are looked at together
COMBINED = "+"
_OTHER_NAMES = {"diagram": "diagrams", "visual": "diagrams", "image": "diagrams", "language": "text"}


def named(name: str) -> str:
    """The modality that ``name`` means; an ending such as ``-coordination`` says what for, and changes nothing.

    >>> named("text-coordination"), named("visual-coordination")
    ('text', 'diagrams')

    Raises:
        InputError: there is no such modality.
    """
    base = name.removesuffix("-coordination")
    base = _OTHER_NAMES.get(base, base)
    if base not in MODALITIES:
        near = did_you_mean(base, [*MODALITIES, *_OTHER_NAMES]) or f": it is one of {', '.join(MODALITIES)}"
        raise InputError(f"there is no modality {name!r}{near}")
    return base


def chosen(names: Sequence[str]) -> tuple[str, ...]:
    """Two or more modalities by name, in the order of :data:`MODALITIES`.

    Raises:
        InputError: an unknown one, or fewer than two.
    """
    wanted = {named(name) for name in names}
    if len(wanted) < 2:
        raise InputError(f"there is one modality only, {', '.join(wanted) or 'none'}: alignment needs two or more")
    return tuple(name for name in MODALITIES if name in wanted)
