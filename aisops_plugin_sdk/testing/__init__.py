"""Test kit for plugin authors: the real sidecar server in-process, the real process, and a scripted upstream.

Nothing here imports pytest; the fixtures live in `aisops_plugin_sdk.testing.pytest_plugin`. The names are imported when
they are first used, because pytest loads this package in every environment that has the SDK.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from aisops_plugin_sdk.testing.client import Answer as Answer
    from aisops_plugin_sdk.testing.client import SidecarClient as SidecarClient
    from aisops_plugin_sdk.testing.delivery import DeliverySubject as DeliverySubject
    from aisops_plugin_sdk.testing.delivery import HttpUpstream as HttpUpstream
    from aisops_plugin_sdk.testing.delivery import Upstream as Upstream
    from aisops_plugin_sdk.testing.fake_provider import FakeProvider as FakeProvider
    from aisops_plugin_sdk.testing.fake_provider import Received as Received
    from aisops_plugin_sdk.testing.plugin_test import PluginTest as PluginTest
    from aisops_plugin_sdk.testing.sidecar_process import SidecarFailed as SidecarFailed
    from aisops_plugin_sdk.testing.sidecar_process import SidecarProcess as SidecarProcess

_WHERE = {
    "Answer": "client",
    "SidecarClient": "client",
    "DeliverySubject": "delivery",
    "HttpUpstream": "delivery",
    "Upstream": "delivery",
    "FakeProvider": "fake_provider",
    "Received": "fake_provider",
    "PluginTest": "plugin_test",
    "SidecarFailed": "sidecar_process",
    "SidecarProcess": "sidecar_process",
}
__all__ = [
    "PluginTest",
    "SidecarProcess",
    "SidecarFailed",
    "FakeProvider",
    "Received",
    "SidecarClient",
    "Answer",
    "DeliverySubject",
    "HttpUpstream",
    "Upstream",
]


def __getattr__(name: str) -> Any:
    """Import a name of the face from its module."""
    if name not in _WHERE:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_WHERE[name]}"), name)
