"""How a command ends when it cannot do its work: one line, the cause, what to do next, and an exit code.

Exit codes: 0 ok, 1 failed (trying again may help), 2 usage, 78 configuration or refused for good, 130 interrupted. A
traceback appears with `--debug` only: a user's mistake is not a bug, and a bug is reported with what `--debug` prints.
"""

from __future__ import annotations

import json
import os
import sys
import traceback
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import click

from aisops_core.errors import ConfigError, CoreError, StorageVersionMismatch

FAILED = 1
USAGE = 2
REFUSED = 78
INTERRUPTED = 130

EXIT_CODES: Mapping[type[CoreError], int] = {ConfigError: REFUSED, StorageVersionMismatch: REFUSED}
"""Exit codes of Core's own errors; everything else ends 1."""


class Failure(Exception):
    """A command cannot go on. `problem` is the problem document when Core's API refused."""

    def __init__(
        self,
        message: str,
        *,
        advice: str = "",
        exit_code: int = FAILED,
        details: Sequence[str] = (),
        problem: Mapping[str, Any] | None = None,
    ) -> None:
        super().__init__(message)
        self.message, self.advice, self.exit_code = message, advice, exit_code
        self.details = tuple(details)
        self.problem = problem

    def document(self) -> dict[str, Any]:
        """Return what `--json` prints to standard error."""
        if self.problem is not None:
            return {**self.problem, "advice": self.advice}
        code = "configuration" if self.exit_code == REFUSED else "failed"
        return {"code": code, "detail": self.message, "advice": self.advice}


def from_core_error(error: CoreError) -> Failure:
    """Return the failure for an error raised inside Core's own programs."""
    code = next((EXIT_CODES[kind] for kind in type(error).__mro__ if kind in EXIT_CODES), FAILED)
    return Failure(error.message, advice=error.advice, exit_code=code, problem=None)


def printable(text: str) -> str:
    """Return `text` with control characters escaped: what a server says must not drive the terminal."""
    return "".join(char if char.isprintable() else repr(char)[1:-1] for char in text)


def show(failure: Failure, *, as_json: bool) -> None:
    """Print a failure to standard error."""
    if as_json:
        click.echo(json.dumps(failure.document(), ensure_ascii=False), err=True)
        return
    label = click.style("error:", fg="red", bold=True)
    click.echo(f"{label} {printable(failure.message)}", err=True)
    for detail in failure.details:
        click.echo(f"  {printable(detail)}", err=True)
    if failure.advice:
        click.echo(f"  → {printable(failure.advice)}", err=True)


def _asked(option: str) -> bool:
    # Read from the words themselves: the error may come before the options are parsed.
    return option in sys.argv[1:]


def run(command: click.Command, name: str, translate: Callable[[Exception], Failure | None] | None = None) -> int:
    """Run a command line and return its exit code; never raises."""
    debug = _asked("--debug")
    no_color = bool(os.environ.get("NO_COLOR"))
    try:
        result = command.main(prog_name=name, standalone_mode=False, color=False if no_color else None)
        return result if isinstance(result, int) else 0
    except click.exceptions.Exit as error:
        return error.exit_code
    except click.ClickException as error:
        error.show()
        return error.exit_code
    except (click.Abort, KeyboardInterrupt):
        click.echo("Interrupted.", err=True)
        return INTERRUPTED
    except BrokenPipeError:
        # The reader of our output has gone (`| head`); the interpreter must not complain about it at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except Exception as error:  # noqa: BLE001 - the last line of defence: no traceback for a user's mistake
        failure = error if isinstance(error, Failure) else None
        if isinstance(error, CoreError):
            failure = from_core_error(error)
        elif failure is None and translate is not None:
            failure = translate(error)
        if debug:
            traceback.print_exc()
        if failure is None:
            failure = Failure(
                f"This is a bug in {name}: {type(error).__name__}.",
                advice="Run the same command with --debug and report what it prints.",
            )
        show(failure, as_json=_asked("--json"))
        return failure.exit_code
