"""The stdio-json machine: whatever is written, in whatever pieces, each request gets one answer or the end."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aisops_runner.sidecars.foreign.lines import MOST_STRAYS, Answered, Broken, Said, StdioMachine


def answer(identity: object, **more: object) -> bytes:
    return json.dumps({"id": identity, "ok": True, **more}).encode() + b"\n"


def opened(**options: int) -> StdioMachine:
    machine = StdioMachine(**options)
    identity, _ = machine.probe()
    machine.receive(answer(identity))
    return machine


def test_requests_are_one_line_with_an_id_of_their_own() -> None:
    machine = StdioMachine()
    first, probe = machine.probe()
    second, invoke = machine.invoke("notes.add", b'{"text":"\xed\x95\x9c"}')
    assert json.loads(probe) == {"id": first, "type": "probe"}
    assert json.loads(invoke) == {"id": second, "type": "invoke", "capability": "notes.add", "input": {"text": "한"}}
    assert probe.count(b"\n") == invoke.count(b"\n") == 1
    assert first != second
    assert machine.waiting == {first, second}


def test_answers_come_in_any_order_and_blank_lines_mean_nothing() -> None:
    machine = opened()
    first, _ = machine.invoke("a.b", b"{}")
    second, _ = machine.invoke("a.b", b"{}")
    events = machine.receive(b"\n  \n" + answer(second, result=2) + b"\r\n" + answer(first, result=1))
    assert [(event.identity, event.document["result"]) for event in events] == [(second, 2), (first, 1)]
    assert not machine.waiting


def test_what_is_said_before_the_first_answer_is_a_log() -> None:
    machine = StdioMachine()
    identity, _ = machine.probe()
    events = machine.receive(b'hello\n{"a":1}\n' + answer("other") + answer(identity))
    assert events[:3] == [Said(b"hello"), Said(b'{"a":1}'), Said(answer("other").strip())]
    assert isinstance(events[3], Answered)


@pytest.mark.parametrize("line", [b"hello", b"[1]", b"5", b'{"id":', b'{"id":"r1","id":"r2"}', b"\xff", b'{"a":NaN}'])
def test_a_line_that_is_no_object_breaks_it_for_good(line: bytes) -> None:
    machine = opened()
    identity, _ = machine.invoke("a.b", b"{}")
    events = machine.receive(line + b"\n" + answer(identity))
    assert events == [Broken("a line is no JSON object")]
    assert machine.receive(answer(identity)) == []
    assert machine.waiting == {identity}


@pytest.mark.parametrize("end", [b"", b"\n"])
def test_a_line_that_is_too_long_breaks_it_before_it_ends(end: bytes) -> None:
    machine = opened(limit_bytes=1000)
    events = machine.receive(b"x" * 1001 + end)
    assert events == [Broken("a line is longer than 1000 bytes")]
    quiet = StdioMachine(limit_bytes=1000)
    assert quiet.receive(b"x" * 1000) == []
    assert quiet.receive(b"\n") == [Said(b"x" * 1000)]


def test_a_request_that_does_not_fit_is_not_made() -> None:
    machine = opened(limit_bytes=1000)
    with pytest.raises(ValueError, match="over the limit"):
        machine.invoke("a.b", b"x" * 990)
    assert not machine.waiting


def test_answers_nobody_waits_for_are_counted_until_there_are_too_many() -> None:
    machine = opened()
    for _ in range(MOST_STRAYS - 1):
        events = machine.receive(answer("r99"))
    assert machine.strays == MOST_STRAYS - 1
    assert isinstance(events[0], Said)
    assert isinstance(machine.receive(answer(None))[-1], Broken)


def test_a_second_answer_is_nobodys_and_a_late_one_no_fault() -> None:
    machine = opened()
    identity, _ = machine.invoke("a.b", b"{}")
    machine.receive(answer(identity) + answer(identity))
    assert machine.strays == 1
    late, _ = machine.invoke("a.b", b"{}")
    machine.forget(late)
    assert machine.receive(answer(late)) == []
    assert machine.strays == 1
    machine.receive(answer(late))
    assert machine.strays == 2, "it had only one late answer to give"


def test_a_last_line_without_an_end_counts() -> None:
    machine = opened()
    identity, _ = machine.invoke("a.b", b"{}")
    machine.receive(answer(identity)[:-1])
    assert [type(event) for event in machine.finish()] == [Answered]
    assert machine.finish() == []


@given(st.permutations(range(6)), st.lists(st.integers(1, 40)), st.booleans())
def test_however_it_is_cut_every_request_is_answered_once(order: list[int], cuts: list[int], blank: bool) -> None:
    machine = opened()
    asked = [machine.invoke("a.b", b"{}")[0] for _ in order]
    data = (b"\n" if blank else b"").join(answer(asked[number], result=number) for number in order)
    events = []
    for cut in cuts:
        events += machine.receive(data[:cut])
        data = data[cut:]
    events += machine.receive(data)
    assert [event.identity for event in events if isinstance(event, Answered)] == [asked[number] for number in order]
    assert not machine.waiting


PIECES = st.lists(
    st.sampled_from([b'{"id":"r2","ok":true}', b'{"id":"r3"}', b"\n", b"x", b"[", b'{"id":null}', b'"', b"\xff", b"r1"])
    | st.binary(max_size=20)
)


@given(PIECES, st.booleans())
def test_any_octets_answer_each_request_at_most_once_and_hold_little(pieces: list[bytes], started: bool) -> None:
    machine = opened(limit_bytes=300) if started else StdioMachine(limit_bytes=300)
    while len(machine.waiting) < 2:
        machine.invoke("a.b", b"{}")
    before = machine.waiting
    events = [event for piece in pieces for event in machine.receive(piece)] + machine.finish()
    answered = [event.identity for event in events if isinstance(event, Answered)]
    assert len(answered) == len(set(answered))
    assert before - set(answered) == machine.waiting
    broken = [place for place, event in enumerate(events) if isinstance(event, Broken)]
    assert broken in ([], [len(events) - 1])
    assert machine.broken == bool(broken)
