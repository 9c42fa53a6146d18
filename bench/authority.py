"""A throw-away authority for one run: a certificate for Core and one for Runners, so that both show who they are."""

from __future__ import annotations

import datetime as dt
import ipaddress
from dataclasses import dataclass
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

LIFETIME = dt.timedelta(days=2)


@dataclass(frozen=True, slots=True)
class Authority:
    """PEM files: the authority, Core's chain and key, a Runner's chain and key."""

    ca: Path
    core_cert: Path
    core_key: Path
    runner_cert: Path
    runner_key: Path

    @property
    def core_options(self) -> tuple[str, ...]:
        """How `aisops-core serve` is told to demand certificates of this authority from Runners."""
        return (
            "--tls-cert", str(self.core_cert), "--tls-key", str(self.core_key), "--tls-client-ca", str(self.ca),
        )  # fmt: skip

    @property
    def runner_lines(self) -> tuple[str, ...]:
        """The same for a Runner's TOML file."""
        return (f'tls_ca = "{self.ca}"', f'tls_cert = "{self.runner_cert}"', f'tls_key = "{self.runner_key}"')


def make_authority(folder: Path) -> Authority:
    """Make the authority and both leaves (P-256, which is what Core's own enrollment would issue)."""
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    key = ec.generate_private_key(ec.SECP256R1())
    root = _builder("AIsOpsFlow benchmark", key).add_extension(x509.BasicConstraints(True, 0), critical=True)
    certificate = root.sign(key, hashes.SHA256())
    made = Authority(*(folder / name for name in ("ca.pem", "core.pem", "core.key", "runner.pem", "runner.key")))
    made.ca.write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
    _leaf(key, "localhost", made.core_cert, made.core_key)
    _leaf(key, "runner", made.runner_cert, made.runner_key)
    return made


def _leaf(issuer: ec.EllipticCurvePrivateKey, name: str, cert: Path, key_file: Path) -> None:
    key = ec.generate_private_key(ec.SECP256R1())
    names: list[x509.GeneralName] = [x509.DNSName(name), x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]
    leaf = _builder(name, key).add_extension(x509.SubjectAlternativeName(names), critical=False)
    cert.write_bytes(leaf.sign(issuer, hashes.SHA256()).public_bytes(serialization.Encoding.PEM))
    key_file.touch(mode=0o600)
    key_file.write_bytes(
        key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    )


def _builder(subject: str, key: ec.EllipticCurvePrivateKey) -> x509.CertificateBuilder:
    now = dt.datetime.now(dt.UTC)
    return (
        x509.CertificateBuilder()
        .subject_name(_name(subject))
        .issuer_name(_name("AIsOpsFlow benchmark"))
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - dt.timedelta(minutes=5))
        .not_valid_after(now + LIFETIME)
    )


def _name(text: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, text)])
