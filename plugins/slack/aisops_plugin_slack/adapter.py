"""The Slack plugin: its configuration, its connection test, the capability slack.send and its webhooks."""

from aisops_plugin_sdk import (
    Ambiguous,
    Context,
    Delivery,
    Inbound,
    InvalidRequest,
    Plugin,
    Transient,
    WebhookReply,
    WebhookRequest,
    slack_signature,
)
from aisops_plugin_slack.client import SlackClient
from aisops_plugin_slack.config import SlackConfig
from aisops_plugin_slack.inbound import answer_event, read_interaction
from aisops_plugin_slack.message import SlackMessage, arguments
from aisops_plugin_slack.rules import BLOCKS_REFUSED

plugin = Plugin(
    "slack",
    config=SlackConfig,
    description="Posts messages to Slack by chat.postMessage.",
    max_concurrency=16,
    egress=["${SLACK_API_BASE_URL}"],
)

signed_by_slack = slack_signature(lambda config: config.signing_secret)


@plugin.on_start
async def start(ctx: Context[SlackConfig]) -> None:
    """Open the session to Slack."""
    config = ctx.config
    http = ctx.http(config.api_base_url, name="Slack", timeout_s=config.timeout_s, ca_file=config.ca_file)
    ctx.state.slack = SlackClient(config, http)


@plugin.check
async def check(ctx: Context[SlackConfig]) -> None:
    """Ask Slack who the bot is; nothing leaves in a dry run.

    Raises:
        PluginError: Slack refused, each refusal as its class.
        Transient: Slack gave no usable answer; asking again does no harm.
    """
    if ctx.dry_run:
        return
    client: SlackClient = ctx.state.slack
    try:
        await client.call("auth.test", {})
    except Ambiguous as error:
        raise Transient(f"Slack gave no usable answer: {error}") from None


@plugin.capability("slack.send", channel=True, effect="at_most_once", timeout_s=20)
async def send(ctx: Context[SlackConfig], message: SlackMessage) -> Delivery:
    """Post one message to a Slack channel, conversation or user."""
    built = arguments(message, idempotency_key=ctx.idempotency_key, allow_broadcast=ctx.config.allow_broadcast)
    if ctx.dry_run:
        return Delivery(provider="slack", refs={"dry_run": "true", "channel": message.target})
    client: SlackClient = ctx.state.slack
    refs: dict[str, str] = {}
    try:
        answer = await client.call("chat.postMessage", built)
    except InvalidRequest as refused:
        if refused.code not in BLOCKS_REFUSED or "blocks" not in built:
            raise
        # Nothing was posted; a plain message is better than none.
        ctx.logger.warning("Slack refused the blocks; posting the text alone", code=refused.code)
        plain = {name: value for name, value in built.items() if name != "blocks"}
        answer = await client.call("chat.postMessage", plain)
        refs["blocks_refused"] = refused.code
    return _delivery(ctx, message, answer, refs)


@plugin.webhook("/slack/events", verify=signed_by_slack)
async def event(ctx: Context[SlackConfig], request: WebhookRequest) -> WebhookReply:
    """Answer the handshake by which Slack learns that the address is ours."""
    return answer_event(request)


@plugin.webhook("/slack/interactive", verify=signed_by_slack)
async def interaction(ctx: Context[SlackConfig], request: WebhookRequest) -> Inbound:
    """Tell Core who approved or rejected what; Slack is answered when the Runner has it on its disk."""
    return read_interaction(request)


def _delivery(
    ctx: Context[SlackConfig], message: SlackMessage, answer: dict[str, object], refs: dict[str, str]
) -> Delivery:
    ts, channel = str(answer.get("ts", "")), str(answer.get("channel", ""))
    posted = answer.get("message")
    thread = posted.get("thread_ts") if isinstance(posted, dict) else None
    refs |= {"channel": channel, "ts": ts} | ({"thread_ts": str(thread)} if thread else {})
    if message.thread_ts and thread != message.thread_ts:
        # Slack posts at top level when the parent is gone, and says so only by leaving thread_ts out.
        ctx.logger.warning("the message was posted outside its thread: the parent is gone")
    return Delivery(provider="slack", message_id=ts, refs=refs)
