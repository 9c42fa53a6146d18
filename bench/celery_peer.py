"""Celery with Redis on the same work: submitted by another process, result read back.

Needs `redis-server` on PATH; Celery itself is installed, pinned and hashed, into `.venv-bench` so that it never meets
the product's own requirements.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

from bench.figures import Figure
from demo.program import Program, free_port, wait_until

ROOT = Path(__file__).resolve().parent.parent
VENV = ROOT / ".venv-bench"
DURABLE = ("--appendonly", "yes", "--appendfsync", "always")
FAST = ("--appendonly", "no", "--save", "")


def missing() -> str:
    """Return why Celery cannot be measured here, or an empty text."""
    return "" if shutil.which("redis-server") else "redis-server is not installed"


def prepare() -> Path:
    """Install Celery once; return its Python."""
    python = VENV / "bin" / "python"
    stamp = VENV / ".ready"
    if not stamp.exists():
        uv = Path(sys.executable).with_name("uv")
        subprocess.run([uv, "venv", "-q", "--clear", "--python", sys.executable, VENV], check=True)
        requirements = ROOT / "requirements" / "bench.txt"
        subprocess.run(
            [uv, "pip", "install", "-q", "--python", python, "--require-hashes", "-r", requirements], check=True
        )
        stamp.touch()
    return python


class CeleryPeer:
    """A Redis server, a Celery worker with two processes, and rounds of submitting."""

    def __init__(self, home: Path, *, durable: bool) -> None:
        python = prepare()
        home.mkdir(parents=True)
        port = free_port()
        self._env = {
            "CELERY_BENCH_REDIS": f"redis://127.0.0.1:{port}/0",
            "CELERY_BENCH_LATE": "1" if durable else "0",
            "PYTHONPATH": str(Path(__file__).parent),
        }
        self._python = python
        options = DURABLE if durable else FAST
        redis = ("redis-server", "--port", str(port), "--bind", "127.0.0.1", "--dir", str(home), *options)
        self._redis = Program("redis", redis, home / "redis.log")
        worker = (python, "-m", "celery", "-A", "celery_task", "worker", "--concurrency", "2", "--loglevel", "WARNING",
                  "--without-gossip", "--without-mingle", "--without-heartbeat")  # fmt: skip
        self._worker = Program("worker", worker, home / "worker.log", self._env)
        self._redis.start()
        self._redis.wait_for(lambda: "Ready to accept connections" in self._redis.tail(50), "Redis being ready")
        self._worker.start()
        wait_until(self._answers, "the Celery worker answering", 60)

    def _answers(self) -> bool:
        if not self._worker.running():
            raise RuntimeError(self._worker.tail())
        return self._submit(1, 1).returncode == 0

    def _submit(self, in_flight: int, count: int) -> subprocess.CompletedProcess[bytes]:
        return subprocess.run(
            [str(self._python), str(ROOT / "bench" / "celery_task.py"), str(in_flight), str(count)],
            env={**os.environ, **self._env},
            stdout=subprocess.PIPE,
            check=False,
            timeout=300,
        )

    def measure(self, in_flight: int, count: int) -> Figure:
        """Run one round.

        Raises:
            RuntimeError: the submitting process failed.
        """
        done = self._submit(in_flight, count)
        if done.returncode:
            raise RuntimeError(self._worker.tail())
        return Figure(**json.loads(done.stdout))

    def stop(self) -> None:
        """Stop worker and Redis."""
        self._worker.stop()
        self._redis.stop()
