"""`aisops-core serve`: run Core until it is told to stop."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import click

from aisops_core import logs
from aisops_core.cli import process
from aisops_core.cli.core import ExampleCommand, location_options, version
from aisops_core.config import LOOPBACK, Address, CoreConfig, load

if TYPE_CHECKING:
    from aisops_core.app import Core


@click.command(
    cls=ExampleCommand,
    examples=(
        "aisops-core serve --data ./core-data",
        "aisops-core serve --config /etc/aisops/core.toml",
        "aisops-core serve --data ./core-data --http 0.0.0.0:8080 --tls-cert core.pem --tls-key core.key",
        "aisops-core serve --data ./core-data --http 127.0.0.1:0 --grpc 127.0.0.1:0   (free ports, see endpoints.json)",
    ),
)
@location_options
@click.option("--http", metavar="HOST:PORT", help="Where the HTTP API listens (default 127.0.0.1:8080; port 0: any).")
@click.option("--grpc", metavar="HOST:PORT", help="Where Runners connect (default 127.0.0.1:50051; port 0: any).")
@click.option(
    "--admin-token-file",
    type=click.Path(path_type=Path),
    help="On the first start, write the admin token here (mode 0600) instead of showing it.",
)
@click.option("--tls-cert", type=click.Path(path_type=Path), help="Certificate chain (PEM) of both doors.")
@click.option("--tls-key", type=click.Path(path_type=Path), help="Its private key (PEM).")
@click.option(
    "--tls-client-ca", type=click.Path(path_type=Path), help="Runners must show a certificate of this authority (PEM)."
)
@click.option("--allow-plaintext", is_flag=True, default=None, help="Listen without TLS on addresses others can reach.")
@click.option(
    "--http-plaintext", is_flag=True, default=None, help="HTTP without TLS on loopback: a proxy here ends it."
)
def serve(*, config: Path | None, **options: Any) -> None:
    """Run Core: the HTTP API and the door Runners connect to.

    Needs nothing but a data folder: the database is made, and on the first start the admin token is shown, once.
    SIGTERM and Ctrl-C stop it in order within ten seconds.
    """
    # Before gRPC is imported: its own lines repeat, unstructured, what ours say.
    os.environ.setdefault("GRPC_VERBOSITY", "NONE")
    settings = load(config, os.environ, options)
    settings.refuse_plaintext()
    logs.configure(settings.log_format, settings.log_level)
    os.umask(0o077)
    process.raise_file_limit()
    process.share_memory_pools()
    asyncio.run(_serve(settings))  # uvloop was measured here and is slower: gRPC polls in a thread of its own


async def _serve(settings: CoreConfig) -> None:
    from aisops_core.app import build  # heavy, and not needed to find a mistake in the settings

    stop = asyncio.Event()
    loop = asyncio.get_running_loop()

    def on_signal(number: signal.Signals) -> None:
        # The second signal finds the default action again and ends the process at once.
        loop.remove_signal_handler(number)
        stop.set()

    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, on_signal, number)
    async with build(settings, version=version()) as core:
        process.calm_collector()
        process.return_memory()
        announce(core, settings)
        await stop.wait()
        click.echo("Stopping: Runners are asked to reconnect later.", err=True)


def login_url(url: str, certificate: Path | None) -> str:
    """Return the address to log in at: by the certificate's own name, on this machine where Core listens everywhere."""
    parts = urlsplit(url)
    host = parts.hostname or ""
    if certificate is not None:
        host = next(iter(_names(certificate)), host)
    elif host in {"0.0.0.0", "::"}:
        host = LOOPBACK
    return f"{parts.scheme}://{Address(host, parts.port or 0)}"


def _names(certificate: Path) -> list[str]:
    """Return the DNS names a certificate is for, wildcards left out; none when it cannot be read."""
    from cryptography import x509

    try:
        first = x509.load_pem_x509_certificate(certificate.read_bytes())
        names = first.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except (OSError, ValueError, x509.ExtensionNotFound):
        return []
    return [name for name in names.get_values_for_type(x509.DNSName) if not name.startswith("*")]


def announce(core: Core, settings: CoreConfig) -> None:
    """Say where Core listens and, on the first start, how to go on."""
    click.echo(f"AIsOpsFlow Core {version()}, data in {settings.data_dir}")
    click.echo(f"  HTTP  {core.http_url}")
    click.echo(f"  gRPC  {core.grpc_address}{'' if settings.tls else '  (no TLS)'}")
    url = login_url(core.http_url, settings.tls_cert if settings.http_tls else None)
    if core.admin_token is not None:
        click.echo(
            f"\nFirst start. The admin token, shown this once:\n\n  {core.admin_token}\n\n"
            "Next, in another terminal:\n\n"
            f"  aisops login {url} --token-file -     (paste the token, then Enter and Ctrl-D)\n"
            "  aisops runner create runner-1     (prints the Runner's token)\n"
        )
    elif core.admin_token_path is not None:
        click.echo(
            f"\nFirst start. The admin token is in {core.admin_token_path} (mode 0600). Next:\n\n"
            f"  aisops login {url} --token-file {core.admin_token_path}\n"
            "  aisops runner create runner-1\n"
        )
    sys.stdout.flush()
