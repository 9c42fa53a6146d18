"""What was seen of a clone that was refused: as facts for programs, in words for people. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from aisops_core.dispatch.sessions import LiveSession
from aisops_core.tenants.principal import Principal
from aisops_protocol.messages import Hello

UNKNOWN: Final = "an unknown address"
ADVICE: Final = (
    "Stop one of the two, or give it a Runner of its own (`aisops runner create NAME`) and an empty data folder. "
    "/proc/sys/kernel/random/boot_id is `boot_id` on the machine that was refused; `aisops-runner status --json` shows "
    "`session_id` on the one that is connected. If nobody knows the second machine, the token is in other hands: make "
    "a new one (`aisops runner token NAME`), then revoke the old one."
)


@dataclass(frozen=True, slots=True)
class Sighting:
    """Two machines with one Runner's identity. Addresses are as Core sees them: a proxy's, where one is between."""

    tenant_id: str
    runner_id: str
    refused: dict[str, str]
    connected: dict[str, str]

    def facts(self, calls: int) -> dict[str, object]:
        """Plain JSON values. `calls` says how many refused calls this stands for; what is shown is of the newest."""
        return {"calls": calls, "refused": self.refused, "connected": self.connected}

    def words(self, calls: int) -> dict[str, str]:
        """What was seen, and what to do about it."""
        seen = (
            f"A second machine called as Runner {self.runner_id!r} from {self.refused['address'] or UNKNOWN} and was "
            f"refused: the one connected from {self.connected['address'] or UNKNOWN} answers."
        )
        if calls > 1:
            seen += f" There were {calls} such calls since this was last told."
        return {"message": seen, "advice": ADVICE}


def sight(there: LiveSession, principal: Principal, hello: Hello, peer: str) -> Sighting:
    """What is seen when a machine calls from `peer` while the session that is there lives."""
    return Sighting(
        there.ref.tenant_id,
        there.ref.runner_id,
        {
            "address": peer,
            "boot_id": hello.boot_id,
            "instance_id": hello.instance_id.hex(),
            "version": hello.agent_version,
            "token_id": principal.token_id,
        },
        {
            "address": there.outlet.peer,
            "session_id": there.ref.session_id.hex(),
            "instance_id": there.instance_id.hex(),
        },
    )
