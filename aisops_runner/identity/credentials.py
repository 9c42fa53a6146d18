"""The runner token: read from a private file or given directly, and never shown."""

from __future__ import annotations

import hmac
import os
import stat
from pathlib import Path

from aisops_runner.errors import ConfigInvalid

MAX_TOKEN_BYTES = 4096


class RunnerToken:
    """A bearer token. Its text is given out by `reveal` only: not by repr, str, format or pickling.

    Raises:
        ConfigInvalid: Empty, too long, or with characters that no header can carry.
    """

    __slots__ = ("_text",)

    def __init__(self, text: str, *, source: str = "") -> None:
        text = text.strip()
        if not text:
            raise ConfigInvalid("the runner token is empty", key="token", source=source)
        if len(text) > MAX_TOKEN_BYTES or not all("!" <= char <= "~" for char in text):
            raise ConfigInvalid("this is no runner token (too long, or spaces inside)", key="token", source=source)
        self._text = text

    def reveal(self) -> str:
        """The token's text; for the wire alone."""
        return self._text

    def __repr__(self) -> str:
        return "RunnerToken(***)"

    __str__ = __repr__

    def __format__(self, spec: str) -> str:
        return format(repr(self), spec)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, RunnerToken) and hmac.compare_digest(self._text.encode(), other._text.encode())

    def __hash__(self) -> int:
        return hash(RunnerToken)

    def __reduce__(self) -> tuple[object, ...]:
        raise TypeError("a runner token is not pickled")


def load_token(path: Path) -> RunnerToken:
    """Read the token from a file that nobody else can read.

    Args:
        path: A regular file (a link to one is fine), at most 4 KiB, mode 0600 or stricter; group-readable is accepted
            when root owns it, as orchestrators mount secrets.

    Raises:
        ConfigInvalid: It cannot be read, others may read it, or it holds no token.
    """
    try:
        fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
    except OSError as error:
        raise _unusable(path, f"cannot read it: {error.strerror}") from None
    try:
        found = os.fstat(fd)
        if not stat.S_ISREG(found.st_mode):
            raise _unusable(path, "not a regular file")
        forbidden = 0o037 if found.st_uid == 0 and os.geteuid() != 0 else 0o077
        if found.st_mode & forbidden:
            raise _unusable(path, f"others may read it; run: chmod 600 {path}")
        raw = os.read(fd, MAX_TOKEN_BYTES + 1)
    finally:
        os.close(fd)
    try:
        return RunnerToken(raw.decode("ascii"), source=str(path))
    except UnicodeDecodeError:
        raise _unusable(path, "it does not hold a runner token") from None


def _unusable(path: Path, why: str) -> ConfigInvalid:
    return ConfigInvalid(why, key="token_file", source=str(path))
