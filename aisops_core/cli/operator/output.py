"""How results are printed: tables for people, one JSON document for programs, ids alone for pipes.

Results go to standard output, everything else to standard error. Ids and states are never shortened; on a narrow
terminal the columns to the right are left out first, in the order the caller gave them.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import click

from aisops_core.cli.failure import printable
from aisops_core.cli.operator.client import CoreClient
from aisops_core.cli.operator.profile import resolve

STYLES = {
    "succeeded": "green",
    "connected": "green",
    "failed": "red",
    "timed_out": "red",
    "uncertain": "yellow",
    "cancelled": "yellow",
    "offline": "yellow",
    "running": "cyan",
    "leased": "cyan",
}


@dataclass(frozen=True, slots=True)
class Column:
    """One column: its heading, how its text is found in an item, and whether it may be left out when space is short."""

    title: str
    text: Callable[[Mapping[str, Any]], str]
    optional: bool = True


@dataclass(frozen=True, slots=True)
class Context:
    """What every command needs: the client and the wanted form of output."""

    client: CoreClient
    as_json: bool
    quiet: bool


def output_options(command: Any) -> Any:
    """Add --json, -q, --url, --token-file and --debug to a command, which gets a `Context` as its first argument."""

    def wrapped(*args: Any, as_json: bool, quiet: bool, url: str | None, token_file: str | None, **kwargs: Any) -> Any:
        client = CoreClient(resolve(os.environ, url, token_file))
        return command(Context(client, as_json, quiet), *args, **kwargs)

    wrapped.__name__, wrapped.__doc__ = command.__name__, command.__doc__
    wrapped.__click_params__ = getattr(command, "__click_params__", [])  # type: ignore[attr-defined]  # click's protocol
    options = (
        click.option("--json", "as_json", is_flag=True, help="Print one JSON document."),
        click.option("-q", "--quiet", is_flag=True, help="Print ids only."),
        click.option("--url", help="Core's address (AISOPS_URL)."),
        click.option("--token-file", help="File with the API token, - for standard input (AISOPS_TOKEN_FILE)."),
        click.option("--debug", is_flag=True, expose_value=False, help="Show a traceback when something fails."),
    )
    decorated: Any = wrapped
    for option in reversed(options):
        decorated = option(decorated)
    return decorated


def print_json(document: Any) -> None:
    """Print one JSON document."""
    click.echo(json.dumps(document, ensure_ascii=not _unicode(), indent=2 if sys.stdout.isatty() else None))


def _unicode() -> bool:
    return (sys.stdout.encoding or "").lower().replace("-", "") == "utf8"


def show_list(context: Context, page: Mapping[str, Any], columns: Sequence[Column], empty: str) -> None:
    """Print a page of items in the form that was asked for."""
    items = page["items"]
    if context.as_json:
        print_json(page)
    elif context.quiet:
        for item in items:
            click.echo(item.get("id") or item.get("name"))
    elif not items:
        click.echo(empty, err=True)
    else:
        _table(items, columns)
        if page.get("next_cursor"):
            click.echo(f"More: add --cursor {page['next_cursor']}", err=True)


def _cells(items: Sequence[Mapping[str, Any]], column: Column) -> list[str]:
    return [printable(column.text(item)) for item in items]


def _table(items: Sequence[Mapping[str, Any]], columns: Sequence[Column]) -> None:
    cells = {column.title: _cells(items, column) for column in columns}
    if not sys.stdout.isatty():
        widths = {title: max(len(title), *map(len, rows)) for title, rows in cells.items()}
        click.echo("  ".join(title.ljust(widths[title]) for title in cells).rstrip())
        for row in zip(*cells.values(), strict=True):
            padded = (text.ljust(width) for text, width in zip(row, widths.values(), strict=True))
            click.echo("  ".join(padded).rstrip())
        return
    _rich_table(cells, columns)


def _rich_table(cells: Mapping[str, Sequence[str]], columns: Sequence[Column]) -> None:
    from rich.cells import cell_len
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    console = Console(highlight=False)
    widths = {title: max(cell_len(text) for text in (title, *rows)) + 2 for title, rows in cells.items()}
    kept = list(columns)
    while sum(widths[column.title] for column in kept) > console.width and any(column.optional for column in kept):
        kept.remove(next(column for column in reversed(kept) if column.optional))
    heading = "" if os.environ.get("NO_COLOR") else "bold"
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style=heading)
    for column in kept:
        table.add_column(column.title, no_wrap=True, overflow="ignore")
    for row in zip(*(cells[column.title] for column in kept), strict=True):
        table.add_row(*(Text(text, style=STYLES.get(text, "")) for text in row))
    console.print(table, soft_wrap=True)


def show_fields(fields: Mapping[str, Any]) -> None:
    """Print one thing as `name  value` lines; empty values are left out."""
    shown = {name: value for name, value in fields.items() if value not in (None, "", [], {})}
    width = max(map(len, shown), default=0)
    for name, value in shown.items():
        text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=not _unicode())
        style = STYLES.get(text) if name == "state" else None
        click.echo(f"{name.ljust(width)}  {click.style(printable(text), fg=style) if style else printable(text)}")
