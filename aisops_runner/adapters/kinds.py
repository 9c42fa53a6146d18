"""What is known of a plugin written for the original beside its manifest: how it runs, or where it is. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path


class Kind(StrEnum):
    """How a plugin is hosted."""

    PACKAGE = "package"
    PROGRAM = "program"
    LOCAL_HTTP = "local-http"
    STDIO_JSON = "stdio-json"
    URL = "url"


@dataclass(frozen=True, slots=True)
class Foreign:
    """A plugin written for the original product.

    Attributes:
        kind: Not `package`; `program` when its manifest does not say how it is spoken to.
        spelling: Capability as offered → as the plugin itself spells it.
        routes: Capability as offered → path of its HTTP route, where the operator names one.
        argv: The command of a program.
        cwd: Its working directory.
        defaults: Variable → value for those that neither the environment nor the operator sets; never references.
        idle_stop_s: Seconds without a call after which it wants to be stopped.
        restarts: False: its first failure already sets it aside.
        url: Where a plugin that already runs is reached, without a slash at its end.
        token: The operator's reference to the token shared with it: `env:NAME`, `file:/path`, or the text.
        notes: What its manifest says that means nothing here; one line each.
    """

    kind: Kind
    spelling: Mapping[str, str] = field(default_factory=dict)
    routes: Mapping[str, str] = field(default_factory=dict)
    argv: tuple[str, ...] = ()
    cwd: Path | None = None
    defaults: Mapping[str, str] = field(default_factory=dict)
    idle_stop_s: float = 60.0
    restarts: bool = True
    url: str = ""
    token: str = field(default="", repr=False)
    notes: tuple[str, ...] = ()

    @property
    def place(self) -> str:
        """Where it lives, for people."""
        return self.url or str(self.cwd or "")
