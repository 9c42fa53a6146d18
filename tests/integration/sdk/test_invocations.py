"""Calls in flight: limits, deadlines, cancel, repetitions, and what nobody classified."""

import asyncio
import sys
import threading
import time

import pytest
from pydantic import BaseModel

from aisops_plugin_sdk import Ambiguous, Context, Permanent, Plugin, RateLimited
from aisops_plugin_sdk.server.sidecar import Sidecar
from aisops_plugin_sdk.signing import TOKEN_ENV
from aisops_plugin_sdk.testing import PluginTest, SidecarClient

pytestmark = pytest.mark.integration


class Ask(BaseModel):
    do: str = "answer"


class Told(BaseModel):
    runs: int = 0
    value: float = 0.0


class Bench:
    """A plugin whose function does what it is asked, and lets the test hold and watch it."""

    def __init__(self, **options):
        self.plugin = Plugin("bench", **options)
        self.runs = 0
        self.entered = asyncio.Event()
        self.release = asyncio.Event()
        self.contexts = []
        for name, effect in (("bench.once", "at_most_once"), ("bench.again", "idempotent")):
            self.plugin.capability(name, effect=effect, timeout_s=20)(self.work)

    async def work(self, ctx: Context, ask: Ask) -> Told:
        self.runs += 1
        self.contexts.append(ctx)
        self.entered.set()
        return await getattr(self, ask.do)(ctx)

    async def answer(self, ctx):
        return Told(runs=self.runs)

    async def hold(self, ctx):
        await self.release.wait()
        return Told(runs=self.runs)

    async def stubborn(self, ctx):
        while not self.release.is_set():
            try:
                await self.release.wait()
            except asyncio.CancelledError:
                continue
        return Told(runs=self.runs)

    async def finish_anyway(self, ctx):
        try:
            await self.release.wait()
        except asyncio.CancelledError:
            return Told(runs=-1)

    async def refuse(self, ctx):
        raise Permanent("no such channel", code="channel_not_found")

    async def limited(self, ctx):
        raise RateLimited(retry_after_s=2.5)

    async def lost(self, ctx):
        raise Ambiguous("no answer came")

    async def crash(self, ctx):
        raise LookupError("hunter22")

    async def exit(self, ctx):
        sys.exit(3)

    async def wrong(self, ctx):
        return 5

    async def as_dict(self, ctx):
        return {"runs": 7}

    async def nan(self, ctx):
        return Told(value=float("nan"))


@pytest.fixture
async def bench():
    made = Bench(max_concurrency=2)
    async with PluginTest(made.plugin) as sidecar:
        made.sidecar = sidecar
        yield made
        made.release.set()


async def held(bench, **options):
    """Start a call that waits, and return its task once the function was entered."""
    bench.entered.clear()
    task = asyncio.create_task(bench.sidecar.invoke("bench.once", {"do": options.pop("do", "hold")}, **options))
    await bench.entered.wait()
    return task


async def test_more_calls_than_slots_are_answered_429_with_a_hint(bench):
    first, second = await held(bench), await held(bench)
    refused = await bench.sidecar.invoke("bench.once", {})
    assert (refused.status, refused.code, refused.retryable, refused.ambiguous) == (429, "busy", True, False)
    assert refused.retry_after_ms > 0
    bench.release.set()
    assert (await first).ok
    assert (await second).ok
    assert (await bench.sidecar.invoke("bench.once", {})).ok


async def test_the_deadline_ends_a_call_as_ambiguous(bench):
    answer = await bench.sidecar.invoke("bench.once", {"do": "hold"}, deadline_s=0.05)
    assert (answer.status, answer.code, answer.ambiguous) == (504, "timeout", True)
    assert bench.contexts[0].cancelled
    assert bench.contexts[0].remaining_s() == 0.0


@pytest.mark.parametrize("set_by_s", [3600.0, -3600.0])
async def test_a_clock_that_is_set_while_a_call_runs_does_not_change_what_it_has_left(set_by_s):
    bench, set_by = Bench(), [0.0]
    sidecar = Sidecar(
        bench.plugin,
        {TOKEN_ENV[0]: "t" * 32},
        sink=lambda record: None,
        on_event=lambda event: True,
        on_shutdown=lambda: None,
        clock=lambda: time.time() + set_by[0],
    )
    async with SidecarClient(await sidecar.listen(0), "t" * 32) as client:
        await sidecar.begin()
        task = asyncio.create_task(client.invoke("bench.once", {"do": "hold"}, deadline_s=60.0))
        await bench.entered.wait()
        set_by[0] = set_by_s
        left_s = bench.contexts[0].remaining_s()
        bench.release.set()
        assert (await task).ok
    await sidecar.stop(drain_s=0.0)
    assert 0.0 < left_s <= 60.0


async def test_a_deadline_that_has_passed_starts_nothing(bench):
    answer = await bench.sidecar.invoke("bench.once", {}, deadline_s=-1.0)
    assert (answer.status, answer.code, answer.ambiguous) == (504, "deadline_exceeded", False)
    assert bench.runs == 0


async def test_a_capabilitys_own_limit_holds_without_a_deadline(plugin_test):
    plugin = Plugin("slow")

    @plugin.capability("slow.do", timeout_s=0.05)
    async def do(ctx: Context, ask: Ask) -> Told:
        await asyncio.Event().wait()
        return Told()

    assert (await (await plugin_test(plugin)).invoke("slow.do", {})).code == "timeout"


async def test_cancel_ends_the_calls_of_a_job(bench):
    task = await held(bench, job_id="j-1")
    assert (await bench.sidecar.client.cancel("j-2")).result == {"cancelled": 0}
    cancelled = await bench.sidecar.client.cancel("j-1")
    assert (cancelled.status, cancelled.result) == (202, {"cancelled": 1})
    answer = await task
    assert (answer.status, answer.code, answer.ambiguous) == (409, "cancelled", True)


async def test_a_finished_call_wins_over_its_cancel(bench):
    task = await held(bench, do="finish_anyway", job_id="j-1")
    await bench.sidecar.client.cancel("j-1")
    assert (await task).result["runs"] == -1


async def test_a_function_that_ignores_its_cancel_is_left_and_keeps_its_slot(bench):
    task = await held(bench, do="stubborn", job_id="j-1")
    await bench.sidecar.client.cancel("j-1")
    assert (await task).code == "cancelled"
    second = await held(bench)
    assert (await bench.sidecar.invoke("bench.once", {})).code == "busy"
    bench.release.set()
    assert (await second).ok


async def test_a_repetition_gets_the_first_answer_and_runs_nothing(bench):
    first = await bench.sidecar.invoke("bench.once", {}, idempotency_key="k")
    again = await bench.sidecar.invoke("bench.once", {}, idempotency_key="k", attempt=2, job_id="j-9")
    assert first.document == again.document
    assert bench.runs == 1


async def test_a_repetition_while_the_first_runs_waits_for_it(bench):
    first = await held(bench, idempotency_key="k")
    again = asyncio.create_task(bench.sidecar.invoke("bench.once", {"do": "hold"}, idempotency_key="k"))
    other = await bench.sidecar.invoke("bench.once", {})
    assert other.ok, "the repetition takes no slot"
    bench.release.set()
    assert (await first).document == (await again).document
    assert bench.runs == 2


async def test_a_caller_that_goes_away_does_not_stop_the_call(bench):
    first = await held(bench, idempotency_key="k")
    first.cancel()
    with pytest.raises(asyncio.CancelledError):
        await first
    again = asyncio.create_task(bench.sidecar.invoke("bench.once", {"do": "hold"}, idempotency_key="k"))
    bench.release.set()
    assert (await again).ok
    assert bench.runs == 1


async def test_the_same_key_with_another_body_conflicts(bench):
    await bench.sidecar.invoke("bench.once", {}, idempotency_key="k")
    answer = await bench.sidecar.invoke("bench.once", {"do": "answer"}, idempotency_key="k")
    assert (answer.status, answer.code) == (409, "idempotency_mismatch")
    assert (await bench.sidecar.invoke("bench.once", {"do": "answer"}, idempotency_key="k", tenant_id="t-2")).ok


@pytest.mark.parametrize("do", ["refuse", "limited"])
async def test_a_failure_is_forgotten_so_that_it_can_be_repeated(bench, do):
    for _ in range(2):
        assert not (await bench.sidecar.invoke("bench.once", {"do": do}, idempotency_key="k")).ok
    assert bench.runs == 2


@pytest.mark.parametrize(("capability", "runs"), [("bench.once", 1), ("bench.again", 2)])
async def test_an_ambiguous_end_is_kept_only_where_repeating_could_do_it_twice(bench, capability, runs):
    for _ in range(2):
        assert (await bench.sidecar.invoke(capability, {"do": "lost"}, idempotency_key="k")).ambiguous
    assert bench.runs == runs


@pytest.mark.parametrize(
    ("do", "status", "code", "ambiguous"),
    [
        ("refuse", 422, "channel_not_found", False),
        ("limited", 429, "rate_limited", False),
        ("lost", 502, "ambiguous", True),
        ("crash", 500, "runtime_error", True),
        ("exit", 500, "runtime_error", True),
        ("wrong", 502, "invalid_result", True),
    ],
)
async def test_how_functions_fail(bench, do, status, code, ambiguous):
    answer = await bench.sidecar.invoke("bench.once", {"do": do})
    assert (answer.status, answer.code, answer.ambiguous) == (status, code, ambiguous)


async def test_an_unclassified_exception_shows_its_class_and_logs_its_traceback(bench):
    answer = await bench.sidecar.invoke("bench.once", {"do": "crash"}, job_id="j-5")
    assert answer.error == "LookupError"
    assert b"hunter22" not in answer.body
    logged = next(record for record in bench.sidecar.logs if "Traceback" in record.message)
    assert (logged.level, logged.job_id) == ("error", "j-5")


async def test_a_provider_that_limits_the_rate_is_passed_on(bench):
    answer = await bench.sidecar.invoke("bench.once", {"do": "limited"})
    assert (answer.retryable, answer.retry_after_ms) == (True, 2500)


async def test_a_function_may_return_a_dict_of_its_model(bench):
    assert (await bench.sidecar.invoke("bench.once", {"do": "as_dict"})).result == {"runs": 7, "value": 0.0}


async def test_results_are_json_even_when_a_float_is_not(bench):
    assert (await bench.sidecar.invoke("bench.once", {"do": "nan"})).result == {"runs": 0, "value": None}


async def test_a_result_over_the_limit_is_refused(plugin_test):
    class Big(BaseModel):
        text: str

    plugin = Plugin("big")

    async def do(ctx: Context, ask: Ask) -> Big:
        return Big(text="x" * 2_000_000)

    do.__annotations__["return"] = Big
    plugin.capability("big.do")(do)
    answer = await (await plugin_test(plugin)).invoke("big.do", {})
    assert (answer.status, answer.code, answer.ambiguous) == (502, "result_too_large", True)


async def test_the_context_knows_the_call(bench):
    deadline = time.time() + 5
    await bench.sidecar.invoke(
        "bench.once", {}, job_id="j", tenant_id="t", runner_id="r", attempt=3, idempotency_key="k", deadline_s=5.0
    )
    ctx = bench.contexts[0]
    assert (ctx.job_id, ctx.tenant_id, ctx.runner_id, ctx.attempt, ctx.idempotency_key) == ("j", "t", "r", 3, "k")
    assert (ctx.execution_id, ctx.step_id, ctx.traceparent, ctx.dry_run, ctx.cancelled) == ("", "", "", False, False)
    assert ctx.deadline == pytest.approx(deadline, abs=2)
    ctx.progress(0.5, "half")
    assert bench.sidecar.logs[-1].progress == 0.5
    assert bench.sidecar.logs[-1].job_id == "j"


async def test_plain_functions_run_in_threads_and_look_at_cancelled(plugin_test):
    plugin = Plugin("plain", max_concurrency=1)
    entered, seen, loop = asyncio.Event(), [], asyncio.get_running_loop()
    release = threading.Event()

    @plugin.capability("plain.do")
    def do(ctx: Context, ask: Ask) -> Told:
        seen.append(threading.current_thread() is threading.main_thread())
        loop.call_soon_threadsafe(entered.set)
        while not release.wait(0.01):
            if ctx.cancelled:
                seen.append("cancelled")
        return Told(runs=1)

    sidecar = await plugin_test(plugin)
    task = asyncio.create_task(sidecar.invoke("plain.do", {}, job_id="j"))
    await entered.wait()
    await sidecar.client.cancel("j")
    assert (await task).code == "cancelled"
    assert (await sidecar.invoke("plain.do", {})).code == "busy", "the thread still has its slot"
    release.set()
    for _ in range(1000):
        if (answer := await sidecar.invoke("plain.do", {})).code != "busy":
            break
    assert answer.result["runs"] == 1
    assert seen[0] is False


async def test_shutdown_is_asked_for_and_new_calls_are_refused_while_draining(bench):
    task = await held(bench)
    answer = await bench.sidecar.post("/v1/shutdown")
    assert (answer.status, answer.result) == (202, {"draining": True})
    assert bench.sidecar.shutdown_requested.is_set()
    stopping = asyncio.create_task(bench.sidecar._sidecar.stop(drain_s=20))
    await asyncio.sleep(0)
    assert (await bench.sidecar.get("/readyz", signed=False)).code == "draining"
    refused = await bench.sidecar.invoke("bench.once", {})
    assert (refused.status, refused.code, refused.retryable) == (503, "draining", True)
    bench.release.set()
    assert (await task).ok
    await stopping


async def test_what_does_not_finish_while_draining_is_given_up(bench):
    task = await held(bench)
    await bench.sidecar._sidecar.stop(drain_s=0.01)
    answer = await task
    assert (answer.status, answer.code, answer.ambiguous) == (503, "stopped", True)
