"""Test kit for plugin authors: the real sidecar server in-process, the real process, and a scripted upstream.

Nothing here imports pytest; the fixtures live in `aisops_plugin_sdk.testing.pytest_plugin`.
"""
