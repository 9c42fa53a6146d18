"""Reads request bodies: raw, bounded in size and time, and strictly as a JSON object."""

import asyncio
from typing import Any

from aiohttp import web

from aisops_plugin_sdk import json_strict
from aisops_plugin_sdk.errors import InvalidRequest
from aisops_plugin_sdk.server.answers import Refusal

BODY_TIMEOUT_S = 10.0


async def read_body(request: web.BaseRequest, limit_bytes: int) -> bytes:
    """Read the raw body up to its limit.

    Raises:
        Refusal: 413 too large, 415 compressed, 408 slower than ten seconds, 400 broken off.
    """
    if request.headers.get("Content-Encoding", "identity").lower() != "identity":
        raise Refusal(415, "unsupported_encoding", "compressed bodies are not accepted")
    if not request.body_exists:
        return b""
    too_large = Refusal(413, "body_too_large", f"the body is over the limit of {limit_bytes} bytes")
    if (request.content_length or 0) > limit_bytes:
        raise too_large
    if request.content.is_eof() and request.content.exception() is None:  # it came with the head: nothing to wait for
        whole = request.content.read_nowait()
        if len(whole) > limit_bytes:
            raise too_large
        return whole
    body = bytearray()
    try:
        async with asyncio.timeout(BODY_TIMEOUT_S):
            async for chunk in request.content.iter_any():
                body += chunk
                if len(body) > limit_bytes:
                    raise too_large
    except (web.RequestPayloadError, ConnectionResetError):
        raise Refusal(400, "body_incomplete", "the body ended early or is not framed as HTTP asks") from None
    except TimeoutError:
        raise Refusal(408, "body_timeout", f"the body took longer than {BODY_TIMEOUT_S:g} s") from None
    return bytes(body)


def body_object(body: bytes, limit_bytes: int) -> dict[str, Any]:
    """Load a body strictly; it must be a JSON object.

    Raises:
        JsonRefused: it is not acceptable JSON.
        InvalidRequest: it is another JSON value.
    """
    document = json_strict.loads(body, limit_bytes=limit_bytes)
    if not isinstance(document, dict):
        raise InvalidRequest("the body must be a JSON object")
    return document
