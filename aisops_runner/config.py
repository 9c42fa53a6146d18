"""The Runner's configuration: one TOML file and the environment, read once into a frozen object.

Only `cli` and `app` read it; every part is given plain values. The environment wins over the file. Every fault is one
`ConfigInvalid` that names the key and where it was read.
"""

from __future__ import annotations

import os
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal
from urllib.parse import urlsplit

from pydantic import Field, SecretStr, StringConstraints, ValidationError, field_validator, model_validator

from aisops_runner.errors import ConfigInvalid
from aisops_runner.plugin_config import (
    Frozen,
    PermissionConfig,
    PluginConfig,
    absolute_plugin,
    check_plugin,
    is_loopback,
    take_plugin_urls,
)

CONFIG_ENV = "AISOPS_RUNNER_CONFIG"
MAX_FILE_BYTES = 1024 * 1024

# Environment name → key; the first name that is set wins.
ENV_KEYS: Mapping[str, tuple[str, ...]] = {
    "core_endpoint": ("CORE_GRPC_ENDPOINT",),
    "tenant_id": ("TENANT_ID",),
    "runner_id": ("RUNNER_ID",),
    "token": ("CORE_RUNNER_AUTH_TOKEN",),
    "token_file": ("AISOPS_RUNNER_TOKEN_FILE",),
    "tls_ca": ("AISOPS_RUNNER_TLS_CA",),
    "tls_cert": ("AISOPS_RUNNER_TLS_CERT",),
    "tls_key": ("AISOPS_RUNNER_TLS_KEY",),
    "allow_plaintext": ("AISOPS_RUNNER_ALLOW_PLAINTEXT",),
    "data_dir": ("AISOPS_RUNNER_DATA_DIR",),
    "allow_network_data_dir": ("AISOPS_RUNNER_ALLOW_NETWORK_DATA_DIR",),
    "job_slots": ("AISOPS_RUNNER_JOB_SLOTS",),
    "labels": ("AISOPS_RUNNER_LABELS",),
    "policy_file": ("AISOPS_RUNNER_POLICY_FILE",),
    "proxy": ("https_proxy", "HTTPS_PROXY"),
    "no_proxy": ("no_proxy", "NO_PROXY"),
    "plugin_folders": ("AISOPS_RUNNER_PLUGIN_FOLDERS",),
    "describe_timeout_s": ("AISOPS_RUNNER_DESCRIBE_TIMEOUT_S",),
    "log_format": ("AISOPS_RUNNER_LOG_FORMAT",),
    "log_level": ("AISOPS_RUNNER_LOG_LEVEL",),
    "dry_run": ("AISOPS_DRY_RUN",),
}

Identifier = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9._:-]{1,128}$")]
LabelText = Annotated[str, StringConstraints(min_length=1, max_length=256)]


class RunnerConfig(Frozen):
    """Everything a Runner is told. Paths are absolute once loaded from a file; secrets never show in `repr`.

    Attributes:
        core_endpoint: `https://host:443`, or `http://127.0.0.1:50051` (plaintext, loopback only unless
            `allow_plaintext`).
        token: The runner token itself; `token_file` names a file that holds it. At most one of both.
        tls_ca: CA bundle (PEM) to trust instead of the system's.
        tls_cert: Client certificate chain (PEM) for mutual TLS, with `tls_key`.
        data_dir: Where the outbox, the plugin index and the control socket live.
        allow_network_data_dir: Take one on a network file system, which cannot promise that nothing is lost.
        job_slots: Jobs run at once.
        labels: Matched against a job's labels by Core.
        policy_file: TOML with `[[http.allow]]` rules; none: `http.request` is refused altogether.
        proxy: `http://user:pass@host:port` for the way to Core.
        describe_timeout_s: Seconds a plugin may take to describe itself.
        plugins: Per plugin settings.
        plugin_folders: Folders in which every program with a `runner-plugin.yaml` is a plugin.
        plugin_permissions: What such programs may say they need.
        bindings: Capability → plugin, where several plugins claim one capability.
        hooks: Names of the customer hooks (group `aisops.runner.hooks`) to load; none by default.
        dry_run: Sidecars are told that nothing may leave.
    """

    core_endpoint: str = "http://127.0.0.1:50051"
    tenant_id: Identifier = "t_default"
    runner_id: Identifier = "runner-1"
    token: SecretStr | None = None
    token_file: Path | None = None
    tls_ca: Path | None = None
    tls_cert: Path | None = None
    tls_key: Path | None = None
    allow_plaintext: bool = False
    data_dir: Path = Path("aisops-runner-data")
    allow_network_data_dir: bool = False
    job_slots: int = Field(default=16, ge=1, le=4096)
    labels: dict[LabelText, LabelText] = Field(default_factory=dict, max_length=64)
    policy_file: Path | None = None
    proxy: SecretStr | None = None
    no_proxy: str = ""
    describe_timeout_s: float = Field(default=10.0, ge=0.5, le=120)
    plugins: dict[str, PluginConfig] = Field(default_factory=dict)
    plugin_folders: tuple[Path, ...] = ()
    plugin_permissions: PermissionConfig = PermissionConfig()
    bindings: dict[str, str] = Field(default_factory=dict)
    hooks: tuple[str, ...] = ()
    log_format: Literal["auto", "json", "console"] = "auto"
    log_level: Literal["debug", "info", "warning", "error"] = "info"
    dry_run: bool = False

    @field_validator("core_endpoint")
    @classmethod
    def _endpoint(cls, value: str) -> str:
        return _normal_endpoint(value)

    @field_validator("proxy")
    @classmethod
    def _proxy(cls, value: SecretStr | None) -> SecretStr | None:
        if value is None or not value.get_secret_value():
            return None
        if urlsplit(value.get_secret_value()).scheme != "http":
            raise ValueError("must be http://[user:password@]host:port (gRPC speaks to no other kind of proxy)")
        return value

    @field_validator("token")
    @classmethod
    def _token(cls, value: SecretStr | None) -> SecretStr | None:
        return value if value and value.get_secret_value().strip() else None

    @model_validator(mode="after")
    def _together(self) -> RunnerConfig:
        if self.token is not None and self.token_file is not None:
            raise ValueError("token and token_file are both set; keep one")
        if (self.tls_cert is None) != (self.tls_key is None):
            raise ValueError("tls_cert and tls_key go together; set both or none")
        if self.plaintext and not self.allow_plaintext and not is_loopback(self.core_host):
            raise ValueError(
                f"core_endpoint is plaintext (http://) and {self.core_host} is not this machine; use https://, or set "
                "allow_plaintext = true to accept that tokens and jobs can be read on the way"
            )
        for name, plugin in self.plugins.items():
            check_plugin(name, plugin)
        return self

    @property
    def plaintext(self) -> bool:
        """Whether the way to Core is without TLS."""
        return self.core_endpoint.startswith("http://")

    @property
    def core_host(self) -> str:
        """Host name or address of Core, without brackets."""
        return urlsplit(self.core_endpoint).hostname or ""

    @property
    def core_port(self) -> int:
        """TCP port of Core."""
        return urlsplit(self.core_endpoint).port or (80 if self.plaintext else 443)


def load_config(path: Path | None, env: Mapping[str, str]) -> RunnerConfig:
    """Read the file (if any) and the environment.

    Args:
        path: The TOML file; None: the one named by AISOPS_RUNNER_CONFIG, else no file.
        env: The environment, usually `os.environ`.

    Raises:
        ConfigInvalid: A file cannot be read, or a value cannot be used; names the key and its source.
    """
    if path is None and env.get(CONFIG_ENV):
        path = Path(env[CONFIG_ENV])
    settings = _read_toml(path) if path else {}
    sources = dict.fromkeys(settings, str(path))
    for key, names in ENV_KEYS.items():
        name = next((name for name in names if env.get(name)), None)
        if name is None:
            continue
        settings[key] = _read_variable(key, name, env[name])
        sources[key] = f"environment variable {name}"
        if key in ("token", "token_file"):  # the environment's credential replaces the file's, whichever kind it is
            other = "token_file" if key == "token" else "token"
            if sources.get(other) == str(path):
                del settings[other], sources[other]
    take_plugin_urls(settings, env)
    try:
        config = RunnerConfig.model_validate(settings)
    except ValidationError as error:
        raise _explain(error, sources, str(path) if path else "environment") from None
    return _absolute(config, path)


def _read_toml(path: Path) -> dict[str, Any]:
    try:
        raw = path.read_bytes()
    except OSError as error:
        raise ConfigInvalid(f"cannot read the file: {error.strerror}", source=str(path)) from None
    if len(raw) > MAX_FILE_BYTES:
        raise ConfigInvalid(f"larger than {MAX_FILE_BYTES} bytes", source=str(path))
    try:
        return tomllib.loads(raw.decode())
    except UnicodeDecodeError:
        raise ConfigInvalid("not UTF-8 text", source=str(path)) from None
    except (tomllib.TOMLDecodeError, RecursionError) as error:
        raise ConfigInvalid(f"not TOML: {error}", source=str(path)) from None


def _read_variable(key: str, name: str, text: str) -> object:
    """What a variable's text stands for."""
    if key == "labels":
        return _pairs(text, name)
    if key == "plugin_folders":
        return [part for part in text.split(os.pathsep) if part]
    return text


def _pairs(text: str, name: str) -> dict[str, str]:
    """Read `k=v,k2=v2`."""
    pairs: dict[str, str] = {}
    for part in filter(None, (piece.strip() for piece in text.split(","))):
        key, equals, value = part.partition("=")
        if not equals:
            raise ConfigInvalid(
                "must look like site=seoul,tier=prod", key="labels", source=f"environment variable {name}"
            )
        pairs[key.strip()] = value.strip()
    return pairs


def _explain(error: ValidationError, sources: Mapping[str, str], default: str) -> ConfigInvalid:
    """One message for the first fault, with the count of the others."""
    faults = error.errors(include_url=False, include_input=False)
    first = faults[0]
    location = [str(part) for part in first["loc"] if part != "[key]"]
    text = first["msg"].removeprefix("Value error, ")
    if first["type"] == "extra_forbidden":
        text = "no such setting"
    if len(faults) > 1:
        text += f" (and {len(faults) - 1} more)"
    source = sources.get(location[0], default) if location else default
    return ConfigInvalid(text, key=".".join(location), source=source)


def _absolute(config: RunnerConfig, path: Path | None) -> RunnerConfig:
    """Paths written in the file are meant relative to it."""
    base = path.resolve().parent if path else Path.cwd()
    names = ("token_file", "tls_ca", "tls_cert", "tls_key", "data_dir", "policy_file")
    found = {name: getattr(config, name) for name in names}
    plugins = {name: absolute_plugin(plugin, base) for name, plugin in config.plugins.items()}
    more = {"plugins": plugins, "plugin_folders": tuple(base / folder for folder in config.plugin_folders)}
    return config.model_copy(update=more | {name: base / value for name, value in found.items() if value is not None})


def _normal_endpoint(value: str) -> str:
    if "://" not in value:  # the original's spelling: host:port
        host = urlsplit(f"//{value}").hostname or ""
        value = f"{'http' if is_loopback(host) else 'https'}://{value}"
    try:
        url = urlsplit(value)
        port = url.port
    except ValueError as error:
        raise ValueError(f"must look like https://core.example.com:443: {error}") from None
    if url.scheme not in ("http", "https") or not url.hostname:
        raise ValueError("must look like https://core.example.com:443")
    if url.path.strip("/") or url.query or url.fragment or url.username is not None:
        raise ValueError("takes a host and a port only: no path, query or user")
    host = f"[{url.hostname}]" if ":" in url.hostname else url.hostname
    return f"{url.scheme}://{host}:{port or (80 if url.scheme == 'http' else 443)}"
