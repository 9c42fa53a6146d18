"""The lines of a batch: what is read of them, what is refused as a whole, and that writing and reading agree."""

import contextlib
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aisops_plugin_sdk import batch, contracts
from aisops_plugin_sdk.context import CallInfo
from aisops_plugin_sdk.errors import InvalidRequest
from aisops_plugin_sdk.server import call_headers, call_lines

IDS = st.text("ABCxyz019._:-", min_size=1, max_size=20)
PRINTABLE = st.text(st.characters(min_codepoint=0x21, max_codepoint=0x7E), max_size=30)
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=10),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=8,
)


NUMBERS = st.integers(0, 10**15 - 1)
FACTS = st.fixed_dictionaries(
    {}, optional={"job_id": IDS, "idempotency_key": PRINTABLE, "attempt": NUMBERS, "deadline_ms": NUMBERS}
)


@given(IDS, FACTS, JSON, st.sampled_from([(",", ":"), (", ", ": ")]))
def test_a_call_comes_back_as_it_was_written_its_input_to_the_octet(identity, facts, value, separators):
    document = {"input": value, "x": ',"input":{'}
    body = json.dumps(document, ensure_ascii=False, separators=separators).encode("utf-8", "surrogatepass")
    line = batch.write_call(identity, "a.b", facts, body)
    assert line.count(b"\n") == 1
    (found,) = call_lines.read_calls(line)
    assert (found.id, found.capability, found.call(), found.body) == (
        identity,
        "a.b",
        call_headers.read_facts(facts),
        body,
    )


def test_a_written_call_is_a_call_of_the_schema():
    facts = {"job_id": "j", "attempt": 2, "deadline_ms": 5, "idempotency_key": 'k"\\,"input":1'}
    contracts.validate(json.loads(batch.write_call("1", "a.b", facts, b"{}")), "batch-call-v1")


def test_an_input_cannot_name_another_capability():
    line = batch.write_call("1", "a.b", {}, b'{},"capability":"c.d"')
    (found,) = call_lines.read_calls(line)
    assert (found.capability, found.body) == (
        "a.b",
        b'{},"capability":"c.d"',
    )


def test_the_first_input_is_the_one_even_among_hostile_members():
    line = b'{"id":"1","capability":"a.b","job_id":"x\\",\\"input\\":{}","input":{"a":1}}'
    (found,) = call_lines.read_calls(line)
    assert (found.facts, found.body) == ({"job_id": 'x","input":{}'}, b'{"a":1}')


@pytest.mark.parametrize(
    "facts",
    [{"job_id": "two words"}, {"attempt": True}, {"attempt": "1"}, {"deadline_ms": -1}, {"deadline_ms": 10**15},
     {"idempotency_key": "x" * 256}, {"idempotency_key": "with space"}, {"tenant_id": None}, {"step_id": {"a": 1}}],
)  # fmt: skip
def test_a_member_that_is_not_of_its_form_is_for_the_calls_own_answer(facts):
    (found,) = call_lines.read_calls(batch.write_call("1", "a.b", facts, b"{}"))
    with pytest.raises(InvalidRequest) as refused:
        found.call()
    assert refused.value.code == "invalid_header"


def test_members_nobody_knows_are_left_alone():
    (found,) = call_lines.read_calls(batch.write_call("1", "a.b", {"job_id": "j", "colour": "red"}, b"{}"))
    assert found.call() == CallInfo(job_id="j")


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"\n\n",
        b"[]",
        b'{"id":"1","capability":"a.b"}',
        b'{"id":"","capability":"a.b","input":{}}',
        b'{"id":"two words","capability":"a.b","input":{}}',
        b'{"id":1,"capability":"a.b","input":{}}',
        b'{"id":"1","input":{}}',
        b'{"id":"1","id":"2","capability":"a.b","input":{}}',
        b'{"id":"1","capability":"a.b","x":{"y":1,"input":{}}}',
        b'{"id":"1","capability":"a.b","job_id":"' + b"x" * 9000 + b'","input":{}}',
        b'{"id":"1","capability":"a.b","input":{}}\n{"id":"1","capability":"a.b","input":{}}',
        b"\n".join(b'{"id":"%d","capability":"a.b","input":{}}' % n for n in range(batch.MAX_CALLS + 1)),
    ],
)
def test_what_is_no_batch_is_refused_as_a_whole(body):
    with pytest.raises(InvalidRequest) as refused:
        call_lines.read_calls(body)
    assert refused.value.code == "invalid_batch"


@given(st.binary(max_size=200))
def test_no_octets_raise_anything_else(body):
    with contextlib.suppress(InvalidRequest):
        call_lines.read_calls(body)


@given(IDS, st.integers(200, 599), st.binary(min_size=1).filter(lambda raw: b"\n" not in raw))
def test_an_answer_comes_back_as_it_was_written(identity, status, rest):
    line = batch.write_answer(identity, status, b"{" + rest)
    assert batch.read_answer(line[:-1]) == (identity, status, b"{" + rest)


@pytest.mark.parametrize("line", [b"", b"{}", b'{"status":200,"id":"1"}', b'{"id":"1","status":20,"ok":true}', b"x"])
def test_a_line_that_is_no_answer_is_none(line):
    assert batch.read_answer(line) is None


def test_only_complete_lines_are_taken_from_a_buffer():
    buffer = bytearray(b"a\nb\nc")
    assert list(batch.take_lines(buffer)) == [b"a", b"b"]
    assert list(batch.take_lines(buffer)) == []
    assert buffer == b"c"
