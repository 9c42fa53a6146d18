"""`aisops-core serve`: the TLS options reach the settings, and the address it tells people to log in at works."""

from __future__ import annotations

import datetime as dt
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from aisops_core.cli.serve import login_url, serve
from aisops_core.errors import ConfigError


def certificate_for(path: Path, *names: str) -> Path:
    """Write a certificate for the given DNS names."""
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([])
    day = dt.datetime(2026, 1, 1, tzinfo=dt.UTC)
    builder = x509.CertificateBuilder(subject, subject, key.public_key(), 1, day, day + dt.timedelta(days=1))
    if names:
        alternatives = x509.SubjectAlternativeName([x509.DNSName(name) for name in names])
        builder = builder.add_extension(alternatives, critical=False)
    path.write_bytes(builder.sign(key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM))
    return path


@pytest.mark.parametrize(
    ("url", "names", "expected"),
    [
        ("http://127.0.0.1:8080", None, "http://127.0.0.1:8080"),
        ("http://0.0.0.0:8080", None, "http://127.0.0.1:8080"),
        ("https://0.0.0.0:8080", ("*.example.com", "core.example.com"), "https://core.example.com:8080"),
        ("https://10.0.0.1:8080", (), "https://10.0.0.1:8080"),
    ],
)
def test_login_is_by_a_name_the_certificate_is_for(
    tmp_path: Path, url: str, names: tuple[str, ...] | None, expected: str
) -> None:
    certificate = None if names is None else certificate_for(tmp_path / "core.pem", *names)
    assert login_url(url, certificate) == expected


def test_the_tls_options_are_options_of_serve(tmp_path: Path) -> None:
    words = ["--data", str(tmp_path), "--tls-cert", "core.pem"]
    with pytest.raises(ConfigError, match="tls_cert and tls_key"):
        serve.main(words, standalone_mode=False)
