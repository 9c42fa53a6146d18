"""Whether a foreign manifest asks for more than the operator allows. Pure.

A manifest's permissions are what its author says, and nothing here enforces them against a program that lies: what this
rule does is to refuse, before anything of it runs, a plugin that says openly that it wants more than it may have.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import PurePosixPath

from aisops_runner.adapters.foreign.document import Host, Permissions


@dataclass(frozen=True, slots=True)
class PermissionPolicy:
    """What plugins may say they need. None: anything.

    Attributes:
        outbound: Hosts (`slack.com`, `*.slack.com`), with a port where only that one is meant (`db.corp:5432`), and the
            manifests' words for schemes and services (`https`).
        read: Folders; everything below them is meant too.
        write: The same.
    """

    outbound: tuple[str, ...] | None = None
    read: tuple[str, ...] | None = None
    write: tuple[str, ...] | None = None


def excess(asked: Permissions, policy: PermissionPolicy) -> str:
    """What is asked beyond the policy, in one line for people; empty: nothing."""
    beyond = []
    if policy.outbound is not None:
        beyond += [_shown(one) for one in asked.network.outbound if not _may_reach(one, policy.outbound)]
    for verb, paths, allowed in (
        ("read", asked.filesystem.read, policy.read),
        ("write", asked.filesystem.write, policy.write),
    ):
        if allowed is not None:
            beyond += [f"{verb} {path}" for path in paths if not _may_touch(path, allowed)]
    if not beyond:
        return ""
    return f"exceed this Runner's policy ([plugin_permissions]): {', '.join(beyond)}"


def _may_reach(asked: Host, allowed: Sequence[str]) -> bool:
    if not asked.ports:
        return any(_is_host(asked.host, one) for one in allowed)
    return all(any(_is_host(asked.host, one) or _is_host(f"{asked.host}:{port}", one) for one in allowed)
               for port in asked.ports)  # fmt: skip


def _is_host(asked: str, allowed: str) -> bool:
    asked, allowed = asked.lower(), allowed.lower()
    if allowed.startswith("*."):
        return asked.endswith(allowed[1:]) and len(asked) > len(allowed) - 1
    return asked == allowed


def _may_touch(asked: str, allowed: Sequence[str]) -> bool:
    path = PurePosixPath(asked)
    if ".." in path.parts:
        return False
    return any(path.is_relative_to(one) for one in allowed)


def _shown(asked: Host) -> str:
    ports = ",".join(map(str, asked.ports))
    return f"{asked.host}:{ports}" if ports else asked.host
