"""A sidecar that answers a batch wrongly, or goes away within it: each call ends once, and only its own way."""

import time

import pytest

from aisops_runner.adapters.calls import CallError
from aisops_runner.sidecars.answers import ANSWER_BYTES, BAD_ANSWER
from aisops_runner.sidecars.client import DIED
from tests.integration.runner_host.conftest import make_call, until
from tests.integration.runner_host.test_wrong_answers import Answer, http, raw, sidecar

pytestmark = pytest.mark.integration

CALLS = 3
HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: application/x-ndjson\r\n"
CHUNKED = HEAD + b"Transfer-Encoding: chunked\r\n\r\n"
LAST = b"0\r\n\r\n"


def chunk(data: bytes) -> bytes:
    return b"%x\r\n%s\r\n" % (len(data), data)


def line(number: int) -> bytes:
    return b'{"id":"%d","status":200,"ok":true,"result":{"n":%d}}\n' % (number, number)


def lines(*numbers: int) -> bytes:
    return b"".join(line(number) for number in numbers)


async def ends(answer: Answer, *, timeout_s: float = 20.0) -> list[bytes | CallError]:
    """How each call of a batch ended, in their order; none may end twice."""
    told: dict[str, bytes | CallError] = {}
    async with sidecar(answer) as (client, requests):
        calls = [(make_call("x.y", job_id=f"job-{number}"), timeout_s) for number in range(CALLS)]

        def ended(answered: object) -> None:
            for call, outcome in answered:  # type: ignore[attr-defined]
                assert call.job_id not in told
                told[call.job_id] = outcome

        client.start_batch(calls, ended)
        await until(lambda: len(told) == CALLS)
        assert len(requests) == 1, "nothing is sent twice"
    return [told[f"job-{number}"] for number in range(CALLS)]


WHOLE = b'{"n":0}', b'{"n":1}', b'{"n":2}'
GOOD: dict[str, Answer] = {
    "in any order": raw(CHUNKED + chunk(lines(2, 0, 1)) + LAST),
    "with a length": raw(HEAD + b"Content-Length: %d\r\n\r\n" % len(lines(0, 1, 2)) + lines(0, 1, 2)),
    "up to the end of the connection": raw(HEAD + b"Connection: close\r\n\r\n" + lines(0, 1, 2)),
    "without the last line feed": raw(CHUNKED + chunk(lines(0, 1, 2)[:-1]) + LAST),
    "with blanks": raw(CHUNKED + chunk(lines(0, 1, 2).replace(b'":', b'": ').replace(b',"', b', "')) + LAST),
    "with carriage returns": raw(CHUNKED + chunk(lines(0, 1, 2).replace(b"\n", b"\r\n\r\n")) + LAST),
    "an octet a chunk": raw(CHUNKED + b"".join(chunk(bytes([one])) for one in lines(0, 1, 2)) + LAST),
    "twice, and for a call nobody made": raw(CHUNKED + chunk(lines(0, 0, 77, 1, 2, 2)) + LAST),
    "garbage behind it": raw(CHUNKED + chunk(lines(0, 1, 2)) + LAST + b"HTTP/1.1 200 OK\r\n\r\n"),
    "no end behind it": raw(CHUNKED + chunk(lines(0, 1, 2)), then_close=False),
    "headers of an interim answer": raw(
        b"HTTP/1.1 103 Early\r\nContent-Length: 5\r\nContent-Encoding: gzip\r\n\r\n" + CHUNKED + chunk(lines(0, 1, 2))
    ),
    "headers behind it": raw(CHUNKED + chunk(lines(0, 1, 2)) + b"0\r\nContent-Type: text/html\r\n\r\n"),
}


@pytest.mark.parametrize("manner", GOOD)
async def test_every_line_ends_its_call_however_it_comes(manner: str) -> None:
    found = await ends(GOOD[manner])
    assert [b"".join(one.split()) if isinstance(one, bytes) else one for one in found] == list(WHOLE)


async def test_cut_off_at_any_octet_each_call_has_the_end_that_its_own_line_gives_it() -> None:
    body = lines(1, 0, 2)
    answer = CHUNKED + chunk(body[:70]) + chunk(body[70:]) + LAST
    for cut in range(len(answer)):
        found = await ends(raw(answer[:cut]))
        for number, one in enumerate(found):
            if isinstance(one, CallError):
                assert (one.code, one.ambiguous, one.retryable) == (DIED, True, False), cut
            else:
                assert one == WHOLE[number]
        assert sum(isinstance(one, bytes) for one in found) == answer[:cut].count(b"}}\n"), cut


BROKEN: dict[str, Answer] = {
    "a line that is no answer": raw(CHUNKED + chunk(line(0) + b"hello\n" + lines(1, 2)) + LAST),
    "a line cut short": raw(CHUNKED + chunk(line(0) + line(1)[:20]) + LAST),
    "no more lines": raw(CHUNKED + chunk(line(0)) + LAST),
}


@pytest.mark.parametrize("mode", BROKEN)
async def test_what_cannot_be_read_leaves_the_others_in_doubt_and_never_the_answered(mode: str) -> None:
    first, *others = await ends(BROKEN[mode])
    assert first == WHOLE[0]
    for one in others:
        assert isinstance(one, CallError)
        assert (one.code, one.ambiguous, one.retryable) == (BAD_ANSWER, True, False)


async def test_a_line_too_long_ends_its_own_call_alone() -> None:
    long = b'{"id":"1","status":200,"ok":true,"result":{"a":"' + b"x" * (2 * ANSWER_BYTES) + b'"}}\n'
    first, middle, last = await ends(raw(CHUNKED + chunk(line(0)) + chunk(long) + chunk(line(2)) + LAST))
    assert (first, last) == (WHOLE[0], WHOLE[2])
    assert isinstance(middle, CallError)
    assert (middle.code, middle.ambiguous) == (BAD_ANSWER, True)


async def test_a_refused_batch_is_every_call_refused() -> None:
    body = b'{"ok":false,"error":"full","code":"busy","retryable":true,"ambiguous":false}'
    for one in await ends(raw(http(body, status=b"429 Too Many Requests"))):
        assert isinstance(one, CallError)
        assert (one.code, one.ambiguous, one.retryable) == ("busy", False, True)


async def test_a_slow_call_costs_only_itself() -> None:
    first, last, slow = await ends(raw(CHUNKED + chunk(lines(0, 1)), then_close=False), timeout_s=0.3)
    assert (first, last) == WHOLE[:2]
    assert isinstance(slow, CallError)
    assert (slow.code, slow.ambiguous) == ("timeout", True)


async def test_a_large_line_in_single_octets_does_not_stop_the_runner() -> None:
    body = b'{"id":"0","status":200,"ok":true,"result":{"a":"' + b"x" * 900_000 + b'"}}\n'
    wire = CHUNKED + b"".join(b"1\r\n%c\r\n" % one for one in body) + chunk(lines(1, 2)) + LAST
    began = time.process_time()
    first, *others = await ends(raw(wire))
    assert isinstance(first, bytes)
    assert others == list(WHOLE[1:])
    assert time.process_time() - began < 5
