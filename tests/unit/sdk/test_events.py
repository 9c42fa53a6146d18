"""Events of a plugin: their names, their bounds, and what is taken out of them."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aisops_plugin_sdk import contracts
from aisops_plugin_sdk.events import (
    EVENT_BURST,
    FACTS_BYTES,
    LINE_START,
    RESERVED,
    Allowance,
    EventRecord,
    belongs,
    build_event,
    to_document,
)
from aisops_plugin_sdk.logs import LogRecord
from aisops_plugin_sdk.secret import Redactor
from aisops_plugin_sdk.server.emitting import Emitter

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=12,
)


def build(facts, kind="acme.seen", redact=str):
    return build_event("acme", kind, facts, job_id="j", time_ms=5, redact=redact)


@pytest.mark.parametrize(
    ("kind", "plugin", "whose"),
    [
        ("acme.seen", "acme", True),
        ("acme-chat.quota_low2", "acme-chat", True),
        ("a.b.seen", "a.b", True),
        ("acme.Seen", "acme", False),
        ("acme.", "acme", False),
        ("acme", "acme", False),
        (".seen", "acme", False),
        ("acme.seen.again", "acme", False),
        ("other.seen", "acme", False),
        ("acme.seen\n", "acme", False),
        ("acme.s\u00e9en", "acme", False),
        ("acme." + "x" * 65, "acme", False),
        *((f"{name}.quarantined", name, False) for name in sorted(RESERVED)),
    ],
)
def test_a_kind_begins_with_the_plugins_own_name(kind, plugin, whose):
    assert belongs(kind, plugin) is whose


@pytest.mark.parametrize("facts", [{"x": "y" * FACTS_BYTES}, {"x": object()}, {"x": float("nan")}, {"x": {1, 2}}])
def test_facts_out_of_bounds_are_refused(facts):
    with pytest.raises(ValueError, match=r"acme\.seen"):
        build(facts)


def test_facts_too_deep_are_refused():
    deep: dict = {}
    for _ in range(40):
        deep = {"x": deep}
    with pytest.raises(ValueError, match="16"):
        build(deep)


def test_secrets_are_taken_out_of_every_text():
    redact = Redactor(['s3cr"et']).text
    event = build({"a": 's3cr"et', 's3cr"et': [{"b": 'x s3cr"et'}]}, redact=redact)
    assert event.facts == {"a": "***", "***": [{"b": "x ***"}]}


@given(st.dictionaries(st.text(max_size=8), JSON, max_size=4))
def test_any_json_object_becomes_a_line_of_the_contract(facts):
    document = to_document(build(facts))
    line = json.dumps(document, separators=(",", ":"), ensure_ascii=False).encode()
    assert line.startswith(LINE_START)
    contracts.validate(json.loads(line), "event-v1")


@given(st.lists(st.floats(0, 50), max_size=300))
def test_no_more_pass_than_the_burst_and_the_rate_allow(steps):
    allowance = Allowance(per_s=2.0, burst=5)
    now, passed = 100.0, 0
    for step in steps:
        now += step / 10
        passed += allowance.take(now)
    assert passed <= 5 + 2.0 * (now - 100.0) + 1e-6


def test_what_is_beyond_the_rate_is_dropped_and_told_once():
    carried: list[EventRecord] = []
    logs: list[LogRecord] = []

    def carry(event):
        carried.append(event)
        return True

    now = 100.0
    emitter = Emitter("acme", carry, sink=logs.append, clock=lambda: 7.0, monotonic=lambda: now)
    sent = [emitter.emit("acme.seen", {"n": n}, "") for n in range(EVENT_BURST + 50)]
    assert (sent.count(True), sent.count(False), len(carried)) == (EVENT_BURST, 50, EVENT_BURST)
    assert len(logs) == 1
    now += 1.0
    assert emitter.emit("acme.seen", {}, "")


def test_a_carrier_that_is_full_is_a_dropped_event():
    logs: list[LogRecord] = []
    emitter = Emitter("acme", lambda event: False, sink=logs.append, clock=lambda: 0.0)
    assert not emitter.emit("acme.seen", {}, "")
    assert len(logs) == 1
