"""Reads the request of POST /v1/batch: one call a line, its facts and its input. Pure.

What is wrong inside one call (its facts, its input) is for that call's own answer; here only what makes the batch as a
whole unreadable counts.
"""

import re
from dataclasses import dataclass
from typing import Any

from pydantic_core import SchemaValidator, ValidationError, core_schema

from aisops_plugin_sdk import json_strict
from aisops_plugin_sdk.batch import MAX_CALLS
from aisops_plugin_sdk.context import CallInfo
from aisops_plugin_sdk.errors import InvalidRequest, JsonRefused
from aisops_plugin_sdk.server.call_headers import read_facts

_HEAD_BYTES = 8 * 1024
_INPUT = re.compile(rb',[ \t]*"input"[ \t]*:[ \t]*')
_ID = re.compile(r"[A-Za-z0-9._:-]{1,128}", re.ASCII)


@dataclass(frozen=True, slots=True)
class CallLine:
    """One call as received. `facts` are its members but the input, `body` the octets of the input, not yet read."""

    id: str
    capability: str
    facts: CallInfo | dict[str, Any]
    body: bytes

    def call(self) -> CallInfo:
        """The facts of the call.

        Raises:
            InvalidRequest: one is not of its form.
        """
        return self.facts if isinstance(self.facts, CallInfo) else read_facts(self.facts)


def read_calls(body: bytes) -> list[CallLine]:
    """Split a batch into its calls.

    Raises:
        InvalidRequest: `invalid_batch`: no call or too many, a line that is no call, or an id that appears twice.
    """
    lines = [line for line in body.split(b"\n") if line.strip()]
    if not 1 <= len(lines) <= MAX_CALLS:
        raise _invalid(f"a batch holds 1 to {MAX_CALLS} calls, one a line")
    calls = [_read_call(number, line.strip()) for number, line in enumerate(lines, 1)]
    if len({call.id for call in calls}) != len(calls):
        raise _invalid("an id appears twice")
    return calls


def _read_call(number: int, line: bytes) -> CallLine:
    found = _INPUT.search(line)
    if found is None or not line.endswith(b"}"):
        raise _invalid(f'line {number} is no call: an object whose last member is "input"')
    head, body = line[: found.start()] + b"}", line[found.end() : -1]
    usual = _usual(head)
    return _call_of(number, head, body) if usual is None else CallLine(*usual, body)


def _usual(head: bytes) -> tuple[str, str, CallInfo] | None:
    """Read members that are all known and all as they should be, in one go; None for any other."""
    if len(head) > _HEAD_BYTES:
        return None
    try:
        facts: dict[str, Any] = _MEMBERS.validate_json(head)
    except ValidationError:
        return None
    # One quote and colon for each member read: none appeared twice, none was passed over.
    if head.count(b'":') != len(facts):
        return None
    identity, capability, deadline = facts.pop("id"), facts.pop("capability"), facts.pop("deadline_ms", 0)
    return identity, capability, CallInfo(deadline=deadline / 1000 if deadline else None, **facts)


def _call_of(number: int, head: bytes, body: bytes) -> CallLine:
    """Read members one by one, to say what is wrong with them."""
    try:
        facts = json_strict.loads(head, limit_bytes=_HEAD_BYTES)
    except JsonRefused as error:
        raise _invalid(f"line {number}: {error}") from None
    identity, capability = facts.pop("id", None), facts.pop("capability", None)
    if not isinstance(identity, str) or not _ID.fullmatch(identity) or not isinstance(capability, str):
        raise _invalid(f'line {number} needs "id" ({_ID.pattern}) and "capability"')
    return CallLine(identity, capability, facts, body)


def _invalid(text: str) -> InvalidRequest:
    return InvalidRequest(text, code="invalid_batch")


def _text(pattern: str) -> core_schema.TypedDictField:
    return core_schema.typed_dict_field(core_schema.str_schema(pattern=pattern, strict=True), required=False)


def _number() -> core_schema.TypedDictField:
    return core_schema.typed_dict_field(core_schema.int_schema(strict=True, ge=0, lt=10**15), required=False)


_OPTIONAL_ID = r"^(?:[A-Za-z0-9._:-]{1,128})?$"
_OPTIONAL_PRINTABLE = r"^[\x21-\x7e]{0,255}$"
_MEMBERS = SchemaValidator(
    core_schema.typed_dict_schema(
        {
            "id": core_schema.typed_dict_field(
                core_schema.str_schema(pattern=r"^[A-Za-z0-9._:-]{1,128}$", strict=True), required=True
            ),
            "capability": core_schema.typed_dict_field(core_schema.str_schema(strict=True), required=True),
            "tenant_id": _text(_OPTIONAL_ID),
            "runner_id": _text(_OPTIONAL_ID),
            "job_id": _text(_OPTIONAL_ID),
            "execution_id": _text(_OPTIONAL_ID),
            "step_id": _text(_OPTIONAL_ID),
            "attempt": _number(),
            "deadline_ms": _number(),
            "idempotency_key": _text(_OPTIONAL_PRINTABLE),
            "traceparent": _text(_OPTIONAL_PRINTABLE),
        },
        extra_behavior="ignore",
    )
)
