"""JSON Schemas of pydantic models: inputs closed, outputs open, an error for what is not expressible. Pure."""

import warnings
from typing import Any

from pydantic import BaseModel
from pydantic.errors import PydanticInvalidForJsonSchema, PydanticUserError
from pydantic.json_schema import PydanticJsonSchemaWarning

from aisops_plugin_sdk.errors import DefinitionError


def input_schema(model: type[BaseModel]) -> dict[str, Any]:
    """Build the closed schema of an input model: every object with named fields refuses further ones.

    Raises:
        DefinitionError: a field is not expressible, or a model asks for `extra="allow"`.
    """
    schema = _schema(model, "validation")
    for part in _objects(schema):
        if part.get("additionalProperties", False) is not False:
            raise DefinitionError(
                f"{model.__name__}: inputs are closed, so extra='allow' is refused; "
                "declare a field of type dict[str, ...] for free-form data"
            )
        part["additionalProperties"] = False
    return schema


def output_schema(model: type[BaseModel]) -> dict[str, Any]:
    """Build the open schema of an output model: readers ignore fields they do not know.

    Raises:
        DefinitionError: a field is not expressible.
    """
    schema = _schema(model, "serialization")
    for part in _objects(schema):
        if part.get("additionalProperties") is False:
            del part["additionalProperties"]
    return schema


def _schema(model: type[BaseModel], mode: str) -> dict[str, Any]:
    """Generate the schema, with pydantic's warnings as errors."""
    with warnings.catch_warnings():
        warnings.simplefilter("error", PydanticJsonSchemaWarning)
        try:
            schema = model.model_json_schema(mode="serialization" if mode == "serialization" else "validation")
        except (PydanticInvalidForJsonSchema, PydanticJsonSchemaWarning, PydanticUserError) as error:
            reason = str(error).splitlines()[0]
            raise DefinitionError(f"{model.__name__} has no JSON Schema: {reason}") from None
    target = schema
    if "$ref" in schema:
        target = schema.get("$defs", {}).get(str(schema["$ref"]).rpartition("/")[2], {})
    if target.get("type") != "object":
        raise DefinitionError(f"{model.__name__} must describe a JSON object")
    return schema


def _objects(schema: dict[str, Any]) -> list[dict[str, Any]]:
    """List the sub-schemas that describe objects with named fields. Looks only where schemas can stand."""
    found: list[dict[str, Any]] = []
    pending: list[Any] = [schema]
    while pending:
        part = pending.pop()
        if not isinstance(part, dict):
            continue
        properties = part.get("properties")
        if isinstance(properties, dict) or (part.get("type") == "object" and part.get("additionalProperties") is None):
            found.append(part)
        for key in ("properties", "$defs", "patternProperties"):
            pending.extend(part.get(key, {}).values())
        for key in ("allOf", "anyOf", "oneOf", "prefixItems"):
            pending.extend(part.get(key, []))
        pending.extend(part.get(key) for key in ("items", "additionalProperties", "not", "contains", "propertyNames"))
    return found
