"""Manifest documents: what is wrong is refused with its place."""

import copy

import pytest

from aisops_plugin_sdk import Config, Context, Delivery, Plugin, contracts
from aisops_plugin_sdk.errors import ContractError, ManifestError
from aisops_plugin_sdk.manifest import Manifest

GOOD = {
    "aisops_manifest": 1,
    "name": "acme",
    "version": "1.0",
    "sdk_version": "0.1.0",
    "contract": [1],
    "capabilities": [
        {"name": "acme.send", "effect_class": "at_most_once", "input_schema": {"type": "object"}, "output_schema": {}}
    ],
    "env": [{"name": "ACME_TOKEN"}],
}


def changed(path, value):
    """A copy of the good document with one place replaced."""
    document = copy.deepcopy(GOOD)
    *parents, last = path
    place = document
    for key in parents:
        place = place[key]
    place[last] = value
    return document


def test_what_may_be_missing_has_defaults():
    manifest = Manifest.parse(GOOD)
    assert (manifest.max_concurrency, manifest.startup_timeout_s, manifest.body_limit_bytes) == (4, 10.0, 65_536)
    assert (manifest.channel, manifest.features, manifest.capabilities[0].timeout_s) == (None, frozenset(), 30.0)
    assert Manifest.parse(manifest.to_document()) == manifest


def test_where_requests_go_is_told_nowhere_or_not_said():
    assert Manifest.parse(GOOD).egress is None
    assert "egress" not in Manifest.parse(GOOD).to_document()
    for places in ([], ["api.acme.test:443", "*.acme.test", "${ACME_URL}"]):
        manifest = Manifest.parse(GOOD | {"egress": places})
        assert manifest.egress == tuple(places)
        assert manifest.to_document()["egress"] == places


def test_unknown_keys_are_ignored():
    assert Manifest.parse(GOOD | {"future": [1]}) == Manifest.parse(GOOD)


@pytest.mark.parametrize(
    ("path", "value", "where"),
    [
        (("aisops_manifest",), 2, "/aisops_manifest"),
        (("name",), "../etc", "/name"),
        (("contract",), [], "/contract"),
        (("capabilities",), [], "/capabilities"),
        (("capabilities", 0, "name"), "send", "/capabilities/0/name"),
        (("capabilities", 0, "effect_class"), "often", "/capabilities/0/effect_class"),
        (("capabilities", 0, "timeout_ms"), 0, "/capabilities/0/timeout_ms"),
        (("capabilities", 0, "input_schema"), {"type": "nonsense"}, "/capabilities/0/input_schema"),
        (("capabilities", 0, "input_schema"), {"$ref": "https://evil.example/s"}, "/capabilities/0/input_schema"),
        (
            ("capabilities", 0, "output_schema"),
            {"anyOf": [{"$ref": "file:///etc/passwd"}]},
            "/capabilities/0/output_schema",
        ),
        (("capabilities", 0, "input_schema"), {"$dynamicRef": "other#x"}, "/capabilities/0/input_schema"),
        (("capabilities",), GOOD["capabilities"] * 2, "/capabilities/1"),
        (("env",), [{"name": "A"}, {"name": "A"}], "/env/1"),
        (("env", 0, "name"), "A=B", "/env/0/name"),
        (("channel",), "acme.other", "/channel"),
        (("max_concurrency",), 0, "/max_concurrency"),
        (("body_limit_bytes",), 10_000_000, "/body_limit_bytes"),
        (("egress",), "api.acme.test", "/egress"),
        (("egress",), ["api.acme.test\x1b[2J"], "/egress/0"),
        (("egress",), ["a.test", "a.test"], "/egress"),
    ],
)
def test_a_wrong_document_is_refused_with_its_place(path, value, where):
    with pytest.raises(ManifestError) as refused:
        Manifest.parse(changed(path, value))
    assert refused.value.path == where


@pytest.mark.parametrize("document", [None, [], "x", 1, {}])
def test_other_json_is_refused(document):
    with pytest.raises(ManifestError):
        Manifest.parse(document)


def test_a_property_may_be_named_ref():
    schema = {"type": "object", "properties": {"$ref": {"type": "string"}}}
    assert Manifest.parse(changed(("capabilities", 0, "input_schema"), schema))


def test_every_schema_of_the_contract_is_a_schema():
    for name in contracts.NAMES:
        contracts.check_schema(contracts.schema(name))


def test_validation_names_places_and_quotes_little():
    with pytest.raises(ContractError) as refused:
        contracts.validate({"aisops": 1, "ready": True, "contract": [1], "port": 0, "pid": "x" * 10_000}, "ready-v1")
    assert {detail.path for detail in refused.value.details} == {"/port", "/pid"}
    assert all(len(detail.message) <= 300 for detail in refused.value.details)


def test_describing_needs_no_configuration():
    class Cfg(Config):
        token: str

    plugin = Plugin("acme", config=Cfg)

    @plugin.capability("acme.send")
    async def send(ctx: Context, given: Delivery) -> Delivery:
        return given

    assert plugin.manifest().env[0].required
