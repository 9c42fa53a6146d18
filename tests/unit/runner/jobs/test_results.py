"""From an ended job to the messages that tell Core."""

from __future__ import annotations

import hashlib
import json

from aisops_protocol.codec import decode_runner_body, encode_runner_body
from aisops_protocol.limits import RESULT_INLINE_BYTES
from aisops_protocol.messages import JobResult, LogLevel, ResultChunk, ResultStatus
from aisops_runner.adapters.calls import CallError, JobLog, Outcome
from aisops_runner.jobs import results
from aisops_runner.jobs.commands import Finish
from aisops_runner.jobs.retry import Ended


def finish(output: bytes = b"{}", error: CallError | None = None) -> Finish:
    status = ResultStatus.FAILED if error else ResultStatus.SUCCEEDED
    outcome = Outcome(ok=error is None, output=output, error=error, plugin="p", plugin_version="1", sidecar_pid=7)
    return Finish("job-1", b"l" * 16, 1, Ended(status, error), outcome, calls=2, duration_s=1.5)


def test_a_small_output_stands_inside_the_result():
    result, large = results.build(finish(b'{"a":1}'), unix_ms=10_000)

    assert (result.output, large) == (b'{"a":1}', b"")
    assert (result.execution.calls, result.execution.duration_ms, result.execution.started_unix_ms) == (2, 1500, 8500)
    assert decode_runner_body(encode_runner_body(result)) == result


def test_a_large_output_goes_ahead_in_chunks_that_add_up():
    output = json.dumps("x" * (3 * RESULT_INLINE_BYTES)).encode()
    result, large = results.build(finish(output), unix_ms=0)
    pieces = results.in_pieces(result, large)

    chunks = [piece for piece in pieces if isinstance(piece, ResultChunk)]
    assert isinstance(pieces[-1], JobResult)
    assert result.output == b""
    assert b"".join(chunk.data for chunk in chunks) == output
    assert [chunk.index for chunk in chunks] == list(range(chunks[0].count))
    assert [chunk.sha256 for chunk in chunks] == [b""] * (len(chunks) - 1) + [hashlib.sha256(output).digest()]
    for piece in pieces:
        assert decode_runner_body(encode_runner_body(piece)) == piece


def test_an_output_above_16_mib_is_cut_to_json_that_says_so():
    output = b'"' + b"y" * (17 * 1024 * 1024) + b'"'
    result, large = results.build(finish(output), unix_ms=0)

    assert result.truncated
    assert large == b""
    assert json.loads(result.output)["bytes"] == len(output)


def test_an_error_of_any_size_is_cut_until_it_can_be_sent():
    error = CallError("c" * 1000, "ä" * 100_000 + "\0", details=b"[" + b" " * 200_000 + b"]")
    result, _ = results.build(finish(error=error), unix_ms=0)

    assert decode_runner_body(encode_runner_body(result)) == result
    assert result.error is not None
    assert result.error.details == b""


def test_a_result_the_contract_refuses_keeps_its_status():
    result, _ = results.build(finish(b"{}"), unix_ms=0)

    told = results.fallback(result, "not JSON")
    assert (told.status, told.truncated) == (ResultStatus.SUCCEEDED, True)
    assert decode_runner_body(encode_runner_body(told)) == told


def test_a_log_line_is_cut_at_a_characters_edge():
    event = results.log_event(JobLog("job-1", LogLevel.INFO, "한" * 10_000, 5, "slack"))

    assert len(event.text.encode()) <= 16 * 1024
    assert decode_runner_body(encode_runner_body(event)) == event
