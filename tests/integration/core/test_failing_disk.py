"""A disk that fails while Core's database is opened: the write-ahead log is on, or there is no connection."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from pathlib import Path

import pytest

from tests.chaos.fault import tool
from tests.chaos.injection.failing_disk import SYNC, failing

NO_FIU = tool("fiu-run", "fiu-utils").missing()
CHANCE = 0.2
"""A new database is synced several times before its log is on: some 20 of 80 are opened, the rest are refused."""

_OPENINGS = """
import sys
from pathlib import Path
from sqlalchemy.exc import DBAPIError
from aisops_core.errors import StorageUnavailable
from aisops_core.storage.engine import build_engine, typed
opened = without_log = untold = 0
for number in range(80):
    path = Path(sys.argv[1]) / f"{number}.db"
    engine = build_engine(f"sqlite:///{path}", writer=sys.argv[2] == "writer")
    try:
        with engine.connect():
            opened += 1
            without_log += path.read_bytes()[18:20] != bytes([2, 2])  # the file format's mark of a write-ahead log
    except DBAPIError as error:
        untold += not isinstance(typed(error), StorageUnavailable)
    engine.dispose()
print(opened, without_log, untold)
"""


@pytest.mark.skipif(bool(NO_FIU), reason=NO_FIU)
@pytest.mark.parametrize("whose", ["writer", "reader"])
async def test_the_database_is_opened_with_its_log_or_not_at_all(tmp_path: Path, whose: str) -> None:
    """SQLite says only behind the first row of its answer that the log cannot be had; unheard, there was none."""
    command = failing((sys.executable, "-c", _OPENINGS, str(tmp_path), whose), {SYNC: CHANCE})
    process = await asyncio.create_subprocess_exec(*command, stdout=subprocess.PIPE)
    said, _ = await process.communicate()
    opened, without_log, untold = map(int, said.split())
    assert 0 < opened < 80, "some were opened and some refused, or nothing was tried"
    assert without_log == 0
    assert untold == 0, "a refusal is told as a database that cannot serve"
