"""Compares two versions of an input or output schema by the rules. Pure."""

from collections.abc import Mapping
from typing import Any, Literal

from aisops_plugin_sdk.diff import rules
from aisops_plugin_sdk.diff.finding import Finding
from aisops_plugin_sdk.diff.gaps import Gap, Kind, Words
from aisops_plugin_sdk.diff.subset import gaps_between

SchemaSide = Literal["input", "output"]
_NEVER_COMPATIBLE = frozenset({Kind.REMOVED, Kind.INCOMPARABLE})


def compare_schemas(
    old: Mapping[str, Any], new: Mapping[str, Any], side: SchemaSide, *, capability: str = ""
) -> list[Finding]:
    """Find the differences between two schemas; breaking ones first.

    No breaking finding means: every input that is valid under `old` is valid under `new`, or every output that is
    valid under `new` is valid under `old`.

    Args:
        old: a schema that passed `contracts.check_schema`, as must `new`.
        new: the later one.
        side: whether it describes what goes in or what comes out.
        capability: is repeated in the findings.
    """
    is_input = side == "input"
    narrow, wide = (old, new) if is_input else (new, old)
    words, back = Words(old_is_narrow=is_input), Words(old_is_narrow=not is_input)
    breaking = gaps_between(narrow, wide, words, with_defaults=is_input, removals=True)
    harmless = gaps_between(wide, narrow, back, with_defaults=False, removals=False)
    table = rules.INPUT if is_input else rules.OUTPUT
    found = [(table[gap.kind], gap) for gap in breaking]
    found += [(_harmless_rule(gap, is_input=is_input), gap) for gap in harmless if not _covered(gap, breaking)]
    return [rules.finding(rule, side, gap.path, gap.change, capability=capability) for rule, gap in found]


def _harmless_rule(gap: Gap, *, is_input: bool) -> rules.Rule:
    if gap.kind is Kind.ADDED:
        return rules.FIELD_ADDED
    return rules.INPUT_WIDENED if is_input else rules.OUTPUT_NARROWED


def _covered(gap: Gap, breaking: list[Gap]) -> bool:
    """Whether a change that lets more through is said already, or stands where nothing could be compared."""
    if gap.kind in _NEVER_COMPATIBLE or (gap.kind is Kind.ADDED and any(gap.path == other.path for other in breaking)):
        return True
    return any(
        (gap.path == other.path and gap.change == other.change)
        or (other.kind in _NEVER_COMPATIBLE and f"{gap.path}/".startswith(f"{other.path}/"))
        for other in breaking
    )
