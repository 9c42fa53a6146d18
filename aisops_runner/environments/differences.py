"""What a new version of a plugin takes away or asks for, found by comparing its manifests. Pure.

A small set of rules behind one function, so that a fuller one can take its place: whatever has the type `Compare`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from aisops_plugin_sdk.manifest import CapabilitySpec, Manifest


@dataclass(frozen=True, slots=True)
class Difference:
    """One thing that may break who uses the plugin: a stable name of its kind, and a line for people."""

    kind: str
    text: str


Compare = Callable[[Manifest, Manifest], Sequence[Difference]]
"""Given the manifest in use and the new one, everything that people must accept before the switch."""


def breaking(old: Manifest, new: Manifest) -> list[Difference]:
    """Compare two manifests of one plugin."""
    return [*_capabilities(old, new), *_variables(old, new)]


def _capabilities(old: Manifest, new: Manifest) -> Iterator[Difference]:
    now = {spec.name: spec for spec in new.capabilities}
    for was in old.capabilities:
        if was.name not in now:
            yield Difference("capability_removed", f"capability {was.name} is gone")
        else:
            yield from _capability(was, now[was.name])
    if old.channel is not None and new.channel != old.channel:
        yield Difference("channel_changed", f"its message channel was {old.channel} and is {new.channel or 'none'}")


def _capability(was: CapabilitySpec, now: CapabilitySpec) -> Iterator[Difference]:
    name = was.name
    if was.effect_class != now.effect_class:
        yield Difference("effect_changed", f"{name} was {was.effect_class} and is {now.effect_class}")
    if now.timeout_s < was.timeout_s:
        yield Difference("timeout_lowered", f"{name} had {was.timeout_s:g} s for a call and has {now.timeout_s:g} s")
    old_in, new_in = _fields(was.input_schema), _fields(now.input_schema)
    for field in sorted(_required(now.input_schema) - _required(was.input_schema)):
        yield Difference("input_required", f"{name} now requires the input field {field!r}")
    for field in sorted(old_in.keys() - new_in.keys()):
        yield Difference("input_removed", f"{name} no longer takes the input field {field!r}")
    for field in sorted(old_in.keys() & new_in.keys()):
        if _type(old_in[field]) != _type(new_in[field]):
            yield Difference("input_type_changed", f"{name} takes another type for the input field {field!r}")
    for field in sorted(_fields(was.output_schema).keys() - _fields(now.output_schema).keys()):
        yield Difference("output_removed", f"{name} no longer returns {field!r}")


def _variables(old: Manifest, new: Manifest) -> Iterator[Difference]:
    was = {spec.name: spec for spec in old.env}
    for spec in new.env:
        before = was.get(spec.name)
        if spec.required and (before is None or not before.required):
            yield Difference("variable_required", f"it now requires the variable {spec.name}")
        elif before is None and spec.secret:
            yield Difference("secret_asked", f"it now asks for the secret {spec.name}")


def _fields(schema: Mapping[str, Any]) -> Mapping[str, Any]:
    found = schema.get("properties")
    return found if isinstance(found, dict) else {}


def _required(schema: Mapping[str, Any]) -> set[str]:
    found = schema.get("required")
    return {item for item in found if isinstance(item, str)} if isinstance(found, list) else set()


def _type(schema: object) -> object:
    return (schema.get("type"), schema.get("$ref"), str(schema.get("anyOf"))) if isinstance(schema, dict) else None
