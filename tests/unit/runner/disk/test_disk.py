"""Which refusals of a disk a supervisor should answer by starting the Runner again."""

from __future__ import annotations

import errno
import os
import sqlite3
from pathlib import Path

import pytest

from aisops_runner import disk
from aisops_runner.cli.failure import FAILED, REFUSED, exit_code

FILE = Path("/data/outbox.db")


def of_system(number: int) -> OSError:
    return OSError(number, os.strerror(number))


def of_sqlite(code: int, words: str) -> sqlite3.Error:
    error = sqlite3.OperationalError(words)
    error.sqlite_errorcode = code
    return error


@pytest.mark.parametrize(
    "error",
    [
        *map(of_system, (errno.EACCES, errno.EROFS, errno.ENOTDIR, errno.ENOENT, errno.ENAMETOOLONG, errno.EPERM)),
        OSError("AF_UNIX path too long"),
        of_sqlite(sqlite3.SQLITE_READONLY_DIRECTORY, "attempt to write a readonly database"),
    ],
    ids=str,
)
def test_a_wrong_path_or_right_is_the_configurations_fault(error: OSError | sqlite3.Error) -> None:
    refusal = disk.refusal("cannot open /data/outbox.db", error, FILE)
    assert exit_code(refusal) == REFUSED
    assert "make it writable for this user or name another" in refusal.message


@pytest.mark.parametrize(
    ("error", "advice"),
    [
        (of_system(errno.ENOSPC), "make room"),
        (of_system(errno.EDQUOT), "make room"),
        (of_sqlite(sqlite3.SQLITE_FULL, "database or disk is full"), "make room"),
        (of_system(errno.EIO), "start the Runner again"),
        (of_system(errno.EMFILE), "start the Runner again"),
        (of_sqlite(sqlite3.SQLITE_IOERR_FSYNC, "disk I/O error"), "start the Runner again"),
        (of_sqlite(sqlite3.SQLITE_NOTADB, "file is not a database"), "start the Runner again"),
    ],
    ids=str,
)
def test_what_may_pass_is_to_be_tried_again(error: OSError | sqlite3.Error, advice: str) -> None:
    refusal = disk.refusal("cannot open /data/outbox.db", error, FILE)
    assert exit_code(refusal) == FAILED
    assert refusal.message.startswith("cannot open /data/outbox.db: ")
    assert advice in refusal.message
