"""`aisops-runner run`: the Runner itself."""

from __future__ import annotations

import asyncio
import gc
import os
from collections.abc import Callable
from pathlib import Path

import click

from aisops_runner.cli.lazy import Examples
from aisops_runner.cli.main import common, read_config
from aisops_runner.config import RunnerConfig
from aisops_runner.errors import ConfigInvalid
from aisops_runner.logs import Redactor, configure_logs

EXAMPLES = """
aisops-runner run --config /etc/aisops/runner.toml
CORE_GRPC_ENDPOINT=core.example.com:443 AISOPS_RUNNER_TOKEN_FILE=/run/secrets/token aisops-runner run
"""

YOUNG = 50_000  # objects made and not gone again between two looks for garbage


@click.command(cls=Examples, epilog=EXAMPLES)
@common
@click.option(
    "--once", is_flag=True, help="End when Core refuses this Runner for good, instead of trying again slowly."
)
def run(config_file: Path | None, *, once: bool) -> None:
    """Connect to Core and work until stopped (Ctrl-C or SIGTERM; a second one stops at once)."""
    # Before gRPC is imported: its own lines repeat, unstructured, what ours say.
    os.environ.setdefault("GRPC_VERBOSITY", "NONE")
    config = read_config(config_file)
    if config.token is None and config.token_file is None:
        raise ConfigInvalid(
            "no runner token; create one at Core with `aisops runner create NAME`, put it into a file that only this "
            "user can read, and name that file as token_file (or AISOPS_RUNNER_TOKEN_FILE)",
            key="token_file",
            source=str(config_file) if config_file else "environment",
        )
    redactor = Redactor()
    if config.proxy is not None:
        redactor.register(config.proxy.get_secret_value())
    configure_logs(redactor, log_format=config.log_format, level=config.log_level)
    with asyncio.Runner(loop_factory=_loop_factory()) as loop:
        loop.run(_work(config, redactor, once=once))


async def _work(config: RunnerConfig, redactor: Redactor, *, once: bool) -> None:
    from aisops_runner.app import build

    runner = build(config, redactor=redactor, once=once)
    _spare_the_collector()
    await runner.run()


def _spare_the_collector() -> None:
    """Look for garbage in cycles seldom: there is hardly any, and each look goes through every job and row held.

    A burst of jobs makes some twenty thousand objects that go with it; to look at those took a twentieth of the time.

    What the imports left is not looked at again at all.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(YOUNG, 20, 50)


def _loop_factory() -> Callable[[], asyncio.AbstractEventLoop] | None:
    """Use uvloop where it is installed (extra `fast`)."""
    try:
        import uvloop
    except ImportError:
        return None
    factory: Callable[[], asyncio.AbstractEventLoop] = uvloop.new_event_loop
    return factory
