"""Whether a plugin that described itself may be taken into use. Pure: each rule refuses with what to do about it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from aisops_plugin_sdk.manifest import Manifest
from aisops_runner.environments.differences import Difference
from aisops_runner.environments.wanted import same_version
from aisops_runner.errors import PluginRefused


def check_contract(manifest: Manifest, speaks: Sequence[int]) -> None:
    """Refuse a plugin that speaks no major of the sidecar contract that this Runner does.

    Raises:
        PluginRefused: Code `incompatible`.
    """
    if set(manifest.contract) & set(speaks):
        return
    theirs, ours = _listed(manifest.contract), _listed(speaks)
    older = "the Runner" if min(manifest.contract) > max(speaks) else "the plugin"
    raise PluginRefused(
        manifest.name,
        f"{manifest.name} {manifest.version} speaks version {theirs} of the sidecar contract and this Runner speaks "
        f"{ours}; {older} is the older of the two: upgrade it, or install a {manifest.name} that speaks {ours}",
        code="incompatible",
    )


def check_version(manifest: Manifest, distribution: str, version: str) -> None:
    """Refuse a plugin that calls itself another version than its package has.

    Raises:
        PluginRefused: Code `version_mismatch`.
    """
    if not same_version(manifest.version, version):
        raise PluginRefused(
            manifest.name,
            f"package {distribution} is version {version}, but the plugin in it calls itself {manifest.version}; "
            "nobody could tell which of the two runs. Ask its maker for a build in which they are equal",
            code="version_mismatch",
        )


def check_claims(
    name: str, offers: Mapping[str, Sequence[str]], offered: Sequence[str], bindings: Mapping[str, str]
) -> None:
    """Refuse a plugin that offers what another one serves, unless the operator has said which of them is meant.

    Args:
        name: The new plugin.
        offers: The capabilities of every other plugin, by its name.
        offered: The new plugin's capabilities.
        bindings: Capability → plugin, from the configuration.

    Raises:
        PluginRefused: Code `capability_taken`.
    """
    for capability in offered:
        others = [other for other, its in offers.items() if other != name and capability in its]
        if others and bindings.get(capability) not in (name, *others):
            raise PluginRefused(
                name,
                f"{name} offers {capability}, which {' and '.join(sorted(others))} offers too; say which one is meant, "
                f'in the configuration under [bindings]: "{capability}" = "{name}" (or "{min(others)}"), and '
                "install again",
                code="capability_taken",
            )


def check_accepted(name: str, found: Sequence[Difference], *, accepted: bool) -> None:
    """Refuse an upgrade that takes away or asks for something, until it is accepted.

    Raises:
        PluginRefused: Code `changes_not_accepted`.
    """
    if found and not accepted:
        told = "; ".join(one.text for one in found)
        raise PluginRefused(
            name,
            f"the new version of {name} may break who uses it: {told}. The version in use stays; to switch in spite of "
            "that, repeat with --accept-changes",
            code="changes_not_accepted",
        )


def _listed(majors: Sequence[int]) -> str:
    return " and ".join(str(major) for major in sorted(majors))
