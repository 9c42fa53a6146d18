"""AIsOpsFlow plugin: Slack messages by chat.postMessage."""

from aisops_plugin_slack.adapter import plugin

__all__ = ["plugin"]
