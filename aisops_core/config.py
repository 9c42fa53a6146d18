"""Core's configuration: one TOML file, the environment and the command line, read once into a frozen object.

Later sources win: default, file, environment, option. Only the command line and the composition root read this module;
every part is given values. The environment names of the original product (`AISOPSFLOW_DB`, `CORE_GRPC_PORT`,
`CORE_GRPC_TLS`) are understood as they are.
"""

from __future__ import annotations

import difflib
import ipaddress
import tomllib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError, model_validator

from aisops_core.errors import ConfigError

HTTP_PORT = 8080
GRPC_PORT = 50051
LOOPBACK = "127.0.0.1"


@dataclass(frozen=True, slots=True)
class Address:
    """Where a door listens. Port 0 lets the system choose a free one."""

    host: str
    port: int

    @classmethod
    def parse(cls, text: str, default_port: int) -> Address:
        """Read `HOST:PORT`, `HOST`, `:PORT`, `PORT` or `[v6]:PORT`; raises ValueError with what is wrong."""
        if text.isascii() and text.isdigit():
            host, port = "", text
        elif text.startswith("["):
            host, _, rest = text[1:].partition("]")
            port = rest.removeprefix(":")
        elif text.count(":") > 1:
            host, port = text, ""
        else:
            host, _, port = text.partition(":")
        if port and not (port.isascii() and port.isdigit() and len(port) <= 5 and int(port) <= 65_535):
            raise ValueError(f"{port!r} is not a port (0 to 65535)")
        return cls(host or LOOPBACK, int(port) if port else default_port)

    @property
    def is_loopback(self) -> bool:
        """Whether only programs of this machine can reach it."""
        if self.host == "localhost":
            return True
        try:
            return ipaddress.ip_address(self.host).is_loopback
        except ValueError:
            return False

    def __str__(self) -> str:
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{host}:{self.port}"


def _address(default_port: int) -> Callable[[object], object]:
    def read(value: object) -> object:
        return Address.parse(value, default_port) if isinstance(value, str) else value

    return read


HttpAddress = Annotated[Address, BeforeValidator(_address(HTTP_PORT))]
GrpcAddress = Annotated[Address, BeforeValidator(_address(GRPC_PORT))]
FilePath = Annotated[Path, Field(strict=False)]
Seconds = Annotated[float, Field(gt=0, le=30 * 86_400, allow_inf_nan=False)]
Retention = Annotated[float, Field(ge=60, le=10 * 366 * 86_400, allow_inf_nan=False)]


class CoreConfig(BaseModel):
    """Everything an operator can choose. Durations are seconds."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, hide_input_in_errors=True)

    data_dir: FilePath
    database: str = ""
    http: HttpAddress = Address(LOOPBACK, HTTP_PORT)
    grpc: GrpcAddress = Address(LOOPBACK, GRPC_PORT)
    tls_cert: FilePath | None = None
    tls_key: FilePath | None = None
    tls_client_ca: FilePath | None = None
    allow_plaintext: bool = False
    http_plaintext: bool = False
    admin_token_file: FilePath | None = None
    pepper_file: FilePath | None = None
    lease_s: Seconds = 60.0
    reconnect_grace_s: Seconds = 300.0
    accept_timeout_s: Seconds = 10.0
    queue_ttl_s: Seconds = 86_400.0
    retain_jobs_s: Retention = 30 * 86_400.0
    retain_uncertain_s: Retention = 365 * 86_400.0
    retain_logs_s: Retention = 7 * 86_400.0
    retain_events_s: Retention = 30 * 86_400.0
    heartbeat_s: Annotated[float, Field(ge=0.1, le=40, allow_inf_nan=False)] = 15.0
    replica: Annotated[str, Field(pattern=r"^[A-Za-z0-9._:-]{1,128}$")] = "core-1"
    log_format: Literal["auto", "json", "console"] = "auto"
    log_level: Literal["debug", "info", "warning", "error"] = "info"

    @model_validator(mode="after")
    def _tls_is_whole(self) -> CoreConfig:
        if (self.tls_cert is None) != (self.tls_key is None):
            raise ValueError("tls_cert and tls_key are needed together")
        if self.tls_client_ca is not None and self.tls_cert is None:
            raise ValueError("tls_client_ca needs tls_cert and tls_key")
        return self

    @property
    def database_url(self) -> str:
        """SQLAlchemy URL of the store: `database` as a URL or a file path, else a SQLite file in the data folder."""
        if "://" in self.database:
            return self.database
        path = Path(self.database) if self.database else self.data_dir / "core.sqlite"
        return f"sqlite:///{path.absolute()}"

    @property
    def tls(self) -> bool:
        """Whether both doors speak TLS."""
        return self.tls_cert is not None

    @property
    def http_tls(self) -> bool:
        """Whether the HTTP door speaks TLS; `http_plaintext` is for a proxy on this machine that ends it."""
        return self.tls and not self.http_plaintext

    def refuse_plaintext(self) -> None:
        """Raise ConfigError when a door would speak plaintext to other machines without that being asked for."""
        if self.allow_plaintext:
            return
        for door, address, encrypted in (("http", self.http, self.http_tls), ("grpc", self.grpc, self.tls)):
            if not encrypted and not address.is_loopback:
                raise ConfigError(
                    f"{door} would listen on {address} without TLS, where tokens can be read on the way. Set tls_cert"
                    " and tls_key, or, behind a proxy that ends TLS, ask for it by name: allow_plaintext = true"
                    " (--allow-plaintext)."
                )


# --- environment ------------------------------------------------------------------------------------------------------


def _boolean(text: str) -> bool:
    words = {"1": True, "true": True, "yes": True, "on": True, "0": False, "false": False, "no": False, "off": False}
    if text.lower() not in words:
        raise ValueError("write true or false")
    return words[text.lower()]


def _number(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        raise ValueError("write a number of seconds") from None


def _plaintext_unless_tls(text: str) -> bool:
    return not _boolean(text)


ENVIRONMENT: Mapping[str, tuple[str, Callable[[str], Any]]] = {
    # The original's names first; ours, which are more exact, come later and win.
    "CORE_GRPC_TLS": ("allow_plaintext", _plaintext_unless_tls),
    "CORE_HTTP_PORT": ("http", str),
    "CORE_GRPC_PORT": ("grpc", str),
    "AISOPSFLOW_DATA": ("data_dir", str),
    "AISOPSFLOW_DB": ("database", str),
    "AISOPSFLOW_HTTP": ("http", str),
    "AISOPSFLOW_GRPC": ("grpc", str),
    "AISOPSFLOW_TLS_CERT": ("tls_cert", str),
    "AISOPSFLOW_TLS_KEY": ("tls_key", str),
    "AISOPSFLOW_TLS_CLIENT_CA": ("tls_client_ca", str),
    "AISOPSFLOW_ALLOW_PLAINTEXT": ("allow_plaintext", _boolean),
    "AISOPSFLOW_HTTP_PLAINTEXT": ("http_plaintext", _boolean),
    "AISOPSFLOW_ADMIN_TOKEN_FILE": ("admin_token_file", str),
    "AISOPSFLOW_PEPPER_FILE": ("pepper_file", str),
    "AISOPSFLOW_LEASE_S": ("lease_s", _number),
    "AISOPSFLOW_RECONNECT_GRACE_S": ("reconnect_grace_s", _number),
    "AISOPSFLOW_QUEUE_TTL_S": ("queue_ttl_s", _number),
    "AISOPSFLOW_RETAIN_JOBS_S": ("retain_jobs_s", _number),
    "AISOPSFLOW_RETAIN_UNCERTAIN_S": ("retain_uncertain_s", _number),
    "AISOPSFLOW_RETAIN_LOGS_S": ("retain_logs_s", _number),
    "AISOPSFLOW_RETAIN_EVENTS_S": ("retain_events_s", _number),
    "AISOPSFLOW_REPLICA": ("replica", str),
    "AISOPSFLOW_LOG_FORMAT": ("log_format", str),
    "AISOPSFLOW_LOG_LEVEL": ("log_level", str),
}


@dataclass
class _Sources:
    """Values gathered so far, and for each key where it came from (for error messages)."""

    values: dict[str, Any] = field(default_factory=dict)
    origins: dict[str, str] = field(default_factory=dict)

    def take(self, key: str, value: Any, origin: str) -> None:
        self.values[key] = value
        self.origins[key] = origin


def _read_file(path: Path) -> dict[str, Any]:
    try:
        return tomllib.loads(path.read_bytes().decode())
    except OSError as error:
        raise ConfigError(f"Cannot read {path}: {error.strerror or error}.") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path} is not valid TOML: {error}.") from None


def _refuse_unknown(key: str, path: Path) -> None:
    known = CoreConfig.model_fields
    if key in known:
        return
    near = difflib.get_close_matches(key, known, 1)
    hint = f"did you mean {near[0]!r}?" if near else f"known keys: {', '.join(known)}."
    raise ConfigError(f"{path}: unknown key {key!r}; {hint}")


def _explain(error: ValidationError, origins: Mapping[str, str]) -> str:
    first = error.errors(include_url=False, include_input=False, include_context=False)[0]
    key = str(first["loc"][0]) if first["loc"] else ""
    message = first["msg"].removeprefix("Value error, ")
    if key == "data_dir" and first["type"] == "missing":
        return "No data folder: say where Core keeps its data with --data DIR, data_dir in the file or AISOPSFLOW_DATA."
    where = origins.get(key, "configuration")
    return f"{where}: key {key!r}: {message}." if key else f"configuration: {message}."


def load(
    file: Path | None = None, environment: Mapping[str, str] | None = None, options: Mapping[str, Any] | None = None
) -> CoreConfig:
    """Merge file, environment and options (key to value, None meaning not given) into one `CoreConfig`.

    Raises ConfigError with one line that names the file or variable, the key and what to change.
    """
    sources = _Sources()
    environment = environment or {}
    if file is None and environment.get("AISOPSFLOW_CONFIG"):
        file = Path(environment["AISOPSFLOW_CONFIG"])
    if file is not None:
        for key, value in _read_file(file).items():
            _refuse_unknown(key, file)
            sources.take(key, value, str(file))
    for name, (key, read) in ENVIRONMENT.items():
        if text := environment.get(name, ""):
            try:
                sources.take(key, read(text), f"environment variable {name}")
            except ValueError as error:
                raise ConfigError(f"environment variable {name}: {error}.") from None
    for key, value in (options or {}).items():
        if value is not None:
            sources.take(key, value, f"option --{key.replace('_', '-')}")
    try:
        return CoreConfig.model_validate(sources.values)
    except ValidationError as error:
        raise ConfigError(_explain(error, sources.origins)) from None
