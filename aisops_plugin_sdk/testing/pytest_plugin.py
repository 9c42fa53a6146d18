"""pytest fixtures of the SDK, loaded by pytest through its entry point group `pytest11`.

`plugin_test`, `sidecar_process` and `fake_provider` are available in every test of an environment that has the SDK; the
first two are factories whose servers and processes end with the test. They need pytest-asyncio in auto mode. Imports
stay light on purpose: pytest loads this file in every project.
"""

from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from collections.abc import Awaitable

    from aisops_plugin_sdk.plugin import Plugin
    from aisops_plugin_sdk.testing.fake_provider import FakeProvider
    from aisops_plugin_sdk.testing.plugin_test import PluginTest
    from aisops_plugin_sdk.testing.sidecar_process import SidecarProcess


@pytest.fixture
async def plugin_test() -> "AsyncIterator[Callable[..., Awaitable[PluginTest]]]":
    """Give a function that serves a plugin in-process; its arguments are those of `PluginTest`."""
    from aisops_plugin_sdk.testing.plugin_test import PluginTest

    async with AsyncExitStack() as stack:

        async def serve(plugin: "Plugin", **options: Any) -> "PluginTest":
            return await stack.enter_async_context(PluginTest(plugin, **options))

        yield serve


@pytest.fixture
async def sidecar_process() -> "AsyncIterator[Callable[..., Awaitable[SidecarProcess]]]":
    """Give a function that starts a real process; its arguments are those of `SidecarProcess`."""
    from aisops_plugin_sdk.testing.sidecar_process import SidecarProcess

    async with AsyncExitStack() as stack:

        async def start(name: str, **options: Any) -> "SidecarProcess":
            return await stack.enter_async_context(SidecarProcess(name, **options))

        yield start


@pytest.fixture
async def fake_provider() -> "AsyncIterator[FakeProvider]":
    """Give one scripted provider."""
    from aisops_plugin_sdk.testing.fake_provider import FakeProvider

    async with FakeProvider() as provider:
        yield provider
