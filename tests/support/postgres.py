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
import time
from collections.abc import Iterator
from pathlib import Path

from demo.program import free_port

DSN_VARIABLE = "AISOPS_TEST_PG_DSN"
ACCOUNT = "postgres"
START_S = 60.0


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
    log = home / "server.log"  # a file: nobody reads a pipe on, and a server whose pipe is full stands still
    with log.open("wb") as told:
        process = subprocess.Popen([folder / "postgres", "-D", data, *settings], user=user, cwd=home, stderr=told)
    try:
        until_ready(process, log)
        yield f"postgresql://{ACCOUNT}@127.0.0.1:{port}/postgres"
    finally:
        process.send_signal(signal.SIGINT)
        process.wait(20)


def until_ready(process: subprocess.Popen[bytes], log: Path) -> None:
    """Wait until the server accepts connections."""
    deadline = time.monotonic() + START_S
    while b"ready to accept connections" not in log.read_bytes():
        if process.poll() is not None or time.monotonic() > deadline:
            raise RuntimeError(f"PostgreSQL did not start: {log.read_text(errors='replace')[-500:]}")
        time.sleep(0.05)
