"""The rules of `runner-plugin.yaml`: each fault with its field, its line and what is wrong."""

from __future__ import annotations

import contextlib
import copy
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from aisops_plugin_sdk.manifest import Manifest
from aisops_runner.adapters.foreign.conversion import manifest_of, spelling_of
from aisops_runner.adapters.foreign.document import ManifestFault, read_manifest

GOOD: dict[str, Any] = {
    "api_version": "runner-plugin/v1",
    "kind": "RunnerPlugin",
    "metadata": {"name": "channel-slack", "plugin_version": "0.1.0", "description": "Slack"},
    "runtime": {"type": "node", "entrypoint": "./dist/index.js", "working_dir": ".", "protocol": "stdio-json"},
    "install": {"layout": "unpacked-directory", "root": "."},
    "capabilities": {"provides": ["slack.send", "slack.approval"]},
    "execution": {
        "startup_timeout_seconds": 10, "request_timeout_seconds": 30, "idle_ttl_seconds": 60, "max_concurrency": 2,
        "restart_policy": "on-failure",
    },
    "env": {
        "required": [{"name": "SLACK_BOT_TOKEN", "secret": True, "description": "xoxb-…"}],
        "optional": [{"name": "CORE_BASE_URL", "default": "http://core:8080"}],
    },
    "permissions": {"network": {"outbound": ["https", "slack.com", {"host": "hooks.slack.com", "ports": [443]}]}},
    "compatibility": {"runner_api": {"min": "v1", "max": "v1"}, "product": {"min": "0.1", "max": "0.x"}},
}  # fmt: skip
GONE = object()


def changed(path: str, value: object) -> bytes:
    """The good manifest with one place changed, or left out."""
    document = copy.deepcopy(GOOD)
    *around, last = path.split(".")
    place: Any = document
    for key in around:
        place = place[key]
    if value is GONE:
        del place[last]
    else:
        place[last] = value
    return yaml.safe_dump(document, sort_keys=False).encode()


@pytest.mark.parametrize(
    ("path", "value", "field", "reason"),
    [
        ("api_version", GONE, "api_version", "is missing"),
        ("api_version", "runner-plugin/v2", "api_version", "must be 'runner-plugin/v1', not 'runner-plugin/v2'"),
        ("kind", "Plugin", "kind", "must be 'RunnerPlugin'"),
        ("metadata", GONE, "metadata", "is missing"),
        ("metadata", "x", "metadata", "must be a map"),
        ("metadata.name", GONE, "metadata.name", "is missing"),
        ("metadata.name", None, "metadata.name", "is missing"),
        ("metadata.name", "", "metadata.name", "at least 1 character"),
        ("metadata.name", ["x"], "metadata.name", "must be a text"),
        ("runtime.type", GONE, "runtime.type", "is missing"),
        ("runtime.type", "deno", "runtime.type", "must be 'node', 'python' or 'binary', not 'deno'"),
        ("runtime.protocol", GONE, "runtime.protocol", "is missing"),
        ("runtime.protocol", "grpc", "runtime.protocol", "must be 'stdio-json' or 'local-http', not 'grpc'"),
        ("runtime.entrypoint", GONE, "runtime.entrypoint", "is missing"),
        ("runtime.entrypoint", "../plug-evil/x.js", "runtime.entrypoint", "leads out of the plugin's folder"),
        ("runtime.entrypoint", "a/../../b", "runtime.entrypoint", "leads out"),
        ("runtime.entrypoint", "/bin/sh", "runtime.entrypoint", "leads out"),
        ("runtime.working_dir", "..", "runtime.working_dir", "leads out"),
        ("install.root", "/", "install.root", "leads out"),
        ("install.layout", "tarball", "install.layout", "must be 'unpacked-directory'"),
        ("capabilities", GONE, "capabilities", "is missing"),
        ("capabilities.provides", [], "capabilities.provides", "lists nothing"),
        ("capabilities.provides", "slack.send", "capabilities.provides", "must be a list"),
        ("capabilities.provides", ["slack"], "capabilities.provides[0]", "a name like slack.send, not 'slack'"),
        ("capabilities.provides", ["a.b", "a.b"], "capabilities.provides", "appears twice"),
        ("execution.startup_timeout_seconds", 0, "execution.startup_timeout_seconds", "greater than 0"),
        ("execution.startup_timeout_seconds", "soon", "execution.startup_timeout_seconds", "must be a number"),
        ("execution.request_timeout_seconds", -1, "execution.request_timeout_seconds", "greater than 0"),
        ("execution.request_timeout_seconds", float("inf"), "execution.request_timeout_seconds", "number"),
        ("execution.max_concurrency", 0, "execution.max_concurrency", "greater than 0"),
        ("execution.max_concurrency", 1.5, "execution.max_concurrency", "must be a whole number"),
        ("execution.restart_policy", "always", "execution.restart_policy", "must be 'never' or 'on-failure'"),
        ("env.required", [{"secret": True}], "env.required[0].name", "is missing"),
        ("env.required", ["A"], "env.required[0]", "must be a map"),
        ("env.required", [{"name": "A-B"}], "env.required[0].name", "a name like SLACK_BOT_TOKEN, not 'A-B'"),
        ("env.required", [{"name": "A", "secret": "maybe"}], "env.required[0].secret", "must be true or false"),
        ("env.required", [{"name": "CORE_BASE_URL"}], "env", "variable 'CORE_BASE_URL' appears twice"),
        ("permissions.network.outbound", [["x"]], "permissions.network.outbound[0]", "must be a map"),
        ("permissions.network.outbound", [{"host": "x", "ports": [0]}], "permissions.network.outbound[0].ports[0]", ""),
    ],
)  # fmt: skip
def test_each_fault_is_named(path: str, value: object, field: str, reason: str) -> None:
    with pytest.raises(ManifestFault) as fault:
        read_manifest(changed(path, value))
    assert (fault.value.field, fault.value.line > 0) == (field, True)
    assert reason in str(fault.value)


def test_the_line_is_that_of_the_field() -> None:
    with pytest.raises(ManifestFault) as fault:
        read_manifest(
            b"api_version: runner-plugin/v1\nkind: RunnerPlugin\nmetadata:\n  name: x\nruntime:\n  type: no\n"
        )
    assert str(fault.value).startswith("line 6: runtime.type: ")
    assert "and 3 more" in str(fault.value)


def test_several_faults_are_counted_and_a_list_is_no_manifest() -> None:
    with pytest.raises(ManifestFault, match="no map"):
        read_manifest(b"- a\n")
    with pytest.raises(ManifestFault, match="line 1: not YAML"):
        read_manifest(b"a: ]\n")


def test_fields_that_mean_nothing_are_passed_over_and_named() -> None:
    document = copy.deepcopy(GOOD)
    document["executon"] = {"max_concurrency": 9}
    document["metadata"]["licence"] = "MIT"
    document["env"]["required"][0]["pattern"] = "x"
    document["security"] = {"verification": {"internal_auth": True}}
    foreign = read_manifest(yaml.safe_dump(document).encode())
    assert foreign.unknown() == ("env.required[0].pattern", "executon", "metadata.licence")


def test_the_manifest_is_the_one_the_rest_of_the_runner_knows() -> None:
    manifest, notes = manifest_of(read_manifest(yaml.safe_dump(GOOD).encode()))
    assert (manifest.name, manifest.version, manifest.max_concurrency) == ("channel-slack", "0.1.0", 2)
    assert [spec.name for spec in manifest.capabilities] == [
        "slack.send", "send.slack", "slack.approval", "approval.slack",
    ]  # fmt: skip
    assert {spec.effect_class for spec in manifest.capabilities} == {"at_most_once"}
    assert {spec.timeout_s for spec in manifest.capabilities} == {30.0}
    assert all(spec.input_schema == {"type": "object"} for spec in manifest.capabilities)
    assert [(env.name, env.secret, env.required) for env in manifest.env] == [
        ("SLACK_BOT_TOKEN", True, True), ("CORE_BASE_URL", False, False),
    ]  # fmt: skip
    assert Manifest.parse(manifest.to_document()) == manifest
    assert not notes


def test_a_plugin_is_asked_in_its_own_spelling() -> None:
    assert spelling_of(["send.slack"]) == {"slack.send": "send.slack", "send.slack": "send.slack"}
    assert spelling_of(["slack.send"]) == {"slack.send": "slack.send", "send.slack": "slack.send"}
    both = {"slack.send": "slack.send", "send.slack": "send.slack"}
    assert spelling_of(["send.slack", "slack.send"]) == both == spelling_of(["slack.send", "send.slack"])


def test_a_name_that_cannot_be_used_is_given_another() -> None:
    foreign = read_manifest(changed("metadata.name", "Channel Slack"))
    with pytest.raises(ManifestFault, match=r"\[plugins.NAME\]"):
        manifest_of(foreign)
    assert manifest_of(foreign, name="slack")[0].name == "slack"


def test_a_later_plugin_api_is_a_sentence() -> None:
    with pytest.raises(ManifestFault, match="needs the plugin API v2 or later, and this Runner has v1; upgrade"):
        manifest_of(read_manifest(changed("compatibility.runner_api", {"min": "v2"})))
    for fine in ("v1", "1.2", "0.1.0", "", "next"):
        manifest_of(read_manifest(changed("compatibility.runner_api", {"min": fine})))


def test_a_capability_without_a_route_is_left_out_and_named() -> None:
    document = copy.deepcopy(GOOD)
    document["runtime"]["protocol"] = "local-http"
    document["capabilities"]["provides"] = ["acme.count", "acme.send"]
    foreign = read_manifest(yaml.safe_dump(document).encode())
    manifest, notes = manifest_of(foreign)
    assert [spec.name for spec in manifest.capabilities] == ["acme.send"]
    assert 'no route is known for acme.count: name it as routes = { "acme.count" = "/…" }' in notes
    assert len(manifest_of(foreign, routes={"acme.count": "/count"})[0].capabilities) == 2
    document["capabilities"]["provides"] = ["acme.count"]
    with pytest.raises(ManifestFault, match="no route"):
        manifest_of(read_manifest(yaml.safe_dump(document).encode()))


JSONISH = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(st.characters(exclude_categories=("Cs",))),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text("abc", max_size=3), inner, max_size=3),
    max_leaves=8,
)
PLACES = st.sampled_from([
    "metadata", "metadata.name", "runtime", "runtime.entrypoint", "capabilities", "capabilities.provides", "execution",
    "execution.max_concurrency", "env", "env.required", "permissions", "permissions.network.outbound", "compatibility",
    "security", "install", "examples",
])  # fmt: skip


@given(PLACES, JSONISH)
def test_whatever_stands_anywhere_is_taken_or_named(path: str, value: object) -> None:
    with contextlib.suppress(ManifestFault):
        manifest, _ = manifest_of(read_manifest(changed(path, value)))
        assert Manifest.parse(manifest.to_document()) == manifest
