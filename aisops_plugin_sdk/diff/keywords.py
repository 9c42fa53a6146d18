"""The words of JSON Schema 2020-12 by what stands behind them. Pure data; the other files of this folder share it.

Source: JSON Schema Core and Validation, draft 2020-12.
"""

from collections.abc import Mapping
from typing import Any

Schema = Mapping[str, Any] | bool
"""A schema as written: an object of keywords, or true (anything) or false (nothing)."""
Term = tuple[Schema, ...]
"""Schemas that hold together: an instance must be valid under each."""

MAPS = frozenset({"properties", "patternProperties", "dependentSchemas"})
"""An object of names, a schema behind each."""
LISTS = frozenset({"allOf", "anyOf", "oneOf", "prefixItems"})
"""A list of schemas."""
SINGLES = frozenset(
    {
        "items",
        "additionalProperties",
        "propertyNames",
        "contains",
        "not",
        "if",
        "then",
        "else",
        "unevaluatedItems",
        "unevaluatedProperties",
    }
)
"""One schema."""
UNORDERED = frozenset({"required", "type"})
"""Lists whose order says nothing."""
ANNOTATIONS = frozenset(
    {
        "$anchor",
        "$comment",
        "$defs",
        "$schema",
        "definitions",
        "deprecated",
        "description",
        "discriminator",
        "examples",
        "readOnly",
        "title",
        "writeOnly",
    }
)
"""What decides nothing about an instance. `default` is not among them: it decides for whoever leaves a field out."""

TYPES = ("null", "boolean", "number", "string", "array", "object")
"""The types an instance can have; `integer` is the part of `number` without a fraction."""

CONDITIONS: Mapping[str, tuple[str, ...]] = {
    "not": ("not",),
    "if": ("if", "then", "else"),
    "contains": ("contains", "minContains", "maxContains"),
    "dependentRequired": ("dependentRequired",),
    "dependentSchemas": ("dependentSchemas",),
}
"""Conditions that are compared as a whole, by the word they begin with: they are equal, or nothing can be said."""
CONDITION_TYPES: Mapping[str, tuple[str, ...]] = {
    "not": (*TYPES, "integer"),
    "if": (*TYPES, "integer"),
    "contains": ("array",),
    "dependentRequired": ("object",),
    "dependentSchemas": ("object",),
}
"""To which types of instance each condition says anything."""
BEYOND = ("unevaluatedItems", "unevaluatedProperties", "$dynamicRef")
"""Words whose meaning depends on everything around them. Schemas with them are equal, or nothing can be said."""
