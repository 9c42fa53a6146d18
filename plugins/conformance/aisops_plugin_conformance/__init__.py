"""For tests alone: the plugin whose effects `aisops-delivery-conformance` counts."""

from aisops_plugin_conformance.adapter import plugin

__all__ = ["plugin"]
