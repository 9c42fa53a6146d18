"""The servers peers need: Redis, with or without its own durability, and PostgreSQL with fsync. Gone afterwards."""

from __future__ import annotations

import contextlib
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

from demo.program import Program, free_port
from tests.support.postgres import ACCOUNT, account, programs, server

DURABLE = ("--appendonly", "yes", "--appendfsync", "always")
FAST = ("--appendonly", "no", "--save", "")


def no_redis() -> str:
    """Return why there is no Redis here, or an empty text."""
    return "" if shutil.which("redis-server") else "redis-server is not installed"


def no_postgres() -> str:
    """Return why there is no PostgreSQL here, or an empty text."""
    try:
        account()
    except KeyError:
        return f"PostgreSQL refuses root and there is no account {ACCOUNT}"
    return "" if programs() else "PostgreSQL is not installed"


@contextlib.contextmanager
def redis(home: Path, *, durable: bool) -> Iterator[str]:
    """Run Redis; yields its URL."""
    home.mkdir(parents=True, exist_ok=True)
    port = free_port()
    options = DURABLE if durable else FAST
    command = ("redis-server", "--port", str(port), "--bind", "127.0.0.1", "--dir", str(home), *options)
    program = Program("redis", command, home / "redis.log")
    program.start()
    try:
        program.wait_for(lambda: "Ready to accept connections" in program.tail(50), "Redis being ready")
        yield f"redis://127.0.0.1:{port}/0"
    finally:
        program.stop()


@contextlib.contextmanager
def postgres() -> Iterator[str]:
    """Run PostgreSQL as it comes, fsync on; yields its DSN."""
    folder, user = programs(), account()
    if folder is None:
        raise RuntimeError(no_postgres())
    with (
        tempfile.TemporaryDirectory(prefix="aisops-bench-pg-") as home,
        server(folder, Path(home), user, fsync=True) as dsn,
    ):
        yield dsn
