"""The demo's story: submit one job to each channel through Core's API, follow them, check what the providers got."""

from __future__ import annotations

import asyncio
import time
import unicodedata
import uuid
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import aiohttp

from demo.messages import Submission

TERMINAL = frozenset({"succeeded", "failed", "timed_out", "cancelled", "uncertain"})


@dataclass
class Row:
    """One line of the demo's table: a submission and what Core says of its job."""

    submission: Submission
    job: dict[str, Any] = field(default_factory=dict)
    elapsed_ms: float = 0.0

    @property
    def state(self) -> str:
        """The job's state, or `submitting` before Core has it."""
        return str(self.job.get("state", "submitting"))

    @property
    def done(self) -> bool:
        """Whether the job has ended, one way or another."""
        return self.state in TERMINAL

    @property
    def sidecar_pid(self) -> str:
        """Process id of the sidecar that did the work, or an empty text."""
        pid = (self.job.get("execution") or {}).get("sidecar_pid")
        return str(pid) if pid else ""

    @property
    def message_id(self) -> str:
        """The provider's own id of the message, or the error when there is none."""
        if error := self.job.get("error"):
            return f"{error['code']}: {error['message']}"
        return str((self.job.get("output") or {}).get("message_id", ""))


class CoreClient:
    """Speaks to Core's HTTP API, as any program of a customer would."""

    def __init__(self, url: str, token: str, http: aiohttp.ClientSession) -> None:
        self._url, self._http = url, http
        self._headers = {"Authorization": f"Bearer {token}"}

    async def submit(self, submission: Submission) -> dict[str, Any]:
        """Submit one job; raises RuntimeError with Core's own words when it is refused."""
        document = {"capability": submission.capability, "input": submission.input}
        headers = {**self._headers, "Idempotency-Key": uuid.uuid4().hex}
        async with self._http.post(f"{self._url}/api/v1/jobs", json=document, headers=headers) as answer:
            body: dict[str, Any] = await answer.json(content_type=None)
            if answer.status >= 400:
                raise RuntimeError(f"Core refused {submission.capability}: {body}")
            return body

    async def job(self, job_id: str) -> dict[str, Any]:
        """Return one job as Core has it now."""
        async with self._http.get(f"{self._url}/api/v1/jobs/{job_id}", headers=self._headers) as answer:
            body: dict[str, Any] = await answer.json(content_type=None)
            return body


async def follow(row: Row, core: CoreClient, changed: Callable[[], None], patience_s: float) -> None:
    """Submit a row's job and keep the row up to date until the job ends (or patience does)."""
    begun = time.monotonic()
    row.job = await core.submit(row.submission)
    changed()
    while not row.done and time.monotonic() - begun < patience_s:
        await asyncio.sleep(0.02)
        row.job = await core.job(row.job["id"])
        row.elapsed_ms = (time.monotonic() - begun) * 1000
        changed()


async def run_jobs(
    url: str, token: str, rows: Sequence[Row], changed: Callable[[], None], patience_s: float = 30.0
) -> None:
    """Submit all rows at once and follow them to their end."""
    async with aiohttp.ClientSession() as http, asyncio.TaskGroup() as group:
        core = CoreClient(url, token, http)
        for row in rows:
            group.create_task(follow(row, core, changed, patience_s))


def arrived(row: Row, alert_text: str, received: Mapping[str, Sequence[Mapping[str, Any]]]) -> bool:
    """Whether the provider of a row holds exactly one message, and it carries the alert's text to the letter."""
    messages = received.get(row.submission.provider, ())
    wanted = unicodedata.normalize("NFC", alert_text)
    return len(messages) == 1 and wanted in unicodedata.normalize("NFC", str(messages[0]["text"]))
