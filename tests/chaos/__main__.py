"""`python -m tests.chaos`: inject faults into the running product and count what was lost, doubled or unexpected."""

from __future__ import annotations

import argparse
import asyncio
import json
import shutil
import signal
import sys
import tempfile
import time
from collections.abc import Coroutine, Sequence
from pathlib import Path
from typing import Any

from tests.chaos import processes, report
from tests.chaos.fault import Fault
from tests.chaos.registry import UnknownFault, all_faults, chosen
from tests.chaos.report import Row
from tests.chaos.self_test import self_test
from tests.chaos.suite import Suite


def _arguments(words: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m tests.chaos",
        description="Kills, freezes, cuts and fills what the product stands on, under load, and counts.",
        epilog="example: python -m tests.chaos --faults F1,F4 --seed 42",
    )
    parser.add_argument("--faults", default="", metavar="F1,F4", help="only these")
    parser.add_argument("--full", action="store_true", help="the full form; hours")
    parser.add_argument("--seed", type=int, help="replay a run's chance (default: drawn, and printed)")
    parser.add_argument("--self-test", action="store_true", help="only prove that the suite can fail")
    parser.add_argument("--json", action="store_true", help="print JSON instead of the table")
    parser.add_argument("--save", type=Path, metavar="FILE", help="also write the JSON there")
    parser.add_argument(
        "--join",
        type=Path,
        nargs="+",
        metavar="SHARE",
        help="run nothing: show shares of one run, saved before, as one",
    )
    parser.add_argument("--list", action="store_true", help="show the faults and run nothing")
    return parser.parse_args(words)


def _list(faults: Sequence[Fault]) -> str:
    lines = []
    for fault in faults:
        here = f"comes with {fault.coming}" if fault.run is None else fault.why_not() or "can run here"
        lines.append(f"{fault.id:4} {fault.title}  [{fault.short} {fault.unit}, full {fault.full}; {here}]")
        lines.append(f"     {fault.injects} Workload: {fault.workload}. Expected: {fault.expected}.")
    return "\n".join(lines)


async def _run(faults: Sequence[Fault], home: Path, seed: int, arguments: argparse.Namespace) -> str:
    """Try the faults, and prove that the suite can fail when that is wanted; the document of what was found.

    With `--save` the document is written after every row: a run of hours that is stopped has not been for nothing.
    """
    began = time.monotonic()
    form = "full" if arguments.full else "short"

    def say(fault_id: str, text: str) -> None:
        print(f"{time.monotonic() - began:6.0f} s  {fault_id:4} {text}", file=sys.stderr, flush=True)

    def document(rows: Sequence[Row], proof: Sequence[Row] = ()) -> str:
        text = report.document(rows, proof, seed=seed, form=form, seconds=time.monotonic() - began)
        if arguments.save is not None:
            arguments.save.write_text(text + "\n")
        return text

    rows = await Suite(home, seed=seed, full=arguments.full, say=say).run(faults, document)
    prove = arguments.self_test or not arguments.faults
    return document(rows, await self_test(home, seed=seed, say=say) if prove else [])


def main(words: Sequence[str] | None = None) -> int:
    """Run what was asked for; 1 when any row failed, 2 when there is no such fault."""
    arguments = _arguments(words)
    try:
        faults = chosen([name.strip() for name in arguments.faults.split(",") if name.strip()])
    except UnknownFault as error:
        print(error, file=sys.stderr)
        return 2
    if arguments.list:
        print(_list(faults))
        return 0
    if arguments.join:
        return _join(arguments.join, arguments)
    seed = time.time_ns() % 1_000_000 if arguments.seed is None else arguments.seed
    if arguments.self_test:
        faults = ()
    form = "full" if arguments.full else "short"
    print(f"seed {seed}, {form} form, {len(faults)} of {len(all_faults())} faults", file=sys.stderr)
    home = Path(tempfile.mkdtemp(prefix="aisops-chaos-"))
    stopped: list[signal.Signals] = []
    try:
        code = _show(asyncio.run(_until_stopped(_run(faults, home, seed, arguments), stopped)), arguments)
    except asyncio.CancelledError:
        if not stopped:
            raise
        print(f"stopped by {stopped[0].name}; everything it had started is ended", file=sys.stderr)
        code = 128 + stopped[0]
    finally:
        processes.end_descendants()
    if code == 0 or stopped:
        shutil.rmtree(home, ignore_errors=bool(stopped))
    return code


async def _until_stopped(work: Coroutine[Any, Any, str], stopped: list[signal.Signals]) -> str:
    """Do the work; SIGTERM or SIGINT ends it, and at once every program that it has started."""
    task = asyncio.ensure_future(work)

    def stop(number: signal.Signals) -> None:
        stopped.append(number)
        processes.kill_descendants()  # they are to be gone, not to end well: an orderly stop may take most of a minute
        task.cancel()

    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop, number)
    return await task


def _join(shares: Sequence[Path], arguments: argparse.Namespace) -> int:
    try:
        text = report.joined([share.read_text() for share in shares])
    except (json.JSONDecodeError, KeyError, TypeError):
        print("cannot join: one of the files is not what `--save` writes", file=sys.stderr)
        return 2
    except (OSError, ValueError) as error:
        print(f"cannot join: {error}", file=sys.stderr)
        return 2
    if arguments.save is not None:
        arguments.save.write_text(text + "\n")
    return _show(text, arguments)


def _show(text: str, arguments: argparse.Namespace) -> int:
    """Print a document; 1 when a row of it failed."""
    rows, proof = report.rows_of(text), report.rows_of(text, "self_test")
    print(text if arguments.json else report.tables(rows, proof))
    return report.exit_code([*rows, *proof])


if __name__ == "__main__":
    raise SystemExit(main())
