"""What each refusal of Slack means for the caller. Pure.

Slack documents that `internal_error` and `fatal_error` may be answered after part of the work was done, so after a post
they are ambiguous, and so are the HTTP statuses of a gateway that lost its backend.
"""

from aisops_plugin_sdk import (
    Ambiguous,
    InvalidRequest,
    Permanent,
    PluginError,
    ProviderError,
    RateLimited,
    Transient,
    Unauthorized,
)

CREDENTIALS = frozenset(
    {"invalid_auth", "not_authed", "account_inactive", "token_revoked", "token_expired", "missing_scope",
     "not_allowed_token_type", "no_permission", "org_login_required", "ekm_access_denied", "app_access_restricted",
     "access_denied", "invalid_app", "team_access_not_granted"}
)  # fmt: skip
TARGET = frozenset(
    {"channel_not_found", "not_in_channel", "is_archived", "user_not_found", "cannot_dm_bot", "restricted_action",
     "restricted_action_read_only_channel", "restricted_action_thread_only_channel",
     "restricted_action_non_threadable_channel", "restricted_action_thread_locked", "messages_tab_disabled",
     "team_not_found", "message_limit_exceeded", "cannot_reply_to_message"}
)  # fmt: skip
CONTENT = frozenset(
    {"no_text", "msg_too_long", "msg_blocks_too_long", "invalid_blocks", "invalid_blocks_format",
     "too_many_attachments", "attachment_payload_limit_exceeded", "markdown_text_conflict", "metadata_too_large",
     "invalid_metadata_format", "invalid_metadata_schema", "metadata_must_be_sent_from_app",
     "too_many_contact_cards", "invalid_arguments", "invalid_form_data", "invalid_charset", "invalid_json",
     "json_not_object"}
)  # fmt: skip
NOTHING_DONE = frozenset({"request_timeout", "service_unavailable", "team_added_to_org", "accesslimited"})
MAYBE_DONE = frozenset({"internal_error", "fatal_error"})
RATE = frozenset({"ratelimited", "rate_limited"})
BLOCKS_REFUSED = frozenset({"invalid_blocks", "invalid_blocks_format", "msg_blocks_too_long"})
"""Nothing was posted: the same message without its blocks may follow."""

DEFAULT_RETRY_AFTER_S = 30.0


def retry_after_s(header: str | None) -> float:
    """Read a Retry-After header in seconds; without a usable one, Slack's usual wait."""
    try:
        return max(0.0, float(header or ""))
    except ValueError:
        return DEFAULT_RETRY_AFTER_S


def refusal(status: int, error: str, retry_after: str | None = None) -> PluginError:
    """Judge an answer of Slack that is not a success.

    Args:
        status: the HTTP status.
        error: the `error` of the body, empty when the body was none of Slack's.
        retry_after: the Retry-After header.
    """
    if status == 429 or error in RATE:
        return RateLimited("Slack limits the rate", retry_after_s=retry_after_s(retry_after))
    if status == 503 or error in NOTHING_DONE:
        return Transient(f"Slack is not available ({error or status})", code=error or "unavailable")
    if status >= 500 or error in MAYBE_DONE:
        return Ambiguous(f"Slack failed while posting ({error or status}); the message may have been posted")
    return _by_name(status, error)


def _by_name(status: int, error: str) -> PluginError:
    if error in CREDENTIALS or status in {401, 403}:
        return Unauthorized(f"Slack refuses the bot token or its scopes ({error or status})", code=error or None)
    if error in TARGET:
        return Permanent(f"Slack cannot post to this target ({error})", code=error)
    if error in CONTENT:
        return InvalidRequest(f"Slack refuses the content of the message ({error})", code=error)
    return ProviderError(f"Slack refuses the message ({error or status})", code=error or "unexpected_answer")
