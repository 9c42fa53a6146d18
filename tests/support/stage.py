"""Fixtures: the whole product on one machine, as real processes (see `demo.stage`)."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from demo.messages import plugin_environment
from demo.stage import Stage


@pytest.fixture(scope="module")
def stage(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stage]:
    """Providers, Core and a connected Runner with the four plugins."""
    with Stage(tmp_path_factory.mktemp("stage")) as stage:
        stage.plugin_env = plugin_environment(stage.start_providers())
        stage.start_core()
        stage.create_runner()
        stage.start_runner()
        yield stage
