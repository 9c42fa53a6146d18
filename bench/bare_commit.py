"""The limit of the disk: rows into SQLite with `synchronous=FULL` from one thread, so many in one commit."""

from __future__ import annotations

import sqlite3
import time
from pathlib import Path

from bench.figures import Figure

ROW = bytes(200)


class BareCommit:
    """One database file, and rounds into it."""

    def __init__(self, home: Path) -> None:
        home.mkdir(parents=True)
        self._connection = sqlite3.connect(home / "bare.sqlite", isolation_level=None)
        for pragma in ("journal_mode=WAL", "synchronous=FULL"):
            self._connection.execute(f"PRAGMA {pragma}")
        self._connection.execute("CREATE TABLE bare (id INTEGER PRIMARY KEY, body BLOB NOT NULL)")

    def measure(self, rows: int, commits: int) -> Figure:
        """Commit so often, so many rows each; latencies are of commits."""
        batch, latencies = [(ROW,)] * rows, list[float]()
        begun = time.perf_counter()
        for _ in range(commits):
            started = time.perf_counter()
            self._connection.execute("BEGIN IMMEDIATE")
            self._connection.executemany("INSERT INTO bare (body) VALUES (?)", batch)
            self._connection.execute("COMMIT")
            latencies.append(time.perf_counter() - started)
        elapsed = time.perf_counter() - begun
        figure = Figure.of(latencies, elapsed)
        return Figure(rows * commits / elapsed, figure.p50_ms, figure.p99_ms, rows * commits)

    def stop(self) -> None:
        """Close the file."""
        self._connection.close()
