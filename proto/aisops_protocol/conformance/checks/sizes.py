"""Outputs of every size, and frames no larger than Core takes."""

from __future__ import annotations

import hashlib
import json

from aisops_protocol import limits
from aisops_protocol import messages as m
from aisops_protocol.conformance.effects import Effect
from aisops_protocol.conformance.ground import Ground, demand, told
from aisops_protocol.conformance.line import Line
from aisops_protocol.conformance.registry import Need, Rule, check

SMALL, LARGE, HUGE = 200_000, 700_000, 17 * 1024 * 1024
FRAME = 64 * 1024


def pieces(line: Line, job: m.Job) -> list[m.ResultChunk]:
    """The pieces of a job's output."""
    return line.all(m.ResultChunk, job_id=job.job_id)


def same(output: bytes, effect: Effect) -> bool:
    """Whether an output is the document that the effect answered."""
    try:
        return bool(json.loads(output) == json.loads(effect.answer()))
    except ValueError:
        return False


@check("output.inline", Rule.JOB, Need.WORK)
async def inline(ground: Ground) -> str:
    """An output up to 256 KiB travels in the result."""
    line = await ground.open()
    effect = ground.effect(pad=SMALL)
    job = ground.job(effect)
    result = await ground.done(line, job)
    demand(same(result.output, effect), f"{SMALL} octets in the result", f"{len(result.output)}, or others")
    demand(not pieces(line, job), "no ResultChunk", f"{len(pieces(line, job))}")
    return f"{len(result.output)} octets in the result"


@check("output.chunked", Rule.JOB, Need.WORK)
async def chunked(ground: Ground) -> str:
    """A larger one goes ahead in pieces, in order, with its SHA-256 in the last."""
    line = await ground.open(max_inflight_bytes=4_000_000)
    effect = ground.effect(pad=LARGE)
    job = ground.job(effect)
    result = await ground.done(line, job)
    found = pieces(line, job)
    demand(found, "ResultChunks ahead of the result", "none")
    whole = b"".join(one.data for one in found)
    order = [(one.index, one.count) for one in found]
    demand(order == [(at, len(found)) for at in range(len(found))], "pieces 0, 1, 2… of the right count", f"{order}")
    demand(same(whole, effect), "the answer, put together", f"{len(whole)} octets of something else")
    demand(not result.output, "an empty output in the result", f"{len(result.output)} octets")
    hashes = [one.sha256 for one in found]
    demand(hashes[-1] == hashlib.sha256(whole).digest(), "the SHA-256 of the whole in the last piece", "another")
    demand(not any(hashes[:-1]), "no SHA-256 in the pieces before", "one")
    demand({one.lease_id for one in found} == {result.lease_id}, "the result's lease in every piece", "another")
    last = next(one.envelope.seq for one in line.numbered() if one.envelope.body == found[-1])
    end = next(one.envelope.seq for one in line.numbered() if one.envelope.body == result)
    demand(last < end, "the pieces before the result", f"piece {last}, result {end}")
    return f"{len(whole)} octets in {len(found)} pieces, SHA-256 right"


@check("output.huge", Rule.JOB, Need.WORK, apart=True, limit_s=90)
async def huge(ground: Ground) -> str:
    """Above 16 MiB an output is cut off and marked, or refused by the plugin's own limit; the session lives."""
    line = await ground.open(max_inflight_bytes=limits.WINDOW_BYTES)
    job = ground.job(ground.effect(pad=HUGE))
    ground.send(line, job)
    result = await ground.result(job, 45)
    if result.status is m.ResultStatus.SUCCEEDED:
        demand(result.truncated, "truncated", "not")
    else:
        demand(result.status is m.ResultStatus.FAILED, "FAILED, or SUCCEEDED and truncated", told(result))
    await ground.done(line, ground.job(ground.effect()))
    return f"{told(result)}{', truncated' if result.truncated else ''}; the session went on"


@check("frames.size", Rule.SIZES, Need.WORK)
async def frame_size(ground: Ground) -> str:
    """No frame is larger than the Welcome's max_message_bytes."""
    line = await ground.open(max_message_bytes=FRAME, max_inflight_bytes=4_000_000)
    jobs = [ground.job(ground.effect(pad=20_000)) for _ in range(12)]
    ground.send(line, *jobs)
    for job in jobs:
        await ground.result(job)
    largest = max(line.frame_octets)
    demand(largest <= FRAME, f"{FRAME} octets at most", f"a frame of {largest}")
    return f"the largest had {largest} octets, {FRAME} allowed"
