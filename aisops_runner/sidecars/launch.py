"""Brings a plugin up, each kind in its own way: what comes out is a run, and nobody else asks which kind it is."""

from __future__ import annotations

import os
import secrets
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from aisops_runner.adapters.kinds import Foreign, Kind
from aisops_runner.clock import Clock
from aisops_runner.sidecars.client import SidecarClient
from aisops_runner.sidecars.environment import TOKEN_ENV, resolve, unset
from aisops_runner.sidecars.foreign import leash
from aisops_runner.sidecars.foreign.channel import StdioChannel
from aisops_runner.sidecars.foreign.client import ForeignClient
from aisops_runner.sidecars.foreign.probing import ProbePolling
from aisops_runner.sidecars.foreign.remote import Elsewhere, open_http, probe
from aisops_runner.sidecars.foreign.stdio import StdioClient
from aisops_runner.sidecars.openings import ReadyLine
from aisops_runner.sidecars.process import SidecarSpec, start_sidecar
from aisops_runner.sidecars.run import Run


async def launch(spec: SidecarSpec, clock: Clock) -> Run:
    """Start a plugin, or reach it, and wait until it is ready.

    Raises:
        SidecarStartFailed: It did not get ready; nothing of it is left.
        SecretUnavailable: A configured reference leads nowhere.
    """
    foreign = spec.foreign
    if foreign is None:
        return await _package(spec, clock)
    if foreign.kind is Kind.URL:
        return await _elsewhere(spec, foreign, clock)
    # A plugin that calls Core itself signs with the token it shares with Core: the operator names it.
    given = spec.configured.get(TOKEN_ENV)
    token = resolve(TOKEN_ENV, given, spec.runner_env) if given else secrets.token_hex(32)
    tied = replace(spec, argv=on_leash(spec.argv))
    missing = unset(spec.manifest, spec.runner_env, spec.configured, foreign)
    if foreign.kind is Kind.STDIO_JSON:
        channel = StdioChannel()
        process = await start_sidecar(tied, clock, channel, token=token)
        return Run(process, StdioClient(channel, process, foreign, unset=missing))
    opening = ProbePolling(token, clock)
    process = await start_sidecar(tied, clock, opening, token=token)
    return Run(process, ForeignClient(opening.http, foreign, clock, unset=missing))


def on_leash(argv: Sequence[str]) -> list[str]:
    """The command that ties a program to this process and becomes it."""
    return [sys.executable, "-I", "-S", str(Path(leash.__file__)), str(os.getpid()), *argv]


async def _package(spec: SidecarSpec, clock: Clock) -> Run:
    opening = ReadyLine(spec.redact)
    process = await start_sidecar(spec, clock, opening)
    return Run(process, SidecarClient(opening.port, process.token, clock))


async def _elsewhere(spec: SidecarSpec, foreign: Foreign, clock: Clock) -> Run:
    token = resolve("token", foreign.token, spec.runner_env)
    spec.register_secret(token)
    http, prefix = open_http(foreign.url, token, clock)
    try:
        await probe(http, prefix, foreign.url)
    except BaseException:
        http.close()
        raise
    return Run(Elsewhere(), ForeignClient(http, foreign, clock, prefix=prefix))
