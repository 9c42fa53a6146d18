"""The built-in capability `http.request`: calls internal APIs, where the Runner's own policy file allows it.

The name is resolved once, every address is checked, and the connection goes to a checked address: a second look-up, or
another answer to it, cannot lead elsewhere. A GET or HEAD may be repeated harmlessly; anything else whose request left
and whose answer did not come is ambiguous.
"""

from __future__ import annotations

import asyncio
import base64
import json
import socket
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import aiohttp
from aiohttp import hdrs
from aiohttp.abc import AbstractResolver, ResolveResult
from pydantic import ValidationError
from yarl import URL

from aisops_plugin_sdk import json_strict
from aisops_plugin_sdk.errors import JsonRefused, JsonTooLarge
from aisops_protocol.messages import Capability, EffectClass
from aisops_runner.adapters.calls import Call, CallError, Outcome
from aisops_runner.adapters.hookspecs import hookimpl
from aisops_runner.builtins.egress import (
    MAX_REDIRECTS,
    SAFE_METHODS,
    EgressPolicy,
    Rule,
    Target,
    check_addresses,
    next_hop,
    parse_target,
)
from aisops_runner.builtins.request import (
    REQUEST_BYTES,
    HttpRequest,
    InvalidInput,
    check_headers,
    without_body_headers,
    without_credentials,
)
from aisops_runner.errors import PolicyDenied

CAPABILITY = "http.request"
PLUGIN = "runner"
RESPONSE_BYTES = 1024 * 1024
INPUT_BYTES = 2 * REQUEST_BYTES
DEFAULT_TIMEOUT_MS = 30_000

Resolve = Callable[[str, int], Awaitable[Sequence[str]]]


@dataclass(frozen=True, slots=True)
class _Step:
    """One request of a call: the first, or one that a redirect asked for."""

    target: Target
    method: str
    headers: dict[str, str]
    payload: bytes | None


class HttpRequestAdapter:
    """`http.request`, registered in the host like any plugin.

    Args:
        policy: Where it may go.
        version: Shown as the plugin's version.
        resolve: Name and port to addresses; the system's resolver by default.
    """

    def __init__(self, policy: EgressPolicy, *, version: str, resolve: Resolve | None = None) -> None:
        self._policy = policy
        self._version = version
        self._resolve = resolve or resolve_by_system

    @hookimpl
    def aisops_capabilities(self) -> list[Capability]:
        """`http.request`; offered also when the policy allows nothing, so that a refusal can say so."""
        return [
            Capability(
                name=CAPABILITY,
                plugin=PLUGIN,
                plugin_version=self._version,
                effect_class=EffectClass.AT_MOST_ONCE,
                timeout_ms=DEFAULT_TIMEOUT_MS,
                input_schema=json.dumps(HttpRequest.model_json_schema()).encode(),
                description="Call an HTTP API that this Runner's own policy file allows.",
            )
        ]

    @hookimpl
    def aisops_invoke(self, call: Call) -> Awaitable[Outcome] | None:
        """Make the request; None for another capability."""
        return self._invoke(call) if call.capability == CAPABILITY else None

    async def _invoke(self, call: Call) -> Outcome:
        result = await self.request(call.input, timeout_s=call.timeout_s)
        base = Outcome(ok=False, plugin=PLUGIN, plugin_version=self._version)
        if isinstance(result, CallError):
            return replace(base, error=result)
        return replace(base, ok=True, output=json.dumps(result, ensure_ascii=False).encode())

    async def request(self, raw: bytes, *, timeout_s: float) -> dict[str, Any] | CallError:
        """Make one request from its JSON input.

        Args:
            raw: The job's input.
            timeout_s: Seconds for everything: look-up, redirects and reading.

        Returns:
            `{status, headers, url, body | body_base64, truncated}` whatever the status, or the error: `policy_denied`,
            `invalid_request`, `timeout`, `connection_failed`, `connection_lost`, `too_many_redirects`.
        """
        progress = _Progress()
        try:
            async with asyncio.timeout(timeout_s):
                return await self._follow(_parse(raw), progress)
        except (PolicyDenied, InvalidInput) as error:
            return CallError(error.code, error.message)
        except TimeoutError:
            return progress.error("timeout", f"no complete answer within {timeout_s:g} s")
        except (aiohttp.ClientError, OSError, ValueError) as error:
            text = f"{type(error).__name__} at {progress.host}"
            return progress.error("connection_lost" if progress.sent else "connection_failed", text)

    async def _follow(self, request: HttpRequest, progress: _Progress) -> dict[str, Any] | CallError:
        check_headers(request.headers)
        payload, content_type = request.payload()
        headers = dict(request.headers)
        if content_type and not any(name.lower() == "content-type" for name in headers):
            headers["Content-Type"] = content_type
        step = _Step(parse_target(request.full_url()), request.method, headers, payload)
        for _ in range(MAX_REDIRECTS + 1):
            rule = self._policy.check(step.method, step.target)
            progress.at(step.target, step.method)
            answer = await self._send(step, rule, progress)
            hop = next_hop(step.method, answer.status, answer.location, step.target)
            if hop is None or not request.follow_redirects:
                return answer.document(step.target)
            kept = step.headers if hop.keep_credentials else without_credentials(step.headers)
            step = _Step(
                target=hop.target,
                method=hop.method,
                headers=kept if hop.keep_body else without_body_headers(kept),
                payload=step.payload if hop.keep_body else None,
            )
        return CallError("too_many_redirects", f"more than {MAX_REDIRECTS} redirects")

    async def _send(self, step: _Step, rule: Rule, progress: _Progress) -> _Answer:
        target = step.target
        if target.address is not None:
            addresses = check_addresses(rule, target, [target.host])
        else:
            addresses = check_addresses(rule, target, await self._resolve(target.host, target.port))
        connector = aiohttp.TCPConnector(
            resolver=_Pinned(target.host, addresses), use_dns_cache=False, force_close=True, limit=1
        )
        async with (
            aiohttp.ClientSession(
                connector=connector,
                auto_decompress=False,
                cookie_jar=aiohttp.DummyCookieJar(),
                trust_env=False,
                timeout=aiohttp.ClientTimeout(total=None),
                trace_configs=[progress.trace()],
            ) as session,
            session.request(
                step.method,
                URL(target.url, encoded=True),
                data=step.payload,
                headers={"User-Agent": f"aisops-runner/{self._version}", **step.headers, "Accept-Encoding": "identity"},
                allow_redirects=False,
            ) as response,
        ):
            return await _read(response)


class _Progress:
    """How far a call got, which decides whether it may be repeated."""

    def __init__(self) -> None:
        self.sent = False
        self.host = ""
        self._harmless = True

    def at(self, target: Target, method: str) -> None:
        """The next request goes there."""
        self.host = target.host
        self._harmless = self._harmless and method in SAFE_METHODS

    def error(self, code: str, message: str) -> CallError:
        """An error that says what may have happened: an unsafe request that left is ambiguous."""
        ambiguous = self.sent and not self._harmless
        return CallError(code, message, retryable=not ambiguous, ambiguous=ambiguous)

    def trace(self) -> aiohttp.TraceConfig:
        """Notes the moment the request is written."""
        config = aiohttp.TraceConfig()

        async def mark(*_: object) -> None:
            self.sent = True

        config.on_request_headers_sent.append(mark)
        return config


@dataclass(frozen=True, slots=True)
class _Answer:
    status: int
    headers: dict[str, str]
    body: bytes
    truncated: bool

    @property
    def location(self) -> str:
        return self.headers.get("location", "")

    def document(self, target: Target) -> dict[str, Any]:
        document: dict[str, Any] = {"status": self.status, "headers": self.headers, "url": target.url}
        if self.truncated:
            document["truncated"] = True
        try:
            document["body"] = self.body.decode()
        except UnicodeDecodeError:
            document["body_base64"] = base64.b64encode(self.body).decode()
        return document


class _Pinned(AbstractResolver):
    """Answers with the addresses that were checked, for the one name they were checked for."""

    def __init__(self, host: str, addresses: Sequence[str]) -> None:
        self._host = host
        self._addresses = addresses

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_INET
    ) -> list[ResolveResult]:
        """Only `host` itself; anything else would be a connection nobody checked."""
        if host.removesuffix(".") != self._host:
            raise OSError(f"{host} was not checked")
        return [
            ResolveResult(
                hostname=host,
                host=address,
                port=port,
                family=socket.AF_INET6 if ":" in address else socket.AF_INET,
                proto=0,
                flags=socket.AI_NUMERICHOST,
            )
            for address in self._addresses
        ]

    async def close(self) -> None:
        """Nothing is held."""


async def resolve_by_system(host: str, port: int) -> list[str]:
    """Look a name up with the system's resolver.

    Raises:
        OSError: The name does not resolve.
    """
    found = await asyncio.get_running_loop().getaddrinfo(host, port, type=socket.SOCK_STREAM)
    return list(dict.fromkeys(str(item[4][0]) for item in found))


def _parse(raw: bytes) -> HttpRequest:
    try:
        return HttpRequest.model_validate(json_strict.loads(raw, limit_bytes=INPUT_BYTES))
    except (JsonRefused, JsonTooLarge) as error:
        raise InvalidInput(str(error)) from None
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        raise InvalidInput(f"/{'/'.join(map(str, first['loc']))}: {first['msg']}") from None


async def _read(response: aiohttp.ClientResponse) -> _Answer:
    parts: list[bytes] = []
    left = RESPONSE_BYTES
    truncated = False
    async for part in response.content.iter_any():
        parts.append(part[:left])
        left -= len(parts[-1])
        if len(part) > len(parts[-1]):
            truncated = True
            break
    if truncated:
        response.close()
    headers: dict[str, str] = {}
    for name, value in response.headers.items():
        key = name.lower()
        if key == hdrs.SET_COOKIE.lower():
            continue  # a session of somebody else's has no place in a job's result
        headers[key] = f"{headers[key]}, {value}" if key in headers else value
    return _Answer(response.status, headers, b"".join(parts), truncated)
