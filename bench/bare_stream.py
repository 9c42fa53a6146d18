"""The limit of the stream: bare gRPC between two processes with certificates on both ends, nothing decoded or stored.

`python -m bench.bare_stream serve CA CERT KEY` echoes frames and prints its port; `… call PORT CA CERT KEY SIZE FRAMES`
sends frames of SIZE messages of 200 octets, 16 under way at a time, and prints one Figure as JSON.
"""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Iterable
from pathlib import Path
from typing import Any, NamedTuple

import grpc
import grpc.aio

from bench.authority import Authority
from bench.figures import Figure

MESSAGE = 200
UNDER_WAY = 16
METHOD = "/bench.Bare/Echo"


class Pem(NamedTuple):
    """What one end shows and trusts."""

    ca: bytes
    cert: bytes
    key: bytes

    @classmethod
    def read(cls, files: Iterable[str]) -> Pem:
        """Read the three files."""
        return cls(*(Path(file).read_bytes() for file in files))


class _Echo(grpc.GenericRpcHandler):
    def service(self, handler_call_details: grpc.HandlerCallDetails) -> Any:
        return grpc.stream_stream_rpc_method_handler(self._echo) if handler_call_details.method == METHOD else None

    async def _echo(self, _requests: AsyncIterator[bytes], context: grpc.aio.ServicerContext[Any, Any]) -> None:
        while (frame := await context.read()) is not grpc.aio.EOF:
            await context.write(frame)


async def serve(pem: Pem) -> None:
    """Echo until killed."""
    server = grpc.aio.server(handlers=[_Echo()], options=[("grpc.so_reuseport", 0)])
    credentials = grpc.ssl_server_credentials([(pem.key, pem.cert)], pem.ca, require_client_auth=True)
    port = server.add_secure_port("127.0.0.1:0", credentials)
    await server.start()
    print(port, flush=True)
    await server.wait_for_termination()


async def call(port: int, pem: Pem, size: int, frames: int) -> Figure:
    """Send, and read every frame back."""
    credentials = grpc.ssl_channel_credentials(pem.ca, pem.key, pem.cert)
    frame, latencies, room = bytes(MESSAGE * size), list[float](), asyncio.Semaphore(UNDER_WAY if size > 1 else 1)
    sent: list[float] = []
    async with grpc.aio.secure_channel(f"127.0.0.1:{port}", credentials) as channel:
        stream: Any = channel.stream_stream(METHOD)()

        async def read() -> None:
            for turn in range(frames):
                if len(await stream.read()) != len(frame):
                    raise RuntimeError("the echo is not what was sent")
                latencies.append(time.perf_counter() - sent[turn])
                room.release()

        begun = time.perf_counter()
        reading = asyncio.create_task(read())
        for _ in range(frames):
            await room.acquire()
            sent.append(time.perf_counter())
            await stream.write(frame)
        await reading
        elapsed = time.perf_counter() - begun
        await stream.done_writing()
    figure = Figure.of(latencies, elapsed)
    return Figure(frames * size / elapsed, figure.p50_ms, figure.p99_ms, frames * size)


class BareStream:
    """The echoing process, and rounds against it."""

    def __init__(self, authority: Authority) -> None:
        self._ours = [str(path) for path in (authority.ca, authority.runner_cert, authority.runner_key)]
        files = [str(path) for path in (authority.ca, authority.core_cert, authority.core_key)]
        self._server = subprocess.Popen(
            [sys.executable, "-m", "bench.bare_stream", "serve", *files], stdout=subprocess.PIPE
        )
        if self._server.stdout is None:
            raise RuntimeError("the server has no standard output")
        self._port = self._server.stdout.readline().decode().strip()

    def measure(self, size: int, frames: int) -> Figure:
        """Run one round."""
        command = [sys.executable, "-m", "bench.bare_stream", "call", self._port, *self._ours, str(size), str(frames)]
        done = subprocess.run(command, stdout=subprocess.PIPE, check=True, timeout=60)
        return Figure(**json.loads(done.stdout))

    def stop(self) -> None:
        """End the echo."""
        self._server.kill()
        self._server.wait()
        if self._server.stdout is not None:
            self._server.stdout.close()


def main() -> None:
    """Serve or call."""
    if sys.argv[1] == "serve":
        asyncio.run(serve(Pem.read(sys.argv[2:5])))
    else:
        size, frames = map(int, sys.argv[6:8])
        print(json.dumps(asyncio.run(call(int(sys.argv[2]), Pem.read(sys.argv[3:6]), size, frames)).document()))


if __name__ == "__main__":
    main()
