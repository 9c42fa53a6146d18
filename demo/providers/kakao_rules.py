"""What the DKT BizMessage v2 API takes and refuses for an AlimTalk message: fields, limits, templates. Pure."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

MESSAGE_MAX = 1_000
TITLE_MAX = 50
BUTTONS_MAX = 5
CID_MAX = 30
"""No limit of `cid` is published; this is the strictest one known for Kakao's own serial numbers."""

FIELDS = frozenset(
    {"message_type", "sender_key", "cid", "template_code", "phone_number", "sender_no", "message", "title", "button",
     "fall_back_yn", "fall_back_message_type", "fall_back_title", "fall_back_message"}
)  # fmt: skip
_PHONE = re.compile(r"(?:82|0)\d{9,10}")
_VARIABLE = re.compile(r"#\{[^}]*\}")


@dataclass(frozen=True, slots=True)
class Template:
    """An approved template: its code, its text with `#{variables}`, its buttons and title as registered."""

    code: str
    text: str
    buttons: tuple[Mapping[str, str], ...] = ()
    title: str = ""

    def matches(self, message: str) -> bool:
        """True if the message equals the template character by character, variables aside."""
        pattern = ".*".join(re.escape(part) for part in _VARIABLE.split(self.text))
        return re.fullmatch(pattern, message, re.DOTALL) is not None


@dataclass(frozen=True, slots=True)
class Verdict:
    """What is answered: the API's code with its message, and Kakao's own 4-digit code with its name."""

    code: str = "API_200"
    message: str = "success"
    kko_status_code: str = "0000"
    kko_message: str = "MessageRegistComplete"

    @property
    def accepted(self) -> bool:
        """True if the message goes out."""
        return self.code == "API_200" and self.kko_status_code == "0000"


def judge(body: Mapping[str, Any], sender_key: str, sender_no: str, templates: Mapping[str, Template]) -> Verdict:
    """Decide one message, the API's own checks before Kakao's."""
    if (refused := _api_verdict(body, sender_no)) is not None:
        return refused
    if body["sender_key"] != sender_key:
        return Verdict(kko_status_code="1003", kko_message="InvalidSenderKey")
    if not _PHONE.fullmatch(body["phone_number"]):
        return Verdict(kko_status_code="3008", kko_message="InvalidPhoneNumberException")
    if not body["message"]:
        return Verdict(kko_status_code="3013", kko_message="MessageEmptyException")
    if len(body["message"]) > MESSAGE_MAX or len(body.get("title", "")) > TITLE_MAX:
        return Verdict(kko_status_code="3014", kko_message="MessageLengthOverLimitException")
    return _template_verdict(body, templates)


def _api_verdict(body: Mapping[str, Any], sender_no: str) -> Verdict | None:
    required = ("message_type", "sender_key", "cid", "template_code", "phone_number", "message")
    wrong = [name for name in required if not isinstance(body.get(name), str)]
    if wrong:
        return Verdict("410", f"validation failed: {', '.join(wrong)}", "", "")
    if body["message_type"] not in {"AT", "AI", "FT", "FI", "FW"} or not 0 < len(body["cid"]) <= CID_MAX:
        return Verdict("410", "validation failed: message_type or cid", "", "")
    if not body.get("sender_no"):
        return Verdict("API_4611", "sender_no is required", "", "")
    if body["sender_no"] != sender_no:
        return Verdict("410", "validation failed: sender_no is not registered", "", "")
    buttons = body.get("button", [])
    if not isinstance(buttons, list) or len(buttons) > BUTTONS_MAX:
        return Verdict("410", "validation failed: button", "", "")
    return None


def _template_verdict(body: Mapping[str, Any], templates: Mapping[str, Template]) -> Verdict:
    template = templates.get(body["template_code"])
    if template is None:
        return Verdict(kko_status_code="3015", kko_message="TemplateNotFoundException")
    same_buttons = [dict(button) for button in template.buttons] == list(body.get("button", []))
    if not template.matches(body["message"]) or template.title != body.get("title", ""):
        return Verdict(kko_status_code="3016", kko_message="NoMatchedTemplateException")
    if not same_buttons:
        return Verdict(kko_status_code="3027", kko_message="NoMatchedTemplateButtonException")
    return Verdict()
