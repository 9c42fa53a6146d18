"""What may be taken into use, and what an upgrade takes away."""

from typing import Any

import pytest

from aisops_plugin_sdk.manifest import Manifest
from aisops_runner.environments import admission
from aisops_runner.environments.differences import breaking
from aisops_runner.errors import PluginRefused
from tests.support.wheels import manifest


def made(version: str = "1.0", **changes: Any) -> Manifest:
    return Manifest.parse(manifest("acme", version) | changes)


def capability(**changes: Any) -> dict[str, Any]:
    found: dict[str, Any] = dict(manifest("acme", "1")["capabilities"][0])  # type: ignore[index]
    return found | changes


@pytest.mark.parametrize(("theirs", "ours", "older"), [((2,), (1,), "the Runner"), ((1,), (2, 3), "the plugin")])
def test_a_contract_nobody_shares_is_a_sentence_that_names_both_sides(
    theirs: tuple[int, ...], ours: tuple[int, ...], older: str
) -> None:
    with pytest.raises(PluginRefused) as caught:
        admission.check_contract(made(contract=list(theirs)), ours)
    text = caught.value.message
    assert f"version {theirs[0]} of the sidecar contract" in text
    assert f"speaks {' and '.join(map(str, ours))}" in text
    assert f"{older} is the older" in text
    admission.check_contract(made(contract=[1, 2]), (2, 3))


def test_a_version_that_contradicts_its_package_is_refused() -> None:
    admission.check_version(made("1.0"), "acme-chat", "1.0.0")
    with pytest.raises(PluginRefused, match=r"version 1\.1, but the plugin in it calls itself 1\.0"):
        admission.check_version(made("1.0"), "acme-chat", "1.1")


def test_a_capability_of_another_plugin_is_refused_until_bound() -> None:
    offers = {"other": ["acme.send"], "acme": ["acme.send"], "third": ["x.y"]}
    with pytest.raises(PluginRefused, match=r'\[bindings\]: "acme\.send" = "acme"') as caught:
        admission.check_claims("acme", offers, ["acme.send"], {})
    assert caught.value.code == "capability_taken"
    admission.check_claims("acme", offers, ["acme.send"], {"acme.send": "other"})
    admission.check_claims("acme", offers, ["acme.send"], {"acme.send": "acme"})
    admission.check_claims("acme", {"acme": ["acme.send"]}, ["acme.send"], {})
    with pytest.raises(PluginRefused):
        admission.check_claims("acme", offers, ["acme.send"], {"acme.send": "ghost"})


def test_the_same_manifest_breaks_nothing_and_neither_does_more() -> None:
    extra = capability(name="acme.more")
    wider = capability(input_schema={"type": "object", "properties": {"text": {"type": "string"}, "more": {}}})
    optional = [{"name": "ACME_URL", "required": False}]
    assert breaking(made(), made()) == []
    assert breaking(made(), made(capabilities=[wider, extra], env=optional)) == []


SCHEMA = {"type": "object", "properties": {"text": {"type": "string"}}}
BREAKING = {
    "capability_removed": {"capabilities": [capability(name="acme.other")]},
    "effect_changed": {"capabilities": [capability(effect_class="at_most_once")]},
    "timeout_lowered": {"capabilities": [capability(timeout_ms=1)]},
    "input_required": {"capabilities": [capability(input_schema=SCHEMA | {"required": ["text"]})]},
    "input_removed": {"capabilities": [capability(input_schema={"type": "object"})]},
    "input_type_changed": {
        "capabilities": [capability(input_schema={"type": "object", "properties": {"text": {"type": "integer"}}})]
    },
    "output_removed": {"capabilities": [capability(output_schema={"type": "object"})]},
    "variable_required": {"env": [{"name": "ACME_TOKEN", "required": True}]},
    "secret_asked": {"env": [{"name": "ACME_TOKEN", "secret": True}]},
}


@pytest.mark.parametrize("kind", BREAKING)
def test_what_takes_away_or_asks_for_more_is_told_and_must_be_accepted(kind: str) -> None:
    found = breaking(made(), made("2.0", **BREAKING[kind]))
    assert [one.kind for one in found] == [kind]
    with pytest.raises(PluginRefused, match="--accept-changes"):
        admission.check_accepted("acme", found, accepted=False)
    admission.check_accepted("acme", found, accepted=True)


def test_another_channel_is_told() -> None:
    old = made(capabilities=[capability(channel=True)], channel="acme.send")
    assert [one.kind for one in breaking(old, made())] == ["channel_changed"]
