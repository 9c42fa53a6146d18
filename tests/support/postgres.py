"""A throw-away PostgreSQL server on loopback, for as long as one test process runs.

AISOPS_TEST_PG_DSN names a server to use instead. Where neither that nor PostgreSQL's programs are there, the tests that
want one are skipped, and say so.
"""

from __future__ import annotations

import contextlib
import os
import pwd
import shutil
import signal
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

from demo.program import free_port

DSN_VARIABLE = "AISOPS_TEST_PG_DSN"
ACCOUNT = "postgres"


def programs() -> Path | None:
    """The folder of `initdb` and `postgres`: on PATH, or where Debian keeps them."""
    if found := shutil.which("initdb"):
        return Path(found).resolve().parent
    return max(Path("/usr/lib/postgresql").glob("*/bin"), default=None)


def account() -> str | None:
    """The account to run as: PostgreSQL refuses root. None means the present one; raises KeyError without any."""
    return pwd.getpwnam(ACCOUNT).pw_name if os.geteuid() == 0 else None


@contextlib.contextmanager
def postgres() -> Iterator[str | None]:
    """The DSN of a server that is gone afterwards, of the one named by the environment, or None."""
    if named := os.environ.get(DSN_VARIABLE):
        yield named
        return
    folder = programs()
    try:
        user = account()
    except KeyError:
        folder = None
    if folder is None:
        yield None
        return
    with tempfile.TemporaryDirectory(prefix="aisops-pg-") as home, server(folder, Path(home), user) as dsn:
        yield dsn


@contextlib.contextmanager
def server(folder: Path, home: Path, user: str | None, *, fsync: bool = False) -> Iterator[str]:
    """Run a server of its own in this folder; without fsync unless it is to be measured."""
    if user is not None:
        shutil.chown(home, user)
    data, port = home / "data", free_port()
    initdb = [folder / "initdb", "-D", data, "-A", "trust", "-U", ACCOUNT, "--no-sync", "-E", "UTF8"]
    subprocess.run(initdb, user=user, check=True, capture_output=True, cwd=home)
    options = {"listen_addresses": "127.0.0.1", "port": port, "unix_socket_directories": home, "fsync": fsync}
    settings = [part for name, value in options.items() for part in ("-c", f"{name}={value}")]
    process = subprocess.Popen(
        [folder / "postgres", "-D", data, *settings], user=user, cwd=home, stderr=subprocess.PIPE, text=True
    )
    assert process.stderr is not None
    try:
        for line in process.stderr:
            if "ready to accept connections" in line:
                break
        yield f"postgresql://{ACCOUNT}@127.0.0.1:{port}/postgres"
    finally:
        process.send_signal(signal.SIGINT)
        process.stderr.close()
        process.wait(20)
