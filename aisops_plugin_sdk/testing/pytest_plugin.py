"""pytest fixtures of the SDK, loaded by pytest through its entry point group `pytest11`.

Imports stay light on purpose: pytest loads this file in every project of an environment that has the SDK.
"""
