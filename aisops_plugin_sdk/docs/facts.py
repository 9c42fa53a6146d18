"""What the pages are made of, as the plugin's own process tells it and as the writer reads it. Pure."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from aisops_plugin_sdk.manifest import Manifest


@dataclass(frozen=True, slots=True)
class Variable:
    """One variable of the configuration. `default` is JSON, empty when there is none to show."""

    name: str
    kind: str
    required: bool
    secret: bool
    default: str
    description: str


@dataclass(frozen=True, slots=True)
class Sample:
    """A validated example of what goes into and comes out of a capability."""

    input: Any
    output: Any


@dataclass(frozen=True, slots=True)
class Facts:
    """Everything the pages say. `samples` are by capability."""

    manifest: Manifest
    variables: tuple[Variable, ...]
    samples: Mapping[str, Sample]

    @classmethod
    def parse(cls, document: Mapping[str, Any]) -> "Facts":
        """Read what `to_document` wrote in another process of the same SDK.

        Raises:
            ManifestError: the manifest in it is none.
        """
        return cls(
            Manifest.parse(document["manifest"]),
            tuple(Variable(**item) for item in document["variables"]),
            {name: Sample(**item) for name, item in document["samples"].items()},
        )

    def to_document(self) -> dict[str, Any]:
        """Write it as JSON values."""
        return {
            "manifest": self.manifest.to_document(),
            "variables": [asdict(item) for item in self.variables],
            "samples": {name: asdict(item) for name, item in self.samples.items()},
        }
