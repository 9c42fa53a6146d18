"""`SidecarProcess`: the real process of a plugin, as the Runner starts it."""

import asyncio
import json
import os
import secrets
import signal
import sys
from collections.abc import Mapping, Sequence
from typing import Any, Self

from aisops_plugin_sdk import contracts
from aisops_plugin_sdk.testing.client import Answer, SidecarClient

READY_TIMEOUT_S = 20.0
STOP_TIMEOUT_S = 10.0
PASSED_ON = ("PATH", "HOME", "LANG", "TZ", "PYTHONPATH", "VIRTUAL_ENV", "SSL_CERT_FILE")
_LINE_LIMIT = 1024 * 1024


class SidecarFailed(AssertionError):
    """The process did not become ready. The text holds its first stdout line and the end of its stderr."""


class SidecarProcess:
    """Runs `python -m aisops_plugin_sdk serve NAME` while the `async with` block runs.

    Args:
        name: the entry point.
        env: its environment besides the fixed few that are passed on (PATH, HOME, …).
        dry_run: sets AISOPS_DRY_RUN=1.
        command: replaces the command line, for plugins in another environment or language.

    Attributes:
        ready: the ready line.
        lines: every later stdout line, parsed; a line that is not JSON appears as `{"raw": text}`.
        token: the internal token it was given.
    """

    def __init__(
        self,
        name: str,
        *,
        env: Mapping[str, str] | None = None,
        dry_run: bool = False,
        command: Sequence[str] | None = None,
    ) -> None:
        self.name = name
        self.token = secrets.token_urlsafe(32)
        self.ready: dict[str, Any] = {}
        self.lines: list[dict[str, Any]] = []
        self._command = list(command or (sys.executable, "-m", "aisops_plugin_sdk", "serve", name))
        self._environ = {key: os.environ[key] for key in PASSED_ON if key in os.environ} | {
            "PORT": "0",
            "AISOPS_LIFELINE": "stdin",
            "AISOPSFLOW_INTERNAL_AUTH_TOKEN": self.token,
            **({"AISOPS_DRY_RUN": "1"} if dry_run else {}),
            **(env or {}),
        }
        self._process: asyncio.subprocess.Process | None = None
        self._stderr = bytearray()
        self._readers: list[asyncio.Task[None]] = []
        self._client: SidecarClient | None = None
        self._line_came = asyncio.Condition()

    async def __aenter__(self) -> Self:
        try:
            await self._start()
        except BaseException:
            await self.__aexit__()
            raise
        return self

    async def __aexit__(self, *exc_info: object) -> None:
        if self._client is not None:
            await self._client.__aexit__()
            self._client = None
        if self._process is not None:
            if self._process.returncode is None:
                self.close_stdin()
                await self._wait_or_kill()
            await asyncio.gather(*self._readers)

    @property
    def pid(self) -> int:
        """The process id."""
        return self._running().pid

    @property
    def returncode(self) -> int | None:
        """The exit code, or None while it runs."""
        return self._running().returncode

    @property
    def stderr(self) -> str:
        """What it wrote to stderr so far."""
        return self._stderr.decode(errors="replace")

    @property
    def client(self) -> SidecarClient:
        """A signing client for it.

        Raises:
            RuntimeError: outside of the `async with` block.
        """
        if self._client is None:
            raise RuntimeError("use `async with SidecarProcess(...)`")
        return self._client

    async def invoke(self, capability: str, given: Mapping[str, Any], **options: Any) -> Answer:
        """Call a capability; options are those of `SidecarClient.invoke`."""
        return await self.client.invoke(capability, given, **options)

    async def send(self, body: Mapping[str, Any], *, idempotency_key: str | None = None) -> Answer:
        """Call POST /send."""
        return await self.client.send(body, idempotency_key=idempotency_key)

    async def line(self, **expected: Any) -> dict[str, Any]:
        """Wait for a log line whose keys have the expected values, and return it."""
        async with self._line_came:
            while True:
                for line in self.lines:
                    if all(line.get(key) == value for key, value in expected.items()):
                        return line
                await self._line_came.wait()

    def signal(self, number: signal.Signals) -> None:
        """Send a signal."""
        self._running().send_signal(number)

    def close_stdin(self) -> None:
        """End its stdin, as the death of the Runner does."""
        stdin = self._running().stdin
        if stdin is not None:
            stdin.close()

    async def wait(self) -> int:
        """Wait for its end and return the exit code."""
        return await self._running().wait()

    async def _start(self) -> None:
        """Spawn, read the ready line and check it against the contract."""
        pipe = asyncio.subprocess.PIPE
        self._process = await asyncio.create_subprocess_exec(
            *self._command, env=self._environ, stdin=pipe, stdout=pipe, stderr=pipe, limit=_LINE_LIMIT
        )
        stdout, stderr = self._process.stdout, self._process.stderr
        if stdout is None or stderr is None:
            raise RuntimeError("pipes are missing")
        self._readers.append(asyncio.create_task(self._read_stderr(stderr)))
        try:
            async with asyncio.timeout(READY_TIMEOUT_S):
                first = await stdout.readline()
        except TimeoutError:
            first = b""
        self._readers.append(asyncio.create_task(self._read_lines(stdout)))
        self.ready = _parsed(first)
        if self.ready.get("ready") is not True:
            await self._wait_or_kill()
            raise SidecarFailed(f"not ready; stdout: {first.decode(errors='replace')!r}; stderr: {self.stderr[-2000:]}")
        contracts.validate(self.ready, "ready-v1")
        self._client = SidecarClient(self.ready["port"], self.token)
        await self._client.__aenter__()

    async def _wait_or_kill(self) -> None:
        """Wait for the end, and force it after ten seconds."""
        process = self._running()
        try:
            async with asyncio.timeout(STOP_TIMEOUT_S):
                await process.wait()
        except TimeoutError:
            process.kill()
            await process.wait()

    async def _read_lines(self, stdout: asyncio.StreamReader) -> None:
        """Collect stdout."""
        async for line in stdout:
            async with self._line_came:
                self.lines.append(_parsed(line))
                self._line_came.notify_all()

    async def _read_stderr(self, stderr: asyncio.StreamReader) -> None:
        """Collect stderr."""
        while chunk := await stderr.read(65_536):
            self._stderr += chunk

    def _running(self) -> asyncio.subprocess.Process:
        """The process, once started."""
        if self._process is None:
            raise RuntimeError("use `async with SidecarProcess(...)`")
        return self._process


def _parsed(line: bytes) -> dict[str, Any]:
    """Read one stdout line."""
    try:
        document = json.loads(line)
    except ValueError:
        document = None
    return document if isinstance(document, dict) else {"raw": line.decode(errors="replace").rstrip("\n")}
