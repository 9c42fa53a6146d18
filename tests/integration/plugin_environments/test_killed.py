"""kill -9 at any point of an upgrade: what was in use works, or what was asked for does, and nothing is left over."""

from __future__ import annotations

import contextlib
import fcntl
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from aisops_runner.adapters.places import Elsewhere
from aisops_runner.environments import integrity, registry
from aisops_runner.environments.building import ask
from tests.integration.plugin_environments.conftest import Site
from tests.support.wheels import make_plugin

pytestmark = [pytest.mark.integration, pytest.mark.timeout(3600)]
OFFLINE = ("--wheelhouse", "wheelhouse")
MOST_STEPS = 400
CHANCES = 12


@pytest.fixture
def prepared(site: Site) -> Iterator[Site]:
    """1.0 is installed, 1.1 lies in the wheelhouse, and what stands there can be put back."""
    site.ok("install", "acme-chat", *OFFLINE)
    make_plugin(site.house, "1.1")
    shutil.copytree(site.data, site.root / "before", symlinks=True)
    killer = site.root / "killer"
    killer.mkdir()
    shutil.copy(Path(__file__).with_name("killed_at.py"), killer / "sitecustomize.py")
    yield site
    settled(site)


def put_back(site: Site) -> None:
    shutil.rmtree(site.data)
    shutil.copytree(site.root / "before", site.data, symlinks=True)


def settled(site: Site) -> None:
    """Wait until the installers that a killed command had started have ended: they hold its lock."""
    with site.layout.lock.open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)


def check_that_it_works(site: Site) -> str:
    """The version in use is whole, and found as a Runner finds it, before any other command has cleaned up."""
    elsewhere: Elsewhere = registry.elsewhere(site.layout.plugins)
    (installed,) = elsewhere.installed
    now = registry.read(site.layout).holding("acme-chat").now
    assert registry.stored_environment(site.layout, now.id) == now
    assert integrity.faults(site.layout.venv(now.id)) == []
    manifest = ask(installed, site.layout, os.environ, 60.0)
    assert manifest == elsewhere.manifest(installed)
    assert manifest.version == installed.version
    return installed.version


def test_killed_at_every_step_the_old_version_works_until_the_new_one_does(prepared: Site) -> None:
    """Each step in turn, from the same beginning, until a round has no such step any more and ends well."""
    site = prepared
    outcomes: list[str] = []
    for step in range(1, MOST_STEPS):
        put_back(site)
        env = {"PYTHONPATH": str(site.root / "killer"), "KILL_AT": str(step), "KILL_DATA": str(site.data)}
        done = site.run("upgrade", "acme-chat", *OFFLINE, env=env)
        if done.returncode == 0:
            break
        assert done.returncode == -signal.SIGKILL, done.stderr
        outcomes.append(check_that_it_works(site))
        settled(site)
    assert check_that_it_works(site) == "1.1"
    assert outcomes == sorted(outcomes), "the switch is one moment"
    assert len(outcomes) > 15, "the steps were really counted"
    print(f"killed at {len(outcomes)} steps, {outcomes.count('1.0')} of them before the switch")


def test_killed_at_any_moment_and_simply_repeated_it_gets_there(prepared: Site) -> None:
    """Also inside the installers' own work. What a killed command left half made is gone after the next one."""
    site = prepared
    chance = random.Random(4)
    words = [
        sys.executable,
        "-P",
        "-m",
        "aisops_runner",
        "plugin",
        "upgrade",
        "--config",
        str(site.config),
        "acme-chat",
    ]
    began = time.monotonic()
    assert subprocess.run([*words, *OFFLINE], cwd=site.root, check=False, capture_output=True).returncode == 0
    whole_s = time.monotonic() - began
    put_back(site)
    killed = 0
    for _ in range(CHANCES):
        with subprocess.Popen(
            [*words, *OFFLINE], cwd=site.root, stderr=subprocess.DEVNULL, stdout=subprocess.DEVNULL
        ) as command:
            with contextlib.suppress(subprocess.TimeoutExpired):
                command.wait(chance.uniform(0.1, 1.0) * whole_s)  # any moment will do: none is waited for
            command.kill()
        killed += command.returncode == -signal.SIGKILL
        if check_that_it_works(site) == "1.1":
            settled(site)
            put_back(site)
        settled(site)
    assert killed
    site.ok("upgrade", "acme-chat", *OFFLINE)
    assert check_that_it_works(site) == "1.1"
    standing = {path.name for path in site.layout.environments.iterdir()}
    held = registry.read(site.layout).holding("acme-chat")
    assert held.before is not None
    assert standing == {held.now.id, held.before.id}
    assert not site.layout.building.exists()
    assert not list(site.layout.plugins.glob(".installed-*")), "no draft is left over"
    assert site.ok("rollback", "acme-chat")["version"] == "1.0"


def test_while_an_installer_of_a_killed_command_lives_the_next_command_waits_its_turn(
    site: Site, tmp_path: Path
) -> None:
    """The installer inherits the lock: nobody cleans up under its hands."""
    tools = tmp_path / "tools"
    tools.mkdir()
    (tools / "uv").write_text(f"#!/bin/sh\necho $$ > {tmp_path}/pid\nexec sleep 600\n")
    (tools / "uv").chmod(0o700)
    words = [
        sys.executable,
        "-P",
        "-m",
        "aisops_runner",
        "plugin",
        "install",
        "--config",
        str(site.config),
        "acme-chat",
    ]
    env = {"PATH": f"{tools}:/usr/bin:/bin"}
    with subprocess.Popen([*words, *OFFLINE], cwd=site.root, env=env, stderr=subprocess.DEVNULL) as command:
        pid_file = tmp_path / "pid"
        until = time.monotonic() + 120
        while not (pid_file.exists() and pid_file.read_text().strip()) and time.monotonic() < until:
            time.sleep(0.01)
        command.kill()
    try:
        assert site.refused("install", "acme-chat", *OFFLINE, code=1)["code"] == "plugin_commands_busy"
    finally:
        os.kill(int(pid_file.read_text()), signal.SIGKILL)
    settled(site)
    assert site.ok("install", "acme-chat", *OFFLINE)["version"] == "1.0"
