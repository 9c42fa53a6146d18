"""All four stand-ins together, with the environment that each plugin needs to reach them and a journal of what came."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Sequence
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any, Self

from demo.providers.certificate import make_loopback_tls
from demo.providers.faults import Fault
from demo.providers.kakao import DEMO_TEMPLATE, KakaoMessage, KakaoStandIn
from demo.providers.slack import SlackMessage, SlackStandIn
from demo.providers.smtp import MailMessage, SmtpStandIn
from demo.providers.telegram import DEFAULT_CHAT, TelegramMessage, TelegramStandIn

Received = SlackMessage | TelegramMessage | KakaoMessage | MailMessage

KAKAO_PROVIDER = "demo-dkt"
KAKAO_TEMPLATE = "alert"
TARGETS = {
    "slack.send": "#ops",
    "email.send": "ops@demo.example",
    "telegram.send": str(DEFAULT_CHAT),
    "kakao.alimtalk.send": "01000000000",
}


INPUTS: dict[str, dict[str, Any]] = {
    "slack.send": {"target": TARGETS["slack.send"]},
    "email.send": {"to": TARGETS["email.send"]},
    "telegram.send": {"chat_id": TARGETS["telegram.send"]},
    "kakao.alimtalk.send": {"to": [TARGETS["kakao.alimtalk.send"]]},
}
"""What each capability needs besides `text`, as jobs take it; `{target, text}` is the form of POST /send."""


def document(record: Received) -> dict[str, Any]:
    """A received message as JSON; bytes are shown as text."""
    fields = dataclasses.asdict(record)
    return {
        name: value.decode("utf-8", "replace") if isinstance(value, bytes) else value for name, value in fields.items()
    }


class ProviderHost:
    """Starts and stops the four stand-ins and journals each accepted message as one JSON line."""

    def __init__(self, folder: Path, journal: Path | None = None) -> None:
        tls = make_loopback_tls(folder)
        self.slack = SlackStandIn()
        self.telegram = TelegramStandIn()
        self.kakao = KakaoStandIn()
        self.email = SmtpStandIn(tls="starttls", context=tls.context, require_auth=True)
        self._ca_file = tls.ca_file
        self._journal = journal
        self._stack = AsyncExitStack()

    async def __aenter__(self) -> Self:
        """Start all four; if one cannot start, those already up are stopped again."""
        async with AsyncExitStack() as stack:
            for stand_in in (self.slack, self.telegram, self.kakao, self.email):
                await stack.enter_async_context(stand_in)
            self._stack = stack.pop_all()
        self.slack.on_received = lambda record: self._write("slack", record)
        self.telegram.on_received = lambda record: self._write("telegram", record)
        self.kakao.on_received = lambda record: self._write("kakao", record)
        self.email.on_received = lambda record: self._write("email", record)
        return self

    async def __aexit__(self, *_exc: object) -> None:
        """Stop all four."""
        await self._stack.aclose()

    def _write(self, provider: str, record: Received) -> None:
        if self._journal is None:
            return
        line = json.dumps({"provider": provider, **document(record)}, ensure_ascii=False)
        with self._journal.open("a", encoding="utf-8") as file:
            file.write(line + "\n")

    def received(self, text: str = "") -> dict[str, list[dict[str, Any]]]:
        """Everything accepted so far whose text contains `text`, by provider, oldest first."""
        accepted: dict[str, Sequence[Received]] = {
            "slack": self.slack.received,
            "telegram": self.telegram.received,
            "kakao": self.kakao.received,
            "email": self.email.received,
        }
        return {
            name: [document(record) for record in records if text in record.text] for name, records in accepted.items()
        }

    def counts(self) -> dict[str, dict[str, int]]:
        """Calls and acceptances by provider, and how often Kakao recognised a second sending."""
        counts = {
            name: {"calls": stand_in.calls, "received": len(stand_in.received)}
            for name, stand_in in (("slack", self.slack), ("telegram", self.telegram), ("email", self.email))
        }
        kakao = {
            "calls": self.kakao.calls,
            "received": len(self.kakao.received),
            "duplicates": len(self.kakao.duplicates),
        }
        return {**counts, "kakao": kakao}

    def duplicates(self) -> list[str]:
        """The texts of messages that came a second time and that Kakao recognised, once for each time."""
        texts = {record.cid: record.text for record in self.kakao.received}
        return [texts[cid] for cid in self.kakao.duplicates]

    def add_faults(self, provider: str, faults: list[Fault]) -> None:
        """Script the next calls of one provider.

        Raises:
            KeyError: no such provider.
        """
        scripts = {
            "slack": self.slack.faults,
            "telegram": self.telegram.faults,
            "kakao": self.kakao.faults,
            "email": self.email.faults,
        }
        scripts[provider].add(*faults)

    def set_pace(self, seconds: float) -> None:
        """Let the sending calls of the three HTTP providers take so long before and after accepting."""
        for stand_in in (self.slack, self.telegram, self.kakao):
            stand_in.pace_s = seconds

    def plugin_env(self) -> dict[str, dict[str, str]]:
        """The environment of each plugin's sidecar, by plugin name."""
        provider = {
            "base_url": self.kakao.url,
            "client_id": self.kakao.client_id,
            "client_secret": self.kakao.client_secret,
            "sender_key": self.kakao.sender_key,
            "sender_no": self.kakao.sender_no,
            "templates": {KAKAO_TEMPLATE: {"template_code": DEMO_TEMPLATE.code, "message": DEMO_TEMPLATE.text}},
        }
        return {
            "slack": {"SLACK_BOT_TOKEN": self.slack.token, "SLACK_API_BASE_URL": self.slack.api_url},
            "telegram": {"TELEGRAM_BOT_TOKEN": self.telegram.token, "TELEGRAM_API_BASE_URL": self.telegram.url},
            "email": {
                "SMTP_HOST": "127.0.0.1",
                "SMTP_PORT": str(self.email.port),
                "SMTP_USER": self.email.user,
                "SMTP_PASS": self.email.password,
                "SMTP_FROM": "AIsOpsFlow <aisops@demo.example>",
                "SMTP_TLS": "starttls",
                "SMTP_CA_FILE": str(self._ca_file),
            },
            "kakao": {
                "KAKAO_BIZ_PROVIDERS_JSON": json.dumps({KAKAO_PROVIDER: provider}, ensure_ascii=False),
                "KAKAO_DEFAULT_PROVIDER": KAKAO_PROVIDER,
                "KAKAO_DEFAULT_TEMPLATE": KAKAO_TEMPLATE,
            },
        }
