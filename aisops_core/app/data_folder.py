"""The data folder: private to Core's user, held by one running Core at a time, home of the key that hashes tokens."""

from __future__ import annotations

import contextlib
import errno
import fcntl
import json
import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

from aisops_core.errors import ConfigError, CoreError, StorageUnavailable

PEPPER_BYTES = 32
LOCK_NAME = "core.lock"
PEPPER_NAME = "pepper"
ENDPOINTS_NAME = "endpoints.json"


_PASSING: Final = frozenset(
    {
        errno.EAGAIN, errno.EDQUOT, errno.EFBIG, errno.EINTR, errno.EIO, errno.EMFILE, errno.ENFILE, errno.ENOLCK,
        errno.ENOMEM, errno.ENOSPC, errno.ESTALE, errno.ETIMEDOUT,
    }
)  # fmt: skip
"""Refusals that may pass by themselves: a supervisor is to try again, which it would not after a wrong setting."""


def _refused(action: str, path: Path, error: OSError) -> CoreError:
    message = f"Cannot {action} {path}: {error.strerror or error}."
    if error.errno in _PASSING:
        advice = "Make room on the disk, or look at its health (the system's log says more), and start Core again."
        return StorageUnavailable(message, advice=advice)
    return ConfigError(message)


def make_private(path: Path) -> None:
    """Make the folder with mode 0700, or take away what others may do in an existing one.

    Raises ConfigError, or StorageUnavailable when the disk refused.
    """
    try:
        path.mkdir(mode=0o700, parents=True, exist_ok=True)
        if path.stat().st_mode & 0o077:
            path.chmod(0o700)
    except OSError as error:
        raise _refused("make the data folder", path, error) from None


@contextmanager
def exclusive(path: Path) -> Iterator[None]:
    """Hold the lock file `path` until the end.

    Raises ConfigError when another Core holds it, StorageUnavailable when the disk refused.

    The lock goes with the process, so nothing has to be cleaned up after a crash.
    """
    try:
        handle = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    except OSError as error:
        raise _refused("open the lock file", path, error) from None
    try:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise ConfigError(
                f"Another Core is running on {path.parent}{_holder(handle)}.",
                advice="Stop it, or give this one its own --data folder.",
            ) from None
        except OSError as error:
            raise _refused("lock", path, error) from None
        with contextlib.suppress(OSError):  # whose it is only helps people; a full disk must not keep a Core out
            os.ftruncate(handle, 0)
            os.pwrite(handle, f"{os.getpid()}\n".encode(), 0)
        yield
    finally:
        os.close(handle)


def _holder(handle: int) -> str:
    text = os.pread(handle, 32, 0).decode(errors="replace").strip()
    return f" (process {text})" if text.isdigit() else ""


def write_private(path: Path, text: str) -> None:
    """Write a file with mode 0600, whole or not at all, and on the disk before this returns.

    Raises ConfigError, or StorageUnavailable when the disk refused.
    """
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        with os.fdopen(os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
        folder = os.open(path.parent, os.O_RDONLY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)
    except OSError as error:
        with contextlib.suppress(OSError):
            temporary.unlink(missing_ok=True)
        raise _refused("write", path, error) from None


def read_pepper(path: Path, random_bytes: Callable[[int], bytes], *, draw: bool) -> bytes:
    """Return the key under which token secrets are hashed; a copy of the database without it tells nothing about them.

    With `draw` a missing key is drawn and stored. Without it, tokens were made under a key that is missing now: a new
    one would turn every caller and every Runner away without saying why. Raises ConfigError, or StorageUnavailable when
    the disk refused.
    """
    try:
        text = path.read_text(encoding="ascii")
    except FileNotFoundError:
        if not draw:
            raise ConfigError(
                f"The database holds tokens, but {path}, the key their hashes need, is missing.",
                advice="Restore it from a backup, or name it with pepper_file. When it is lost for good, no token works"
                f" any more: write 64 random hex digits into {path} (0600), then make new tokens.",
            ) from None
        text = random_bytes(PEPPER_BYTES).hex()
        write_private(path, text + "\n")
    except OSError as error:
        raise _refused("read the key that token hashes need,", path, error) from None
    except UnicodeDecodeError:
        raise ConfigError(f"Cannot read {path}, the key that token hashes need.") from None
    try:
        pepper = bytes.fromhex(text.strip())
    except ValueError:
        pepper = b""
    if len(pepper) < PEPPER_BYTES:
        raise ConfigError(f"{path} does not hold a key of {PEPPER_BYTES} octets.", advice="Restore it from a backup.")
    return pepper


def write_endpoints(path: Path, endpoints: Mapping[str, Any]) -> None:
    """Write where Core listens, for programs that started it with port 0. Raises ConfigError."""
    write_private(path, json.dumps(dict(endpoints), indent=2) + "\n")
