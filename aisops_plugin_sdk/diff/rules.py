"""The table of rules: what each difference is called, whether it breaks anybody, and what to do about it. Pure data.

Source: the compatibility policy of the sidecar contract. Inputs are closed and outputs are open, so a further optional
field breaks nobody on either side; what callers send today must be taken tomorrow, and readers must get tomorrow what
they rely on today. What cannot be compared counts as breaking.
"""

from collections.abc import Mapping
from typing import NamedTuple

from aisops_plugin_sdk.diff.finding import Finding, Side
from aisops_plugin_sdk.diff.gaps import Kind


class Rule(NamedTuple):
    """One rule. `name` is stable; `advice` says what to do."""

    name: str
    breaking: bool
    advice: str = ""


_BESIDE = "offer the change as a new capability beside this one"
_TAKE_OLD = f"Go on taking what was taken, or {_BESIDE}."
_GIVE_OLD = f"Go on answering as before, or {_BESIDE}."
_BY_HAND = f"Compare it by hand; when in doubt, {_BESIDE}."

INPUT: Mapping[Kind, Rule] = {
    Kind.REQUIRED: Rule("field_required", True, f"Give the field a default, or {_BESIDE}."),
    Kind.REMOVED: Rule("field_removed", True, "Keep the field and ignore it, or announce its end first."),
    Kind.ADDED: Rule("field_added", True, "Close the inputs (additionalProperties: false) before fields are added."),
    Kind.CLOSED: Rule("closed", True, _TAKE_OLD),
    Kind.TYPE: Rule("type_narrowed", True, _TAKE_OLD),
    Kind.VALUES: Rule("values_narrowed", True, _TAKE_OLD),
    Kind.RANGE: Rule("range_narrowed", True, _TAKE_OLD),
    Kind.LENGTH: Rule("length_narrowed", True, _TAKE_OLD),
    Kind.PATTERN: Rule("pattern_narrowed", True, _TAKE_OLD),
    Kind.FORMAT: Rule("format_narrowed", True, _TAKE_OLD),
    Kind.DEFAULT_REMOVED: Rule("default_removed", True, "Keep the default: callers leave the field out."),
    Kind.DEFAULT_CHANGED: Rule("default_changed", False, "Tell your users: callers leave the field out."),
    Kind.INCOMPARABLE: Rule("incomparable", True, _BY_HAND),
}
OUTPUT: Mapping[Kind, Rule] = {
    Kind.REQUIRED: Rule("field_optional", True, "Go on answering the field always."),
    Kind.REMOVED: Rule("field_removed", True, "Go on answering the field, or announce its end first."),
    Kind.ADDED: Rule("field_added", True, "Open the outputs (no additionalProperties: false) before fields are added."),
    Kind.CLOSED: Rule("opened", True, _GIVE_OLD),
    Kind.TYPE: Rule("type_widened", True, _GIVE_OLD),
    Kind.VALUES: Rule("values_widened", True, _GIVE_OLD),
    Kind.RANGE: Rule("range_widened", True, _GIVE_OLD),
    Kind.LENGTH: Rule("length_widened", True, _GIVE_OLD),
    Kind.PATTERN: Rule("pattern_widened", True, _GIVE_OLD),
    Kind.FORMAT: Rule("format_widened", True, _GIVE_OLD),
    Kind.INCOMPARABLE: Rule("incomparable", True, _BY_HAND),
}
"""The kinds of gaps that break, by the side on which they were found."""

FIELD_ADDED = Rule("field_added", False)
INPUT_WIDENED = Rule("widened", False)
OUTPUT_NARROWED = Rule("narrowed", False)

PLUGIN_RENAMED = Rule("plugin_renamed", True, "These are manifests of two plugins; compare those of one.")
CONTRACT_DROPPED = Rule("contract_dropped", True, "Go on serving the major until no supported Runner needs it.")
CONTRACT_ADDED = Rule("contract_added", False)
FEATURE_DROPPED = Rule("feature_dropped", True, "Go on serving it: Runners rely on what was announced.")
BATCH_DROPPED = Rule("feature_dropped", False, "Runners make single calls instead, which is slower.")
FEATURE_ADDED = Rule("feature_added", False)
CHANNEL_MOVED = Rule("channel_moved", True, "Leave POST /send with the capability that serves it.")
CHANNEL_ADDED = Rule("channel_added", False)
BODY_LIMIT_LOWERED = Rule("body_limit_lowered", True, "Leave the limit: larger calls would be refused.")
BODY_LIMIT_RAISED = Rule("body_limit_raised", False)
CONCURRENCY_LOWERED = Rule("concurrency_lowered", False, "Tell your users: calls may wait longer.")
CONCURRENCY_RAISED = Rule("concurrency_raised", False)

EGRESS_WIDENED = Rule("egress_widened", True, "Operators must agree to it: say in the changelog why it goes there.")
EGRESS_UNSAID = Rule("egress_unsaid", True, "Go on saying where requests go: Plugin(egress=[...]).")
EGRESS_NARROWED = Rule("egress_narrowed", False)

WEBHOOK_REMOVED = Rule("webhook_removed", True, "Go on taking what the provider sends there: it is configured to.")
WEBHOOK_ADDED = Rule("webhook_added", False, "Tell your users: operators open the way to it themselves.")

CONFIG_LOWERED = Rule("config_lowered", True, "Raise the version instead: an environment that is ahead is refused.")
CONFIG_RAISED = Rule("config_raised", False)
ENV_REQUIRED = Rule("env_required", True, "Give the variable a default: upgraded plugins must start as configured.")
ENV_REMOVED = Rule("env_removed", True, "Keep reading the variable, or announce its end first.")
ENV_ADDED = Rule("env_added", False)
ENV_OPTIONAL = Rule("env_optional", False)
SECRET_ADDED = Rule(
    "secret_added", True, "Operators must agree to one more secret: say in the changelog what it is for."
)
SECRET_SHOWN = Rule("secret_shown", True, "Keep the variable a Secret: its value would no longer be masked.")
SECRET_MASKED = Rule("secret_masked", False)

CAPABILITY_REMOVED = Rule("capability_removed", True, "Keep the capability, or announce its end first.")
CAPABILITY_ADDED = Rule("capability_added", False)
EFFECT_CHANGED = Rule("effect_changed", True, f"Jobs are repeated by it: keep it, or {_BESIDE}.")
TIMEOUT_LOWERED = Rule("timeout_lowered", True, "Leave the time: calls that took longer would be given up.")
TIMEOUT_RAISED = Rule("timeout_raised", False)


def finding(rule: Rule, side: Side, path: str, change: str, *, capability: str = "") -> Finding:
    """Apply a rule to one place."""
    return Finding(rule.name, side, capability, path, change, rule.breaking, rule.advice)
