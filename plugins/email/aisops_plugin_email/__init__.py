"""AIsOpsFlow plugin: e-mail through the customer's own SMTP server."""

from aisops_plugin_email.adapter import plugin

__all__ = ["plugin"]
