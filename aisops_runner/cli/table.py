"""Plain tables: columns as wide as their longest cell, nothing ever cut, so that ids can be copied."""

from __future__ import annotations

from collections.abc import Sequence

import click

COLOURS = {
    "ready": "green",
    "connected": "green",
    "installed": "cyan",
    "stopped": "cyan",
    "starting": "yellow",
    "degraded": "yellow",
    "backoff": "yellow",
    "connecting": "yellow",
    "waiting": "yellow",
    "quarantined": "red",
    "broken": "red",
    "refused": "red",
    "incompatible": "red",
    "ok": "green",
    "not ok": "red",
}


def render(titles: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Lay rows out under titles; a state cell gets its colour (click drops it where there is no terminal)."""
    clean = [["".join(char if char.isprintable() else "?" for char in cell) for cell in row] for row in rows]
    widths = [max(len(row[column]) for row in [list(titles), *clean]) for column in range(len(titles))]
    lines = ["  ".join(title.ljust(width) for title, width in zip(titles, widths, strict=True)).rstrip()]
    for row in clean:
        cells = [
            click.style(cell, fg=COLOURS[cell]) + " " * (width - len(cell)) if cell in COLOURS else cell.ljust(width)
            for cell, width in zip(row, widths, strict=True)
        ]
        lines.append("  ".join(cells).rstrip())
    return "\n".join(lines)
