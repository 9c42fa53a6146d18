"""Who is acting. Made by `identity`, carried by value through every call that needs authority."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, TypeAlias

PrincipalKind: TypeAlias = Literal["api", "runner"]
Role: TypeAlias = Literal["admin", "operator", "viewer", "runner"]


@dataclass(frozen=True, slots=True)
class Principal:
    """An authenticated caller: a person or program with an API token, or a Runner with its runner token.

    `expires_unix_ms` is when the token's time is over (wall clock, ms); None: never.
    """

    kind: PrincipalKind
    tenant_id: str
    subject_id: str
    role: Role
    token_id: str
    expires_unix_ms: int | None = None

    @property
    def actor(self) -> str:
        """How audit records name this principal: `kind:subject`."""
        return f"{self.kind}:{self.subject_id}"
