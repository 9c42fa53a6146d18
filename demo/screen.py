"""How the demo looks: progress lines, the live table, the messages as the providers received them."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

from rich.console import Console, Group
from rich.live import Live
from rich.panel import Panel
from rich.table import Table
from rich.text import Text

from demo.tour import Row

STATE_STYLE = {"succeeded": "green", "running": "cyan", "leased": "cyan", "queued": "dim", "submitting": "dim"}
MARKS = {"succeeded": "✓", "queued": "·", "submitting": "·", "leased": "→", "running": "→"}
PLAIN_WIDTH = 120
"""Columns of a file or pipe: wide enough for every message id."""
WIDE = 100
"""Columns from which on headings are written out."""


def letter(message: Mapping[str, Any]) -> Text:
    """Return one received message as a person reads it."""
    return Text(f"to {message['to']} · id {message['message_id']}\n\n{message['text'].strip()}\n")


class Screen:
    """Prints for a person: colour and a moving table on a terminal, plain lines elsewhere."""

    def __init__(self, *, stderr: bool = False) -> None:
        self.console = Console(highlight=False, stderr=stderr)
        if not self.console.is_terminal and "COLUMNS" not in os.environ:
            self.console = Console(highlight=False, stderr=stderr, width=PLAIN_WIDTH)

    @contextmanager
    def step(self, title: str) -> Iterator[list[str]]:
        """Show a step: its title at once on a terminal, then a tick, what came of it, and the seconds it took."""
        said: list[str] = []
        begun = time.monotonic()
        if self.console.is_terminal:
            self.console.print(f"  [dim]…[/] {title}", end="\r")
        yield said
        line = Table.grid(padding=(0, 1))
        for _ in range(3):
            line.add_column(no_wrap=True)
        line.add_column()
        took = Text(f"{time.monotonic() - begun:.1f} s".rjust(6), style="dim")
        line.add_row(Text("  ✓", "green"), title.ljust(9), took, " ".join(said))
        self.console.print(line)

    def table(self, rows: Sequence[Row], runner_id: str) -> Table:
        """Return the table of jobs as they stand."""
        table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="bold")
        pid = "sidecar pid" if self.console.width >= WIDE else "pid"
        for title in ("  capability", "state", "runner", pid):
            table.add_column(title, no_wrap=True)
        table.add_column("provider message id", overflow="fold")  # an id is never cut
        table.add_column("ms", no_wrap=True, justify="right")
        for row in rows:
            style = STATE_STYLE.get(row.state, "bold red")
            table.add_row(
                f"  {row.submission.capability}",
                Text(f"{MARKS.get(row.state, '✕')} {row.state}", style=style),
                str(row.job.get("runner_id") or "") or runner_id,
                row.sidecar_pid,
                row.message_id,
                f"{row.elapsed_ms:.0f}" if row.elapsed_ms else "",
            )
        return table

    @contextmanager
    def live(self, rows: Sequence[Row], runner_id: str) -> Iterator[Live | None]:
        """Keep the table on the screen while jobs run; elsewhere print it once, at the end."""
        if not self.console.is_terminal:
            yield None
            self.console.print(self.table(rows, runner_id))
            return
        with Live(self.table(rows, runner_id), console=self.console, refresh_per_second=20) as live:
            yield live
            live.update(self.table(rows, runner_id))

    def received(
        self, rows: Sequence[Row], received: Mapping[str, Sequence[Mapping[str, Any]]], ok: Sequence[bool]
    ) -> None:
        """Show every message as its provider received it."""
        self.console.print("\nWhat the providers received")
        for row, good in zip(rows, ok, strict=True):
            mark = Text("✓ the alert's text arrived", "green") if good else Text("✕ not the alert's text, once", "red")
            messages = received.get(row.submission.provider, ())
            lines = [letter(message) for message in messages] or [Text("(nothing)", "dim")]
            self.console.print(Panel(Group(*lines, mark), title=row.submission.provider, title_align="left", width=100))
