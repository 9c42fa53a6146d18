"""How a Runner's own messages (those that are not about one job) read in its list of events: pure."""

from __future__ import annotations

import json

from aisops_protocol.messages import CredentialReply, Event, GapReport, Heartbeat, Skip


def describe(body: object, now_ms: int) -> tuple[int, str, str] | None:
    """Moment (wall clock, ms), kind and JSON text of an event; None for what leaves no trace."""
    match body:
        case Event():
            return body.time_unix_ms, body.kind, body.data.decode(errors="replace")
        case GapReport():
            return now_ms, "gap", _json(from_seq=body.from_seq, to_seq=body.to_seq, reason=body.reason)
        case Skip():
            words = {"from_seq": body.from_seq, "to_seq": body.to_seq, "count": body.count}
            return now_ms, "skipped", _json(message_class=body.message_class.name.lower(), **words)
        case CredentialReply():
            return (
                now_ms,
                "credential_reply",
                _json(offer_id=body.offer_id, accepted=body.accepted, message=body.message),
            )
        case Heartbeat() if body.offline_beats:
            return now_ms, "was_offline", _json(beats=body.offline_beats, offline_ms=body.offline_ms)
        case _:
            return None


def _json(**values: object) -> str:
    return json.dumps(values, separators=(",", ":"))
