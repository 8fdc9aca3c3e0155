"""``docs/optimization_reference.md``: ``python -m claude_flow.networks.optimization.reference > docs/…``."""

from __future__ import annotations

from claude_flow.networks.optimization.catalogue import RECOMMENDATIONS, TUNABLES
from claude_flow.networks.optimization.features import CONSTRAINTS, FIELDS, GROUPS, GUARDED, TARGETS

__all__ = ["page"]

_HEAD = """<!-- Written by `python -m claude_flow.networks.optimization.reference`. -->

# Optimization: inputs and recommendations

Slots `2i` and `2i + 1` hold a field's scaled value and whether it is known; the last 12 hold the targets' weights.
`share` fields lie in 0..1, `seconds` may be written as `"2m"`, `bytes` as `"16GB"`.
"""


def page() -> str:
    """The whole page, as markdown."""
    parts = [_HEAD]
    for group in GROUPS:
        parts.append(
            f"\n## {group}\n\n| slots | name | kind | unit | scale | from | to |\n|---|---|---|---|---|---|---|\n"
        )
        for index, field in enumerate(FIELDS):
            if field.group == group:
                cells = (f"{2 * index}, {2 * index + 1}", f"`{field.name}`", field.kind, field.unit, field.scale)
                parts.append(f"| {' | '.join(cells)} | {field.low:g} | {field.high:g} |\n")
    parts.append("\n## optimization-targets\n\n| slot | name | metric | better |\n|---|---|---|---|\n")
    for index, (name, (metric, sign, _)) in enumerate(TARGETS.items()):
        guarded = ", guarded" if name in GUARDED else ""
        parts.append(
            f"| {2 * len(FIELDS) + index} | `{name}` | {metric} | {'more' if sign > 0 else 'less'}{guarded} |\n"
        )
    parts.append("\nConstraints limit these metrics: ")
    parts.append(", ".join(f"`{name}` {metric}" for name, (metric, _) in CONSTRAINTS.items()) + ".\n")
    parts.append(
        f"\n## The {len(RECOMMENDATIONS)} recommendations\n\nOutput `2i` raises tunable `i`, `2i + 1` lowers it.\n"
    )
    for group in dict.fromkeys(tunable.group for tunable in TUNABLES):
        parts.append(f"\n### {group}\n\n| outputs | tunable | range | usual | raising it | lowering it |\n")
        parts.append("|---|---|---|---|---|---|\n")
        for index, tunable in enumerate(TUNABLES):
            if tunable.group == group:
                span = f"{tunable.low:g} to {tunable.high:g} {tunable.unit}".strip()
                parts.append(
                    f"| {2 * index}, {2 * index + 1} | `{tunable.name}` | {span} | {tunable.default:g} "
                    f"| {tunable.effects[0]} | {tunable.effects[1]} |\n"
                )
    return "".join(parts)


if __name__ == "__main__":
    print(page(), end="")
