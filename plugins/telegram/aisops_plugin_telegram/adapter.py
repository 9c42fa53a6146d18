"""The Telegram plugin: its configuration, its connection test and the capability telegram.send."""

from typing import Any

from aisops_plugin_sdk import Ambiguous, Context, Delivery, Plugin, Transient
from aisops_plugin_telegram.client import ANSWER_MAX_BYTES, TelegramClient, TelegramRefusedError
from aisops_plugin_telegram.config import TelegramConfig
from aisops_plugin_telegram.message import TEXT_MAX_UTF16, TelegramMessage, fields, utf16_length
from aisops_plugin_telegram.rules import judge

plugin = Plugin(
    "telegram",
    config=TelegramConfig,
    description="Sends Telegram messages through the Bot API.",
    max_concurrency=16,
    egress=["${TELEGRAM_API_BASE_URL}"],
)


@plugin.on_start
async def start(ctx: Context[TelegramConfig]) -> None:
    """Open the session to the Bot API."""
    config = ctx.config
    http = ctx.http(
        config.api_base_url,
        name="Telegram",
        timeout_s=config.timeout_s,
        ca_file=config.ca_file,
        max_response_bytes=ANSWER_MAX_BYTES,
    )
    ctx.state.telegram = TelegramClient(config, http)


@plugin.check
async def check(ctx: Context[TelegramConfig]) -> None:
    """Ask Telegram who the bot is; nothing leaves in a dry run.

    Raises:
        PluginError: Telegram refused, each refusal as its class.
        Transient: Telegram gave no usable answer; asking again does no harm.
    """
    if ctx.dry_run:
        return
    client: TelegramClient = ctx.state.telegram
    try:
        await client.call("getMe", {})
    except TelegramRefusedError as refused:
        raise judge(refused.refusal) from None
    except Ambiguous as error:
        raise Transient(f"Telegram gave no usable answer: {error}") from None


@plugin.capability("telegram.send", channel=True, target_field="chat_id", effect="at_most_once", timeout_s=20)
async def send(ctx: Context[TelegramConfig], message: TelegramMessage) -> Delivery:
    """Send one message to a Telegram chat, group or channel."""
    built = fields(message)
    if ctx.dry_run:
        return Delivery(provider="telegram", refs={"dry_run": "true", "chat_id": str(built["chat_id"])})
    refs: dict[str, str] = {}
    try:
        result = await _call(ctx, built)
    except TelegramRefusedError as refused:
        second = _corrected(ctx, message, built, refused, refs)
        if second is None:
            raise judge(refused.refusal) from None
        try:
            result = await _call(ctx, second)
        except TelegramRefusedError as again:
            raise judge(again.refusal) from None
    return _delivery(result, refs)


async def _call(ctx: Context[TelegramConfig], built: dict[str, Any]) -> dict[str, Any]:
    client: TelegramClient = ctx.state.telegram
    return await client.call("sendMessage", built)


def _corrected(
    ctx: Context[TelegramConfig],
    message: TelegramMessage,
    built: dict[str, Any],
    refused: TelegramRefusedError,
    refs: dict[str, str],
) -> dict[str, Any] | None:
    """The one second try that is safe because nothing was sent: the group's new id, or the text without markup."""
    moved = refused.refusal.migrate_to_chat_id
    if moved is not None:
        ctx.logger.warning("the group has a new id; store it", migrate_to_chat_id=moved)
        refs["migrated_to_chat_id"] = str(moved)
        return built | {"chat_id": moved}
    if refused.refusal.markup_refused and utf16_length(message.text) <= TEXT_MAX_UTF16:
        ctx.logger.warning("Telegram cannot read the markup; sending the text as it stands")
        refs["markup_refused"] = "true"
        return {name: value for name, value in built.items() if name != "parse_mode"}
    return None


def _delivery(result: dict[str, Any], refs: dict[str, str]) -> Delivery:
    chat = result.get("chat")
    message_id = str(result.get("message_id", ""))
    refs |= {"message_id": message_id, "chat_id": str(chat.get("id", "")) if isinstance(chat, dict) else ""}
    return Delivery(provider="telegram", message_id=message_id, refs=refs)
