"""Where Core is and what this Runner shows it: the endpoint and the token, with the files the configuration names."""

from __future__ import annotations

from pathlib import Path

from aisops_runner.config import RunnerConfig
from aisops_runner.errors import ConfigInvalid
from aisops_runner.identity.credentials import RunnerToken, load_token
from aisops_runner.uplink.dialer import Endpoint


def read_token(config: RunnerConfig) -> RunnerToken | None:
    """The token as it is now, so that a new one in its file is used at the next dial; None without one.

    Raises:
        ConfigInvalid: The token's file cannot be used.
    """
    if config.token_file is not None:
        return load_token(config.token_file)
    return RunnerToken(config.token.get_secret_value()) if config.token is not None else None


def read_endpoint(config: RunnerConfig) -> Endpoint:
    """Where to dial, and the TLS files' content.

    Raises:
        ConfigInvalid: A TLS file cannot be read.
    """
    return Endpoint(
        host=config.core_host,
        port=config.core_port,
        plaintext=config.plaintext,
        allow_plaintext=config.allow_plaintext,
        ca=_pem(config.tls_ca, "tls_ca"),
        certificate=_pem(config.tls_cert, "tls_cert"),
        key=_pem(config.tls_key, "tls_key"),
        proxy=config.proxy.get_secret_value() if config.proxy is not None else "",
        no_proxy=config.no_proxy,
    )


def _pem(path: Path | None, key: str) -> bytes:
    if path is None:
        return b""
    try:
        return path.read_bytes()
    except OSError as error:
        raise ConfigInvalid(f"cannot read the file: {error.strerror}", key=key, source=str(path)) from None
