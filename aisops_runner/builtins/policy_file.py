"""Reads the Runner's local policy file: TOML with `[[http.allow]]` rules.

The file belongs to the customer's own operators; nothing that Core sends can change or widen it.
"""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator

from aisops_runner.builtins.egress import EgressPolicy, Rule, parse_host
from aisops_runner.errors import ConfigInvalid, PolicyDenied

MAX_FILE_BYTES = 1024 * 1024
Method = Literal["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"]


class _Closed(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)


class _Allow(_Closed):
    host: str = Field(min_length=1, max_length=255)
    schemes: list[Literal["http", "https"]] = Field(default=["https"], min_length=1)
    ports: list[int] = Field(default=[], max_length=64)
    methods: list[Method] = Field(default=["GET", "HEAD"], min_length=1)
    path_prefix: str = Field(default="/", pattern=r"^/[A-Za-z0-9._~!$&'()*+,;=:@/-]*$")
    allow_private: bool = False
    allow_loopback: bool = False

    @field_validator("host")
    @classmethod
    def _host(cls, value: str) -> str:
        star = value.startswith("*.")
        bare = value[2:] if star else value.strip("[]")
        try:
            host = parse_host(f"[{bare}]" if ":" in bare else bare, bare)
        except PolicyDenied as error:
            raise ValueError(error.message) from None
        if star and "." not in host:
            raise ValueError("a wildcard needs at least two labels after it, such as *.corp.example")
        return f"*.{host}" if star else host

    @field_validator("ports")
    @classmethod
    def _ports(cls, value: list[int]) -> list[int]:
        if any(not 1 <= port <= 65535 for port in value):
            raise ValueError("ports are numbers from 1 to 65535")
        return value

    @field_validator("path_prefix")
    @classmethod
    def _prefix(cls, value: str) -> str:
        if any(segment in (".", "..") for segment in value.split("/")):
            raise ValueError("must not hold . or .. segments")
        return value

    def rule(self) -> Rule:
        return Rule(
            host=self.host,
            schemes=frozenset(self.schemes),
            ports=frozenset(self.ports),
            methods=frozenset(self.methods),
            path_prefix=self.path_prefix,
            allow_private=self.allow_private,
            allow_loopback=self.allow_loopback,
        )


class _Http(_Closed):
    allow: list[_Allow] = []


class _Document(_Closed):
    http: _Http = _Http()


def load_policy(path: Path | None) -> EgressPolicy:
    """Read the policy file; None: nothing is allowed.

    Raises:
        ConfigInvalid: It cannot be read or used; names the key and the file. A Runner with a policy it cannot read does
            not start.
    """
    if path is None:
        return EgressPolicy()
    try:
        raw = path.read_bytes()
        if len(raw) > MAX_FILE_BYTES:
            raise ConfigInvalid(f"larger than {MAX_FILE_BYTES} bytes", source=str(path))
        document = _Document.model_validate(tomllib.loads(raw.decode()))
    except OSError as error:
        raise ConfigInvalid(f"cannot read the policy file: {error.strerror}", source=str(path)) from None
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        text = "no such setting" if first["type"] == "extra_forbidden" else first["msg"].removeprefix("Value error, ")
        raise ConfigInvalid(text, key=".".join(map(str, first["loc"])), source=str(path)) from None
    except (ValueError, RecursionError) as error:
        raise ConfigInvalid(f"not TOML: {error}", source=str(path)) from None
    return EgressPolicy(tuple(allow.rule() for allow in document.http.allow))
