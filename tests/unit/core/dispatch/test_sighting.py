"""What is said of a clone: enough to find the machine, and what to do."""

from __future__ import annotations

from dataclasses import replace

from aisops_core.dispatch.sighting import sight
from aisops_core.tenants.principal import Principal
from tests.support.raw_runner import build_hello
from tests.unit.core.dispatch.test_sessions import a_session

HELLO = replace(build_hello(), instance_id=b"\xab" * 16, boot_id="1f3c", agent_version="1.2")
PRINCIPAL = Principal("runner", "t", "r", "runner", "k3wq")


def test_the_facts_tell_the_two_machines_apart() -> None:
    facts = sight(a_session(), PRINCIPAL, HELLO, "192.0.2.7:50000").facts(3)
    assert facts == {
        "calls": 3,
        "refused": {
            "address": "192.0.2.7:50000",
            "boot_id": "1f3c",
            "instance_id": "ab" * 16,
            "version": "1.2",
            "token_id": "k3wq",
        },
        "connected": {"address": "", "session_id": "01" * 16, "instance_id": b"i".hex()},
    }


def test_the_words_say_what_was_seen_and_what_to_do() -> None:
    words = sight(a_session(), PRINCIPAL, HELLO, "192.0.2.7:50000").words(1)
    assert words["message"] == (
        "A second machine called as Runner 'r' from 192.0.2.7:50000 and was refused: "
        "the one connected from an unknown address answers."
    )
    assert "Stop one of the two" in words["advice"]
    assert "aisops runner token NAME" in words["advice"]


def test_calls_nobody_was_told_of_are_counted() -> None:
    message = sight(a_session(), PRINCIPAL, HELLO, "").words(20)["message"]
    assert message.endswith("There were 20 such calls since this was last told.")
