"""What the operator sets for plugins: the part of the configuration that is read by plugin.

`config` reads the file and the environment; the shapes and rules for `[plugins.NAME]`, `[plugin_permissions]` and
`PLUGIN_<NAME>_URL` are here.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any
from urllib.parse import urlsplit

from pydantic import BaseModel, ConfigDict, Field, StringConstraints, field_validator, model_validator

_PLUGIN_URL = re.compile(r"PLUGIN_([A-Z0-9]+(?:_[A-Z0-9]+)*)_URL", re.ASCII)

EnvName = Annotated[str, StringConstraints(pattern=r"^[A-Za-z_][A-Za-z0-9_]{0,127}$")]
CapabilityName = Annotated[str, StringConstraints(max_length=128, pattern=r"^[a-z][a-z0-9_]*(\.[a-z][a-z0-9_]*)+$")]
RoutePath = Annotated[str, StringConstraints(max_length=256, pattern=r"^/[A-Za-z0-9._~!$&'()*+,;=:@%/-]*$")]


class Frozen(BaseModel):
    """Settings: read once, never changed, and never quoted in an error."""

    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True)


class PluginConfig(Frozen):
    """What the operator sets for one plugin.

    Attributes:
        enabled: False: listed, never started.
        env: Variable → value, or where to find it when the sidecar starts: `env:NAME`, `file:/path`.
        max_concurrency: Calls at once; lowers the manifest's number, never raises it.
        prewarm: Start with the Runner and stay, instead of on demand.
        idle_stop_s: Stop after so many seconds without a call (not when `prewarm`); none: as the plugin says, else 60.
        batch: False: one request per call, also where the plugin takes many in one.
        path: Folder of a program with a `runner-plugin.yaml`.
        url: Where a plugin written for the original already runs (`PLUGIN_<NAME>_URL`).
        token: For `url`: the token shared with it, written like a value of `env`.
        allow_plaintext: For `url`: `http://` to another machine.
        capabilities: For `url`: what it offers; none: what it says itself.
        routes: Capability → path of its HTTP route, where the original's contract knows none.
        interpreter: For `path`: what runs it, instead of the `node` or `python3` on PATH.
    """

    enabled: bool = True
    env: dict[EnvName, str] = Field(default_factory=dict, repr=False)
    max_concurrency: int | None = Field(default=None, ge=1, le=256)
    prewarm: bool = False
    idle_stop_s: float | None = Field(default=None, ge=1, le=86_400)
    batch: bool = True
    path: Path | None = None
    url: str = ""
    token: str = Field(default="env:AISOPSFLOW_INTERNAL_AUTH_TOKEN", repr=False)
    allow_plaintext: bool = False
    capabilities: tuple[CapabilityName, ...] = Field(default=(), max_length=128)
    routes: dict[CapabilityName, RoutePath] = Field(default_factory=dict, max_length=128)
    interpreter: Path | None = None

    @field_validator("url")
    @classmethod
    def _url(cls, value: str) -> str:
        return _normal_url(value) if value else ""

    @model_validator(mode="after")
    def _one_kind(self) -> PluginConfig:
        if self.path is not None and self.url:
            raise ValueError("path and url are both set; keep one")
        return self


class PermissionConfig(Frozen):
    """What a `runner-plugin.yaml` may say it needs; without a list, anything.

    Attributes:
        outbound: Hosts (`slack.com`, `*.slack.com`, `db.corp:5432`) and words for schemes and services (`https`).
        read: Folders; what is below them is meant too.
        write: The same.
    """

    outbound: tuple[str, ...] | None = None
    read: tuple[str, ...] | None = None
    write: tuple[str, ...] | None = None


def take_plugin_urls(settings: dict[str, Any], env: Mapping[str, str]) -> None:
    """Read `PLUGIN_<NAME>_URL`, the original's way to say where a plugin runs."""
    plugins = settings.get("plugins", {})
    if not isinstance(plugins, dict):
        return
    spelled = {_shouted(name): name for name in plugins}
    for variable in sorted(env):
        found = _PLUGIN_URL.fullmatch(variable)
        if found is None or not env[variable]:
            continue
        name = spelled.get(found[1], found[1].lower().replace("_", "-"))
        its = plugins.get(name, {})
        if isinstance(its, dict):
            settings["plugins"] = plugins = {**plugins, name: {**its, "url": env[variable]}}


def _shouted(name: str) -> str:
    """A plugin's name as a part of a variable's."""
    return re.sub(r"[^A-Z0-9]", "_", name.upper())


def check_plugin(name: str, plugin: PluginConfig) -> None:
    """Refuse what a plugin's own settings cannot tell.

    Raises:
        ValueError: Its name, or the plaintext way to it, is not allowed.
    """
    if (plugin.path or plugin.url) and re.fullmatch(r"[a-z0-9][a-z0-9._-]{0,63}", name) is None:
        raise ValueError(f"plugins.{name}: a name is made of small letters, digits, dots and dashes")
    host = urlsplit(plugin.url).hostname or ""
    if plugin.url.startswith("http://") and not plugin.allow_plaintext and not is_loopback(host):
        raise ValueError(
            f"plugins.{name}.url is plaintext (http://) and {host} is not this machine; use https://, or set "
            f"[plugins.{name}] allow_plaintext = true to accept that the shared token and jobs can be read on the way"
        )


def _normal_url(value: str) -> str:
    """A plugin's URL without a slash at its end."""
    try:
        url = urlsplit(value)
        port = url.port
    except ValueError as error:
        raise ValueError(f"must look like https://plugin.example.com:9011: {error}") from None
    if url.scheme not in ("http", "https") or not url.hostname or port == 0 or not value.isascii():
        raise ValueError("must look like https://plugin.example.com:9011")
    if url.query or url.fragment or url.username is not None:
        raise ValueError("takes no query and no user; the shared token is set as token")
    if re.fullmatch(r"[A-Za-z0-9._~!$&'()*+,;=:@%/-]*", url.path) is None or ".." in url.path.split("/"):
        raise ValueError("its path cannot stand in a request")
    return value.rstrip("/")


def absolute_plugin(plugin: PluginConfig, base: Path) -> PluginConfig:
    """The same with paths that are meant from a folder made absolute."""
    found = {"path": plugin.path, "interpreter": plugin.interpreter}
    return plugin.model_copy(update={name: base / value for name, value in found.items() if value is not None})


def is_loopback(host: str) -> bool:
    """Whether a host name or address is this machine."""
    if host.lower() == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
