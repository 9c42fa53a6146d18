"""One Core for this folder, with a Runner that offers `test.echo`, and a token of every kind."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.core_process import CoreProcess, running_core
from tests.support.raw_runner import RawRunner


@pytest.fixture(scope="session")
def core(tmp_path_factory: pytest.TempPathFactory) -> Iterator[CoreProcess]:
    with running_core(tmp_path_factory.mktemp("doors")) as made:
        token = made.create_runner("runner-1")
        with RawRunner(made.grpc_port, token) as runner:
            runner.greet()
        (made.home / "runner-token").write_text(token)
        yield made


@pytest.fixture
def runner_token(core: CoreProcess) -> str:
    return (core.home / "runner-token").read_text()


@pytest.fixture(scope="session")
def tokens(core: CoreProcess) -> dict[str, str]:
    """Role (or `stranger`: an admin of another tenant) to token."""
    made = {role: core.create_token(f"a-{role}", role) for role in ("viewer", "operator")}
    return {**made, "admin": core.admin_token, "stranger": core.create_token("them", "admin", "t_other")}


@pytest.fixture
def home(tmp_path: Path) -> Path:
    return tmp_path
