"""The audit chain: whatever is changed shows."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from aisops_core.audit.record import GENESIS, AuditEntry, AuditRecord, chain, first_broken


def a_chain(length: int) -> list[AuditRecord]:
    records: list[AuditRecord] = []
    prev_hash = GENESIS
    for seq in range(1, length + 1):
        entry = AuditEntry("t", "api:operator-1", "job.submit", f"job_{seq}", {"capability": "slack.send"})
        records.append(chain(entry, seq=seq, at_unix_ms=seq, prev_hash=prev_hash))
        prev_hash = records[-1].hash
    return records


def test_an_untouched_chain_holds() -> None:
    assert first_broken([]) is None
    assert first_broken(a_chain(20)) is None


@given(
    st.integers(0, 9),
    st.sampled_from(["tenant_id", "at_unix_ms", "actor", "action", "subject", "detail", "prev_hash", "hash", "seq"]),
)
def test_any_changed_field_shows_at_its_record(at: int, name: str) -> None:
    records = a_chain(10)
    value = getattr(records[at], name)
    changed = value + 1 if isinstance(value, int) else value + (b"x" if isinstance(value, bytes) else "x")
    records[at] = records[at]._replace(**{name: changed})
    assert first_broken(records) == at + 1


@given(st.integers(0, 8))
def test_a_removed_or_moved_record_shows(at: int) -> None:
    records = a_chain(10)
    assert first_broken(records[:at] + records[at + 1 :]) == at + 1
    records[at], records[at + 1] = records[at + 1], records[at]
    assert first_broken(records) == at + 1


def test_a_record_moved_between_fields_is_another_record() -> None:
    one = chain(AuditEntry("t", "ab", "c", "d"), seq=1, at_unix_ms=1, prev_hash=GENESIS)
    two = chain(AuditEntry("t", "a", "bc", "d"), seq=1, at_unix_ms=1, prev_hash=GENESIS)
    assert one.hash != two.hash
