"""The peer's side of the work: the same no-op job as a Celery task. Runs in the benchmark's own environment only.

The broker's address comes from CELERY_BENCH_REDIS; CELERY_BENCH_LATE=1 acknowledges after the work instead of before.
`python celery_task.py IN_FLIGHT COUNT` is the submitting process; it prints one Figure as JSON.
"""

from __future__ import annotations

import json
import os
import sys
import time
from collections import deque

from celery import Celery

REDIS = os.environ["CELERY_BENCH_REDIS"]
app = Celery("celery_task", broker=REDIS, backend=REDIS)
app.conf.update(
    task_acks_late=os.environ.get("CELERY_BENCH_LATE") == "1",
    task_reject_on_worker_lost=os.environ.get("CELERY_BENCH_LATE") == "1",
    broker_connection_retry_on_startup=True,
    task_serializer="json",
    result_serializer="json",
)


@app.task(name="noop.echo")  # type: ignore[untyped-decorator]
def echo(document: dict[str, str]) -> dict[str, str]:
    """Answer with the same document."""
    return document


def submit(in_flight: int, count: int) -> dict[str, float]:
    """Keep a window of tasks in flight and read every result back, in order."""
    document = {"text": "x" * 180}
    window: deque[tuple[float, object]] = deque()
    latencies: list[float] = []
    begun = time.perf_counter()
    for turn in range(count + in_flight):
        if len(window) == in_flight or turn >= count:
            if not window:
                break
            sent, result = window.popleft()
            if result.get(timeout=60) != document:  # type: ignore[attr-defined]
                raise RuntimeError("Celery returned something else")
            latencies.append(time.perf_counter() - sent)
        if turn < count:
            window.append((time.perf_counter(), echo.delay(document)))
    elapsed = time.perf_counter() - begun
    latencies.sort()
    return {
        "jobs_per_s": len(latencies) / elapsed,
        "p50_ms": 1000 * latencies[len(latencies) // 2],
        "p99_ms": 1000 * latencies[int(len(latencies) * 0.99)],
        "jobs": len(latencies),
    }


if __name__ == "__main__":
    submit(1, 10)
    print(json.dumps(submit(int(sys.argv[1]), int(sys.argv[2]))))
