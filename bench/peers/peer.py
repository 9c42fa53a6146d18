"""One peer under measurement: its server, its worker, and rounds from a submitting process of its own.

Each is installed, pinned and hashed, into an environment of its own below `.venv-bench`: it meets neither the product's
requirements nor another peer's, so that each runs with the newest of everything it allows.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from bench.figures import Figure
from bench.peers import servers
from demo.program import Program, wait_until

ROOT = Path(__file__).resolve().parent.parent.parent
VENV = ROOT / ".venv-bench"
TASKS = Path(__file__).parent / "tasks"
LIMIT_S = 120.0


@dataclass(frozen=True, slots=True)
class Kind:
    """A peer's name in the table, its task file, its distribution, how its worker is started, and what it needs."""

    name: str
    tasks: str
    distribution: str
    worker: tuple[str, ...]
    missing: Callable[[], str]
    durable: bool = False


_CELERY = (
    "celery", "-A", "celery_task", "worker", "--concurrency", "2", "--loglevel", "WARNING",
    "--without-gossip", "--without-mingle", "--without-heartbeat",
)  # fmt: skip
CELERY = Kind("Celery + Redis", "celery_task", "celery", _CELERY, servers.no_redis)
CELERY_DURABLE = Kind(
    "Celery + Redis, AOF always, acks_late", "celery_task", "celery", _CELERY, servers.no_redis, durable=True
)
DRAMATIQ = Kind(
    "dramatiq + Redis", "dramatiq_task", "dramatiq",
    ("dramatiq", "dramatiq_task", "--processes", "2", "--threads", "8"), servers.no_redis,
)  # fmt: skip
ARQ = Kind("arq + Redis", "arq_task", "arq", ("arq", "arq_task.WorkerSettings"), servers.no_redis)
TASKIQ = Kind(
    "taskiq + Redis streams", "taskiq_task", "taskiq",
    ("taskiq", "worker", "taskiq_task:broker", "--workers", "2", "--log-level", "WARNING"), servers.no_redis,
)  # fmt: skip
PROCRASTINATE = Kind(
    "procrastinate + PostgreSQL", "procrastinate_task", "procrastinate",
    ("procrastinate", "--app", "procrastinate_task.app", "worker", "--concurrency", "64"), servers.no_postgres,
)  # fmt: skip
ALL = (CELERY_DURABLE, CELERY, DRAMATIQ, ARQ, TASKIQ, PROCRASTINATE)


def prepare(kind: Kind) -> Path:
    """Install the peer once; return its Python."""
    folder = VENV / kind.distribution
    python = folder / "bin" / "python"
    requirements = ROOT / "requirements" / f"bench-{kind.distribution}.txt"
    stamp = folder / ".ready"
    if not stamp.exists() or stamp.stat().st_mtime < requirements.stat().st_mtime:
        uv = Path(sys.executable).with_name("uv")
        subprocess.run([uv, "venv", "-q", "--clear", "--python", sys.executable, folder], check=True)
        subprocess.run(
            [uv, "pip", "install", "-q", "--python", python, "--require-hashes", "-r", requirements], check=True
        )
        stamp.touch()
    return python


def version_of(kind: Kind) -> str:
    """Return the version of the peer's distribution."""
    code = f"from importlib.metadata import version; print(version({kind.distribution!r}))"
    return subprocess.run([prepare(kind), "-c", code], stdout=subprocess.PIPE, check=True, text=True).stdout.strip()


class Peer:
    """A running peer."""

    def __init__(self, kind: Kind, home: Path) -> None:
        self._python = prepare(kind)
        self._kind = kind
        home.mkdir(parents=True)
        self._stack = contextlib.ExitStack()
        try:
            self._start(home)
        except BaseException:
            self._stack.close()
            raise

    def _start(self, home: Path) -> None:
        kind = self._kind
        if kind.missing is servers.no_postgres:
            url = self._stack.enter_context(servers.postgres())
        else:
            url = self._stack.enter_context(servers.redis(home / "server", durable=kind.durable))
        self._env = {"PEER_URL": url, "PEER_DURABLE": str(int(kind.durable)), "PYTHONPATH": str(TASKS)}
        if kind.missing is servers.no_postgres and self._run("schema").returncode:
            raise RuntimeError("the schema could not be made")
        worker = self._worker = Program(
            "worker", (self._python.parent / kind.worker[0], *kind.worker[1:]), home / "worker.log", self._env
        )
        self._stack.callback(worker.stop)
        worker.start()
        wait_until(self._answers, f"the worker of {kind.name} answering", 60)
        self._send(signal.SIGSTOP)

    def _answers(self) -> bool:
        if not self._worker.running():
            raise RuntimeError(self._worker.tail())
        return self._run("1", "1").returncode == 0

    def _run(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [str(self._python), str(TASKS / f"{self._kind.tasks}.py"), *arguments],
            env={**os.environ, **self._env},
            capture_output=True,
            text=True,
            check=False,
            timeout=LIMIT_S,
        )

    def measure(self, in_flight: int, count: int) -> Figure:
        """Run one round. Between its rounds the worker stands still: some poll, and would slow down the others.

        Raises:
            RuntimeError: the submitting process failed.
        """
        self._send(signal.SIGCONT)
        try:
            done = self._run(str(in_flight), str(count))
        finally:
            self._send(signal.SIGSTOP)
        if done.returncode:
            raise RuntimeError(done.stderr or self._worker.tail())
        return Figure(**json.loads(done.stdout))

    def stop(self) -> None:
        """Stop worker and server."""
        self._send(signal.SIGCONT)
        self._stack.close()

    def _send(self, number: signal.Signals) -> None:
        """Send the worker and its processes a signal."""
        if self._worker.running():
            os.killpg(self._worker.pid, number)
