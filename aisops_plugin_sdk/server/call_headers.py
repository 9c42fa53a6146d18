"""Reads the facts of a call from its HTTP headers. Pure."""

import re
from collections.abc import Mapping

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
        traceparent=_match(headers, "traceparent", _PRINTABLE),
        deadline=int(deadline) / 1000 if deadline else None,
    )


def _match(headers: Mapping[str, str], name: str, form: re.Pattern[str]) -> str:
    """Read one header, empty when absent."""
    value = headers.get(name, "")
    if value and not form.fullmatch(value):
        raise InvalidRequest(f"header {name} is not of the form {form.pattern}", code="invalid_header")
    return value
