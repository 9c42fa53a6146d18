"""What a sidecar says about itself: probe, health, readiness, manifest and connection test."""

from collections.abc import Callable
from typing import Any

from aisops_plugin_sdk.errors import PluginError
from aisops_plugin_sdk.manifest import Manifest
from aisops_plugin_sdk.server import answers
from aisops_plugin_sdk.server.answers import Answer
from aisops_plugin_sdk.server.lifecycle import Lifecycle
from aisops_plugin_sdk.server.routes import RouteName
from aisops_plugin_sdk.version import CONTRACT_MAJORS, CONTRACT_MINOR


class Status:
    """Answers the routes that run no capability.

    Args:
        manifest: what the plugin offers.
        lifecycle: its config and readiness.
        clock: unix seconds.
    """

    def __init__(self, manifest: Manifest, lifecycle: Lifecycle, clock: Callable[[], float]) -> None:
        self._manifest = manifest
        self._lifecycle = lifecycle
        self._clock = clock
        self._last_check: dict[str, Any] | None = None

    async def answer(self, route: RouteName) -> Answer:
        """Answer one of probe, healthz, readyz, describe and check.

        Raises:
            PluginError: the connection test failed.
        """
        if route == "probe":
            return self._probe()
        if route == "healthz":
            return answers.success({"status": "healthy" if self._lifecycle.configured else "degraded"})
        if route == "readyz":
            return self._ready()
        if route == "check":
            return await self._check()
        return answers.success({"result": self._manifest.to_document()})

    def _probe(self) -> Answer:
        """Say who it is, as the original does, with the contract's versions added."""
        return answers.success(
            {
                "name": self._manifest.name,
                "version": self._manifest.version,
                "capabilities": [spec.name for spec in self._manifest.capabilities],
                "contract": list(CONTRACT_MAJORS),
                "contract_minor": CONTRACT_MINOR,
            }
        )

    def _ready(self) -> Answer:
        """Say whether calls can be taken. The last connection test is shown, it decides nothing."""
        error = self._lifecycle.readiness()
        if error is not None:
            return answers.unready(error, self._lifecycle.redactor)
        return answers.success({"status": "ready", "check": self._last_check})

    async def _check(self) -> Answer:
        """Run the connection test and remember how it went."""
        try:
            checked = await self._lifecycle.check()
        except PluginError as error:
            self._last_check = {"ok": False, "code": error.code, "time_ms": round(self._clock() * 1000)}
            raise
        if checked:
            self._last_check = {"ok": True, "code": "", "time_ms": round(self._clock() * 1000)}
        return answers.success({"result": {"configured": True, "checked": checked}})
