"""POST /v1/batch: each call is answered as a single one would be, when it ends, whatever becomes of the others."""

import asyncio
import json

import pytest
from pydantic import BaseModel

from aisops_plugin_sdk import Context, Plugin, batch, contracts
from aisops_plugin_sdk.testing import PluginTest

pytestmark = pytest.mark.integration


class Ask(BaseModel):
    text: str = "x"
    wait: bool = False


class Told(BaseModel):
    text: str
    runs: int


class Bench:
    def __init__(self, **options):
        self.plugin = Plugin("bench", **options)
        self.runs = 0
        self.most = self.now = 0
        self.contexts = []
        self.waiting = asyncio.Semaphore(0)
        self.release = asyncio.Event()
        self.plugin.capability("bench.again", effect="idempotent")(self.work)
        self.plugin.capability("bench.once")(self.work)

    async def work(self, ctx: Context, ask: Ask) -> Told:
        self.runs += 1
        self.contexts.append(ctx)
        self.now += 1
        self.most = max(self.most, self.now)
        try:
            if ask.wait:
                self.waiting.release()
                await self.release.wait()
            if ask.text == "crash":
                raise LookupError("hunter22")
        finally:
            self.now -= 1
        return Told(text=ask.text, runs=self.runs)


@pytest.fixture
async def bench():
    made = Bench(max_concurrency=4)
    async with PluginTest(made.plugin) as sidecar:
        made.client = sidecar.client
        made.port = sidecar.port
        yield made
        made.release.set()


def call(identity, *, capability="bench.again", given=None, **facts):
    return {"id": identity, "capability": capability, "input": given or {"text": identity}, **facts}


async def test_every_call_is_answered_as_a_single_one(bench):
    answers = await bench.client.batch(
        [
            call("good", job_id="job-1", attempt=3, idempotency_key='k"1', tenant_id="t"),
            call("unknown", capability="no.such"),
            call("refused", given={"text": 5}),
            call("bad header", job_id="two words") | {"id": "header"},
            call("crash"),
        ]
    )
    good = answers["good"]
    assert (good.status, good.result["text"]) == (200, "good")
    seen = bench.contexts[0]
    assert (seen.job_id, seen.attempt, seen.idempotency_key) == ("job-1", 3, 'k"1')
    single = await bench.client.invoke("bench.again", {"text": 5})
    assert (answers["refused"].status, answers["refused"].document) == (single.status, single.document)
    assert [(answers[key].status, answers[key].code) for key in ("unknown", "header", "crash")] == [
        (404, "unsupported_capability"),
        (400, "invalid_header"),
        (500, "runtime_error"),
    ]
    assert answers["crash"].ambiguous
    for key, answer in answers.items():
        line = {"id": key, "status": answer.status, **answer.document}
        contracts.validate(line, "batch-answer-v1")


async def test_it_is_announced(bench):
    assert batch.FEATURE in (await bench.client.get("/describe")).result["features"]


async def test_a_slow_call_does_not_delay_the_answers_of_the_others(bench):
    lines = b"".join(
        batch.write_call(name, "bench.again", {"job_id": name}, json.dumps({"text": name, "wait": wait}).encode())
        for name, wait in (("slow", True), ("fast", False))
    )
    reader = await stream(bench, lines)
    first = batch.read_answer(await next_line(reader))
    assert first[0] == "fast"
    assert not bench.release.is_set()
    bench.release.set()
    second = batch.read_answer(await next_line(reader))
    assert second[:2] == ("slow", 200)
    assert await reader.readuntil(b"0\r\n\r\n")
    reader.close_writer()


async def test_more_calls_than_slots_are_answered_429_and_never_more_run_at_once(bench):
    calls = [call(f"c{n}", given={"wait": True}) for n in range(4)]
    held = asyncio.create_task(bench.client.batch(calls))
    for _ in calls:
        await bench.waiting.acquire()
    more = await bench.client.batch([call(f"m{n}") for n in range(3)])
    assert {(answer.status, answer.code, answer.retryable) for answer in more.values()} == {(429, "busy", True)}
    bench.release.set()
    assert {answer.status for answer in (await held).values()} == {200}
    assert bench.most == 4


async def test_a_repetition_gets_the_first_answer_between_batches_and_single_calls(bench):
    single = await bench.client.invoke("bench.again", {"text": "a"}, idempotency_key="k", tenant_id="t")
    again = call("1", given={"text": "a"}, idempotency_key="k", tenant_id="t")
    other = call("2", given={"text": "b"}, idempotency_key="k", tenant_id="t")
    answers = await bench.client.batch([again, other])
    assert answers["1"].document == single.document
    assert (answers["2"].status, answers["2"].code) == (409, "idempotency_mismatch")
    twice = await bench.client.batch([again | {"id": identity, "idempotency_key": "n"} for identity in "ab"])
    assert twice["a"].document == twice["b"].document
    assert bench.runs == 2


async def test_one_call_of_a_batch_is_cancelled_and_one_passes_its_deadline(bench):
    calls = [
        call("kept", given={"wait": True}, job_id="kept"),
        call("cancelled", given={"wait": True}, job_id="cancelled"),
        call("late", given={"wait": True}, deadline_ms=1),
    ]
    held = asyncio.create_task(bench.client.batch(calls))
    await bench.waiting.acquire()
    await bench.waiting.acquire()
    assert (await bench.client.cancel("cancelled")).result == {"cancelled": 1}
    bench.release.set()
    answers = await held
    assert {key: (answer.status, answer.code) for key, answer in answers.items()} == {
        "kept": (200, ""),
        "cancelled": (409, "cancelled"),
        "late": (504, "deadline_exceeded"),
    }


@pytest.mark.parametrize(
    ("body", "status", "code"),
    [
        (b"", 400, "invalid_batch"),
        (b"{}\n", 400, "invalid_batch"),
    ],
)
async def test_what_is_no_batch_runs_nothing(bench, body, status, code):
    answer = await bench.client.post(batch.TARGET, body)
    assert (answer.status, answer.code) == (status, code)
    assert bench.runs == 0


async def test_a_batch_over_the_limit_is_refused(bench):
    reader, writer = await asyncio.open_connection("127.0.0.1", bench.port)
    length = batch.MAX_BYTES + 1
    writer.write(f"POST {batch.TARGET} HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: {length}\r\n\r\n".encode())
    assert b" 413 " in await reader.readuntil(b"\r\n\r\n")
    writer.close()


async def test_one_input_over_the_limit_is_refused_alone(bench):
    answers = await bench.client.batch([call("big", given={"text": "x" * 70_000}), call("small")])
    assert (answers["big"].status, answers["small"].status) == (413, 200)


async def test_a_signature_is_asked_for(bench):
    assert (await bench.client.post(batch.TARGET, b"{}", signed=False)).status == 401


async def test_a_caller_that_goes_away_stops_nothing(bench):
    line = batch.write_call("1", "bench.again", {"idempotency_key": "k"}, b'{"wait": true}')
    reader = await stream(bench, line)
    await bench.waiting.acquire()
    reader.close_writer()
    bench.release.set()
    again = await bench.client.batch([call("1", given={"wait": True}, idempotency_key="k")])
    assert (again["1"].status, bench.runs) == (200, 1)


class Reading:
    """The raw answer of a batch as it comes."""

    def __init__(self, reader, writer):
        self.readuntil = reader.readuntil
        self.close_writer = writer.close


async def stream(bench, body):
    import time

    from aisops_plugin_sdk import signing

    headers = signing.headers(
        bench.client._token, now=time.time(), method="POST", raw_target=batch.TARGET, body=body, nonce=f"n{bench.runs}"
    )
    reader, writer = await asyncio.open_connection("127.0.0.1", bench.port)
    head = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
    writer.write(
        f"POST {batch.TARGET} HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: {len(body)}\r\n{head}\r\n".encode() + body
    )
    assert b" 200 " in await reader.readuntil(b"\r\n\r\n")
    return Reading(reader, writer)


async def next_line(reader):
    return (await reader.readuntil(b"}\n")).split(b"\r\n")[-1]
