"""The e-mail plugin: its configuration, its connection test and the capability email.send."""

import re
import uuid
from datetime import UTC, datetime

from aisops_plugin_email.client import Accepted, SmtpClient
from aisops_plugin_email.config import EmailConfig
from aisops_plugin_email.message import EmailMessage, Mail, build
from aisops_plugin_email.rules import per_recipient
from aisops_plugin_sdk import Context, Delivery, Plugin

BODY_LIMIT_BYTES = 512 * 1024

plugin = Plugin(
    "email",
    config=EmailConfig,
    description="Sends e-mail through your own SMTP server.",
    max_concurrency=8,
    # Reports in HTML are larger than chat messages.
    body_limit_bytes=BODY_LIMIT_BYTES,
)

ANSWER_MARGIN_S = 0.25
"""Kept back from the call's deadline, so that our own verdict on a slow server comes before the caller gives up."""
CHECK_TIMEOUT_S = 8.0
_QUEUED_AS = re.compile(r"queued as ([A-Za-z0-9._-]{1,64})", re.IGNORECASE)


@plugin.on_start
async def start(ctx: Context[EmailConfig]) -> None:
    """Read the authorities to trust; connections are made per mail."""
    ctx.state.smtp = SmtpClient(ctx.config)


@plugin.check
async def check(ctx: Context[EmailConfig]) -> None:
    """Connect to the server, secure the connection and log in; nothing leaves in a dry run."""
    if ctx.dry_run:
        return
    client: SmtpClient = ctx.state.smtp
    await client.check(min(CHECK_TIMEOUT_S, ctx.config.timeout_s))


@plugin.capability("email.send", channel=True, target_field="to", effect="at_most_once", timeout_s=45)
async def send(ctx: Context[EmailConfig], message: EmailMessage) -> Delivery:
    """Send one mail, text and optional HTML, to one or more people."""
    mail = build(
        message,
        ctx.config.mailbox,
        default_subject=ctx.config.default_subject,
        # A call without a key comes from a caller that does not repeat calls.
        idempotency_key=ctx.idempotency_key or uuid.uuid4().hex,
        now=datetime.now(UTC),
    )
    if ctx.dry_run:
        return Delivery(
            provider="smtp",
            message_id=mail.message_id,
            refs={"dry_run": "true"},
            per_recipient=per_recipient(mail.recipients, {}),
        )
    client: SmtpClient = ctx.state.smtp
    accepted = await client.deliver(mail, min(ctx.config.timeout_s, ctx.remaining_s() - ANSWER_MARGIN_S))
    for address, reply in accepted.refused.items():
        ctx.logger.warning("a recipient was refused", domain=address.rpartition("@")[2], reply=str(reply.code))
    return _delivery(mail, accepted)


def _delivery(mail: Mail, accepted: Accepted) -> Delivery:
    refs = {"message_id": mail.message_id, "reply": str(accepted.reply)}
    if queued := _QUEUED_AS.search(accepted.reply.text):
        refs["queue_id"] = queued.group(1)
    results = per_recipient(mail.recipients, accepted.refused)
    return Delivery(provider="smtp", message_id=mail.message_id, refs=refs, per_recipient=results)
