"""Capabilities the Runner has without any plugin."""
