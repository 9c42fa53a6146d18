"""Pin requirements: `requirements/*.in` become `*.txt` with exact versions and hashes, and no download address.

`make lock` runs it on a machine with network; the result is committed, so that everybody installs the same files.
"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
OPTIONS = (
    "--universal", "--python-version", "3.11", "--generate-hashes", "--no-annotate", "--no-header",
    "--no-emit-index-url", "--no-emit-find-links", "--quiet", "--upgrade",
)  # fmt: skip


def lock(source: Path) -> None:
    """Resolve one `.in` file; raises SystemExit when an address slipped into the result."""
    target = source.with_suffix(".txt")
    uv = Path(sys.executable).with_name("uv")
    subprocess.run([uv, "pip", "compile", *OPTIONS, source, "-o", target], cwd=ROOT, check=True)
    text = target.read_text()
    if "://" in text:
        raise SystemExit(f"{target.name} records a download address; it must not be committed")
    print(f"{target.relative_to(ROOT)}: {text.count('==')} packages")


if __name__ == "__main__":
    for path in sorted((ROOT / "requirements").glob("*.in")):
        lock(path)
