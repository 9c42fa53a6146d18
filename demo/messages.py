"""What the demo sends: one input per channel, made from one alert, and how each plugin reaches its stand-in."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from demo.alert import Alert

KAKAO_TEMPLATE = "[#{level}] #{message}"


@dataclass(frozen=True, slots=True)
class Submission:
    """One job of the demo: the capability, its input, and the provider that should receive it."""

    capability: str
    input: Mapping[str, Any]
    provider: str


def submissions(alert: Alert) -> tuple[Submission, ...]:
    """Return one job for each of the four channels, all carrying the alert's text."""
    kakao = {
        "tenant_id": "t_default",
        "provider_id": "dkt",
        "template_id": "incident",
        "to": ["01000000001"],
        "vars": {"level": "critical", "message": alert.text},
    }
    return (
        Submission("slack.send", {"target": "C0INCIDENTS", "text": alert.text}, "slack"),
        Submission("email.send", {"to": "oncall@example.com", "subject": alert.headline, "text": alert.text}, "email"),
        Submission("telegram.send", {"chat_id": "-1001000000001", "text": alert.text}, "telegram"),
        Submission("kakao.alimtalk.send", kakao, "kakao"),
    )


def plugin_environment(state: Mapping[str, Any]) -> dict[str, dict[str, str]]:
    """Return each plugin's environment for the running stand-ins (`state` is what they wrote about themselves)."""
    return {name: {key: str(value) for key, value in env.items()} for name, env in state["plugin_env"].items()}


def kakao_message(alert: Alert) -> str:
    """Return the AlimTalk text after substitution, as the provider must receive it."""
    return KAKAO_TEMPLATE.replace("#{level}", "critical").replace("#{message}", alert.text)


def dump(document: object) -> str:
    """Return JSON for people: indented, Unicode as it is."""
    return json.dumps(document, ensure_ascii=False, indent=2)
