"""Make everything that is made from the wire contract: message code, type stubs, descriptor baseline, diagram, table.

    python scripts/generate_protocol.py             regenerate beside the .proto file, redraw the pages
    python scripts/generate_protocol.py --check     regenerate elsewhere and compare; exit 1 when anything is stale
    python scripts/generate_protocol.py --docs      only redraw docs/protocol.md and docs/delivery-conformance.md
    python scripts/generate_protocol.py --baseline  take today's contract as the one `buf breaking` compares with

The generator is pinned (requirements/codegen.txt) in an environment of its own, `.venv-codegen`, because generated
code refuses runtimes older than its generator: pinning low lets users keep any protobuf runtime from 6.31 on. There is
no runner_pb2_grpc.py: both ends register and call `Connect` with the codec's bytes functions and the method path, so
the stub's message classes would only be a second, unchecked way in.

Exit codes: 0 done or fresh, 1 stale or the generator failed. Standard library only, but for the pages, which are
drawn from the transition table and the conformance checks of `aisops_protocol`.
"""

from __future__ import annotations

import argparse
import hashlib
import os
import subprocess
import sys
import tempfile
import venv
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
PROTO = ROOT / "proto"
SOURCE = Path("aisopsflow/core/runner/v1/runner.proto")
MADE = tuple(SOURCE.with_name(name) for name in ("runner_pb2.py", "runner_pb2.pyi"))
BASELINE = PROTO / "baseline" / "v1.binpb"
REQUIREMENTS = ROOT / "requirements" / "codegen.txt"
CODEGEN = ROOT / ".venv-codegen"
SCRIPTS = "Scripts" if os.name == "nt" else "bin"
PAGE = ROOT / "docs" / "protocol.md"
KIT_PAGE = ROOT / "docs" / "delivery-conformance.md"
BEGIN, END = "<!-- session diagram: begin (made by scripts/generate_protocol.py) -->", "<!-- session diagram: end -->"
KIT_BEGIN, KIT_END = "<!-- checks: begin (made by scripts/generate_protocol.py) -->", "<!-- checks: end -->"


def run(*command: str | Path) -> None:
    """Run one command; show what it said only when it fails, then stop with exit code 1."""
    done = subprocess.run(
        [str(part) for part in command],
        cwd=PROTO,
        env={**os.environ, "PATH": f"{CODEGEN / SCRIPTS}{os.pathsep}{os.environ.get('PATH', '')}"},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        check=False,
    )
    if done.returncode:
        sys.stdout.write(done.stdout.decode(errors="replace"))
        print(f"Failed: {' '.join(str(part) for part in command)}")
        raise SystemExit(1)


def ensure_generator() -> Path:
    """The interpreter of `.venv-codegen`, made afresh when its requirements changed."""
    python = CODEGEN / SCRIPTS / "python"
    stamp = CODEGEN / ".ready"
    wanted = hashlib.sha256(REQUIREMENTS.read_bytes() + sys.version.encode()).hexdigest()
    if stamp.exists() and stamp.read_text() == wanted:
        return python
    print("Preparing the pinned generator in .venv-codegen (once) …", flush=True)
    hashed = ("--require-hashes", "-r", REQUIREMENTS)
    uv = ROOT / ".venv" / SCRIPTS / "uv"
    if uv.exists():
        venv.EnvBuilder(clear=True, symlinks=os.name != "nt").create(CODEGEN)
        run(uv, "pip", "install", "-q", "--python", python, *hashed)
    else:
        venv.EnvBuilder(with_pip=True, clear=True, symlinks=os.name != "nt").create(CODEGEN)
        run(python, "-m", "pip", "install", "-q", *hashed)
    stamp.write_text(wanted)
    return python


def generate(target: Path) -> None:
    """Write the generated files below `target`, in the package's folders."""
    run(
        ensure_generator(),
        "-m",
        "grpc_tools.protoc",
        "-I",
        ".",
        f"--python_out={target}",
        f"--mypy_out={target}",
        SOURCE,
    )


def write_baseline() -> None:
    """Freeze the contract as a descriptor set, comments left out, for `buf breaking --against`."""
    BASELINE.parent.mkdir(exist_ok=True)
    run(ensure_generator(), "-m", "grpc_tools.protoc", "-I", ".", f"--descriptor_set_out={BASELINE}", SOURCE)


def drawn() -> dict[Path, str]:
    """The pages with what is made in them: the state diagram, and the table of the conformance kit's checks."""
    from aisops_protocol.conformance.registry import every
    from aisops_protocol.conformance.report import page_table
    from aisops_protocol.session import diagram

    return {
        PAGE: between(PAGE, BEGIN, f"```mermaid\n{diagram()}```\n", END),
        KIT_PAGE: between(KIT_PAGE, KIT_BEGIN, page_table(every()), KIT_END),
    }


def between(page: Path, begin: str, made: str, end: str) -> str:
    """A page's text with something new between its two marks."""
    head, _, rest = page.read_text(encoding="utf-8").partition(begin)
    return f"{head}{begin}\n{made}{end}{rest.partition(end)[2]}"


def stale() -> list[str]:
    """Names of committed files that differ from what the generator makes now."""
    found = []
    with tempfile.TemporaryDirectory() as folder:
        generate(Path(folder))
        for path in MADE:
            committed = PROTO / path
            if not committed.exists() or committed.read_bytes() != (Path(folder) / path).read_bytes():
                found.append(f"proto/{path}")
    found += [str(page.relative_to(ROOT)) for page, text in drawn().items() if page.read_text("utf-8") != text]
    return found


def main() -> int:
    """Read the one option and do it."""
    parser = argparse.ArgumentParser(description="Make everything that is made from the wire contract.")
    choice = parser.add_mutually_exclusive_group()
    choice.add_argument("--check", action="store_true", help="compare only; exit 1 when something is stale")
    choice.add_argument("--docs", action="store_true", help="only redraw what is made in the pages")
    choice.add_argument("--baseline", action="store_true", help="take today's contract as released")
    options = parser.parse_args()
    if options.check:
        found = stale()
        for name in found:
            print(f"{name} is stale: run `make proto` and commit the result")
        return 1 if found else 0
    if options.baseline:
        write_baseline()
        return 0
    if not options.docs:
        generate(PROTO)
    for page, text in drawn().items():
        page.write_text(text, encoding="utf-8")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
