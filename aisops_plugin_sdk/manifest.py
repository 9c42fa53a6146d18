"""The plugin manifest: what a plugin offers and needs, as frozen dataclasses and as its JSON document. Pure."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from aisops_plugin_sdk import contracts
from aisops_plugin_sdk.errors import ContractError, ManifestError

EffectClass = Literal["idempotent", "at_most_once"]
DEFAULT_BODY_LIMIT_BYTES = 64 * 1024
MAX_BODY_LIMIT_BYTES = 1024 * 1024
DEFAULT_TIMEOUT_S = 30.0


@dataclass(frozen=True, slots=True)
class EnvSpec:
    """One environment variable a plugin reads."""

    name: str
    secret: bool = False
    required: bool = False
    description: str = ""


@dataclass(frozen=True, slots=True)
class CapabilitySpec:
    """One capability as others see it.

    Attributes:
        effect_class: `idempotent` (may be repeated with the same key) or `at_most_once` (never repeated blindly).
        channel: it is the plugin's message channel, reachable at POST /send with `{target, text}`.
        timeout_s: how long a call may take when the caller sets no deadline, in seconds.
        input_schema: JSON Schema of the input; closed (unknown fields are refused).
        output_schema: JSON Schema of the result; open.
    """

    name: str
    description: str
    effect_class: EffectClass
    channel: bool
    timeout_s: float
    input_schema: dict[str, Any]
    output_schema: dict[str, Any]


@dataclass(frozen=True, slots=True)
class Manifest:
    """Everything the Runner must know about a plugin without importing it.

    Attributes:
        contract: majors of the sidecar contract it serves.
        env: the variables it may receive.
        max_concurrency: calls it serves at once; more are answered 429.
        startup_timeout_s: seconds from its start until it must be ready.
        features: optional parts of the contract it serves.
        channel: the capability behind POST /send, or None.
        body_limit_bytes: largest request body it takes.
        egress: where it says its requests go (see `egress.py` for the entries); None when it does not say.
        config_version: major.minor of the configuration it reads.
        webhooks: paths at which it takes requests of its provider.
    """

    name: str
    version: str
    sdk_version: str
    contract: tuple[int, ...]
    capabilities: tuple[CapabilitySpec, ...]
    env: tuple[EnvSpec, ...] = ()
    max_concurrency: int = 4
    startup_timeout_s: float = 10.0
    features: frozenset[str] = field(default_factory=frozenset)
    channel: str | None = None
    body_limit_bytes: int = DEFAULT_BODY_LIMIT_BYTES
    description: str = ""
    egress: tuple[str, ...] | None = None
    config_version: str = "1.0"
    webhooks: tuple[str, ...] = ()

    @classmethod
    def parse(cls, document: Mapping[str, Any]) -> "Manifest":
        """Read a manifest document.

        Raises:
            ManifestError: it breaks the JSON Schema, holds a capability or variable twice, holds a capability schema
                that is none or refers outside itself, or names a channel it does not offer.
        """
        try:
            contracts.validate(document, "manifest-v1")
        except ContractError as error:
            raise ManifestError(error.details[0].message, path=error.details[0].path) from None
        manifest = cls(
            name=document["name"],
            version=document["version"],
            sdk_version=document["sdk_version"],
            contract=tuple(document["contract"]),
            capabilities=tuple(_capability(item) for item in document["capabilities"]),
            env=tuple(_env(item) for item in document["env"]),
            max_concurrency=document.get("max_concurrency", 4),
            startup_timeout_s=document.get("startup_timeout_ms", 10_000) / 1000,
            features=frozenset(document.get("features", ())),
            channel=document.get("channel"),
            body_limit_bytes=document.get("body_limit_bytes", DEFAULT_BODY_LIMIT_BYTES),
            description=document.get("description", ""),
            config_version=document.get("config_version", "1.0"),
            webhooks=tuple(document.get("webhooks", ())),
            egress=None if document.get("egress") is None else tuple(document["egress"]),
        )
        manifest._check()
        return manifest

    def to_document(self) -> dict[str, Any]:
        """Write the manifest as its JSON document; `parse` of it gives an equal manifest."""
        document = {
            "aisops_manifest": 1,
            "name": self.name,
            "version": self.version,
            "sdk_version": self.sdk_version,
            "description": self.description,
            "contract": list(self.contract),
            "capabilities": [_capability_document(spec) for spec in self.capabilities],
            "env": [
                {"name": env.name, "secret": env.secret, "required": env.required, "description": env.description}
                for env in self.env
            ],
            "channel": self.channel,
            "max_concurrency": self.max_concurrency,
            "startup_timeout_ms": round(self.startup_timeout_s * 1000),
            "body_limit_bytes": self.body_limit_bytes,
            "features": sorted(self.features),
            "config_version": self.config_version,
            "webhooks": list(self.webhooks),
        }
        return document if self.egress is None else document | {"egress": list(self.egress)}

    def _check(self) -> None:
        """Refuse what a JSON Schema cannot express."""
        names = [spec.name for spec in self.capabilities]
        _refuse_twice(names, "/capabilities", "capability")
        _refuse_twice([env.name for env in self.env], "/env", "environment variable")
        if self.channel is not None and self.channel not in names:
            raise ManifestError(f"{self.channel!r} is not one of its capabilities", path="/channel")
        for index, spec in enumerate(self.capabilities):
            for key, schema in (("input_schema", spec.input_schema), ("output_schema", spec.output_schema)):
                try:
                    contracts.check_schema(schema)
                except ContractError as error:
                    raise ManifestError(str(error), path=f"/capabilities/{index}/{key}") from None


def _refuse_twice(names: list[str], path: str, what: str) -> None:
    """Refuse a name that appears twice."""
    for index, name in enumerate(names):
        if name in names[:index]:
            raise ManifestError(f"{what} {name!r} appears twice", path=f"{path}/{index}")


def _capability(document: Mapping[str, Any]) -> CapabilitySpec:
    """Read one capability of a valid document."""
    return CapabilitySpec(
        name=document["name"],
        description=document.get("description", ""),
        effect_class=document["effect_class"],
        channel=document.get("channel", False),
        timeout_s=document.get("timeout_ms", DEFAULT_TIMEOUT_S * 1000) / 1000,
        input_schema=document["input_schema"],
        output_schema=document["output_schema"],
    )


def _capability_document(spec: CapabilitySpec) -> dict[str, Any]:
    """Write one capability."""
    return {
        "name": spec.name,
        "description": spec.description,
        "effect_class": spec.effect_class,
        "channel": spec.channel,
        "timeout_ms": round(spec.timeout_s * 1000),
        "input_schema": spec.input_schema,
        "output_schema": spec.output_schema,
    }


def _env(document: Mapping[str, Any]) -> EnvSpec:
    """Read one environment variable of a valid document."""
    return EnvSpec(
        name=document["name"],
        secret=document.get("secret", False),
        required=document.get("required", False),
        description=document.get("description", ""),
    )
