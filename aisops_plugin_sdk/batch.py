"""The lines of POST /v1/batch: many calls in one signed request, each answered by a line of its own as it ends. Pure.

A call is one line `{"id":…,"capability":…, … ,"input":{…}}`: `input` stands last, so that its octets reach the plugin
as the body of a single call does. An answer is the body of the single call's answer with `id` and `status` before it.
"""

import re
from collections.abc import Iterator
from typing import Final

from pydantic_core import to_json

FEATURE: Final = "batch"
"""Named among a manifest's features by a sidecar that serves POST /v1/batch."""
TARGET: Final = "/v1/batch"
CONTENT_TYPE: Final = "application/x-ndjson"
MAX_CALLS: Final = 256
MAX_BYTES: Final = 2 * 1024 * 1024
"""The whole request; a single call of the largest size fits."""
_ANSWER = re.compile(
    rb'[ \t]*\{[ \t]*"id"[ \t]*:[ \t]*"([A-Za-z0-9._:-]{1,128})"[ \t]*,[ \t]*"status"[ \t]*:[ \t]*([0-9]{3})[ \t]*,'
)
"""The order is the contract's; blanks are a matter of whatever wrote the line."""


def write_call(identity: str, capability: str, facts: dict[str, str | int], body: bytes) -> bytes:
    """Write one call, line feed included.

    Args:
        identity: tells this call's answer from the others'.
        capability: what to run.
        facts: the other members: texts and numbers.
        body: the input; JSON without a line feed.
    """
    head = to_json({"id": identity, "capability": capability, **facts})
    return b'%b,"input":%b}\n' % (head[:-1], body)


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
