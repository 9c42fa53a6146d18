"""A command group whose commands are imported when used, so that `--help` answers at once."""

from __future__ import annotations

import importlib
from collections.abc import Mapping
from typing import Any

import click


class LazyGroup(click.Group):
    """A group that knows each command's name, help line and `module:attribute`.

    Args:
        lazy: Command name → (`module:attribute`, one line of help).
    """

    def __init__(self, *args: Any, lazy: Mapping[str, tuple[str, str]], **options: Any) -> None:
        super().__init__(*args, **options)
        self._lazy = lazy

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Names of the commands, in the order they are declared."""
        return list(self._lazy)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Import one command; None when there is none of this name."""
        if cmd_name not in self._lazy:
            return None
        module, _, attribute = self._lazy[cmd_name][0].partition(":")
        found = getattr(importlib.import_module(module), attribute)
        return found if isinstance(found, click.Command) else None

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """List the commands without importing them."""
        with formatter.section("Commands"):
            formatter.write_dl([(name, text) for name, (_, text) in self._lazy.items()])


class Examples(click.Command):
    """A command whose epilog is a block of examples, printed as it is written."""

    def format_epilog(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Print the examples line by line."""
        write_examples(self.epilog, formatter)


class ExamplesGroup(LazyGroup):
    """The same for a group."""

    def format_epilog(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Print the examples line by line."""
        write_examples(self.epilog, formatter)


def write_examples(text: str | None, formatter: click.HelpFormatter) -> None:
    """Write lines as they are; click would fold them into a paragraph."""
    if text:
        with formatter.section("Examples"):
            for line in text.strip().splitlines():
                formatter.write(f"{'':>{formatter.current_indent}}{line.strip()}\n")
