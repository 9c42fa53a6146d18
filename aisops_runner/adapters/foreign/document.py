"""The shape of `runner-plugin.yaml` (runner-plugin/v1) and what is wrong with one. Pure.

Everything the original's validator refuses is refused, and what its documents promise besides (entry point and working
directory inside the folder, however written). Fields that are not part of the shape are passed over, as the original
does, and named, so that a misspelt one is found.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import PurePosixPath
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, StringConstraints, ValidationError, field_validator, model_validator

from aisops_runner.adapters.foreign.strict_yaml import YamlRefused, load

Text = Annotated[str, StringConstraints(max_length=4096)]
Word = Annotated[str, StringConstraints(min_length=1, max_length=64, strip_whitespace=True)]
_VARIABLE = r"^[A-Za-z_][A-Za-z0-9_]{0,127}$"
_CAPABILITY = r"^[a-z][a-z0-9_]*(\.[a-z][a-z0-9_]*)+$"
_LIKE = {_VARIABLE: "a name like SLACK_BOT_TOKEN", _CAPABILITY: "a name like slack.send"}
EnvName = Annotated[str, StringConstraints(pattern=_VARIABLE)]
CapabilityName = Annotated[str, StringConstraints(max_length=128, pattern=_CAPABILITY)]
Inside = Annotated[str, StringConstraints(min_length=1, max_length=1024)]
_SHOWN_CHARS = 60
_MESSAGES = {
    "missing": "is missing",
    "too_short": "lists nothing",
    "tuple_type": "must be a list",
    "dict_type": "must be a map",
    "model_type": "must be a map",
    "model_attributes_type": "must be a map",
    "string_type": "must be a text",
    "float_parsing": "must be a number",
    "float_type": "must be a number",
    "int_parsing": "must be a whole number",
    "int_type": "must be a whole number",
    "bool_parsing": "must be true or false",
    "bool_type": "must be true or false",
}


class ManifestFault(Exception):
    """A manifest cannot be used.

    Attributes:
        field: The field at fault, dotted; empty: the whole file.
        line: Where it stands, from 1; 0: unknown.
    """

    def __init__(self, reason: str, *, field: str = "", line: int = 0) -> None:
        super().__init__(reason)
        self.field = field
        self.line = line

    def __str__(self) -> str:
        where = [f"line {self.line}"] if self.line else []
        return ": ".join([*where, *([self.field] if self.field else []), str(self.args[0])])


def _stays_inside(value: str) -> str:
    path = PurePosixPath(value)
    if "\0" in value or path.is_absolute() or ".." in path.parts:
        raise ValueError(f"leads out of the plugin's folder: {value[:_SHOWN_CHARS]!r}; it is meant relative to it")
    return value


def _refuse_twice(names: tuple[str, ...] | list[str], what: str) -> None:
    for index, name in enumerate(names):
        if name in names[:index]:
            raise ValueError(f"{what} {name!r} appears twice")


class _Part(BaseModel):
    """One map of the document; a field without a value counts as one that is not there."""

    model_config = ConfigDict(frozen=True, extra="allow", hide_input_in_errors=True)

    @model_validator(mode="before")
    @classmethod
    def _given(cls, value: Any) -> Any:
        return {key: item for key, item in value.items() if item is not None} if isinstance(value, dict) else value


class Metadata(_Part):
    """Who it is."""

    name: Word
    display_name: Text = ""
    plugin_version: Word = "0"
    publisher: Text = ""
    description: Text = ""
    homepage: Text = ""


class Runtime(_Part):
    """How it runs. `entrypoint` and `working_dir` are relative to the manifest's folder."""

    type: Literal["node", "python", "binary"]
    entrypoint: Inside
    working_dir: Inside = "."
    protocol: Literal["stdio-json", "local-http"]

    @field_validator("entrypoint", "working_dir")
    @classmethod
    def _inside(cls, value: str) -> str:
        return _stays_inside(value)


class Install(_Part):
    """How it is laid out on the disk."""

    layout: Literal["unpacked-directory"] = "unpacked-directory"
    root: Inside = "."

    @field_validator("root")
    @classmethod
    def _inside(cls, value: str) -> str:
        return _stays_inside(value)


class Capabilities(_Part):
    """What it offers."""

    provides: Annotated[tuple[CapabilityName, ...], Field(min_length=1, max_length=128)]

    @field_validator("provides")
    @classmethod
    def _once(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        _refuse_twice(value, "capability")
        return value


class Execution(_Part):
    """How it wants to be kept; seconds."""

    startup_timeout_seconds: float = Field(default=10.0, gt=0, le=300, allow_inf_nan=False)
    request_timeout_seconds: float = Field(default=30.0, gt=0, le=86_400, allow_inf_nan=False)
    idle_ttl_seconds: float = Field(default=60.0, ge=0, le=86_400, allow_inf_nan=False)
    max_concurrency: int = Field(default=4, gt=0, le=1024)
    restart_policy: Literal["never", "on-failure"] = "on-failure"


class Variable(_Part):
    """One environment variable it reads."""

    name: EnvName
    secret: bool = False
    description: Text = ""
    default: Text | None = None


class Env(_Part):
    """The environment variables it reads."""

    required: Annotated[tuple[Variable, ...], Field(max_length=128)] = ()
    optional: Annotated[tuple[Variable, ...], Field(max_length=128)] = ()

    @model_validator(mode="after")
    def _once(self) -> Env:
        _refuse_twice([variable.name for variable in (*self.required, *self.optional)], "variable")
        return self


class Host(_Part):
    """One host it wants to reach, or a word for a scheme or service (`https`, `postgres`, `core`)."""

    host: Word
    ports: Annotated[tuple[Annotated[int, Field(ge=1, le=65535)], ...], Field(max_length=64)] = ()


class Network(_Part):
    """Where it wants to go: hosts with ports, host names, or words for a scheme or service."""

    outbound: Annotated[tuple[Host, ...], Field(max_length=256)] = ()

    @field_validator("outbound", mode="before")
    @classmethod
    def _words(cls, value: Any) -> Any:
        return (
            [{"host": item} if isinstance(item, str) else item for item in value] if isinstance(value, list) else value
        )


class Filesystem(_Part):
    """Which files it wants."""

    read: Annotated[tuple[Text, ...], Field(max_length=256)] = ()
    write: Annotated[tuple[Text, ...], Field(max_length=256)] = ()


class Permissions(_Part):
    """What it says it needs of its surroundings."""

    network: Network = Network()
    filesystem: Filesystem = Filesystem()


class Range(_Part):
    """From which version to which."""

    min: Text = ""
    max: Text = ""


class Compatibility(_Part):
    """Which Runners and products it was written for."""

    runner_api: Range = Range()
    product: Range = Range()


class ForeignManifest(_Part):
    """A whole `runner-plugin.yaml`."""

    api_version: Literal["runner-plugin/v1"]
    kind: Literal["RunnerPlugin"]
    metadata: Metadata
    runtime: Runtime
    install: Install = Install()
    capabilities: Capabilities
    execution: Execution = Execution()
    env: Env = Env()
    permissions: Permissions = Permissions()
    compatibility: Compatibility = Compatibility()
    security: dict[str, Any] = Field(default_factory=dict)
    observability: dict[str, Any] = Field(default_factory=dict)
    examples: Any = None

    def unknown(self) -> tuple[str, ...]:
        """Fields that are not part of the shape, dotted and sorted."""
        return tuple(sorted(_unknown(self, "")))


def read_manifest(raw: bytes) -> ForeignManifest:
    """Read a manifest.

    Raises:
        ManifestFault: It is no YAML, or breaks a rule; names the field and the line.
    """
    try:
        document = load(raw)
    except YamlRefused as error:
        raise ManifestFault(str(error), line=error.line) from None
    if not isinstance(document.content, dict):
        raise ManifestFault("the document is no map of fields", line=1)
    try:
        return ForeignManifest.model_validate(document.content)
    except ValidationError as error:
        faults = error.errors(include_url=False, include_context=True)
        first = faults[0]
        path = tuple(first["loc"])
        text = _explain(first["type"], first["msg"], first["input"], first.get("ctx", {}))
        if len(faults) > 1:
            text += f" (and {len(faults) - 1} more)"
        raise ManifestFault(text, field=_dotted(path), line=document.line(path)) from None


def _explain(kind: str, message: str, given: object, context: dict[str, Any]) -> str:
    if kind in _MESSAGES:
        return _MESSAGES[kind]
    shown = f", not {given[:_SHOWN_CHARS]!r}" if isinstance(given, str) else ""
    if kind == "literal_error":
        return f"must be {context.get('expected', '')}{shown}"
    if kind == "string_pattern_mismatch":
        return f"must be {_LIKE[str(context.get('pattern'))]}{shown}"
    text = message.removeprefix("Value error, ").removeprefix("Input should be ")
    return text if kind == "value_error" else f"must be {text[:1].lower()}{text[1:]}{shown}"


def _dotted(path: tuple[str | int, ...]) -> str:
    text = "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in path)
    return text.removeprefix(".")


def _unknown(part: _Part, prefix: str) -> Iterator[str]:
    for name in part.model_extra or {}:
        yield f"{prefix}{name}"
    for name in type(part).model_fields:
        value = getattr(part, name)
        for index, item in enumerate(value if isinstance(value, tuple) else ()):
            if isinstance(item, _Part):
                yield from _unknown(item, f"{prefix}{name}[{index}].")
        if isinstance(value, _Part):
            yield from _unknown(value, f"{prefix}{name}.")
