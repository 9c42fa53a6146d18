"""Runs faults one after the other and makes a row of each."""

from __future__ import annotations

import asyncio
import shutil
import time
import traceback
from collections.abc import Callable, Sequence
from pathlib import Path

from tests.chaos.fault import Fault
from tests.chaos.ground import Ground
from tests.chaos.report import Row, Verdict
from tests.chaos.trial import Trial

Say = Callable[[str, str], None]
Ended = Callable[[Sequence[Row]], object]


class Suite:
    """One run of the suite under a folder.

    Args:
        home: Where every stage lives; the folder of a fault that failed is kept.
        seed: Of everything drawn by chance.
        full: The full form.
        say: Told the fault's id and how far it is.
        search: Folders that come first on the path of every program: how the self-test breaks them.
    """

    def __init__(self, home: Path, *, seed: int, full: bool, say: Say, search: Sequence[Path] = ()) -> None:
        self._home, self._seed, self._full, self._say, self._search = home, seed, full, say, search

    async def run(self, faults: Sequence[Fault], ended: Ended = lambda rows: None) -> list[Row]:
        """Try each fault: first those that share a stage, then the others; the rows come in the order of the table.

        Args:
            faults: Which.
            ended: Told the rows so far, at the end of each.
        """
        rows: dict[str, Row] = {}
        ground = Ground(self._home, self._search)
        try:
            for fault in sorted(faults, key=lambda one: not one.shared):
                if not fault.shared:
                    await ground.close()
                rows[fault.id] = await self._row(fault, ground)
                ended([rows[one.id] for one in faults if one.id in rows])
        finally:
            await ground.close()
        return [rows[fault.id] for fault in faults]

    async def _row(self, fault: Fault, ground: Ground) -> Row:
        words = (fault.id, fault.title, fault.injects, fault.expected)
        if fault.run is None:
            return Row(*words, Verdict.COMING, problems=(f"comes with {fault.coming}",))
        if reason := fault.why_not():
            self._say(fault.id, f"skipped: {reason}")
            return Row(*words, Verdict.SKIPPED, problems=(reason,))
        home = self._home / fault.id
        home.mkdir()
        trial = Trial(
            fault,
            seed=self._seed,
            full=self._full,
            home=home,
            ground=ground,
            say=lambda text: self._say(fault.id, text),
        )
        self._say(fault.id, f"{fault.title}: {trial.runs} {fault.unit}")
        began = time.monotonic()
        await self._try(fault, trial)
        seconds = time.monotonic() - began
        verdict = Verdict.FAILED if trial.problems else Verdict.PASSED
        self._say(fault.id, f"{verdict.value} in {seconds:.0f} s · {trial.totals().line()}")
        if verdict is Verdict.PASSED:
            await asyncio.to_thread(shutil.rmtree, home)
        else:
            trial.problems.append(f"logs are kept under {self._home}")
        return Row(
            *words,
            verdict,
            runs=trial.done,
            unit=fault.unit,
            counts=trial.totals(),
            seed=self._seed,
            seconds=round(seconds, 1),
            figures=trial.figures,
            problems=tuple(trial.problems),
        )

    async def _try(self, fault: Fault, trial: Trial) -> None:
        assert fault.run is not None
        limit = fault.limit(trial.runs, full=trial.full)
        try:
            async with asyncio.timeout(limit) as clock:
                await fault.run(trial)
            trial.judge()
        except Exception as error:  # noqa: BLE001 - whatever goes wrong in one fault, the others are still tried
            if isinstance(error, TimeoutError) and clock.expired():
                trial.problems.append(f"did not end within {limit:.0f} s")
            trial.problems += [_words(one) for one in _leaves(error)]
            trial.say("".join(traceback.format_exception(error)))
        unread = len(trial.tally.unread)
        trial.check(not unread, f"{unread} acknowledged jobs were not looked at")


def _leaves(error: BaseException) -> list[BaseException]:
    if isinstance(error, BaseExceptionGroup):
        return [leaf for one in error.exceptions for leaf in _leaves(one)]
    return [error]


def _words(error: BaseException) -> str:
    text = str(error).strip()
    return f"{type(error).__name__}: {text}" if text else type(error).__name__
