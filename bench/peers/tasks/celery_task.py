"""Celery: PEER_URL is the broker's address; PEER_DURABLE=1 acknowledges after the work instead of before."""

from __future__ import annotations

import os

import window
from celery import Celery

URL, DURABLE = os.environ["PEER_URL"], os.environ["PEER_DURABLE"] == "1"
app = Celery("celery_task", broker=URL, backend=URL)
app.conf.update(
    task_acks_late=DURABLE,
    task_reject_on_worker_lost=DURABLE,
    broker_connection_retry_on_startup=True,
    task_serializer="json",
    result_serializer="json",
)


@app.task(name="noop.echo")
def echo(document: dict[str, str]) -> dict[str, str]:
    """Answer with the same document."""
    return document


if __name__ == "__main__":
    window.sync(lambda: echo.delay(window.DOCUMENT), lambda handle: handle.get(timeout=60))
