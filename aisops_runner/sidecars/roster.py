"""Who serves each plugin now, and who only finishes what it has: supervisors come, are succeeded, and go.

A successor takes new calls at once. The one before it ends when its own calls have, so an upgrade costs no job; one
that is relieved without a successor (uninstalled, disabled) is drained as at the Runner's end.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator

import structlog

from aisops_plugin_sdk.manifest import Manifest
from aisops_runner.adapters.host import PluginHost
from aisops_runner.sidecars.proxy import SidecarProxy
from aisops_runner.sidecars.supervisor import Supervisor

_log = structlog.get_logger("aisops_runner.fleet")


class Roster:
    """The supervisors of a fleet, each behind its proxy in the host.

    Args:
        host: Where the proxies are registered.
    """

    def __init__(self, host: PluginHost) -> None:
        self._host = host
        self._proxies: dict[str, SidecarProxy] = {}
        self._serving: dict[str, Supervisor] = {}
        self._leaving: dict[asyncio.Task[None], Supervisor] = {}

    def __iter__(self) -> Iterator[str]:
        """Names of the plugins that are served."""
        return iter(tuple(self._serving))

    def find(self, name: str) -> Supervisor | None:
        """Who serves a plugin now."""
        return self._serving.get(name)

    def appoint(self, name: str, manifest: Manifest, supervisor: Supervisor) -> None:
        """Have a supervisor serve a plugin; whoever did before finishes its calls and goes."""
        before = self._serving.get(name)
        self._serving[name] = supervisor
        proxy = self._proxies.get(name)
        if proxy is None:
            proxy = self._proxies[name] = SidecarProxy(manifest, supervisor)
            self._host.register(proxy, name=name)
        else:
            proxy.succeed(manifest, supervisor)
            self._host.refresh(name)
        if before is not None:
            self._see_off(name, before, patient=True)

    def relieve(self, name: str) -> None:
        """Have nobody serve a plugin any more."""
        supervisor = self._serving.pop(name, None)
        if supervisor is not None:
            self._proxies[name].relieve()
            self._host.refresh(name)
            self._see_off(name, supervisor, patient=False)

    async def stop(self) -> None:
        """Drain and end every sidecar, all at once; none is left when this returns."""
        await asyncio.gather(*(one.stop() for one in (*self._serving.values(), *self._leaving.values())))
        await asyncio.gather(*self._leaving, return_exceptions=True)

    def _see_off(self, name: str, supervisor: Supervisor, *, patient: bool) -> None:
        task = asyncio.create_task(self._leave(name, supervisor, patient=patient), name=f"leave-{name}")
        self._leaving[task] = supervisor
        task.add_done_callback(self._left)

    async def _leave(self, name: str, supervisor: Supervisor, *, patient: bool) -> None:
        if patient:
            await supervisor.finish()
        await supervisor.stop()
        proxy = self._proxies.get(name)
        if proxy is not None and proxy.gone(supervisor):
            del self._proxies[name]
            self._host.unregister(name)

    def _left(self, task: asyncio.Task[None]) -> None:
        self._leaving.pop(task, None)
        if not task.cancelled() and (error := task.exception()) is not None:
            _log.error("a sidecar could not be ended in order", exc_info=error)
