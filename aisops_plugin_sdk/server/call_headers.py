"""Reads the facts of a call: from the HTTP headers of a single call, or from the members of a call in a batch. Pure."""

import re
from collections.abc import Mapping
from typing import Any

from aisops_plugin_sdk.context import CallInfo
from aisops_plugin_sdk.errors import InvalidRequest

TENANT_HEADER = "X-Aisops-Tenant"
RUNNER_HEADER = "X-Aisops-Runner"
JOB_HEADER = "X-Aisops-Job"
EXECUTION_HEADER = "X-Aisops-Execution"
STEP_HEADER = "X-Aisops-Step"
ATTEMPT_HEADER = "X-Aisops-Attempt"
DEADLINE_HEADER = "X-Aisops-Deadline"
IDEMPOTENCY_HEADER = "Idempotency-Key"
TRACE_HEADER = "traceparent"
_ID = re.compile(r"[A-Za-z0-9._:-]{1,128}", re.ASCII)
_PRINTABLE = re.compile(r"[\x21-\x7e]{1,255}", re.ASCII)
_NUMBER = re.compile(r"[0-9]{1,15}", re.ASCII)


def read_call(headers: Mapping[str, str]) -> CallInfo:
    """Read the headers of an invocation; all are optional.

    Raises:
        InvalidRequest: a header is not of its form. `code` is `invalid_header`.
    """
    deadline = _match(headers, DEADLINE_HEADER, _NUMBER)
    return CallInfo(
        job_id=_match(headers, JOB_HEADER, _ID),
        tenant_id=_match(headers, TENANT_HEADER, _ID),
        runner_id=_match(headers, RUNNER_HEADER, _ID),
        execution_id=_match(headers, EXECUTION_HEADER, _ID),
        step_id=_match(headers, STEP_HEADER, _ID),
        attempt=int(_match(headers, ATTEMPT_HEADER, _NUMBER) or "1"),
        idempotency_key=_match(headers, IDEMPOTENCY_HEADER, _PRINTABLE),
        traceparent=_match(headers, TRACE_HEADER, _PRINTABLE),
        deadline=int(deadline) / 1000 if deadline else None,
    )


def read_facts(facts: Mapping[str, Any]) -> CallInfo:
    """Read the members of a call in a batch; all are optional, unknown ones are left alone, as with headers.

    Raises:
        InvalidRequest: a member is not of its form. `code` is `invalid_header`, as for the header it stands for.
    """
    attempt, deadline = _whole(facts, "attempt", 1), _whole(facts, "deadline_ms", 0)
    return CallInfo(
        job_id=_text(facts, "job_id", _ID),
        tenant_id=_text(facts, "tenant_id", _ID),
        runner_id=_text(facts, "runner_id", _ID),
        execution_id=_text(facts, "execution_id", _ID),
        step_id=_text(facts, "step_id", _ID),
        attempt=attempt,
        idempotency_key=_text(facts, "idempotency_key", _PRINTABLE),
        traceparent=_text(facts, "traceparent", _PRINTABLE),
        deadline=deadline / 1000 if deadline else None,
    )


def _match(headers: Mapping[str, str], name: str, form: re.Pattern[str]) -> str:
    """Read one header, empty when absent."""
    value = headers.get(name, "")
    if value and not form.fullmatch(value):
        raise InvalidRequest(f"header {name} is not of the form {form.pattern}", code="invalid_header")
    return value


def _text(facts: Mapping[str, Any], name: str, form: re.Pattern[str]) -> str:
    """Read one text, empty when absent."""
    value = facts.get(name, "")
    if not isinstance(value, str) or (value and not form.fullmatch(value)):
        raise InvalidRequest(f"{name} is not of the form {form.pattern}", code="invalid_header")
    return value


def _whole(facts: Mapping[str, Any], name: str, absent: int) -> int:
    """Read one number."""
    value = facts.get(name, absent)
    if type(value) is not int or not 0 <= value < 10**15:
        raise InvalidRequest(f"{name} is not a number of at most 15 digits", code="invalid_header")
    return value
