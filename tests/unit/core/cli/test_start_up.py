"""The command line starts fast: it imports only what the command at hand needs."""

from __future__ import annotations

import subprocess
import sys

import pytest

HEAVY = {"sqlalchemy", "grpc", "aiohttp", "pydantic", "alembic", "rich", "cryptography", "structlog", "jsonschema_rs"}


@pytest.mark.parametrize(
    ("module", "words"),
    [
        ("aisops_core.cli.operator", ["--help"]),
        ("aisops_core.cli.operator", ["--version"]),
        ("aisops_core.cli.operator", ["job", "submit", "--help"]),
        ("aisops_core.cli.core", ["--help"]),
    ],
)
def test_help_imports_nothing_heavy(module: str, words: list[str]) -> None:
    program = (
        f"import sys; sys.argv = ['x', *{words!r}]\n"
        f"from {module} import main\n"
        "code = main()\n"
        "print(sorted(sys.modules), file=sys.stderr)\n"
        "sys.exit(code)\n"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    loaded = set(done.stderr.replace("'", "").strip("[]\n").split(", "))
    assert not HEAVY & loaded
    assert done.stdout
