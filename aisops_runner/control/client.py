"""Speaks to a running Runner on its control socket. Blocking: made for the command line."""

from __future__ import annotations

import json
import socket
from pathlib import Path
from typing import Any

from aisops_runner.control.address import SOCKET_NAME
from aisops_runner.errors import RunnerError

MAX_ANSWER_BYTES = 16 * 1024 * 1024


class RunnerNotRunning(RunnerError):
    """No Runner answers on this data directory."""

    code = "not_running"


def ask(directory: Path, question: str, timeout_s: float = 5.0) -> dict[str, Any]:
    """Put one question to the Runner that uses this data directory.

    Args:
        directory: The data directory.
        question: `status`, for example.
        timeout_s: Seconds to wait for each step.

    Raises:
        RunnerNotRunning: Nobody listens, or the socket belongs to another user.
        RunnerError: The Runner refused the question or does not answer.
    """
    return _exchange(directory, {"get": question}, timeout_s)


def tell(directory: Path, wish: str, timeout_s: float = 60.0) -> dict[str, Any]:
    """Have the Runner that uses this data directory do something; returns once it is done.

    Args:
        directory: The data directory.
        wish: `reload`, for example.
        timeout_s: Seconds to wait for each step.

    Raises:
        RunnerNotRunning: Nobody listens, or the socket belongs to another user.
        RunnerError: The Runner refused or does not answer.
    """
    return _exchange(directory, {"do": wish}, timeout_s)


def _exchange(directory: Path, question: dict[str, str], timeout_s: float) -> dict[str, Any]:
    path = directory / SOCKET_NAME
    try:
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as connection:
            connection.settimeout(timeout_s)
            connection.connect(str(path))
            connection.sendall(json.dumps(question).encode() + b"\n")
            raw = _line(connection)
    except PermissionError:
        raise RunnerNotRunning(f"{path} belongs to another user; run this as the Runner's user") from None
    except (FileNotFoundError, ConnectionRefusedError):
        raise RunnerNotRunning(f"no Runner is running on {directory}; start it with: aisops-runner run") from None
    except OSError as error:
        raise RunnerError(f"the Runner on {directory} does not answer: {error}", code="no_answer") from None
    return _unpack(raw)


def _line(connection: socket.socket) -> bytes:
    raw = bytearray()
    while not raw.endswith(b"\n") and len(raw) < MAX_ANSWER_BYTES:
        piece = connection.recv(65536)
        if not piece:
            break
        raw += piece
    return bytes(raw)


def _unpack(raw: bytes) -> dict[str, Any]:
    try:
        answer = json.loads(raw)
        if answer["ok"]:
            return dict(answer["result"])
        code, message = str(answer["code"]), str(answer["error"])
    except (ValueError, KeyError, TypeError):
        raise RunnerError("the Runner's answer makes no sense", code="bad_answer") from None
    raise RunnerError(message, code=code)
