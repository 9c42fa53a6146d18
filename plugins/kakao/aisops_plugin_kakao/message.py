"""The input of kakao.alimtalk.send and what is sent for each recipient: numbers, variables, ids. Pure."""

import base64
import hashlib
import re
from collections.abc import Iterable, Mapping
from typing import Annotated, Any

from pydantic import BaseModel, Field

from aisops_plugin_kakao.config import KakaoProvider, KakaoTemplate
from aisops_plugin_sdk import InvalidRequest

RECIPIENTS_MAX = 100
MESSAGE_MAX = 1_000
TITLE_MAX = 50
CID_MAX = 30
"""The provider publishes no limit of `cid`; this is the strictest one known for Kakao's own serial numbers."""

_VARIABLE = re.compile(r"#\{([^{}]+)\}|\{\{([^{}]+)\}\}")
_PHONE = re.compile(r"(?:82|0)[0-9]{8,10}")
_PUNCTUATION = re.compile(r"[\s().-]")
_VISIBLE_HEAD, _VISIBLE_TAIL = 3, 4


class KakaoMessage(BaseModel):
    """An AlimTalk for one or more phone numbers."""

    to: list[Annotated[str, Field(min_length=1, max_length=64)]] = Field(
        min_length=1,
        max_length=RECIPIENTS_MAX,
        description="Korean phone numbers, `010-0000-0000` or `+82 10 0000 0000`; repetitions get one message",
        examples=[["010-0000-0000"]],
    )
    provider_id: str | None = Field(
        None,
        min_length=1,
        max_length=128,
        description="Which of the configured accounts; KAKAO_DEFAULT_PROVIDER where left out",
        examples=["dkt"],
    )
    template_id: str | None = Field(
        None,
        min_length=1,
        max_length=128,
        description="Which template of the account; KAKAO_DEFAULT_TEMPLATE where left out",
        examples=["alert"],
    )
    vars: dict[str, str | int | float | bool] = Field(
        default_factory=dict,
        description="Values of template variables; one without is left empty and logged",
        examples=[{"text": "Disk full on db-01"}],
    )
    text: str | None = Field(
        None,
        min_length=1,
        description="Value of the variable that KAKAO_TEXT_VARIABLE names; refused when the template has none",
    )
    tenant_id: str | None = Field(None, max_length=128, description="Taken for callers of the original product; unused")
    trace_id: str | None = Field(None, max_length=128, description="The caller's own reference; given back in `refs`")


def accept(body: dict[str, Any]) -> dict[str, Any]:
    """Map `{target, text}` to the input: one recipient, and the text as a template variable."""
    if "target" not in body or "to" in body:
        return body
    return {**{name: value for name, value in body.items() if name != "target"}, "to": [body["target"]]}


def phone_number(given: str) -> str:
    """Normalise a Korean phone number: digits only, the country code without `+`.

    Raises:
        InvalidRequest: it is none. The number is not repeated in the text.
    """
    digits = _PUNCTUATION.sub("", given).removeprefix("+")
    if not _PHONE.fullmatch(digits):
        raise InvalidRequest(f"{masked(given)} is not a Korean phone number", code="bad_phone_number")
    return digits


def national(number: str) -> str:
    """The number in its national form, in which 8210… and 010… are the same recipient."""
    return f"0{number.removeprefix('82')}" if number.startswith("82") else number


def recipients(given: Iterable[str]) -> list[str]:
    """Normalise the numbers and drop repetitions, keeping their order.

    Raises:
        InvalidRequest: one is not a phone number.
    """
    by_national: dict[str, str] = {}
    for text in given:
        number = phone_number(text)
        by_national.setdefault(national(number), number)
    return list(by_national.values())


def masked(number: str) -> str:
    """A phone number for logs and error texts: first digits and last four."""
    if len(number) <= _VISIBLE_HEAD + _VISIBLE_TAIL:
        return "*" * len(number)
    hidden = "*" * (len(number) - _VISIBLE_HEAD - _VISIBLE_TAIL)
    return f"{number[:_VISIBLE_HEAD]}{hidden}{number[-_VISIBLE_TAIL:]}"


def message_cid(idempotency_key: str, provider_id: str, template_id: str, number: str) -> str:
    """The id by which the provider recognises a second sending of the same message to the same recipient."""
    digest = hashlib.sha256()
    for part in (idempotency_key, provider_id, template_id, national(number)):
        encoded = part.encode()
        # The length keeps ("ab", "c") and ("a", "bc") apart.
        digest.update(len(encoded).to_bytes(4, "big") + encoded)
    return "aof-" + base64.b32encode(digest.digest()).decode()[: CID_MAX - 4].lower()


def text_of(value: str | float) -> str:
    """A variable's value as it stands in the message; JSON's spelling for true and false."""
    if isinstance(value, bool):
        return "true" if value else "false"
    return str(value)


def render(template: str, values: Mapping[str, str]) -> str:
    """Fill `#{name}` and `{{name}}`; a name without a value becomes empty, as in the original product."""
    return _VARIABLE.sub(lambda found: values.get((found.group(1) or found.group(2)).strip(), ""), template)


def variables(template: KakaoTemplate) -> set[str]:
    """The names of the variables in a template's text and buttons."""
    texts = [template.message, *(value for button in template.buttons for value in button.values())]
    return {(first or second).strip() for text in texts for first, second in _VARIABLE.findall(text)}


def body(provider: KakaoProvider, template: KakaoTemplate, values: Mapping[str, str]) -> dict[str, Any]:
    """Build what the messages to all recipients have in common.

    Raises:
        InvalidRequest: the rendered message or title is over Kakao's limit.
    """
    message = render(template.message, values)
    if len(message) > MESSAGE_MAX:
        raise InvalidRequest(
            f"the message has {len(message)} characters; Kakao takes {MESSAGE_MAX}", code="message_too_long"
        )
    title = render(template.title, values)
    if len(title) > TITLE_MAX:
        raise InvalidRequest(f"the title has {len(title)} characters; Kakao takes {TITLE_MAX}", code="title_too_long")
    built: dict[str, Any] = {
        "message_type": "AT",
        "sender_key": (template.sender_key or provider.sender_key).reveal(),
        "template_code": template.template_code,
        "message": message,
    }
    if sender_no := template.sender_no or provider.sender_no:
        built["sender_no"] = sender_no
    if title:
        built["title"] = title
    if template.buttons:
        built["button"] = [{name: render(text, values) for name, text in button.items()} for button in template.buttons]
    return built
