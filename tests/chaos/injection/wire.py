"""Faults of the wire between Core and Runner, in a private world: packets dropped, lost or slowed by the kernel.

Rules name Core's port and nothing else: a packet to it travels up (Runner to Core), one from it down. They stand at the
receiving side, so that a sender notices nothing, as on a real network.
"""

from __future__ import annotations

from enum import Enum

from tests.chaos.injection.private_world import run

_TABLE = "inet aisops_chaos"


class Way(Enum):
    """Which way a packet goes; the value is what nft calls its port."""

    UP = "dport"
    DOWN = "sport"


BOTH = (Way.UP, Way.DOWN)


class Wire:
    """The connection between the programs of this private world and one TCP port on its loopback."""

    def __init__(self, port: int) -> None:
        self._port = port

    def drop(self, *ways: Way) -> None:
        """Swallow every packet that goes one of these ways, without a word to its sender."""
        self._rules([f"tcp {way.value} {self._port} counter drop" for way in ways])

    def lose(self, percent: int) -> None:
        """Swallow so many of a hundred packets, each way, by chance."""
        chance = f"numgen random mod 100 < {percent} counter drop"
        self._rules([f"tcp {way.value} {self._port} {chance}" for way in BOTH])

    def reset(self) -> None:
        """Answer every packet with a reset, as a firewall that has forgotten the connection does."""
        spared = "tcp flags & rst == 0"  # or the resets themselves would be stopped
        self._rules([f"tcp {way.value} {self._port} {spared} counter reject with tcp reset" for way in BOTH])

    def narrow(self, rate: str, burst_bytes: int = 4096) -> None:
        """Let no more through than `rate` (`64kbit`), each way; what does not fit waits in a queue of two seconds."""
        # Loopback hands over packets of 64 KiB, which no such line would ever carry.
        run("ip", "link", "set", "lo", "mtu", "1500")
        run("tc", "qdisc", "replace", "dev", "lo", "root", "handle", "1:", "htb", "default", "10")
        run("tc", "class", "replace", "dev", "lo", "parent", "1:", "classid", "1:10", "htb", "rate", "10gbit")
        for number, way in enumerate(BOTH, 20):
            line = f"1:{number}"
            run("tc", "class", "replace", "dev", "lo", "parent", "1:", "classid", line, "htb", "rate", "10gbit")
            run(
                "tc", "qdisc", "replace", "dev", "lo", "parent", line, "tbf",
                "rate", rate, "burst", str(burst_bytes), "latency", "2s",
            )  # fmt: skip
            run(
                "tc", "filter", "add", "dev", "lo", "parent", "1:", "protocol", "ip", "u32",
                "match", "ip", way.value, str(self._port), "0xffff", "flowid", line,
            )  # fmt: skip

    def heal(self) -> None:
        """Let everything through again, at full speed."""
        run("nft", "-f", "-", script=f"table {_TABLE}\ndelete table {_TABLE}\n")
        if "htb" in run("tc", "qdisc", "show", "dev", "lo"):
            run("tc", "qdisc", "del", "dev", "lo", "root")

    def swallowed(self) -> int:
        """Packets that the rules in force have stopped so far."""
        words = run("nft", "list", "table", *_TABLE.split()).split()
        return sum(int(words[at + 1]) for at, word in enumerate(words) if word == "packets")

    def _rules(self, rules: list[str]) -> None:
        lines = "\n".join(f"add rule {_TABLE} gate {rule}" for rule in rules)
        run(
            "nft", "-f", "-",
            script=(
                f"table {_TABLE}\ndelete table {_TABLE}\nadd table {_TABLE}\n"
                f"add chain {_TABLE} gate {{ type filter hook input priority 0; }}\n{lines}\n"
            ),
        )  # fmt: skip
