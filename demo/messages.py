"""What the demo sends: one input per channel, made from one alert, and how each plugin reaches its stand-in."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from demo.alert import Alert


@dataclass(frozen=True, slots=True)
class Submission:
    """One job of the demo: the capability, its input, and the provider that should receive it."""

    capability: str
    input: Mapping[str, Any]
    provider: str


def submissions(alert: Alert, targets: Mapping[str, str]) -> tuple[Submission, ...]:
    """Return one job for each of the four channels, all with the alert's text; `targets` maps capability to address."""
    return (
        Submission("slack.send", {"target": targets["slack.send"], "text": alert.text}, "slack"),
        Submission("email.send", {"to": targets["email.send"], "subject": alert.headline, "text": alert.text}, "email"),
        Submission("telegram.send", {"chat_id": targets["telegram.send"], "text": alert.text}, "telegram"),
        Submission("kakao.alimtalk.send", kakao_input(targets["kakao.alimtalk.send"], alert.text), "kakao"),
    )


def kakao_input(phone: str, text: str) -> dict[str, Any]:
    """Return an AlimTalk input: the approved template of the stand-in, filled in with one text."""
    return {"provider_id": "demo-dkt", "template_id": "alert", "to": [phone], "vars": {"text": text}}


def plugin_environment(state: Mapping[str, Any]) -> dict[str, dict[str, str]]:
    """Return each plugin's environment for the running stand-ins (`state` is what they wrote about themselves)."""
    return {name: {key: str(value) for key, value in env.items()} for name, env in state["plugin_env"].items()}
