"""The jobs' way to the disk and back: what is to be stored, gathered for one commit, and what the journal still holds.

Everything that reads or writes the journal while the Runner works goes through here.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Collection, Sequence
from functools import partial

import structlog

from aisops_runner.adapters.calls import JobLog
from aisops_runner.backoff import full_jitter_s
from aisops_runner.clock import Clock
from aisops_runner.errors import StorageFailed
from aisops_runner.jobs import journal, recorder, retention
from aisops_runner.jobs.commands import Finish, Stored
from aisops_runner.jobs.stages import Held, Holding
from aisops_runner.outbox.outbox import Outbox
from aisops_runner.outbox.rows import Draft
from aisops_runner.outbox.transaction import Transaction

LOG_LINES_WAITING = 10_000
NAMED_JOBS = 20
STORE_RETRY_S = 5.0  # a full disk may have room again at any moment, and Core waits for what is held

_log = structlog.get_logger("aisops_runner.jobs")


class Storing:
    """Gathers what is to be stored, stores it when told, and reads what is kept.

    Args:
        outbox: Where results and the journal live.
        clock: Time.
        draw: Random number in [0, 1), for back-off.

    Attributes:
        log_lines_lost: Lines that came while too many waited.
    """

    def __init__(self, outbox: Outbox, *, clock: Clock, draw: Callable[[], float]) -> None:
        self._outbox = outbox
        self._clock = clock
        self._draw = draw
        self._commands: list[Stored] = []
        self._logs: list[Draft] = []
        self._committing = False
        self._under_way: Sequence[Stored] = ()
        self.log_lines_lost = 0
        outbox.on_loss(journal.resend_lost)

    @property
    def waiting(self) -> bool:
        """True when there is something to store."""
        return bool(self._commands or self._logs)

    @property
    def committing(self) -> bool:
        """True while a commit is under way."""
        return self._committing

    @property
    def settled(self) -> bool:
        """True when every command is on the disk; log lines may wait."""
        return not self._commands and not self._committing

    def add(self, command: Stored) -> None:
        """Store a command with the next commit."""
        self._commands.append(command)

    def log(self, line: JobLog) -> bool:
        """Store a log line with the next commit; False when it is not, because too many wait or it is refused."""
        if len(self._logs) >= LOG_LINES_WAITING:
            self.log_lines_lost += 1
            return False
        made = recorder.log_draft(line)
        if made is None:
            return False
        self._logs.append(made)
        return True

    async def commit(self) -> tuple[Sequence[Stored], Collection[str]]:
        """Store everything that has gathered in one commit; tried again until the disk takes it.

        Returns:
            The commands stored, and the ids of accepted jobs that the journal knew as done.
        """
        commands, self._commands = self._commands, []
        logs, self._logs = self._logs, []
        self._committing, self._under_way = True, commands
        batch = recorder.prepare(commands, logs, self._clock.unix_ms())
        failures = 0
        while True:
            try:
                done_before = await self._outbox.transact(lambda work: recorder.record(work, batch))
                break
            except StorageFailed as error:
                _log.error("jobs cannot be stored; trying again", error=str(error), commands=len(commands))
                await asyncio.sleep(full_jitter_s(failures, self._draw(), cap_s=STORE_RETRY_S, floor_s=0.1))
                failures += 1
        self._committing, self._under_way = False, ()
        return commands, done_before

    def say_unstored(self) -> None:
        """The Runner stops although the disk has not taken everything: say what is not kept, and what comes of it."""
        left = [*self._under_way, *self._commands]
        results = sorted(command.job_id for command in left if isinstance(command, Finish))
        _log.error(
            "stopping although the disk refuses; jobs whose results are not stored run again after the next start"
            " where that does no harm, and end as uncertain where it may",
            results=len(results),
            jobs=results[:NAMED_JOBS],
            other_changes=len(left) - len(results),
            log_lines=len(self._logs),
        )

    async def retain(self, ran_s: int) -> bool:
        """Shorten the journal to what it must keep; what fails now is done the next time.

        Args:
            ran_s: Seconds the Runner has run since the last time.

        Returns:
            True when there is more for `forget`.
        """
        acked, limits = self._outbox.acked_seq, retention.limits_for(self._outbox.bounds.max_bytes)
        return await self._shorten(lambda work: retention.retain(work, acked, ran_s, limits))

    async def forget(self) -> bool:
        """Forget another slice of what the journal need not keep; True when there is more."""
        acked, limits = self._outbox.acked_seq, retention.limits_for(self._outbox.bounds.max_bytes)
        return await self._shorten(lambda work: retention.forget(work, acked, limits))

    async def _shorten(self, unit: Callable[[Transaction], bool]) -> bool:
        try:
            return await self._outbox.transact(unit)
        except StorageFailed as error:
            _log.warning("the journal could not be shortened", error=str(error))
            return False

    async def resend_all(self) -> None:
        """Store the kept results of the last day to be sent again.

        Raises:
            StorageFailed: The journal cannot be read or the outbox written.
        """
        ended_at = 0
        while True:
            ended_at = await self._outbox.transact(partial(journal.resend_since, after_ordinal=ended_at))
            if not ended_at:
                return

    async def restore(self) -> Sequence[Held]:
        """Set damaged rows aside, send again what a damaged file has lost, and read the jobs of the last run.

        Raises:
            StorageFailed: The journal cannot be read, or the lost results cannot be stored again.
        """
        acked = self._outbox.acked_seq
        if spoiled := await self._outbox.transact(lambda work: journal.weed(work, acked)):
            _log.error("damaged rows of the journal were set aside", jobs=spoiled)
        if self._outbox.salvaged:
            await self.resend_all()
        held = await self._outbox.database.read(journal.unfinished)
        if held:
            _log.info("jobs of the last run are taken up", jobs=len(held))
        return held

    async def held_jobs(self) -> Holding:
        """What a Hello names, read from the journal.

        Raises:
            StorageFailed: The journal cannot be read.
        """
        acked = self._outbox.acked_seq
        return await self._outbox.database.read(lambda connection: journal.held(connection, acked))
