"""The lines of POST /v1/batch: many calls in one signed request, each answered by a line of its own as it ends. Pure.

A call is one line `{"id":…,"capability":…, … ,"input":{…}}`: `input` stands last, so that its octets reach the plugin
as the body of a single call does. An answer is the body of the single call's answer with `id` and `status` before it.
"""

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Final

from aisops_plugin_sdk import json_strict
from aisops_plugin_sdk.errors import InvalidRequest, JsonRefused

FEATURE: Final = "batch"
"""Named among a manifest's features by a sidecar that serves POST /v1/batch."""
TARGET: Final = "/v1/batch"
CONTENT_TYPE: Final = "application/x-ndjson"
MAX_CALLS: Final = 256
MAX_BYTES: Final = 2 * 1024 * 1024
"""The whole request; a single call of the largest size fits."""
_HEAD_BYTES: Final = 8 * 1024
_INPUT = re.compile(rb',[ \t]*"input"[ \t]*:[ \t]*')
_ID = re.compile(r"[A-Za-z0-9._:-]{1,128}", re.ASCII)
_ANSWER = re.compile(
    rb'[ \t]*\{[ \t]*"id"[ \t]*:[ \t]*"([A-Za-z0-9._:-]{1,128})"[ \t]*,[ \t]*"status"[ \t]*:[ \t]*([0-9]{3})[ \t]*,'
)
"""The order is the contract's; blanks are a matter of whatever wrote the line."""


@dataclass(frozen=True, slots=True)
class CallLine:
    """One call as received. `facts` are its members but the input, `body` the octets of the input, not yet read."""

    id: str
    capability: str
    facts: dict[str, Any]
    body: bytes


def read_calls(body: bytes) -> list[CallLine]:
    """Split a batch into its calls.

    What is wrong inside one call (its facts, its input) is for that call's own answer; here only what makes the batch
    as a whole unreadable counts.

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
    try:
        facts = json_strict.loads(line[: found.start()] + b"}", limit_bytes=_HEAD_BYTES)
    except JsonRefused as error:
        raise _invalid(f"line {number}: {error}") from None
    identity, capability = facts.pop("id", None), facts.pop("capability", None)
    if not isinstance(identity, str) or not _ID.fullmatch(identity) or not isinstance(capability, str):
        raise _invalid(f'line {number} needs "id" ({_ID.pattern}) and "capability"')
    return CallLine(identity, capability, facts, line[found.end() : -1])


def write_call(identity: str, capability: str, facts: dict[str, str | int], body: bytes) -> bytes:
    """Write one call, line feed included.

    Args:
        identity: tells this call's answer from the others'.
        capability: what to run.
        facts: the other members: texts and numbers.
        body: the input; JSON without a line feed.
    """
    head = json.dumps({"id": identity, "capability": capability, **facts}, separators=(",", ":"))
    return b'%b,"input":%b}\n' % (head[:-1].encode(), body)


def write_answer(identity: str, status: int, body: bytes) -> bytes:
    """Write one answer, line feed included; `body` is the single call's: an object, not empty, without a line feed."""
    return b'{"id":"%b","status":%d,%b\n' % (identity.encode(), status, body[1:])


def read_answer(line: bytes) -> tuple[str, int, bytes] | None:
    """Split an answer into id, status and the single call's body; None when it is no such line.

    The body is as foreign as any answer: nothing of it was read.
    """
    found = _ANSWER.match(line)
    return None if found is None else (found[1].decode(), int(found[2]), b"{" + line[found.end() :])


def take_lines(buffer: bytearray) -> Iterator[bytes]:
    """Take the complete lines off the front of a buffer."""
    end = buffer.rfind(b"\n")
    if end < 0:
        return
    lines = bytes(buffer[:end])
    del buffer[: end + 1]
    yield from lines.split(b"\n")


def _invalid(text: str) -> InvalidRequest:
    return InvalidRequest(text, code="invalid_batch")
