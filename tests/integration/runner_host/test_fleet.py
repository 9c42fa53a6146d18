"""Real vendor packages, real processes: what works is used, what is broken is named, and disturbs nothing."""

import asyncio
import json
import os
import signal
import time

import pytest

from aisops_runner.adapters.host import PluginHost
from aisops_runner.sidecars.settings import DefaultSettings
from tests.integration.runner_host.conftest import Bench, command_line, gone, until
from tests.support.vendor_plugins import GOOD, install_vendor

pytestmark = pytest.mark.integration


async def test_broken_plugins_are_named_and_disturb_nothing(bench: Bench) -> None:
    install_vendor(bench.site, "good", "raises", "exits", "asserts", "hangs", "kills-itself", "not-a-plugin", "floods")
    await bench.start(describe_timeout_s=4)
    reasons = {name: bench.row(name).reason for name in ("raises", "exits", "asserts", "kills-itself", "not-a-plugin")}
    assert "no licence found" in reasons["raises"]
    assert "SystemExit" in reasons["exits"]
    assert "wrong platform" in reasons["asserts"]
    assert "signal 9" in reasons["kills-itself"]
    assert "not an" in reasons["not-a-plugin"]
    assert "within 4 s" in bench.row("hangs").reason
    assert "connecting to the vendor" in bench.row("hangs").reason
    assert "within 4 s" in bench.row("floods").reason
    assert {bench.row(name).state for name in (*reasons, "hangs", "floods")} == {"broken"}
    assert (await bench.invoke("good.echo", b'{"text":"hi"}')).ok
    assert {facts["plugin"] for kind, facts in bench.events if kind == "plugin.broken"} == {*reasons, "hangs", "floods"}


async def test_a_second_start_reads_the_index_and_does_not_wait_for_what_hangs(bench: Bench) -> None:
    install_vendor(bench.site, "good", "hangs")
    await (await bench.start(describe_timeout_s=4)).stop()
    second = Bench(bench.site, bench.data)
    began = time.monotonic()
    fleet = await second.start(describe_timeout_s=60)
    try:
        assert time.monotonic() - began < 3
        assert second.row("hangs").state == "broken"
        assert [capability.name for capability in second.host.capabilities()] == [
            "good.crash",
            "good.echo",
            "good.flood",
        ]
    finally:
        await fleet.stop()


async def test_a_repaired_plugin_joins_a_running_runner(bench: Bench) -> None:
    install_vendor(bench.site, "raises")
    await (await bench.start()).stop()
    bench.host = PluginHost()
    source = bench.site / "vendor_raises.py"
    stat = source.stat()
    source.write_text(
        "import os\nif not os.path.exists(__file__ + '.ok'): raise RuntimeError\n" + GOOD.replace("NAME", "raises")
    )
    os.utime(source, ns=(stat.st_mtime_ns, stat.st_mtime_ns))
    (bench.site / "vendor_raises.py.ok").touch()
    await bench.start()
    await until(lambda: bench.row("raises").state == "installed")
    assert (await bench.invoke("raises.echo", b'{"text":"back"}')).ok


async def test_a_plugin_that_was_only_too_slow_at_the_start_joins_later(bench: Bench) -> None:
    install_vendor(bench.site, "raises")
    source = bench.site / "vendor_raises.py"
    slow = "import os, time\nwhile not os.path.exists(__file__ + '.ok'): time.sleep(0.05)\n"
    source.write_text(slow + GOOD.replace("NAME", "raises"))
    await bench.start(describe_timeout_s=0.5, ask_again_s=0.05)
    assert "did not describe itself" in bench.row("raises").reason
    (bench.site / "vendor_raises.py.ok").touch()
    await until(lambda: bench.row("raises").state == "installed")
    assert bench.changes
    assert (await bench.invoke("raises.echo", b'{"text":"late"}')).ok


async def test_a_call_goes_to_a_process_that_sees_only_what_it_may(bench: Bench) -> None:
    install_vendor(bench.site, "good")
    await bench.start()
    outcome = await bench.invoke("good.echo", '{"text":"안녕 🚨"}'.encode())
    assert outcome.ok, outcome
    answer = json.loads(outcome.output)
    assert answer["text"] == "안녕 🚨"
    assert answer["pid"] == outcome.sidecar_pid == bench.row("good").pid
    assert not {"OTHER_SECRET", "AISOPSFLOW_INTERNAL_AUTH_TOKEN"} & set(answer["env"])
    assert len(bench.secrets) == 1, "the token of this start was registered for redaction"
    await until(lambda: [log for log in bench.logs if log.job_id == "job-1" and log.source == "good"])
    token = bench.secrets.pop()
    assert token.encode() not in command_line(outcome.sidecar_pid)


async def test_bad_input_is_the_plugins_own_clear_error(bench: Bench) -> None:
    install_vendor(bench.site, "good")
    await bench.start()
    outcome = await bench.invoke("good.echo", b'{"text":5,"other":1}')
    assert outcome.error is not None
    assert (outcome.error.code, outcome.error.retryable, outcome.error.ambiguous) == ("invalid_request", False, False)
    assert {detail["path"] for detail in json.loads(outcome.error.details)} == {"/text", "/other"}


async def test_a_crash_is_reported_once_as_ambiguous_and_the_sidecar_is_back_within_two_seconds(bench: Bench) -> None:
    install_vendor(bench.site, "good")
    await bench.start()
    first = await bench.invoke("good.echo")
    waiting = asyncio.create_task(bench.invoke("good.echo", b'{"sleep_s":30}', job_id="job-2"))
    await until(lambda: bench.row("good").in_flight == 1)
    crash = await bench.invoke("good.crash", job_id="job-3")
    began = time.monotonic()
    for outcome in (crash, await waiting):
        assert outcome.error is not None
        assert (outcome.error.code, outcome.error.ambiguous) == ("sidecar_died", True)
    following = await bench.invoke("good.echo", job_id="job-4")
    assert following.ok or following.error.retryable, "the next call does not meet the dead process"
    await until(lambda: bench.row("good").state == "ready")
    assert time.monotonic() - began < 2.5
    assert (await bench.invoke("good.echo", job_id="job-5")).sidecar_pid not in (0, first.sidecar_pid)
    assert bench.row("good").restarts == 1
    assert ("sidecar.backoff", {"plugin": "good", "reason": "exited with code 3"}) in bench.events


async def test_a_killed_sidecar_is_named_with_its_signal(bench: Bench) -> None:
    install_vendor(bench.site, "good")
    await bench.start()
    os.kill((await bench.invoke("good.echo")).sidecar_pid, signal.SIGKILL)
    await until(lambda: bench.row("good").restarts == 1)
    assert "SIGKILL" in bench.events[-1][1]["reason"]


async def test_calls_beyond_the_plugins_limit_wait_their_turn(bench: Bench) -> None:
    install_vendor(bench.site, "good")
    bench.settings["good"] = DefaultSettings(max_concurrency=1)
    await bench.start()
    await bench.invoke("good.echo")
    outcomes = await asyncio.gather(*(bench.invoke("good.echo", b'{"sleep_s":0.02}', job_id=f"j{n}") for n in range(5)))
    assert all(outcome.ok for outcome in outcomes)


async def test_a_cancelled_call_frees_its_slot_and_tells_the_sidecar(bench: Bench) -> None:
    install_vendor(bench.site, "good")
    bench.settings["good"] = DefaultSettings(max_concurrency=1)
    await bench.start()
    await bench.invoke("good.echo")
    task = asyncio.create_task(bench.invoke("good.echo", b'{"sleep_s":60}', job_id="long"))
    await until(lambda: bench.row("good").in_flight == 1)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert (await bench.invoke("good.echo", job_id="next")).ok


async def test_a_call_that_takes_too_long_is_an_ambiguous_timeout(bench: Bench) -> None:
    install_vendor(bench.site, "good")
    await bench.start()
    await bench.invoke("good.echo")
    outcome = await bench.invoke("good.echo", b'{"sleep_s":60}', job_id="slow", timeout_s=0.3)
    assert outcome.error is not None
    assert outcome.error.ambiguous
    assert (await bench.invoke("good.echo", job_id="after")).ok


async def test_a_flood_of_output_blocks_neither_the_sidecar_nor_the_host(bench: Bench) -> None:
    install_vendor(bench.site, "good")
    await bench.start()
    await bench.invoke("good.echo")
    flood = asyncio.create_task(bench.invoke("good.flood", job_id="flood"))
    slowest = 0.0
    while not flood.done():
        began = time.monotonic()
        await asyncio.sleep(0.005)
        slowest = max(slowest, time.monotonic() - began)
    assert (await flood).ok
    assert slowest < 0.5
    assert len(bench.logs) < 5000, "lines beyond the rate are counted, not kept"
    await until(lambda: [log for log in bench.logs if "log lines were dropped" in log.text])


async def test_stopping_leaves_nothing_behind(bench: Bench) -> None:
    install_vendor(bench.site, "good", "second")
    fleet = await bench.start()
    pids = [(await bench.invoke(f"{name}.echo")).sidecar_pid for name in ("good", "second")]
    assert all(not gone(pid) for pid in pids)
    began = time.monotonic()
    await fleet.stop()
    assert time.monotonic() - began < 5
    assert all(gone(pid) for pid in pids)
    assert not list((bench.data / "plugins" / "run").glob("*.json"))
    refused = await bench.invoke("good.echo")
    assert refused.error is not None
    assert refused.error.code == "draining"


async def test_prewarmed_plugins_run_from_the_start_and_disabled_ones_never_do(bench: Bench) -> None:
    install_vendor(bench.site, "good", "second")
    bench.settings |= {"good": DefaultSettings(prewarm=True), "second": DefaultSettings(enabled=False)}
    await bench.start()
    await until(lambda: bench.row("good").state == "ready")
    assert bench.row("second").state == "disabled"
    outcome = await bench.invoke("second.echo")
    assert outcome.error is not None
    assert outcome.error.code == "unknown_capability"


async def test_a_missing_secret_degrades_the_plugin_and_names_the_variable(bench: Bench) -> None:
    bench.settings["telegram"] = DefaultSettings()
    await bench.start()
    outcome = await bench.invoke("telegram.send", b'{"target":"1","text":"x"}')
    assert outcome.error is not None
    assert outcome.error.code == "not_configured"
    assert "TELEGRAM_BOT_TOKEN" in outcome.error.message
    await until(lambda: bench.row("telegram").state == "degraded")
    assert "TELEGRAM_BOT_TOKEN" in bench.row("telegram").reason
