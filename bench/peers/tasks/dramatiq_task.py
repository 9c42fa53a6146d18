"""dramatiq with its Redis broker and result backend."""

from __future__ import annotations

import os

import dramatiq
import window
from dramatiq.brokers.redis import RedisBroker
from dramatiq.results import Results
from dramatiq.results.backends import RedisBackend

URL = os.environ["PEER_URL"]
broker = RedisBroker(url=URL)
broker.add_middleware(Results(backend=RedisBackend(url=URL)))
dramatiq.set_broker(broker)


@dramatiq.actor(store_results=True)
def echo(document: dict[str, str]) -> dict[str, str]:
    """Answer with the same document."""
    return document


if __name__ == "__main__":
    window.sync(lambda: echo.send(window.DOCUMENT), lambda handle: handle.get_result(block=True, timeout=60_000))
