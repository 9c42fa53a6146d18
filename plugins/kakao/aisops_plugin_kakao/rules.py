"""What the provider's codes mean: one verdict per recipient, one error or result for the whole call. Pure.

BizMessage answers HTTP 200 always and tells by `code`; behind it stands Kakao's own 4-digit `kko_status_code`. Sending
again is safe, because the provider recognises the `cid`; so everything that may pass by itself is repeated.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from aisops_plugin_sdk import (
    Ambiguous,
    Delivery,
    Detail,
    InvalidRequest,
    Permanent,
    PluginError,
    ProviderError,
    RateLimited,
    RecipientResult,
    Transient,
    Unauthorized,
)

DEFAULT_RETRY_AFTER_S = 5.0


class Kind(StrEnum):
    """What became of the message to one recipient."""

    ACCEPTED = "accepted"
    DUPLICATE = "duplicate"
    UNREACHABLE = "unreachable"
    DEFERRED = "deferred"
    PERMANENT = "permanent"
    CONFIG = "config"
    TOKEN = "token"  # noqa: S105 - the kind of refusal, not a token
    RATE_LIMITED = "rate_limited"
    TRANSIENT = "transient"
    AMBIGUOUS = "ambiguous"


@dataclass(frozen=True, slots=True)
class Verdict:
    """The judged answer for one recipient. `retry_after_s` is set for RATE_LIMITED only."""

    kind: Kind
    code: str = ""
    message: str = ""
    uid: str = ""
    retry_after_s: float | None = None


_KAKAO: dict[Kind, frozenset[str]] = {
    Kind.CONFIG: frozenset(
        {"1002", "1003", "1006", "1007", "1011", "1013", "1014", "1016", "1021", "1022", "1023", "1024", "1025", "3015"}
    ),
    Kind.TRANSIENT: frozenset({"3000", "3006", "9998", "9999"}),
    # Kakao may have delivered these; asking again with the same cid tells, by 3012.
    Kind.AMBIGUOUS: frozenset({"3005", "4000", "4001"}),
    Kind.DUPLICATE: frozenset({"3012"}),
    Kind.UNREACHABLE: frozenset({"3018", "3019", "3020", "3021"}),
    Kind.DEFERRED: frozenset({"3022"}),
}
_API: dict[Kind, frozenset[str]] = {
    Kind.ACCEPTED: frozenset({"100", "200", "202"}),
    # 400 means "authentication or bad request"; with a fresh token it is the latter.
    Kind.TOKEN: frozenset({"400", "401"}),
    Kind.CONFIG: frozenset({"402", "403", "4611", "ERR41001"}),
    Kind.PERMANENT: frozenset({"410", "420", "ERR42009", "ERR50025", "ERR50028", "ERR50029"}),
    Kind.UNREACHABLE: frozenset({"ERR11000"}),
    Kind.TRANSIENT: frozenset({"500", "510", "520"}),
    Kind.RATE_LIMITED: frozenset({"429"}),
}


def kakao_kind(code: str) -> Kind:
    """Class of a 4-digit Kakao code; unknown ones are permanent."""
    if code == "0000":
        return Kind.ACCEPTED
    return next((kind for kind, codes in _KAKAO.items() if code in codes), Kind.PERMANENT)


def api_kind(code: str) -> Kind:
    """Class of a code of the API, with or without its prefix; unknown ones are permanent."""
    plain = code.removeprefix("API_")
    return next((kind for kind, codes in _API.items() if plain in codes), Kind.PERMANENT)


def judge(status: int, answer: Mapping[str, Any], retry_after: str | None = None) -> Verdict:
    """Judge the answer to one message.

    Args:
        status: the HTTP status.
        answer: the JSON body, empty when it was none.
        retry_after: the Retry-After header.
    """
    uid, code, text = (str(answer.get(name) or "") for name in ("uid", "code", "message"))
    kakao = str(answer.get("kko_status_code") or "")
    result = answer.get("result")
    detail = str(result.get("detail_code") or "") if isinstance(result, Mapping) else ""
    if status == 429 or api_kind(code) is Kind.RATE_LIMITED:
        wait = float(retry_after) if retry_after and retry_after.isdecimal() else DEFAULT_RETRY_AFTER_S
        return Verdict(Kind.RATE_LIMITED, "429", "the provider limits the rate", retry_after_s=wait)
    if status >= 500:
        return Verdict(Kind.TRANSIENT, str(status), "the provider is not available")
    if status in {401, 403}:
        return Verdict(Kind.TOKEN, str(status), "the provider refuses the access token")
    if not code and not kakao:
        kind = Kind.AMBIGUOUS if status == 200 else Kind.PERMANENT
        return Verdict(kind, str(status), "the answer is not the provider's")
    if kakao and kakao != "0000":
        return Verdict(kakao_kind(kakao), kakao, str(answer.get("kko_message") or text), uid)
    if detail and api_kind(code) is not Kind.ACCEPTED:
        return Verdict(api_kind(detail), detail, text, uid)
    kind = api_kind(code) if code else Kind.ACCEPTED
    return Verdict(kind, kakao if kakao and kind is Kind.ACCEPTED else code, text, uid)


def recipient_result(number: str, verdict: Verdict) -> RecipientResult:
    """Write one verdict for the caller. The caller gave the number, so it gets it back in full."""
    status = verdict.kind.value if verdict.kind in {Kind.ACCEPTED, Kind.DUPLICATE} else "failed"
    return RecipientResult.model_validate(
        {"to": number, "status": status, "code": verdict.code, "message": verdict.message}
    )


def conclude(results: Sequence[tuple[str, Verdict]], refs: Mapping[str, str]) -> Delivery:
    """Join the verdicts of all recipients into the result of the call.

    Whatever may pass by itself makes the whole call retryable: those who have the message already are recognised by
    their `cid` and do not get it twice.

    Args:
        results: recipient and verdict, in the order of the input; at least one.
        refs: further references for the result.

    Raises:
        PluginError: something may be repeated, or no recipient got the message.
    """
    verdicts = [verdict for _, verdict in results]
    kinds = {verdict.kind for verdict in verdicts}
    details = [
        Detail(f"/to/{index}", f"{verdict.kind}: {verdict.code} {verdict.message}")
        for index, verdict in enumerate(verdicts)
    ]
    if (error := _repeatable(verdicts, kinds)) is not None:
        error.details = tuple(details)
        raise error
    if not kinds & {Kind.ACCEPTED, Kind.DUPLICATE}:
        raise _failed(verdicts[0], details)
    uids = [verdict.uid for verdict in verdicts if verdict.uid]
    return Delivery.model_validate(
        {
            "status": "accepted" if Kind.ACCEPTED in kinds else "duplicate",
            "provider": "dkt",
            "message_id": uids[0] if uids else "",
            "refs": {**refs, **({"uids": ",".join(uids)} if len(uids) > 1 else {})},
            "per_recipient": [recipient_result(number, verdict) for number, verdict in results],
        }
    )


def _repeatable(verdicts: Sequence[Verdict], kinds: set[Kind]) -> PluginError | None:
    if Kind.RATE_LIMITED in kinds:
        wait = max(verdict.retry_after_s or 0.0 for verdict in verdicts)
        return RateLimited("the provider limits the rate", retry_after_s=wait)
    if Kind.TRANSIENT in kinds:
        first = next(verdict for verdict in verdicts if verdict.kind is Kind.TRANSIENT)
        return Transient(f"not every recipient could be served ({first.code} {first.message})", code="unavailable")
    if Kind.AMBIGUOUS in kinds:
        return Ambiguous("a request left and no usable answer came; sending it again is safe")
    return None


def _failed(first: Verdict, details: Sequence[Detail]) -> PluginError:
    said = f"{first.code} {first.message}".strip()
    match first.kind:
        case Kind.TOKEN:
            return Unauthorized(f"the provider refuses the credentials or the request ({said})", code=first.code)
        case Kind.CONFIG:
            return ProviderError(f"the account or template is not usable ({said})", code=first.code, details=details)
        case Kind.UNREACHABLE:
            return Permanent(f"no recipient can be reached on Kakao ({said})", code=first.code, details=details)
        case Kind.DEFERRED:
            return Permanent(f"Kakao does not deliver at this hour ({said})", code=first.code, details=details)
        case _:
            return InvalidRequest(f"the provider refuses the message ({said})", code=first.code, details=details)
