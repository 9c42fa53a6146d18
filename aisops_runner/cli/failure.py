"""How a command ends when it cannot do its work: one line saying what and what next, and an exit code.

0 ok · 1 failed (trying again may help) · 2 usage · 78 configuration, or refused for good · 130 interrupted. A
traceback is shown only with `--debug`.
"""

from __future__ import annotations

import json
import os
import sys
import traceback
from collections.abc import Sequence

import click

from aisops_runner.errors import ConfigInvalid, PluginRefused, RefusedForGood, RunnerError

OK = 0
FAILED = 1
USAGE = 2
REFUSED = 78
INTERRUPTED = 130


def exit_code(error: RunnerError) -> int:
    """The one mapping from our errors to exit codes."""
    return REFUSED if isinstance(error, (ConfigInvalid, RefusedForGood, PluginRefused)) else FAILED


def run(command: click.Command, arguments: Sequence[str]) -> int:
    """Run a command line.

    Args:
        command: The root command.
        arguments: Without the program's name.

    Returns:
        The exit code; nothing is raised.
    """
    words = list(arguments)
    try:
        result = command.main(words, prog_name="aisops-runner", standalone_mode=False)
    except click.exceptions.Exit as error:
        return error.exit_code
    except click.ClickException as error:
        error.show()
        return error.exit_code
    except (click.Abort, KeyboardInterrupt):
        click.echo("Interrupted.", err=True)
        return INTERRUPTED
    except BrokenPipeError:
        os.dup2(
            os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno()
        )  # the reader has gone (`| head`): say nothing more
        return OK
    except Exception as error:  # noqa: BLE001 - the last line of defence: people get a sentence, not a traceback
        return _explain(error, words)
    return result if isinstance(result, int) else OK


def _explain(error: Exception, words: Sequence[str]) -> int:
    if "--debug" in words:
        traceback.print_exception(error)
    if isinstance(error, RunnerError):
        facts, code = error.diagnostics(), exit_code(error)
    elif isinstance(error, OSError):
        text = f"the system refused: {error}; mend that (a full or failing disk, a missing right) and try again"
        facts, code = {"code": "system_refused", "message": text}, FAILED
    else:
        text = f"this is a bug in aisops-runner ({type(error).__name__}); report what --debug prints"
        facts, code = {"code": "internal", "message": text}, FAILED
    if "--json" in words:
        click.echo(json.dumps(facts, ensure_ascii=False), err=True)
    else:
        click.echo(f"{click.style('error:', fg='red', bold=True)} {_printable(facts['message'])}", err=True)
    return code


def _printable(text: str) -> str:
    return "".join(char if char.isprintable() else repr(char)[1:-1] for char in text)
