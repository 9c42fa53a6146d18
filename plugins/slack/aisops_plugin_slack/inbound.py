"""What Slack sends to us: the handshake of its events, and the buttons that decide approvals. Pure."""

import hashlib
import json
from typing import Any

from aisops_plugin_sdk import Inbound, InvalidRequest, WebhookReply, WebhookRequest

DECISIONS = {"approve": "approved", "reject": "rejected"}
RESOLVED = "slack.approval_resolved"
_ID_CHARS = 128


def answer_event(request: WebhookRequest) -> WebhookReply:
    """Answer Slack's handshake with its challenge; every other event is taken and not used.

    Raises:
        InvalidRequest: the body is no JSON object.
    """
    document = _object(request.json())
    if document.get("type") != "url_verification":
        return WebhookReply(200, b"OK")
    challenge = document.get("challenge")
    if not isinstance(challenge, str):
        raise InvalidRequest("missing challenge")
    return WebhookReply(200, json.dumps({"challenge": challenge}).encode(), "application/json")


def read_interaction(request: WebhookRequest) -> Inbound:
    """Read a press of one of our buttons as the decision of an approval.

    Raises:
        InvalidRequest: it is none; the text says what is wrong.
    """
    payload = request.form().get("payload")
    if not payload:
        raise InvalidRequest("missing payload")
    document = _object(_json(payload, "invalid payload"))
    actions, user = document.get("actions"), _object(document.get("user", {}))
    action = _object(actions[0]) if isinstance(actions, list) and actions else {}
    decision, user_id = DECISIONS.get(str(action.get("action_id"))), _id(user.get("id"))
    if decision is None or user_id is None:
        raise InvalidRequest("invalid interactive action")
    value = action.get("value")
    keys = _object(_json(value if isinstance(value, str) else "", "invalid action value"))
    execution_id, step_id = _id(keys.get("executionId")), _id(keys.get("stepId"))
    if execution_id is None or step_id is None:
        raise InvalidRequest("missing approval keys")
    facts = {
        "execution_id": execution_id,
        "step_id": step_id,
        "decision": decision,
        "actor_ref": f"slack:{user_id}",
    }
    # The same press sent twice is the same to the octet; a second press has another trigger.
    return Inbound(RESOLVED, facts, key=hashlib.sha256(payload.encode()).hexdigest())


def _json(text: str, complaint: str) -> Any:
    try:
        return json.loads(text)
    except ValueError:
        raise InvalidRequest(complaint) from None


def _object(value: Any) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise InvalidRequest("invalid payload")
    return value


def _id(value: Any) -> str | None:
    return value if isinstance(value, str) and 0 < len(value) <= _ID_CHARS else None
