"""Prepare the project's own `.venv` from pinned, hashed requirements; a second run does nothing and needs no network.

Run by every `make` target through the stamp file `.venv/.ready`. Standard library only, because it runs before
anything is installed. Exit codes: 0 ready, 1 a step failed (its output is shown), 78 this Python cannot be used.
"""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
import time
import venv
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
VENV = ROOT / ".venv"
BIN = VENV / ("Scripts" if os.name == "nt" else "bin")
STAMP = VENV / ".ready"
PACKAGES = (
    "proto",
    "aisops_plugin_sdk",
    "aisops_runner",
    "aisops_core",
    "plugins/slack",
    "plugins/email",
    "plugins/telegram",
    "plugins/kakao",
)
OLDEST = (3, 11)


def fingerprint() -> str:
    """SHA-256 over everything that decides what the environment contains, plus this interpreter's version."""
    digest = hashlib.sha256(f"{sys.version}\n{VENV}".encode())
    inputs = [ROOT / "requirements" / "bootstrap.txt", ROOT / "requirements" / "dev.txt", Path(__file__)]
    inputs += [ROOT / package / "pyproject.toml" for package in PACKAGES]
    for path in inputs:
        digest.update(path.read_bytes())
    return digest.hexdigest()


def step(number: int, title: str, *command: str | Path) -> None:
    """Run one command; print its title at once, its time when done, its output only when it fails."""
    print(f"  [{number}/4] {title} …", end="", flush=True)
    begun = time.monotonic()
    done = subprocess.run(
        [str(part) for part in command], cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, check=False
    )
    if done.returncode:
        print(" failed", flush=True)
        sys.stdout.write(done.stdout.decode(errors="replace"))
        print(f"\nSetting up stopped at: {title}. Fix what is reported above, then run the same command again.")
        raise SystemExit(1)
    print(f" {time.monotonic() - begun:.1f} s", flush=True)


def make_venv() -> None:
    """Create `.venv` with pip; explain the one failure newcomers meet (Debian without python3-venv)."""
    print("  [1/4] creating .venv …", end="", flush=True)
    begun = time.monotonic()
    try:
        venv.EnvBuilder(with_pip=True, clear=True, symlinks=os.name != "nt").create(VENV)
    except (subprocess.CalledProcessError, OSError) as error:
        print(f" failed\n{error}\nOn Debian or Ubuntu: apt-get install python3-venv; then run the same command again.")
        raise SystemExit(1) from None
    print(f" {time.monotonic() - begun:.1f} s", flush=True)


def install() -> None:
    """Install everything; the stamp is written last, so an interrupted run starts afresh."""
    hashed = ("--require-hashes", "-r")
    make_venv()
    step(2, "installing uv (the package installer)", BIN / "python", "-m", "pip", "-q", "install", *hashed,
         "requirements/bootstrap.txt")  # fmt: skip
    uv = (BIN / "uv", "pip", "install", "-q", "--python", BIN / "python")
    step(3, "installing pinned requirements (about 100 MB, once)", *uv, "--compile-bytecode", *hashed,
         "requirements/dev.txt")  # fmt: skip
    editable = [part for package in PACKAGES for part in ("-e", package)]
    step(4, "linking the project's packages", *uv, "--no-deps", "--no-build-isolation", *editable)


def main() -> int:
    """Make the environment ready; return an exit code."""
    if sys.version_info < OLDEST:
        print(
            f"Python {OLDEST[0]}.{OLDEST[1]} or newer is needed; this is {sys.version.split()[0]} ({sys.executable})."
        )
        print("Install one and run:  make PYTHON=/path/to/python3.11 demo")
        return 78
    wanted = fingerprint()
    if STAMP.is_file() and STAMP.read_text() == wanted:
        return 0
    begun = time.monotonic()
    print("Setting up (first run only):", flush=True)
    install()
    STAMP.write_text(wanted)
    print(f"  ready in {time.monotonic() - begun:.0f} s", flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
