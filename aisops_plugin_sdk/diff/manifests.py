"""Compares two manifests of a plugin: what it is, what it needs, and each capability. Pure."""

from collections.abc import Iterator, Sequence

from aisops_plugin_sdk import batch
from aisops_plugin_sdk.diff import rules
from aisops_plugin_sdk.diff.finding import Finding
from aisops_plugin_sdk.diff.gaps import below
from aisops_plugin_sdk.diff.rules import finding
from aisops_plugin_sdk.diff.schemas import compare_schemas
from aisops_plugin_sdk.manifest import CapabilitySpec, EnvSpec, Manifest


def compare(old: Manifest, new: Manifest) -> Sequence[Finding]:
    """Find the differences between two manifests that were parsed (`Manifest.parse`).

    A manifest compared with itself gives none. What cannot be decided is a finding of the rule `incomparable`, which
    is breaking; so when no finding is breaking, callers, readers and operators of the old version can use the new one.

    Args:
        old: the manifest that others rely on.
        new: the manifest that is to take its place.
    """
    return [
        *_plugin(old, new),
        *_ways(old, new),
        *_environment(old, new),
        *_capabilities(old, new),
    ]


def _plugin(old: Manifest, new: Manifest) -> Iterator[Finding]:
    """Compare the plugin as a whole."""
    if old.name != new.name:
        yield finding(rules.PLUGIN_RENAMED, "plugin", "/name", f"the plugin was {old.name}, is now {new.name}")
    for major in sorted(set(old.contract) - set(new.contract)):
        change = f"major {major} of the sidecar contract is no longer served"
        yield finding(rules.CONTRACT_DROPPED, "plugin", "/contract", change)
    for major in sorted(set(new.contract) - set(old.contract)):
        yield finding(
            rules.CONTRACT_ADDED, "plugin", "/contract", f"major {major} of the sidecar contract is served too"
        )
    yield from _features(old, new)
    yield from _channel(old, new)
    yield from _limits(old, new)


def _features(old: Manifest, new: Manifest) -> Iterator[Finding]:
    for name in sorted(old.features - new.features):
        rule = rules.BATCH_DROPPED if name == batch.FEATURE else rules.FEATURE_DROPPED
        yield finding(rule, "plugin", below("/features", name), f"the optional part {name} is no longer served")
    for name in sorted(new.features - old.features):
        change = f"the optional part {name} is served too"
        yield finding(rules.FEATURE_ADDED, "plugin", below("/features", name), change)


def _channel(old: Manifest, new: Manifest) -> Iterator[Finding]:
    if old.channel == new.channel:
        return
    if old.channel is None:
        yield finding(rules.CHANNEL_ADDED, "plugin", "/channel", f"POST /send reaches {new.channel}")
        return
    now = f"reaches {new.channel}" if new.channel else "reaches nothing"
    yield finding(rules.CHANNEL_MOVED, "plugin", "/channel", f"POST /send reached {old.channel}, now {now}")


def _limits(old: Manifest, new: Manifest) -> Iterator[Finding]:
    if old.body_limit_bytes != new.body_limit_bytes:
        lowered = new.body_limit_bytes < old.body_limit_bytes
        change = f"the largest body was {old.body_limit_bytes} bytes, is now {new.body_limit_bytes}"
        rule = rules.BODY_LIMIT_LOWERED if lowered else rules.BODY_LIMIT_RAISED
        yield finding(rule, "plugin", "/body_limit_bytes", change)
    if old.max_concurrency != new.max_concurrency:
        lowered = new.max_concurrency < old.max_concurrency
        change = f"it served {old.max_concurrency} calls at once, now {new.max_concurrency}"
        rule = rules.CONCURRENCY_LOWERED if lowered else rules.CONCURRENCY_RAISED
        yield finding(rule, "plugin", "/max_concurrency", change)


def _ways(old: Manifest, new: Manifest) -> Iterator[Finding]:
    """Compare where its requests go, and where it takes some."""
    yield from _egress(old, new)
    for path in sorted(set(old.webhooks) - set(new.webhooks)):
        change = f"requests of the provider are no longer taken at {path}"
        yield finding(rules.WEBHOOK_REMOVED, "plugin", below("/webhooks", path), change)
    for path in sorted(set(new.webhooks) - set(old.webhooks)):
        yield finding(
            rules.WEBHOOK_ADDED, "plugin", below("/webhooks", path), f"requests of the provider are taken at {path}"
        )


def _egress(old: Manifest, new: Manifest) -> Iterator[Finding]:
    """Compare where it says its requests go."""
    if old.egress is not None and new.egress is None:
        yield finding(rules.EGRESS_UNSAID, "plugin", "/egress", "it no longer says where its requests go")
        return
    before, after = set(old.egress or ()), set(new.egress or ())
    if old.egress is None and new.egress is not None:
        yield finding(rules.EGRESS_NARROWED, "plugin", "/egress", "it says where its requests go now")
        return
    for place in sorted(after - before):
        yield finding(rules.EGRESS_WIDENED, "plugin", below("/egress", place), f"requests may go to {place} too")
    for place in sorted(before - after):
        yield finding(rules.EGRESS_NARROWED, "plugin", below("/egress", place), f"requests no longer go to {place}")


def _environment(old: Manifest, new: Manifest) -> Iterator[Finding]:
    """Compare the variables it reads."""
    was, now = (tuple(map(int, manifest.config_version.split("."))) for manifest in (old, new))
    if was != now:
        change = f"the configuration's version was {old.config_version}, is now {new.config_version}"
        rule = rules.CONFIG_LOWERED if now < was else rules.CONFIG_RAISED
        yield finding(rule, "env", "/config_version", change)
    before, after = ({item.name: item for item in manifest.env} for manifest in (old, new))
    for name in sorted(before.keys() - after.keys()):
        yield finding(rules.ENV_REMOVED, "env", below("/env", name), f"{name} is no longer read")
    for name, item in after.items():
        yield from _variable(before.get(name), item)


def _variable(old: EnvSpec | None, new: EnvSpec) -> Iterator[Finding]:
    path = below("/env", new.name)
    if new.required and (old is None or not old.required):
        yield finding(rules.ENV_REQUIRED, "env", path, f"{new.name} must be set now")
    if new.secret and old is None:
        yield finding(rules.SECRET_ADDED, "env", path, f"{new.name} is a secret that it did not get before")
    if old is None and not new.required and not new.secret:
        yield finding(rules.ENV_ADDED, "env", path, f"{new.name} can be set")
    if old is None:
        return
    if old.required and not new.required:
        yield finding(rules.ENV_OPTIONAL, "env", path, f"{new.name} need no longer be set")
    if old.secret and not new.secret:
        yield finding(rules.SECRET_SHOWN, "env", path, f"{new.name} is no longer treated as a secret")
    if new.secret and not old.secret:
        yield finding(rules.SECRET_MASKED, "env", path, f"{new.name} is treated as a secret now")


def _capabilities(old: Manifest, new: Manifest) -> Iterator[Finding]:
    """Compare the capabilities by name."""
    after = {spec.name: spec for spec in new.capabilities}
    for spec in old.capabilities:
        path = below("/capabilities", spec.name)
        if spec.name not in after:
            change = f"{spec.name} is no longer offered"
            yield finding(rules.CAPABILITY_REMOVED, "capability", path, change, capability=spec.name)
        else:
            yield from _capability(spec, after[spec.name], path)
    known = {spec.name for spec in old.capabilities}
    for spec in new.capabilities:
        if spec.name not in known:
            path = below("/capabilities", spec.name)
            change = f"{spec.name} is offered too"
            yield finding(rules.CAPABILITY_ADDED, "capability", path, change, capability=spec.name)


def _capability(old: CapabilitySpec, new: CapabilitySpec, path: str) -> Iterator[Finding]:
    if old.effect_class != new.effect_class:
        change = f"its effect was {old.effect_class}, is now {new.effect_class}"
        place = f"{path}/effect_class"
        yield finding(rules.EFFECT_CHANGED, "capability", place, change, capability=old.name)
    if old.timeout_s != new.timeout_s:
        change = f"a call may take {new.timeout_s:g} s, before {old.timeout_s:g} s"
        rule = rules.TIMEOUT_LOWERED if new.timeout_s < old.timeout_s else rules.TIMEOUT_RAISED
        yield finding(rule, "capability", f"{path}/timeout_ms", change, capability=old.name)
    yield from compare_schemas(old.input_schema, new.input_schema, "input", capability=old.name)
    yield from compare_schemas(old.output_schema, new.output_schema, "output", capability=old.name)
