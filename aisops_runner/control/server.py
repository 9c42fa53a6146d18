"""Answers questions about this Runner on a Unix socket, and takes wishes: one JSON object a line in, one a line out.

`{"get": QUESTION}` only looks; `{"do": WISH}` changes something and is answered when that is done.

The socket stands in the data directory (0700) with mode 0600, and the kernel's word on the peer's user is checked too.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import socket
import struct
from collections.abc import Awaitable, Callable, Mapping
from pathlib import Path
from typing import Any

import structlog

from aisops_runner import disk
from aisops_runner.control.address import SOCKET_NAME
from aisops_runner.errors import RunnerError

MAX_LINE_BYTES = 64 * 1024
IDLE_S = 60.0
CONNECTIONS = 16

Answerer = Callable[[], Awaitable[Mapping[str, Any]]]

_log = structlog.get_logger("aisops_runner.control")


class ControlServer:
    """The listening end.

    Args:
        directory: The data directory.
        answers: Question → who answers it.
        deeds: Wish → who does it.
    """

    def __init__(
        self, directory: Path, answers: Mapping[str, Answerer], deeds: Mapping[str, Answerer] | None = None
    ) -> None:
        self._path = directory / SOCKET_NAME
        self._known = {"get": answers, "do": deeds or {}}
        self._server: asyncio.Server | None = None
        self._open: set[asyncio.StreamWriter] = set()

    async def start(self) -> None:
        """Listen. The data directory's lock is held, so a socket left there is dead.

        Raises:
            DataDirUnusable: The socket cannot be made (a path above 100 octets, for example).
            StorageFailed: The disk refused.
        """
        listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_CLOEXEC)
        try:
            self._path.unlink(missing_ok=True)
            os.fchmod(listener.fileno(), 0o600)
            listener.bind(str(self._path))
            self._path.chmod(0o600)
            self._server = await asyncio.start_unix_server(self._serve, sock=listener, limit=MAX_LINE_BYTES)
        except OSError as error:
            listener.close()
            raise disk.refusal(f"cannot listen on {self._path}", error, self._path) from error

    async def stop(self) -> None:
        """Stop listening and take the socket away."""
        if self._server is not None:
            self._server.close()
            for writer in tuple(self._open):
                writer.close()
            with contextlib.suppress(OSError):
                self._path.unlink(missing_ok=True)
            await self._server.wait_closed()
            self._server = None

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if len(self._open) >= CONNECTIONS or not _is_own_user(writer):
            writer.close()
            return
        self._open.add(writer)
        try:
            while line := await asyncio.wait_for(reader.readline(), IDLE_S):
                writer.write(json.dumps(await self._answer(line), ensure_ascii=False).encode() + b"\n")
                await writer.drain()
        except (TimeoutError, ValueError, OSError) as error:
            _log.debug("a local question ended", error=repr(error))
        finally:
            self._open.discard(writer)
            writer.close()
            with contextlib.suppress(OSError):
                await writer.wait_closed()

    async def _answer(self, line: bytes) -> Mapping[str, Any]:
        try:
            question = json.loads(line)
        except (ValueError, RecursionError):
            return _refusal("invalid", "not a JSON object on one line")
        kind = "do" if isinstance(question, dict) and "do" in question else "get"
        asked = question.get(kind) if isinstance(question, dict) else None
        answerer = self._known[kind].get(asked) if isinstance(asked, str) else None
        if answerer is None:
            return _refusal("unknown_question", f"known: {', '.join(sorted(self._known[kind]))}")
        try:
            return {"ok": True, "result": await answerer()}
        except RunnerError as error:
            return _refusal(error.code, error.message)


def _refusal(code: str, message: str) -> Mapping[str, Any]:
    return {"ok": False, "code": code, "error": message}


def _is_own_user(writer: asyncio.StreamWriter) -> bool:
    """The peer's user id from the kernel: our own, or root."""
    connection: socket.socket = writer.get_extra_info("socket")
    if not hasattr(socket, "SO_PEERCRED"):
        return True
    raw = connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, struct.calcsize("3i"))
    _, uid, _ = struct.unpack("3i", raw)
    return uid in {os.geteuid(), 0}
