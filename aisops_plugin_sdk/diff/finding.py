"""One difference between two manifests, as people and programs read it."""

from dataclasses import asdict, dataclass
from typing import Any, Literal

Side = Literal["plugin", "env", "capability", "input", "output"]


@dataclass(frozen=True, slots=True)
class Finding:
    """One difference.

    Attributes:
        rule: the stable name of the rule that found it, such as `field_required`; `rules.py` lists them.
        side: what changed: the plugin as a whole, its environment, a capability, or what goes into or comes out of it.
        capability: the capability's name; empty for `plugin` and `env`.
        path: a JSON pointer. For `input` and `output` into the document that is sent or answered, where `*` stands for
            every element of a list and every field that is not named; otherwise into the manifest, where entries of
            lists are addressed by name (`/env/ACME_TOKEN`, `/capabilities/acme.send/timeout_ms`).
        change: what changed, in one sentence.
        breaking: whether somebody who relied on the old manifest can be hurt.
        advice: what to do about it; empty when there is nothing to do.
    """

    rule: str
    side: Side
    capability: str
    path: str
    change: str
    breaking: bool
    advice: str

    def to_document(self) -> dict[str, Any]:
        """Write it for `--json`."""
        return asdict(self)
