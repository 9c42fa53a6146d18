"""AIsOpsFlow plugin: Telegram messages through the Bot API."""

from aisops_plugin_telegram.adapter import plugin

__all__ = ["plugin"]
