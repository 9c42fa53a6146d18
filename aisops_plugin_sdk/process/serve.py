"""`serve`: run one plugin as a sidecar process until it is told to stop or its parent is gone."""

import asyncio
import gc
import os
import signal
from collections.abc import Callable, Mapping
from functools import partial
from typing import TYPE_CHECKING

from aisops_plugin_sdk import webhooks
from aisops_plugin_sdk.errors import LoadFailed
from aisops_plugin_sdk.plugin import Plugin
from aisops_plugin_sdk.process.lifeline import Lifeline
from aisops_plugin_sdk.process.loading import load_plugin
from aisops_plugin_sdk.process.log_bridge import EventOutput, OutputSink, bridge_standard_logging
from aisops_plugin_sdk.process.stdout import ContractOutput
from aisops_plugin_sdk.signing import TOKEN_ENV
from aisops_plugin_sdk.version import CONTRACT_MAJORS
from aisops_plugin_sdk.webhooks import LISTEN_ENV

if TYPE_CHECKING:
    from aisops_plugin_sdk.server.sidecar import Sidecar

OK = 0
FAILED = 1
DRAIN_S = 30.0
ORPHAN_DRAIN_S = 1.0
YOUNG = 20_000


def serve(name: str) -> int:
    """Run the named plugin with the environment of this process.

    The first line on stdout is the ready line; when the plugin cannot be served, the only line is `{"ok":false,…}`.

    Returns:
        The exit code: 0 after an orderly stop, 1 when the plugin cannot be loaded or the port is taken.
    """
    env = dict(os.environ)
    for variable in TOKEN_ENV:
        # Neither vendor code nor processes it starts have a use for the token.
        os.environ.pop(variable, None)
    output = ContractOutput()
    try:
        port = _port(env.get("PORT", ""))
        plugin = load_plugin(name)
        with asyncio.Runner(loop_factory=_loop_factory()) as runner:
            unfinished = runner.run(_serve(plugin, env, port, output))
            if unfinished:
                # Functions that ignored their cancellation would keep the interpreter from ending.
                output.close()
                os._exit(OK)
    except LoadFailed as error:
        output.line({"ok": False, **error.diagnostics()})
        return FAILED
    finally:
        output.close()
    return OK


async def _serve(plugin: Plugin, env: Mapping[str, str], port: int, output: ContractOutput) -> bool:
    """Listen, announce, run `on_start`, wait for a reason to stop, and stop. Returns whether plugin code still runs."""
    from aisops_plugin_sdk.server.sidecar import Sidecar

    asked = asyncio.Event()
    sink = OutputSink(output)
    sidecar = Sidecar(plugin, env, sink=sink, on_shutdown=asked.set, on_event=EventOutput(output))
    sink.redactor = sidecar.lifecycle.redactor
    try:
        bound = await sidecar.listen(port)
    except OSError as error:
        raise LoadFailed(f"cannot listen on 127.0.0.1:{port}: {error.strerror}", code="port_in_use") from None
    await _listen_for_webhooks(sidecar, plugin, env.get(LISTEN_ENV, ""))
    orphaned = _watch(env.get("AISOPS_LIFELINE", ""), asked)
    output.line({"aisops": 1, "ready": True, "contract": list(CONTRACT_MAJORS), "port": bound, "pid": os.getpid()})
    bridge_standard_logging(sink)
    gc.freeze()  # what the imports left need not be looked through at every collection
    gc.enable()
    gc.set_threshold(YOUNG, 10, 10)  # a batch makes thousands of objects that go with it: to look at those is in vain
    sidecar.begin()
    await asked.wait()
    await sidecar.stop(ORPHAN_DRAIN_S if orphaned() else DRAIN_S)
    return sidecar.unfinished


async def _listen_for_webhooks(sidecar: "Sidecar", plugin: Plugin, address: str) -> None:
    """Listen for the provider where the operator says; nowhere when nothing is said."""
    if not address:
        return
    host, colon, port = address.rpartition(":")
    if not colon or not host or not port.isascii() or not port.isdigit() or not 0 < int(port) <= 65_535:
        raise LoadFailed(f"{LISTEN_ENV} must read host:port, not {address[:100]!r}", code="invalid_address")
    if webhooks.FEATURE not in plugin.manifest().features:
        raise LoadFailed(f"{LISTEN_ENV} is set, but plugin {plugin.name!r} has no webhook", code="no_webhook")
    try:
        await sidecar.listen_for_webhooks(host.strip("[]"), int(port))
    except OSError as error:
        raise LoadFailed(f"cannot listen on {address}: {error.strerror}", code="port_in_use") from None


def _watch(lifeline: str, asked: asyncio.Event) -> Callable[[], bool]:
    """Set `asked` on SIGTERM, SIGINT and the loss of the parent. Returns how to ask whether the parent is lost."""
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, asked.set)
    if lifeline == "none":
        return lambda: False
    line = Lifeline(stdin=lifeline == "stdin", on_lost=partial(_from_thread, loop, asked.set))
    line.hold()
    return lambda: line.lost


def _from_thread(loop: asyncio.AbstractEventLoop, function: Callable[[], None]) -> None:
    """Run something on the loop, unless the loop has ended already."""
    if not loop.is_closed():
        loop.call_soon_threadsafe(function)


def _port(text: str) -> int:
    """Read PORT; empty means that the system chooses."""
    if text and not (text.isascii() and text.isdigit() and int(text) <= 65_535):
        raise LoadFailed("PORT must be a number from 0 to 65535", code="invalid_port")
    return int(text or "0")


def _loop_factory() -> Callable[[], asyncio.AbstractEventLoop] | None:
    """Use uvloop where it is installed."""
    try:
        import uvloop
    except ImportError:
        return None
    factory: Callable[[], asyncio.AbstractEventLoop] = uvloop.new_event_loop
    return factory
