"""How what a person typed becomes part of an address. Imports nothing before it is called: `--help` stays fast."""

from __future__ import annotations


def segment(name: str) -> str:
    """Return `name` as one segment of a path, so that no name can reach another address."""
    from urllib.parse import quote

    return quote(name, safe="")
