"""Calls that come together: one batch to the sidecar, and each ends as it would have alone."""

import asyncio
import os
import signal
from collections import Counter
from collections.abc import Sequence

import pytest
import structlog

from aisops_plugin_sdk import batch
from aisops_runner.adapters.calls import Call, CallError, Outcome
from aisops_runner.adapters.hookspecs import hookimpl
from aisops_runner.clock import SystemClock
from aisops_runner.sidecars.answers import ANSWER_BYTES, BAD_ANSWER, DIED
from aisops_runner.sidecars.client import SidecarClient
from aisops_runner.sidecars.replies import NO_BATCHES
from aisops_runner.sidecars.settings import DefaultSettings
from tests.integration.runner_host.conftest import Bench, make_call, until
from tests.integration.runner_host.test_wrong_answers import http, raw, sidecar
from tests.support.installed_plugins import install
from tests.support.vendor_plugins import GOOD, install_vendor

pytestmark = pytest.mark.integration

LINES = b"HTTP/1.1 200 OK\r\nContent-Type: application/x-ndjson\r\nTransfer-Encoding: chunked\r\n\r\n"
HTML = http(b"<h1>", headers=b"Content-Type: text/html\r\n", status=b"404 Not Found")
REFUSING = """
from aisops_plugin_sdk import batch
from aisops_plugin_sdk.server import routes

ONLY_GET = routes.Route("batch", "GET")
"""
OK = b'{"ok":true,"result":{"n":%d}}'


class Told:
    """What became of the calls of a group, in the order it was told."""

    def __init__(self) -> None:
        self.outcomes: dict[str, Outcome | None] = {}
        self.times: Counter[str] = Counter()
        self.groups = 0

    def __call__(self, ended: Sequence[tuple[str, Outcome | None]]) -> None:
        self.groups += 1
        for job_id, outcome in ended:
            self.outcomes[job_id] = outcome
            self.times[job_id] += 1

    def errors(self) -> dict[str, str]:
        return {
            name: one.error.code for name, one in self.outcomes.items() if one is not None and one.error is not None
        }

    async def all(self, count: int) -> None:
        await until(lambda: len(self.outcomes) == count)
        assert set(self.times.values()) == {1}


def calls(*bodies: bytes, capability: str = "good.echo", timeout_s: float = 20.0) -> list[Call]:
    return [make_call(capability, body, job_id=f"j{n}", timeout_s=timeout_s) for n, body in enumerate(bodies)]


@pytest.fixture
async def good(bench: Bench) -> Bench:
    install_vendor(bench.site, "good")
    await bench.start()
    assert (await bench.invoke("good.echo")).ok
    return bench


async def test_calls_that_come_together_end_together(good: Bench) -> None:
    told = Told()
    good.host.begin(calls(b'{"text":"a"}', b'{"text":"b"}'), told)
    await told.all(2)
    assert all(outcome is not None and outcome.ok for outcome in told.outcomes.values())
    assert told.outcomes["j0"].output != told.outcomes["j1"].output
    assert told.groups == 1


async def test_more_calls_than_the_plugin_takes_at_once_wait_for_their_turn(bench: Bench) -> None:
    install_vendor(bench.site, "good")
    bench.settings["good"] = DefaultSettings(max_concurrency=1, batch=False)
    await bench.start()
    told = Told()
    bench.host.begin(calls(*[b'{"text":"x"}'] * 400, timeout_s=60.0), told)
    await told.all(400)
    assert told.errors() == {}


async def test_a_slow_one_a_wrong_one_and_one_with_a_line_feed_disturb_no_other(good: Bench) -> None:
    told = Told()
    good.host.begin(calls(b'{"sleep_s":1}', b'{"text":5}', b'{\n"text":"x"}', b'{"text":"y"}'), told)
    await until(lambda: len(told.outcomes) == 3)
    assert told.errors() == {"j1": "invalid_request"}
    assert "j0" not in told.outcomes
    await told.all(4)
    assert told.outcomes["j0"].ok


async def test_without_batches_each_goes_alone(bench: Bench) -> None:
    install_vendor(bench.site, "good")
    bench.settings["good"] = DefaultSettings(batch=False)
    await bench.start()
    await bench.invoke("good.echo")
    told = Told()
    bench.host.begin(calls(*[b"{}"] * 4), told)
    await told.all(4)
    assert all(outcome is not None and outcome.ok for outcome in told.outcomes.values())


@pytest.mark.parametrize("mending", ["del routes._FIXED[batch.TARGET]", "routes._FIXED[batch.TARGET] = ONLY_GET"])
async def test_a_plugin_that_announces_batches_and_has_none_gets_single_calls(bench: Bench, mending: str) -> None:
    """It answers 404, or 405: no call of the batch has begun, so none may fail."""
    install(bench.site, "good", f"{GOOD}\n{REFUSING}\n{mending}\n".replace("NAME", "good"))
    await bench.start()
    await bench.invoke("good.echo")
    with structlog.testing.capture_logs() as lines:
        for _ in range(2):
            told = Told()
            bench.host.begin(calls(*[b"{}"] * 6), told)
            await told.all(6)
            assert told.errors() == {}
    assert [line["plugin"] for line in lines if "announces batches" in line["event"]] == ["good"]
    assert bench.row("good").in_flight == 0


async def test_a_group_larger_than_the_slots_goes_through_them(bench: Bench) -> None:
    install_vendor(bench.site, "good")
    bench.settings["good"] = DefaultSettings(max_concurrency=2)
    await bench.start()
    told = Told()
    bench.host.begin(calls(*[b'{"sleep_s":0.01}'] * 9), told)
    await told.all(9)
    assert all(outcome is not None and outcome.ok for outcome in told.outcomes.values())
    assert bench.row("good").in_flight == 0


async def test_a_killed_sidecar_ends_each_call_of_a_batch_once_and_answers_given_stay(
    good: Bench,
) -> None:
    told = Told()
    good.host.begin(calls(b'{"text":"done"}', b'{"sleep_s":60}', b'{"sleep_s":60}'), told)
    await until(lambda: len(told.outcomes) == 1)
    os.kill(good.row("good").pid, signal.SIGKILL)
    await told.all(3)
    assert told.outcomes["j0"].ok
    assert told.errors() == {"j1": DIED, "j2": DIED}
    assert all(told.outcomes[name].error.ambiguous for name in ("j1", "j2"))


async def test_what_was_not_sent_when_the_sidecar_died_runs_in_the_next_one(bench: Bench) -> None:
    install_vendor(bench.site, "good")
    bench.settings["good"] = DefaultSettings(max_concurrency=1)
    await bench.start()
    first = await bench.invoke("good.echo")
    told = Told()
    bench.host.begin(calls(b'{"sleep_s":60}', b'{"text":"later"}'), told)
    await until(lambda: bench.row("good").in_flight == 1)
    os.kill(first.sidecar_pid, signal.SIGKILL)
    await told.all(2)
    assert told.errors() == {"j0": DIED} or told.outcomes["j1"].error.code == "sidecar_unavailable"
    if told.outcomes["j1"].ok:
        assert told.outcomes["j1"].sidecar_pid != first.sidecar_pid
    else:  # the back-off of the dead one: nothing left the Runner
        assert not told.outcomes["j1"].error.ambiguous


async def test_one_call_of_a_batch_is_cut_off_and_the_others_go_on(good: Bench) -> None:
    told = Told()
    good.host.begin(calls(b'{"sleep_s":60}', b'{"sleep_s":0.3}'), told)
    await until(lambda: good.row("good").in_flight == 2)
    good.host.cut_off("j0")
    await told.all(2)
    assert told.outcomes["j0"] is None
    assert told.outcomes["j1"].ok
    assert (await good.invoke("good.echo", job_id="next")).ok


async def test_each_call_of_a_batch_has_its_own_time(good: Bench) -> None:
    told = Told()
    slow = make_call("good.echo", b'{"sleep_s":60}', job_id="slow", timeout_s=0.2)
    good.host.begin([slow, make_call("good.echo", b'{"sleep_s":0.5}', job_id="patient")], told)
    await told.all(2)
    assert told.errors() == {"slow": "timeout"}
    assert told.outcomes["slow"].error.ambiguous


async def test_the_hooks_see_every_call_of_a_group(good: Bench) -> None:
    class Hooks:
        def __init__(self) -> None:
            self.after: list[str] = []

        @hookimpl
        def before_invoke(self, call: Call) -> CallError | None:
            return CallError("forbidden", "not today") if call.job_id == "j1" else None

        @hookimpl
        def after_invoke(self, call: Call, outcome: Outcome) -> None:
            self.after.append(f"{call.job_id} {outcome.ok}")

    hooks = Hooks()
    good.host.register_hooks(hooks, name="hooks")
    told = Told()
    good.host.begin(calls(b"{}", b"{}", b"{}"), told)
    await told.all(3)
    assert told.errors() == {"j1": "forbidden"}
    assert sorted(hooks.after) == ["j0 True", "j1 False", "j2 True"]


# --- a sidecar that answers a batch with nonsense ---------------------------------------------------------------------


def chunk(*lines: bytes) -> bytes:
    data = b"".join(line + b"\n" for line in lines)
    return b"%x\r\n%b\r\n" % (len(data), data)


def answer(identity: int, status: int = 200, body: bytes | None = None) -> bytes:
    return batch.write_answer(str(identity), status, body or OK % identity)[:-1]


async def ask(client: SidecarClient, *, timeout_s: float = 5.0) -> dict[str, bytes | CallError]:
    found: dict[str, bytes | CallError] = {}
    client.start_batch(
        [(one, timeout_s) for one in calls(b"{}", b"{}", b"{}")],
        lambda ended: found.update({call.job_id: result for call, result in ended}),
    )
    await until(lambda: len(found) == 3)
    return found


def codes(found: dict[str, bytes | CallError]) -> list[object]:
    return [one.code if isinstance(one, CallError) else one for _, one in sorted(found.items())]


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        (LINES + chunk(answer(0), answer(1), answer(2)) + b"0\r\n\r\n", [b'{"n":0}', b'{"n":1}', b'{"n":2}']),
        (LINES + chunk(answer(2)) + chunk(answer(0), answer(1)) + b"0\r\n\r\n", [b'{"n":0}', b'{"n":1}', b'{"n":2}']),
        (LINES + chunk(answer(1)) + b"0\r\n\r\n", [BAD_ANSWER, b'{"n":1}', BAD_ANSWER]),
        (LINES + chunk(answer(1)), [DIED, b'{"n":1}', DIED]),
        (LINES + chunk(answer(0), b"nonsense", answer(2)), [b'{"n":0}', BAD_ANSWER, BAD_ANSWER]),
        (LINES + chunk(answer(0), answer(7), answer(0), answer(1), answer(2)) + b"0\r\n\r\n",
         [b'{"n":0}', b'{"n":1}', b'{"n":2}']),
        (LINES + chunk(answer(0, body=b'{"ok":true,"result":NaN}'), answer(1, 500), answer(2)) + b"0\r\n\r\n",
         [BAD_ANSWER, BAD_ANSWER, b'{"n":2}']),
        (LINES + b"zz\r\n", [BAD_ANSWER] * 3),
        (http(b'{"ok":true,"result":{}}'), [BAD_ANSWER] * 3),
        (http(b'{"ok":false,"error":"no","code":"invalid_batch"}', status=b"400 Bad Request"), ["invalid_batch"] * 3),
        (HTML, [NO_BATCHES.code] * 3),
        (http(b'{"ok":false,"error":"x"}', status=b"405 Method Not Allowed"), [NO_BATCHES.code] * 3),
        (http(b"", status=b"501 Not Implemented"), [NO_BATCHES.code] * 3),
        (http(b"<h1>", headers=b"Content-Type: text/html\r\n", status=b"500 Oh"), [BAD_ANSWER] * 3),
        (http(b"", status=b"302 Found", headers=b"Location: /\r\n"), [BAD_ANSWER] * 3),
        (b"", [DIED] * 3),
    ],
)  # fmt: skip
async def test_whatever_a_batch_is_answered_with_each_call_ends_once(data: bytes, expected: list[object]) -> None:
    async with sidecar(raw(data)) as (client, requests):
        found = await ask(client)
    assert codes(found) == expected
    assert len(requests) == 1


async def test_only_a_refusal_of_the_whole_batch_is_safe_to_repeat() -> None:
    async with sidecar(raw(HTML)) as (
        client,
        _,
    ):
        assert not any(error.ambiguous for error in (await ask(client)).values() if isinstance(error, CallError))
    async with sidecar(raw(LINES + chunk(b"nonsense"))) as (client, _):
        assert all(error.ambiguous for error in (await ask(client)).values() if isinstance(error, CallError))


async def test_one_huge_answer_ends_its_own_call_only() -> None:
    huge = answer(1, body=b'{"ok":true,"result":{"x":"' + b"x" * (2 * ANSWER_BYTES) + b'"}}')
    async with sidecar(raw(LINES + chunk(answer(0), huge, answer(2)) + b"0\r\n\r\n")) as (client, _):
        found = await ask(client)
    assert codes(found) == [b'{"n":0}', BAD_ANSWER, b'{"n":2}']


async def test_lines_that_stop_coming_are_ambiguous_timeouts() -> None:
    async with sidecar(raw(LINES + chunk(answer(1)), then_close=False)) as (client, _):
        found = await ask(client, timeout_s=0.3)
    assert codes(found) == ["timeout", b'{"n":1}', "timeout"]


async def test_nobody_listening_is_safe_to_repeat_for_all() -> None:
    server = await asyncio.start_server(lambda reader, writer: None, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    server.close()
    await server.wait_closed()
    client = SidecarClient(port, "token", SystemClock())
    found = await ask(client)
    await client.close()
    assert [(one.code, one.ambiguous, one.retryable) for one in found.values() if isinstance(one, CallError)] == [
        ("sidecar_unreachable", False, True)
    ] * 3
