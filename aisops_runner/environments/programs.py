"""Runs an installer's programs: what they may see, where their words go, and what is said when they fail."""

from __future__ import annotations

import os
import re
import subprocess
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from aisops_runner.errors import InstallFailed

TAIL_BYTES = 16 * 1024
LINES = 6
LINE_CHARS = 300
PASSED_ON = frozenset(
    {
        "PATH", "HOME", "LANG", "LC_ALL", "TZ", "TMPDIR", "SSL_CERT_FILE", "SSL_CERT_DIR", "REQUESTS_CA_BUNDLE",
        "HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY", "ALL_PROXY", "http_proxy", "https_proxy", "no_proxy", "all_proxy",
        "NETRC", "XDG_CONFIG_HOME", "XDG_CONFIG_DIRS",
    }
)  # fmt: skip
INSTALLERS_OWN = ("UV_", "PIP_")
_CREDENTIALS = re.compile(r"://[^/\s@]+@")


@dataclass(frozen=True, slots=True)
class Surroundings:
    """What every program of one command gets.

    Attributes:
        env: The caller's environment; only what installers need of it is passed on, so none of the Runner's secrets.
        offline: Nothing but named folders may be read: the installers' own settings are withheld, too.
        held: A descriptor that the programs inherit, so that the command's lock lasts as long as they do; -1: none.
        extra: Further variables.
    """

    env: Mapping[str, str]
    offline: bool
    held: int = -1
    extra: Mapping[str, str] = field(default_factory=dict)

    def variables(self) -> dict[str, str]:
        """The environment of a program."""
        chosen = {name: value for name, value in self.env.items() if name in PASSED_ON}
        if self.offline:
            chosen |= {"PIP_CONFIG_FILE": os.devnull, "UV_OFFLINE": "1", "UV_NO_CONFIG": "1"}
        else:
            chosen |= {name: value for name, value in self.env.items() if name.startswith(INSTALLERS_OWN)}
        return chosen | dict(self.extra)


def run(words: Sequence[str], around: Surroundings, *, doing: str, cwd: Path, stdin: str = "") -> str:
    """Run a program to its end and return what it printed on standard output.

    Args:
        words: The program and its arguments; nothing secret.
        around: What it may see.
        doing: What it is for, as in "cannot … ".
        cwd: Where it works.
        stdin: What it reads.

    Raises:
        InstallFailed: It cannot be started or did not end well; its last words are in the message.
    """
    with tempfile.TemporaryFile(dir=cwd) as out, tempfile.TemporaryFile(dir=cwd) as err:
        try:
            done = subprocess.run(
                list(words),
                env=around.variables(),
                cwd=cwd,
                input=stdin.encode(),
                stdout=out,
                stderr=err,
                pass_fds=[around.held] if around.held >= 0 else [],
                check=False,
            )
        except OSError as error:
            raise InstallFailed(f"cannot {doing}: {words[0]} does not start ({error.strerror})") from None
        if done.returncode:
            err.seek(max(0, err.seek(0, os.SEEK_END) - TAIL_BYTES))
            said = last_words(err.read())
            ending = f"exit code {done.returncode}" if done.returncode > 0 else f"signal {-done.returncode}"
            raise InstallFailed(f"cannot {doing}: {said or ending}")
        out.seek(0)
        return out.read().decode("utf-8", "replace")


def last_words(raw: bytes) -> str:
    """The last lines that a program wrote, as one line for people, without credentials of addresses."""
    lines = [line.strip() for line in raw.decode("utf-8", "replace").splitlines()]
    told = [line[:LINE_CHARS] for line in lines if line and not line.startswith(("WARNING", "[notice]"))][-LINES:]
    text = _CREDENTIALS.sub("://***@", " ".join(told))
    return "".join(char if char.isprintable() else " " for char in text)
