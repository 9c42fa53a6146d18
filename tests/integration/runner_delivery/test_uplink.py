"""The Runner's delivery over real gRPC: through cuts, refusals and restarts nothing is lost and nothing done twice."""

from __future__ import annotations

import asyncio
import base64
from collections import Counter
from pathlib import Path

import grpc
import pytest
import trustme

from aisops_protocol.messages import (
    Drain,
    EffectClass,
    Event,
    Heartbeat,
    JobAccept,
    JobCancel,
    JobReject,
    JobResult,
    LogEvent,
    LogLevel,
    Ping,
    RejectReason,
    ResultChunk,
    ResultStatus,
)
from aisops_runner.adapters.calls import JobLog
from aisops_runner.clock import SystemClock
from aisops_runner.errors import RefusedForGood, StorageFailed
from aisops_runner.jobs import retention
from aisops_runner.jobs.executor import Executor
from aisops_runner.outbox.outbox import Outbox
from aisops_runner.uplink.dialer import Endpoint, GrpcDialer
from aisops_runner.uplink.hello import Profile
from aisops_runner.uplink.pump import Uplink
from aisops_runner.uplink.status import UplinkState
from tests.support.core_end import RUNNER, TENANT, CoreEnd, Refusal, core_end, numbers
from tests.support.runner_end import OFFERED, Provider, all_done, job, lost, runner

pytestmark = pytest.mark.integration


async def test_a_job_is_accepted_run_and_its_result_delivered(tmp_path: Path):
    async with core_end() as core, runner(tmp_path, core.port, token="aisops_r_secret") as ends:
        core.dispatch(job(1))
        await core.until(all_done(core, 1))

        (accept,), (result,) = core.of(JobAccept), core.of(JobResult)
        assert (accept.job_id, result.job_id, result.status) == ("job-1", "job-1", ResultStatus.SUCCEEDED)
        assert (result.output, result.execution.plugin, result.execution.calls) == (b'{"done":true}', "test", 1)
        assert core.metadata[0]["authorization"] == "Bearer aisops_r_secret"
        assert ends.uplink.status.state is UplinkState.CONNECTED


async def test_many_jobs_go_through_few_commits_and_frames(tmp_path: Path):
    async with core_end() as core, runner(tmp_path, core.port, slots=500) as ends:
        core.dispatch(*[job(n) for n in range(500)])
        await core.until(all_done(core, 500))

        assert ends.outbox.database.commits < 150
        assert numbers(core) == list(range(1, len(numbers(core)) + 1))


async def test_through_stream_cuts_every_message_is_stored_once_in_order(tmp_path: Path):
    async with core_end() as core, runner(tmp_path, core.port) as ends:
        for cut in range(10):
            core.cut_before_ack = 1  # committed, but the Runner never hears of it
            core.dispatch(*[job(cut * 20 + n) for n in range(20)])
            for n in range(20):
                ends.executor.log(JobLog(f"job-{n}", LogLevel.INFO, f"line {cut}.{n}", 1, "test"))
            await core.until(all_done(core, (cut + 1) * 20))
            core.cut()

        assert numbers(core) == list(range(1, len(numbers(core)) + 1))
        assert Counter(one.job_id for one in core.of(JobResult)) == {f"job-{n}": 1 for n in range(200)}
        assert ends.provider.effects == {f"job-{n}": 1 for n in range(200)}
        assert len(core.of(LogEvent)) == 200
        assert core.streams >= 10


async def test_what_nobody_waits_for_arrives_without_company_too(tmp_path: Path):
    async with core_end() as core, runner(tmp_path, core.port) as ends:
        await core.until(lambda: len(core.beats) > 0)
        await ends.outbox.put(JobAccept("job-1", b"l" * 16, 1))
        await core.until(lambda: len(core.of(JobAccept)) == 1)


async def test_messages_put_while_core_is_away_arrive_when_it_is_back(tmp_path: Path):
    core = CoreEnd()
    await core.start()
    port = core.port
    async with runner(tmp_path, port, beat_s=0.05) as ends:
        await core.until(lambda: len(core.beats) > 0)
        await core.stop()
        await ends.outbox.put(*[Event(f"e{n}", 1) for n in range(300)])
        await core.start(port)
        await core.until(lambda: len(core.of(Event)) == 300)

        assert [one.kind for one in core.of(Event)] == [f"e{n}" for n in range(300)]
    await core.stop()


async def test_beats_that_could_not_be_sent_arrive_as_one(tmp_path: Path):
    core = CoreEnd()
    core.refusal = Refusal(grpc.StatusCode.UNAVAILABLE)
    await core.start()
    async with runner(tmp_path, core.port, beat_s=0.02) as ends:
        async with asyncio.timeout(10):
            while ends.outbox.stats.messages == 0 or core.streams < 3:
                await core.until(lambda before=core.streams: core.streams > before)
        core.refusal = None
        await core.until(lambda: len(core.of(Heartbeat)) > 0)

        beat = core.of(Heartbeat)[0]
        assert beat.offline_beats >= 1
        assert beat.offline_ms == beat.offline_beats * 20
    await core.stop()


async def test_heartbeats_are_on_time_while_a_backlog_drains(tmp_path: Path):
    outbox = await Outbox.open(tmp_path)
    await outbox.put(*[Event(f"e{n}", 1, b'"' + b"x" * 500 + b'"') for n in range(20_000)])
    await outbox.close()
    async with core_end(heartbeat_ms=1000) as core, runner(tmp_path, core.port):
        await core.until(lambda: len(core.beats) >= 1)
        at_first_beat = len(core.ledger)
        await core.until(lambda: len(core.of(Event)) == 20_000, timeout_s=60)

        assert at_first_beat <= 512, "the first beat waits behind no backlog"
        assert numbers(core) == list(range(1, len(numbers(core)) + 1))


async def test_the_window_bounds_what_is_under_way(tmp_path: Path):
    async with core_end(window=(10, 1_048_576), acknowledging=False) as core, runner(tmp_path, core.port) as ends:
        await ends.outbox.put(*[Event(f"e{n}", 1) for n in range(50)])
        await core.until(lambda: len(core.ledger) >= 10)
        core.send(Ping(1))
        beats = len(core.beats)
        await core.until(lambda: len(core.beats) > beats)

        assert len(core.ledger) == 10
        core.acknowledging = True
        core.cut()
        await core.until(lambda: len(core.of(Event)) == 50)


async def test_after_a_crash_an_at_most_once_job_under_way_is_uncertain_and_an_idempotent_one_runs_again(
    tmp_path: Path,
):
    provider = Provider()
    provider.gate.clear()
    async with core_end() as core:
        async with runner(tmp_path, core.port, provider=provider):
            core.dispatch(job(1), job(2, EffectClass.IDEMPOTENT))
            await core.until(lambda: len(core.of(JobAccept)) == 2)
            await provider.called(2)
        again = Provider()
        async with runner(tmp_path, core.port, provider=again):
            await core.until(all_done(core, 2))

    status = {one.job_id: (one.status, one.error.code if one.error else "") for one in core.of(JobResult)}
    assert status == {
        "job-1": (ResultStatus.UNCERTAIN, "interrupted"),
        "job-2": (ResultStatus.SUCCEEDED, ""),
    }
    assert again.effects == {"job-2": 1}
    assert {held.job_id for held in core.hellos[-1].held_jobs} >= {"job-2"}


async def test_a_finished_job_delivered_again_is_answered_from_the_journal(tmp_path: Path):
    async with core_end() as core, runner(tmp_path, core.port) as ends:
        core.dispatch(job(1))
        await core.until(all_done(core, 1))
        core.send(job(1, lease=2))
        await core.until(all_done(core, 2))

        first, second = core.of(JobResult)
        assert (first.output, first.lease_id == second.lease_id) == (second.output, False)
        assert second.lease_id == job(1, lease=2).lease_id
        assert ends.provider.effects == {"job-1": 1}


async def test_a_core_that_went_back_to_a_backup_gets_the_results_again(tmp_path: Path):
    async with core_end() as core, runner(tmp_path, core.port) as ends:
        core.dispatch(job(1), job(2))
        await core.until(all_done(core, 2))
        core.leased.clear()
        core.ledger.clear()
        core.core_epoch = b"r" * 16
        core.cut()
        await core.until(all_done(core, 2))

        assert {one.job_id for one in core.of(JobResult)} == {"job-1", "job-2"}
        assert ends.provider.effects == {"job-1": 1, "job-2": 1}
        core.cut()
        await core.until(lambda: len(core.hellos) == 3)
        assert core.hellos[-1].last_core_epoch == b"r" * 16


async def test_a_large_output_arrives_in_chunks(tmp_path: Path):
    provider = Provider()
    provider.output = b'"' + b"z" * 1_000_000 + b'"'
    async with core_end() as core, runner(tmp_path, core.port, provider=provider):
        core.dispatch(job(1))
        await core.until(all_done(core, 1))

        assert b"".join(chunk.data for chunk in core.of(ResultChunk)) == provider.output


async def test_a_running_job_is_cancelled(tmp_path: Path):
    provider = Provider()
    provider.gate.clear()
    async with core_end() as core, runner(tmp_path, core.port, provider=provider):
        core.dispatch(job(1))
        await core.until(lambda: len(core.of(JobAccept)) == 1)
        core.send(JobCancel("job-1", job(1).lease_id, grace_ms=1))
        await core.until(all_done(core, 1))

        assert core.of(JobResult)[0].status in {ResultStatus.CANCELLED, ResultStatus.SUCCEEDED}


async def test_an_orderly_stop_finishes_jobs_flushes_and_says_goodbye(tmp_path: Path):
    provider = Provider()
    provider.gate.clear()
    async with core_end() as core, runner(tmp_path, core.port, provider=provider) as ends:
        core.dispatch(job(1))
        await core.until(lambda: len(core.of(JobAccept)) == 1)
        stopping = asyncio.create_task(ends.executor.drain(10))
        await asyncio.sleep(0)
        core.send(job(2))
        await core.until(lambda: len(core.of(JobReject)) == 1)
        provider.gate.set()

        assert await stopping == ()
        assert await ends.uplink.flush(5)
        ends.uplink.goodbye("stopped", ())
        await core.until(lambda: len(core.goodbyes) == 1)
        assert core.of(JobReject)[0].reason is RejectReason.DRAINING
        assert len(core.of(JobResult)) == 1


async def test_core_drains_and_the_runner_comes_back(tmp_path: Path):
    async with core_end() as core, runner(tmp_path, core.port):
        await core.until(lambda: len(core.beats) > 0)
        core.send(Drain(reconnect_after_ms=10, reason="deploy"))
        await core.until(lambda: len(core.hellos) == 2)

        assert core.hellos[0].instance_id == core.hellos[1].instance_id


@pytest.mark.parametrize("status", [grpc.StatusCode.PERMISSION_DENIED, grpc.StatusCode.UNAUTHENTICATED])
async def test_a_refusal_for_good_ends_a_runner_that_was_to_try_once(tmp_path: Path, status: grpc.StatusCode):
    outbox = await Outbox.open(tmp_path)
    refusal = Refusal(status, "REVOKED" if status is grpc.StatusCode.PERMISSION_DENIED else "")
    async with core_end(refusal=refusal) as core:
        executor = Executor(
            outbox, Provider(), offered=OFFERED, tenant_id=TENANT, runner_id=RUNNER, slots=1, clock=SystemClock()
        )
        uplink = Uplink(
            GrpcDialer(Endpoint("127.0.0.1", core.port, plaintext=True), lambda: None),
            outbox=outbox,
            jobs=executor,
            profile=Profile(TENANT, RUNNER, "1.0"),
            capabilities=list,
            clock=SystemClock(),
            endpoint="test",
            once=True,
        )
        with pytest.raises(RefusedForGood) as refused:
            await uplink.run()

        assert refused.value.code == ("revoked" if refusal.reason else "unauthenticated")
        assert "token" in refused.value.message
    await outbox.close()


async def test_tls_and_mutual_tls(tmp_path: Path):
    authority, stranger = trustme.CA(), trustme.CA()
    server, client = authority.issue_cert("localhost"), authority.issue_cert("runner-1")
    credentials = grpc.ssl_server_credentials(
        [(server.private_key_pem.bytes(), b"".join(pem.bytes() for pem in server.cert_chain_pems))],
        root_certificates=authority.cert_pem.bytes(),
        require_client_auth=True,
    )
    async with core_end(credentials=credentials) as core:
        trusting = Endpoint(
            "localhost",
            core.port,
            ca=authority.cert_pem.bytes(),
            certificate=b"".join(pem.bytes() for pem in client.cert_chain_pems),
            key=client.private_key_pem.bytes(),
        )
        async with runner(tmp_path / "good", core.port, endpoint=trusting):
            core.dispatch(job(1))
            await core.until(all_done(core, 1))
        distrusting = Endpoint("localhost", core.port, ca=stranger.cert_pem.bytes())
        async with runner(tmp_path / "bad", core.port, endpoint=distrusting) as ends:
            await lost(ends)
            assert "tls_ca" in ends.uplink.status.last_error


async def test_a_proxy_is_spoken_to_with_its_user_and_password(tmp_path: Path):
    asked: list[bytes] = []

    async def relay(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while chunk := await reader.read(65536):
            writer.write(chunk)
            await writer.drain()
        writer.close()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        asked.append(await reader.readuntil(b"\r\n\r\n"))
        host, port = asked[-1].split()[1].decode().rsplit(":", 1)
        inner_reader, inner_writer = await asyncio.open_connection(host, int(port))
        writer.write(b"HTTP/1.1 200 OK\r\n\r\n")
        await asyncio.gather(relay(reader, inner_writer), relay(inner_reader, writer), return_exceptions=True)

    proxy = await asyncio.start_server(serve, "127.0.0.1", 0)
    proxy_port = proxy.sockets[0].getsockname()[1]
    async with core_end() as core:
        through = Endpoint(
            "127.0.0.1", core.port, plaintext=True, proxy=f"http://user:p%40ss@127.0.0.1:{proxy_port}", no_proxy="x.org"
        )
        async with runner(tmp_path, core.port, endpoint=through):
            core.dispatch(job(1))
            await core.until(all_done(core, 1))

    credentials = base64.b64encode(b"user:p@ss")
    assert asked[0].startswith(f"CONNECT 127.0.0.1:{core.port} ".encode())
    assert credentials in asked[0]
    proxy.close()
    await proxy.wait_closed()


async def test_results_wait_for_a_disk_that_fails_for_a_while(tmp_path: Path):
    provider = Provider()
    provider.gate.clear()
    async with core_end() as core, runner(tmp_path, core.port, provider=provider) as ends:
        core.dispatch(job(1))
        await core.until(lambda: len(core.of(JobAccept)) == 1)
        await provider.called(1)
        whole, refused = ends.outbox.transact, asyncio.Event()

        async def failing(unit: object) -> object:
            refused.set()
            raise StorageFailed("the disk is full")

        ends.outbox.transact = failing  # type: ignore[method-assign,assignment]
        provider.gate.set()
        await asyncio.wait_for(refused.wait(), 10)
        ends.outbox.transact = whole  # type: ignore[method-assign]
        await core.until(all_done(core, 1))

        assert provider.effects == {"job-1": 1}


async def test_the_journal_forgets_by_count_and_by_its_own_age_but_never_what_core_has_not(tmp_path: Path):
    async with core_end() as core, runner(tmp_path, core.port) as ends:
        core.dispatch(*[job(n) for n in range(5)])
        await core.until(all_done(core, 5))
        kept = ends.outbox

        async def left() -> int:
            return await kept.database.read(lambda db: db.execute("SELECT COUNT(*) FROM jobs").fetchone()[0])

        await kept.transact(lambda work: retention.retain(work, kept.last_seq, retention.RETAIN_S))
        assert await left() == 5
        await kept.transact(lambda work: retention.retain(work, 0, 60))
        assert await left() == 5
        await kept.transact(lambda work: retention.retain(work, kept.last_seq, 60))
        assert await left() == 0


async def test_nothing_listening_is_said_plainly(tmp_path: Path):
    async with core_end() as core:
        port = core.port
    async with runner(tmp_path, port) as ends:
        await lost(ends)
        assert "nothing listens there" in ends.uplink.status.last_error
        assert ends.uplink.status.state is UplinkState.WAITING
