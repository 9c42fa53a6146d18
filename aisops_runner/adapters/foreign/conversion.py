"""Makes of a foreign manifest, or of what an address offers, the `Manifest` that the rest of the Runner knows. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final

from aisops_plugin_sdk.errors import ManifestError
from aisops_plugin_sdk.manifest import CapabilitySpec, EnvSpec, Manifest
from aisops_runner.adapters.foreign.document import ForeignManifest, ManifestFault, Variable
from aisops_runner.adapters.foreign.routes import has_route, spellings, today

RUNNER_API: Final = 1
"""The major of the original's plugin API (`runner-plugin/v1`, Plugin API v1) that this Runner hosts."""
NAME: Final = re.compile(r"[a-z0-9][a-z0-9._-]{0,63}", re.ASCII)
OPEN_SCHEMA: Final[Mapping[str, Any]] = {"type": "object"}
_MAJOR: Final = re.compile(r"v?(\d{1,6})(?:\D.*)?", re.ASCII)


def manifest_of(
    foreign: ForeignManifest, *, name: str = "", routes: Mapping[str, str] | None = None
) -> tuple[Manifest, tuple[str, ...]]:
    """The manifest of a program.

    Args:
        foreign: What its file says.
        name: The operator's name for it; empty: its own.
        routes: Capability → path, the operator's own, for programs reached over HTTP.

    Returns:
        The manifest, and a line for people about each thing that means nothing here.

    Raises:
        ManifestFault: Its name cannot be used, it needs a later Runner, or no call could be made to it.
    """
    chosen = name or foreign.metadata.name
    if NAME.fullmatch(chosen) is None:
        text = f"{chosen!r} cannot be a plugin's name here; give it one: [plugins.NAME] path = …"
        raise ManifestFault(text, field="metadata.name")
    _check_api(foreign.compatibility.runner_api.min)
    offered, notes = foreign.capabilities.provides, [f"field {field} means nothing here" for field in foreign.unknown()]
    if foreign.runtime.protocol == "local-http":
        offered, left_out = _reachable(offered, routes or {})
        notes += left_out
    execution = foreign.execution
    manifest = Manifest(
        name=chosen,
        version=foreign.metadata.plugin_version,
        sdk_version="",
        contract=(1,),
        capabilities=specs_of(offered, timeout_s=execution.request_timeout_seconds),
        env=(*_env(foreign.env.required, required=True), *_env(foreign.env.optional, required=False)),
        max_concurrency=execution.max_concurrency,
        startup_timeout_s=max(0.1, execution.startup_timeout_seconds),
        description=foreign.metadata.description,
    )
    return checked(manifest), tuple(notes)


def manifest_at(
    name: str, version: str, offered: Sequence[str], *, routes: Mapping[str, str]
) -> tuple[Manifest, tuple[str, ...]]:
    """The manifest of a plugin that runs elsewhere and offers these capabilities.

    Raises:
        ManifestFault: No call could be made to it.
    """
    reachable, notes = _reachable(offered, routes)
    manifest = Manifest(
        name=name, version=version[:64] or "0", sdk_version="", contract=(1,), capabilities=specs_of(reachable)
    )
    return checked(manifest), tuple(notes)


def specs_of(offered: Iterable[str], *, timeout_s: float = 30.0) -> tuple[CapabilitySpec, ...]:
    """Capabilities without schemas, each in both its spellings, none twice."""
    names = dict.fromkeys(name for one in offered for name in spellings(one))
    return tuple(
        CapabilitySpec(
            name=name,
            description="" if today(name) == name else f"{today(name)} in the spelling of the first release",
            effect_class="at_most_once",
            channel=False,
            timeout_s=timeout_s,
            input_schema=dict(OPEN_SCHEMA),
            output_schema=dict(OPEN_SCHEMA),
        )
        for name in names
    )


def spelling_of(offered: Iterable[str]) -> dict[str, str]:
    """Capability as offered here → as the plugin spells it; the plugin's own spelling, where it has both, is kept."""
    own = list(offered)
    found = {name: one for one in own for name in spellings(one)}
    return found | {one: one for one in own}


def checked(manifest: Manifest) -> Manifest:
    """The manifest, once it has passed the same check as any other's.

    Raises:
        ManifestFault: It does not pass.
    """
    try:
        return Manifest.parse(manifest.to_document())
    except ManifestError as error:
        raise ManifestFault(str(error)) from None


def _reachable(offered: Iterable[str], routes: Mapping[str, str]) -> tuple[tuple[str, ...], list[str]]:
    """Those with a route; and a line about each of the others."""
    names = tuple(offered)
    found = tuple(name for name in names if has_route(name, routes))
    left_out = [
        f'no route is known for {name}: name it as routes = {{ "{name}" = "/…" }}'
        for name in names
        if name not in found
    ]
    if not found:
        raise ManifestFault("; ".join(left_out) or "it offers nothing", field="capabilities.provides")
    return found, left_out


def _check_api(lowest: str) -> None:
    found = _MAJOR.fullmatch(lowest.strip())
    if found and int(found[1]) > RUNNER_API:
        text = f"needs the plugin API {lowest.strip()} or later, and this Runner has v{RUNNER_API}; upgrade the Runner"
        raise ManifestFault(text, field="compatibility.runner_api.min")


def _env(variables: Iterable[Variable], *, required: bool) -> Iterable[EnvSpec]:
    for variable in variables:
        yield EnvSpec(variable.name, secret=variable.secret, required=required, description=variable.description)
