"""Speaks BizMessage v2: fetches and keeps the access token, sends one message per request."""

import asyncio
import base64
import json
from collections.abc import Callable
from typing import Any

from aisops_plugin_kakao.config import KakaoProvider
from aisops_plugin_kakao.rules import Kind, Verdict, api_kind, judge
from aisops_plugin_sdk import Ambiguous, Http, RateLimited, Secret, Transient, Unauthorized

ANSWER_MAX_BYTES = 256 * 1024
TOKEN_LIFETIME_S = 3600.0
TOKEN_LIFETIME_MIN_S = 60.0
TOKEN_MARGIN_S = 30.0


class KakaoClient:
    """One account. Safe for concurrent calls.

    Args:
        provider: address and credentials.
        http: the way to it.
        clock: monotonic seconds, for the token's lifetime.
    """

    def __init__(self, provider: KakaoProvider, http: Http, *, clock: Callable[[], float]) -> None:
        self._provider = provider
        self._clock = clock
        self._http = http
        self._token = ""
        self._token_ends = 0.0
        self._fetching = asyncio.Lock()

    async def send(self, message: dict[str, Any]) -> Verdict:
        """Send one message; a refused token is replaced once, which is safe because nothing was accepted.

        Args:
            message: the body of /v2/send/kakao.

        Raises:
            PluginError: no token could be had, or the request failed on its way.
        """
        token = await self.token()
        verdict = await self._send_once(message, token)
        if verdict.kind is not Kind.TOKEN or self._provider.client_secret is None:
            return verdict
        self._forget(token)
        return await self._send_once(message, await self.token())

    async def token(self) -> str:
        """The access token: the kept one, a new one, or the configured one where there are no client credentials.

        Raises:
            Unauthorized: the provider refuses the credentials.
            RateLimited, Transient: no token now.
        """
        if self._provider.client_secret is None:
            return self._provider.access_token.reveal() if self._provider.access_token else ""
        async with self._fetching:
            if not self._token or self._clock() >= self._token_ends:
                await self._fetch(self._provider.client_secret)
            return self._token

    def _forget(self, token: str) -> None:
        # Another call may have fetched a new one meanwhile; that one stays.
        if self._token == token:
            self._token = ""

    async def _fetch(self, secret: Secret) -> None:
        headers = {"Authorization": basic(self._provider.client_id, secret.reveal(), self._provider.auth_style)}
        form = {"grant_type": "client_credentials"}
        try:
            status, answer, retry_after = await self._post("/v2/oauth/token", headers=headers, form=form)
        except Ambiguous as error:
            # Nothing was to be sent yet, so asking again is safe.
            raise Transient(f"no access token: {error}", code="unavailable") from None
        token = answer.get("access_token")
        if status != 200 or not isinstance(token, str) or not token:
            raise _no_token(status, answer, retry_after)
        lifetime = answer.get("expires_in")
        seconds = float(lifetime) if isinstance(lifetime, int | float) else TOKEN_LIFETIME_S
        self._token = token
        self._token_ends = self._clock() + max(TOKEN_LIFETIME_MIN_S, seconds) - TOKEN_MARGIN_S

    async def _send_once(self, message: dict[str, Any], token: str) -> Verdict:
        headers = {"Authorization": f"Bearer {token}"}
        return judge(*await self._post("/v2/send/kakao", headers=headers, json=message))

    async def _post(self, path: str, **request: Any) -> tuple[int, dict[str, Any], str | None]:
        answer = await self._http.post(path, **request)
        try:
            document = json.loads(answer.body)
        except ValueError:
            document = None
        return answer.status, document if isinstance(document, dict) else {}, answer.headers.get("retry-after")


def basic(client_id: str, client_secret: str, style: str) -> str:
    """The Authorization header of the token request: DKT's own form (`space`) or the usual one (`base64`)."""
    if style == "space":
        return f"Basic {client_id} {client_secret}"
    return "Basic " + base64.b64encode(f"{client_id}:{client_secret}".encode()).decode()


def _no_token(status: int, answer: dict[str, Any], retry_after: str | None) -> Unauthorized | RateLimited | Transient:
    code = str(answer.get("code") or status)
    if status == 429:
        wait = float(retry_after) if retry_after and retry_after.isdecimal() else None
        return RateLimited("the provider limits token requests", retry_after_s=wait)
    if status >= 500 or api_kind(code) is Kind.TRANSIENT:
        return Transient(f"no access token ({code})", code="unavailable")
    return Unauthorized(f"the provider refuses client_id and client_secret ({code})")
