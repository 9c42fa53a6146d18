"""Prepare the project's own `.venv` from pinned, hashed requirements; a second run does nothing and needs no network.

Run by every `make` target through the stamp file `.venv/.ready`. Standard library only, because it runs before
anything is installed. Exit codes: 0 ready, 1 a step failed (its output is shown), 78 this Python cannot be used.
"""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
import tempfile
import time
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
SAY_EVERY_S = 10.0


def installed_python() -> str:
    """Version line of the environment's interpreter; empty when there is none or it does not start."""
    command = [str(BIN / "python"), "-c", "import sys; print(sys.version)"]
    try:
        return subprocess.run(command, capture_output=True, check=True, text=True).stdout.strip()
    except (OSError, subprocess.CalledProcessError):
        return ""


def ready(python: str) -> bool:
    """Whether the environment is whole; with --this-python also whether it is of the Python that runs this."""
    if not python or ("--this-python" in sys.argv and python != sys.version):
        return False
    return STAMP.is_file() and STAMP.read_text() == fingerprint(python)


def fingerprint(python: str) -> str:
    """SHA-256 over everything that decides what the environment contains, its interpreter's version included."""
    digest = hashlib.sha256(f"{python}\n{VENV}".encode())
    inputs = [ROOT / "requirements" / "bootstrap.txt", ROOT / "requirements" / "dev.txt", Path(__file__)]
    inputs += [ROOT / package / "pyproject.toml" for package in PACKAGES]
    for path in inputs:
        digest.update(path.read_bytes())
    return digest.hexdigest()


def step(number: int, title: str, *command: str | Path, advice: str = "") -> None:
    """Run one command; print its title at once, a sign of life while it lasts, its output only when it fails."""
    print(f"  [{number}/4] {title} …", end="", flush=True)
    begun = time.monotonic()
    with tempfile.TemporaryFile() as output:
        with subprocess.Popen(
            [str(part) for part in command], cwd=ROOT, stdout=output, stderr=subprocess.STDOUT
        ) as run:
            while (code := ended(run)) is None:
                print(f" {time.monotonic() - begun:.0f} s …", end="", flush=True)
        if code:
            output.seek(0)
            print(" failed\n")
            print(output.read().decode(errors="replace").strip())
            print(f"\nSetting up stopped at: {title}. {advice}Then run the same command again.", flush=True)
            raise SystemExit(1)
    print(f" {time.monotonic() - begun:.1f} s", flush=True)


def ended(process: subprocess.Popen[bytes]) -> int | None:
    """Wait a while for a process; return its exit code, None when it goes on."""
    try:
        return process.wait(SAY_EVERY_S)
    except subprocess.TimeoutExpired:
        return None


def install() -> None:
    """Install everything; the stamp is written last, so an interrupted run starts afresh."""
    hashed = ("--require-hashes", "-r")
    network = "Is the package index reachable (HTTPS_PROXY, PIP_INDEX_URL and UV_DEFAULT_INDEX are honoured)? "
    step(1, "creating .venv", sys.executable, "-m", "venv", "--clear", VENV,
         advice="On Debian or Ubuntu: apt-get install python3-venv. ")  # fmt: skip
    step(2, "installing uv (the package installer)", BIN / "python", "-m", "pip", "-q", "install", *hashed,
         "requirements/bootstrap.txt", advice=network)  # fmt: skip
    uv = (BIN / "uv", "pip", "install", "-q", "--python", BIN / "python")
    step(3, "installing pinned requirements (about 100 MB, once)", *uv, "--compile-bytecode", *hashed,
         "requirements/dev.txt", advice=network)  # fmt: skip
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
    if ready(installed_python()):
        return 0
    begun = time.monotonic()
    print("Setting up (first run only):", flush=True)
    install()
    STAMP.write_text(fingerprint(installed_python()))
    print(f"  ready in {time.monotonic() - begun:.0f} s", flush=True)
    return 0


if __name__ == "__main__":
    try:
        sys.exit(main())
    except KeyboardInterrupt:
        print("\nInterrupted; the same command starts afresh.")
        sys.exit(130)
