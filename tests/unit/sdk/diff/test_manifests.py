"""What is found between two manifests outside of their schemas, and that the schemas are compared too."""

from __future__ import annotations

import importlib
from dataclasses import replace
from typing import Any

import pytest

from aisops_plugin_sdk.diff import compare
from aisops_plugin_sdk.manifest import CapabilitySpec, EnvSpec, Manifest

INPUT = {"type": "object", "properties": {"text": {"type": "string"}}, "additionalProperties": False}
OUTPUT = {"type": "object", "properties": {"id": {"type": "string"}}, "required": ["id"]}
SEND = CapabilitySpec("acme.send", "", "at_most_once", True, 20.0, INPUT, OUTPUT)
FIND = CapabilitySpec("acme.find", "", "idempotent", False, 20.0, INPUT, OUTPUT)
OLD = Manifest(
    name="acme",
    version="1.0",
    sdk_version="0.1.0",
    contract=(1, 2),
    capabilities=(SEND, FIND),
    env=(EnvSpec("ACME_TOKEN", secret=True, required=True), EnvSpec("ACME_URL")),
    max_concurrency=4,
    features=frozenset({"batch", "cancel"}),
    channel="acme.send",
    egress=("api.acme.test", "${ACME_URL}"),
    config_version="1.9",
    webhooks=("/acme/pressed",),
)
CASES: dict[str, tuple[dict[str, Any], list[tuple[str, str, str, bool]]]] = {
    "nothing": ({}, []),
    "words and versions": ({"version": "2.0", "sdk_version": "0.2.0", "description": "better"}, []),
    "another plugin": ({"name": "other"}, [("plugin_renamed", "", "/name", True)]),
    "a major is dropped": ({"contract": (2,)}, [("contract_dropped", "", "/contract", True)]),
    "a major is added": ({"contract": (1, 2, 3)}, [("contract_added", "", "/contract", False)]),
    "cancelling is dropped": ({"features": frozenset({"batch"})}, [("feature_dropped", "", "/features/cancel", True)]),
    "batches are dropped": ({"features": frozenset({"cancel"})}, [("feature_dropped", "", "/features/batch", False)]),
    "the channel moves": ({"channel": "acme.find"}, [("channel_moved", "", "/channel", True)]),
    "the channel ends": ({"channel": None}, [("channel_moved", "", "/channel", True)]),
    "smaller bodies": ({"body_limit_bytes": 2048}, [("body_limit_lowered", "", "/body_limit_bytes", True)]),
    "larger bodies": ({"body_limit_bytes": 100_000}, [("body_limit_raised", "", "/body_limit_bytes", False)]),
    "fewer at once": ({"max_concurrency": 1}, [("concurrency_lowered", "", "/max_concurrency", False)]),
    "a capability is gone": (
        {"capabilities": (SEND,)},
        [("capability_removed", "acme.find", "/capabilities/acme.find", True)],
    ),
    "a capability is new": (
        {"capabilities": (SEND, FIND, replace(FIND, name="acme.list"))},
        [("capability_added", "acme.list", "/capabilities/acme.list", False)],
    ),
    "capabilities change places": ({"capabilities": (FIND, SEND)}, []),
    "another effect": (
        {"capabilities": (replace(SEND, effect_class="idempotent"), FIND)},
        [("effect_changed", "acme.send", "/capabilities/acme.send/effect_class", True)],
    ),
    "less time": (
        {"capabilities": (replace(SEND, timeout_s=5.0), FIND)},
        [("timeout_lowered", "acme.send", "/capabilities/acme.send/timeout_ms", True)],
    ),
    "more time": (
        {"capabilities": (replace(SEND, timeout_s=50.0), FIND)},
        [("timeout_raised", "acme.send", "/capabilities/acme.send/timeout_ms", False)],
    ),
    "another input": (
        {"capabilities": (SEND, replace(FIND, input_schema=INPUT | {"required": ["text"]}))},
        [("field_required", "acme.find", "/text", True)],
    ),
    "another output": (
        {"capabilities": (SEND, replace(FIND, output_schema=OUTPUT | {"required": []}))},
        [("field_optional", "acme.find", "/id", True)],
    ),
    "one more place": (
        {"egress": (*(OLD.egress or ()), "*.acme.test")},
        [("egress_widened", "", "/egress/*.acme.test", True)],
    ),
    "one place less": ({"egress": ("api.acme.test",)}, [("egress_narrowed", "", "/egress/${ACME_URL}", False)]),
    "it no longer says where": ({"egress": None}, [("egress_unsaid", "", "/egress", True)]),
    "a webhook is gone": ({"webhooks": ()}, [("webhook_removed", "", "/webhooks/~1acme~1pressed", True)]),
    "one more webhook": (
        {"webhooks": ("/acme/pressed", "/acme/typed")},
        [("webhook_added", "", "/webhooks/~1acme~1typed", False)],
    ),
    "a newer configuration": ({"config_version": "1.10"}, [("config_raised", "", "/config_version", False)]),
    "an older configuration": ({"config_version": "1.8"}, [("config_lowered", "", "/config_version", True)]),
    "a variable must be set": (
        {"env": (*OLD.env, EnvSpec("ACME_TEAM", required=True))},
        [("env_required", "", "/env/ACME_TEAM", True)],
    ),
    "a variable may be set": ({"env": (*OLD.env, EnvSpec("ACME_TEAM"))}, [("env_added", "", "/env/ACME_TEAM", False)]),
    "one more secret": (
        {"env": (*OLD.env, EnvSpec("HTTPS_PROXY", secret=True))},
        [("secret_added", "", "/env/HTTPS_PROXY", True)],
    ),
    "a secret must be set": (
        {"env": (*OLD.env, EnvSpec("ACME_KEY", secret=True, required=True))},
        [("env_required", "", "/env/ACME_KEY", True), ("secret_added", "", "/env/ACME_KEY", True)],
    ),
    "a variable is gone": ({"env": OLD.env[:1]}, [("env_removed", "", "/env/ACME_URL", True)]),
    "a variable becomes required": (
        {"env": (OLD.env[0], EnvSpec("ACME_URL", required=True))},
        [("env_required", "", "/env/ACME_URL", True)],
    ),
    "a variable becomes optional": (
        {"env": (EnvSpec("ACME_TOKEN", secret=True), OLD.env[1])},
        [("env_optional", "", "/env/ACME_TOKEN", False)],
    ),
    "a secret is shown": (
        {"env": (EnvSpec("ACME_TOKEN", required=True), OLD.env[1])},
        [("secret_shown", "", "/env/ACME_TOKEN", True)],
    ),
    "a variable is masked": (
        {"env": (OLD.env[0], EnvSpec("ACME_URL", secret=True))},
        [("secret_masked", "", "/env/ACME_URL", False)],
    ),
}


@pytest.mark.parametrize("case", CASES)
def test_differences(case: str) -> None:
    changes, expected = CASES[case]
    found = compare(OLD, replace(OLD, **changes))
    assert [(item.rule, item.capability, item.path, item.breaking) for item in found] == expected
    assert all(item.advice for item in found if item.breaking)


def test_a_first_channel_breaks_nobody() -> None:
    (found,) = compare(replace(OLD, channel=None), OLD)
    assert (found.rule, found.breaking) == ("channel_added", False)


def test_saying_where_requests_go_breaks_nobody() -> None:
    (found,) = compare(replace(OLD, egress=None), OLD)
    assert (found.rule, found.breaking) == ("egress_narrowed", False)


@pytest.mark.parametrize("name", ["slack", "email", "telegram", "kakao"])
def test_our_own_plugins_did_not_change_since_a_moment_ago(name: str) -> None:
    def described() -> Manifest:
        plugin = importlib.import_module(f"aisops_plugin_{name}").plugin
        plugin.version = "1.0"
        return Manifest.parse(plugin.manifest().to_document())

    assert compare(described(), described()) == []
