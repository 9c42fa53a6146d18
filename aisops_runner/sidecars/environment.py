"""The environment of a sidecar: only what its manifest lists, with secrets fetched at the last moment."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from aisops_plugin_sdk.manifest import Manifest
from aisops_runner.adapters.describe import base_env
from aisops_runner.adapters.kinds import Foreign
from aisops_runner.errors import SecretUnavailable

TOKEN_ENV = "AISOPSFLOW_INTERNAL_AUTH_TOKEN"  # noqa: S105 - the name of a variable
SECRET_FILE_BYTES = 64 * 1024
PASSED_ON = (
    "HTTP_PROXY",
    "HTTPS_PROXY",
    "NO_PROXY",
    "ALL_PROXY",
    "http_proxy",
    "https_proxy",
    "no_proxy",
    "all_proxy",
    "SSL_CERT_FILE",
    "SSL_CERT_DIR",
)
FOR_PACKAGES = frozenset({"PYTHONPATH", "VIRTUAL_ENV"})
OURS = frozenset({"CORE_RUNNER_AUTH_TOKEN", "AISOPS_RUNNER_TOKEN_FILE"})
"""What is the Runner's own secret, whatever a manifest lists; an operator may still set it for a plugin by name."""


@dataclass(frozen=True, slots=True)
class SidecarEnv:
    """Variables for one start, and which of their values are secrets (never shown)."""

    variables: Mapping[str, str]
    secrets: tuple[str, ...]

    def __repr__(self) -> str:
        return f"SidecarEnv({sorted(self.variables)})"


def build_env(
    manifest: Manifest,
    runner_env: Mapping[str, str],
    configured: Mapping[str, str],
    *,
    token: str,
    dry_run: bool,
    foreign: Foreign | None = None,
) -> SidecarEnv:
    """Put together what one sidecar may know.

    Args:
        manifest: Lists the variables it may receive.
        runner_env: The Runner's own environment, from which only listed and harmless variables pass.
        configured: The operator's values for this plugin: text, `env:NAME` or `file:/path`; they win.
        token: This start's token.
        dry_run: Whether nothing may leave.
        foreign: Set for a program written for the original: its manifest's defaults count where nothing else is set,
            and nothing that is only for Python packages passes.

    Raises:
        SecretUnavailable: A reference leads nowhere; names the variable, never a value.
    """
    variables = base_env(runner_env)
    if foreign is not None:
        variables = {name: value for name, value in variables.items() if name not in FOR_PACKAGES}
    variables |= {name: runner_env[name] for name in PASSED_ON if name in runner_env}
    secrets = [token]
    for spec in manifest.env:
        value = None if spec.name in OURS else runner_env.get(spec.name)
        if spec.name in configured:
            value = resolve(spec.name, configured[spec.name], runner_env)
        if value is None and foreign is not None:
            value = foreign.defaults.get(spec.name)
        if value is None:
            continue
        variables[spec.name] = value
        if spec.secret or configured.get(spec.name, "").startswith(("env:", "file:")):
            secrets.append(value)
    variables |= {TOKEN_ENV: token, "PYTHONUNBUFFERED": "1"}
    if foreign is None:
        variables |= {"PORT": "0", "AISOPS_LIFELINE": "stdin"}
    if dry_run:
        variables["AISOPS_DRY_RUN"] = "1"
    return SidecarEnv(variables, tuple(secrets))


def unset(
    manifest: Manifest, runner_env: Mapping[str, str], configured: Mapping[str, str], foreign: Foreign
) -> tuple[str, ...]:
    """Variables that a foreign manifest requires and that nobody sets; the token is always set."""
    given = (
        {name for name in runner_env if name not in OURS} | configured.keys() | foreign.defaults.keys() | {TOKEN_ENV}
    )
    return tuple(spec.name for spec in manifest.env if spec.required and spec.name not in given)


def unlisted(manifest: Manifest, configured: Mapping[str, str]) -> tuple[str, ...]:
    """Variables the operator set that the plugin does not ask for; they are not passed on."""
    return tuple(sorted(set(configured) - {spec.name for spec in manifest.env}))


def resolve(name: str, reference: str, runner_env: Mapping[str, str]) -> str:
    """Fetch one configured value: `env:NAME`, `file:/path` (one trailing line end is dropped), or the text itself.

    Raises:
        SecretUnavailable: The variable is not set, or the file cannot be read.
    """
    kind, colon, place = reference.partition(":")
    if kind == "env" and colon:
        if place not in runner_env:
            raise SecretUnavailable(f"{name}: environment variable {place} is not set")
        return runner_env[place]
    if kind == "file" and colon:
        return _read(name, Path(place))
    return reference


def _read(name: str, path: Path) -> str:
    try:
        with path.open("rb") as file:
            raw = file.read(SECRET_FILE_BYTES + 1)
        text = raw.decode()
    except OSError as error:
        raise SecretUnavailable(f"{name}: cannot read {path}: {error.strerror}") from None
    except UnicodeDecodeError:
        raise SecretUnavailable(f"{name}: {path} is not UTF-8 text") from None
    if len(raw) > SECRET_FILE_BYTES or "\0" in text:
        raise SecretUnavailable(f"{name}: {path} is not a secret of at most {SECRET_FILE_BYTES} bytes")
    return text.removesuffix("\n").removesuffix("\r")
