"""A stand-in of DK Techin's BizMessage v2 API (Kakao AlimTalk): token and push send. Every answer is HTTP 200."""

from __future__ import annotations

import base64
import binascii
import itertools
import secrets
import time
from dataclasses import dataclass
from typing import Any, Literal

from aiohttp import web

from demo.providers.faults import Fault, FaultKind
from demo.providers.kakao_rules import FIELDS, Template, Verdict, judge
from demo.providers.web import WebStandIn

TOKEN_LIFETIME_S = 21_600
DUPLICATE = Verdict(kko_status_code="3012", kko_message="SerialNumberDuplicatedException")
DEMO_TEMPLATE = Template(code="aisops_alert_01", text="[AIsOpsFlow 알림]\n#{text}\n\n본 메시지는 운영 알림입니다.")


@dataclass(frozen=True, slots=True)
class KakaoMessage:
    """One accepted message.

    Attributes:
        message_id: the API's `uid`.
        to: the phone number as it came.
        text: the message as a person reads it.
        cid: the caller's id, by which a second sending is recognised.
        body: every field as it came.
        unknown: names of fields that the API does not document.
    """

    message_id: str
    to: str
    text: str
    cid: str
    body: dict[str, Any]
    unknown: tuple[str, ...]
    received_unix_s: float


class KakaoStandIn(WebStandIn[KakaoMessage]):
    """The push mode of BizMessage v2 on loopback.

    Attributes:
        duplicates: the `cid`s that came a second time; they were answered 3012 and not sent again.
        tokens_issued: how many access tokens were handed out.
        auth_style: which form of the Basic header is taken: `id secret` in clear (`space`), `base64`, or `any`.
    """

    def __init__(self, *templates: Template, auth_style: Literal["space", "base64", "any"] = "any") -> None:
        super().__init__()
        self.client_id = f"demo-client-{secrets.token_hex(4)}"
        self.client_secret = f"demo-secret-{secrets.token_hex(16)}"
        self.sender_key = secrets.token_hex(20)
        self.sender_no = "0215880000"
        self.templates = {template.code: template for template in templates or (DEMO_TEMPLATE,)}
        self.auth_style = auth_style
        self.token_lifetime_s = TOKEN_LIFETIME_S
        self.duplicates: list[str] = []
        self.tokens_issued = 0
        self._tokens: set[str] = set()
        self._uid_by_cid: dict[str, str] = {}
        self._counter = itertools.count(1)

    def routes(self) -> list[web.RouteDef]:
        """Token and push send."""
        return [web.post("/v2/oauth/token", self._token), web.post("/v2/send/kakao", self._send)]

    def revoke_tokens(self) -> None:
        """Let every token handed out so far be refused."""
        self._tokens.clear()

    async def _token(self, request: web.Request) -> web.Response:
        form = await request.post()
        if form.get("grant_type") != "client_credentials":
            return web.json_response({"code": "400", "message": "grant_type must be client_credentials"})
        if not self._credentials_match(request.headers.get("Authorization", "")):
            return web.json_response({"code": "400", "message": "authentication failed"})
        token = f"demo-access-{secrets.token_hex(16)}"
        self._tokens.add(token)
        self.tokens_issued += 1
        return web.json_response({"access_token": token, "token_type": "bearer", "expires_in": self.token_lifetime_s})

    def _credentials_match(self, header: str) -> bool:
        scheme, _, value = header.partition(" ")
        if scheme != "Basic":
            return False
        clear, encoded = f"{self.client_id} {self.client_secret}", f"{self.client_id}:{self.client_secret}"
        if self.auth_style != "base64" and secrets.compare_digest(value.encode(), clear.encode()):
            return True
        try:
            decoded = base64.b64decode(value, validate=True)
        except binascii.Error:
            return False
        return self.auth_style != "space" and secrets.compare_digest(decoded, encoded.encode())

    async def _send(self, request: web.Request) -> web.StreamResponse:
        fault = self.take_fault()
        if fault is not None and (answer := _scripted(fault)) is not None:
            return answer
        await self.interrupt(request, fault, accepted=False)
        scheme, _, bearer = request.headers.get("Authorization", "").partition(" ")
        if scheme.lower() != "bearer" or bearer not in self._tokens:
            return web.json_response({"code": "400", "message": "invalid access token"})
        try:
            body = await request.json()
        except ValueError:
            body = None
        if not isinstance(body, dict):
            return web.json_response({"code": "400", "message": "the body is not a JSON object"})
        answer = self._judge(body)
        await self.interrupt(request, fault, accepted=True)
        return answer

    def _judge(self, body: dict[str, Any]) -> web.Response:
        cid = str(body.get("cid", ""))
        if cid in self._uid_by_cid:
            self.duplicates.append(cid)
            return _answer(DUPLICATE, self._uid_by_cid[cid], cid)
        verdict = judge(body, self.sender_key, self.sender_no, self.templates)
        uid = f"demo-uid-{next(self._counter):08d}"
        if verdict.accepted:
            self._uid_by_cid[cid] = uid
            unknown = tuple(sorted(set(body) - FIELDS))
            self.accept(KakaoMessage(uid, body["phone_number"], body["message"], cid, body, unknown, time.time()))
        return _answer(verdict, uid, cid)


def _answer(verdict: Verdict, uid: str, cid: str) -> web.Response:
    document = {"uid": uid, "cid": cid, "code": verdict.code, "message": verdict.message}
    if verdict.kko_status_code:
        document |= {"kko_status_code": verdict.kko_status_code, "kko_message": verdict.kko_message}
    return web.json_response(document)


def _scripted(fault: Fault) -> web.Response | None:
    match fault.kind:
        case FaultKind.RATE_LIMIT:
            # BizMessage documents no such answer; gateways in front of it give this one.
            headers = {"Retry-After": str(fault.retry_after_s)}
            return web.json_response({"code": "429", "message": "too many requests"}, status=429, headers=headers)
        case FaultKind.SERVER_ERROR:
            return web.json_response({"code": "520", "message": "system error"})
        case FaultKind.REFUSE:
            kakao = len(fault.code) == 4 and fault.code.isdigit()
            verdict = (
                Verdict(kko_status_code=fault.code, kko_message="scripted")
                if kakao
                else Verdict(fault.code, "scripted", "", "")
            )
            return _answer(verdict, "", "")
        case _:
            return None
