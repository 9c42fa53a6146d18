"""A Runner that is killed leaves no sidecar behind; what an earlier one left is ended only when it is provably ours."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from aisops_runner.sidecars.runfile import BOOT_ID, RunFile, start_ticks, sweep
from tests.integration.runner_host.conftest import CLEAN_ENV, gone
from tests.support.installed_plugins import install
from tests.support.vendor_plugins import install_vendor

pytestmark = pytest.mark.integration

HOST = """
import asyncio, os, sys
from pathlib import Path
from aisops_runner.adapters.calls import Call
from aisops_runner.adapters.host import PluginHost
from aisops_runner.clock import SystemClock
from aisops_runner.logs import Redactor, configure_logs
from aisops_runner.sidecars.fleet import Fleet, FleetPorts
from aisops_runner.sidecars.settings import DefaultSettings

async def main():
    configure_logs(Redactor())
    host = PluginHost()
    ports = FleetPorts(lambda log: None, lambda kind, facts: None, lambda: None, lambda text: text, lambda value: None)
    off = {name: DefaultSettings(enabled=False) for name in ("slack", "email", "telegram", "kakao")}
    fleet = Fleet(host, data_dir=Path(sys.argv[1]), settings=off, env=os.environ, clock=SystemClock(), ports=ports,
                  describe_timeout_s=30)
    await fleet.start()
    pids = []
    for name in sys.argv[2:]:
        call = Call("j-" + name, "t", "r", 1, name + ".echo", b"{}", "k", 30.0)
        pids.append(str((await host.invoke(call)).sidecar_pid))
    print(" ".join(pids), flush=True)
    await asyncio.Event().wait()

asyncio.run(main())
"""


def test_no_sidecar_outlives_a_killed_runner_by_two_seconds(tmp_path: Path) -> None:
    names = ("good", "second", "third")
    env = CLEAN_ENV | install_vendor(tmp_path, *names)
    host = subprocess.Popen(
        [sys.executable, "-c", HOST, str(tmp_path / "data"), *names],
        env=env, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True,
    )  # fmt: skip
    try:
        assert host.stdout is not None
        pids = [int(pid) for pid in host.stdout.readline().split()]
        assert len(pids) == 3
        assert not any(gone(pid) for pid in pids)
        recorded = [json.loads(path.read_text())["pid"] for path in (tmp_path / "data" / "plugins" / "run").iterdir()]
        assert sorted(recorded) == sorted(pids)
    finally:
        host.kill()
        host.wait()
        host.stdout.close()
    _until(lambda: all(gone(pid) for pid in pids), 2)


def test_a_plugin_that_hangs_on_import_does_not_outlive_a_killed_runner(tmp_path: Path) -> None:
    noted = tmp_path / "pid"
    source = (
        f"import os, pathlib, time\npathlib.Path({str(noted)!r}).write_text(str(os.getpid()) + '.')\ntime.sleep(3600)\n"
    )
    env = CLEAN_ENV | {"PYTHONPATH": install(tmp_path, "stuck", source)}
    command = [sys.executable, "-c", HOST, str(tmp_path / "data")]
    host = subprocess.Popen(command, env=env, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        _until(lambda: noted.exists() and noted.read_text().endswith("."), 20)
        pid = int(noted.read_text().removesuffix("."))
        assert not gone(pid)
    finally:
        host.kill()
        host.wait()
    _until(lambda: gone(pid), 2)


def _until(condition: Callable[[], bool], limit_s: float) -> None:
    deadline = time.monotonic() + limit_s
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.01)


@pytest.fixture
def sleeper() -> object:
    process = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"], start_new_session=True)
    yield process
    process.kill()
    process.wait()


def test_what_is_provably_ours_is_ended(tmp_path: Path, sleeper: subprocess.Popen[bytes]) -> None:
    RunFile(tmp_path / "good.json").write(sleeper.pid)
    assert (tmp_path / "good.json").stat().st_mode & 0o077 == 0
    assert sweep(tmp_path) == [sleeper.pid]
    assert sleeper.wait(5) == -signal.SIGTERM
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("change", [{"start_ticks": 1}, {"boot_id": "other"}, {"pid": "1"}, {"pid": 1}, {"pid": -1}])
def test_what_only_looks_like_ours_is_left_alone(
    tmp_path: Path, sleeper: subprocess.Popen[bytes], change: dict[str, object]
) -> None:
    record = {"pid": sleeper.pid, "start_ticks": start_ticks(sleeper.pid), "boot_id": BOOT_ID.read_text().strip()}
    (tmp_path / "good.json").write_text(json.dumps(record | change))
    assert sweep(tmp_path) == []
    assert sleeper.poll() is None
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("text", ["", "{", "[]", "null", '{"pid": 5}', "\0" * 99])
def test_a_damaged_record_is_dropped(tmp_path: Path, text: str) -> None:
    (tmp_path / "x.json").write_text(text)
    assert sweep(tmp_path) == []
    assert not list(tmp_path.iterdir())


def test_start_times_of_processes() -> None:
    assert start_ticks(os.getpid()) == start_ticks(os.getpid())
    assert start_ticks(2**22 + 1) is None
