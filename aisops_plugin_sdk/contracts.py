"""The JSON Schemas of the sidecar contract, as package data, compiled once each. Nothing is ever fetched.

Importing this module is cheap; jsonschema is imported by the first validation.
"""

import json
import typing
from collections.abc import Iterator, Mapping
from functools import cache
from importlib.resources import files
from itertools import islice
from typing import TYPE_CHECKING, Any, Literal

from aisops_plugin_sdk.errors import ContractError, Detail

if TYPE_CHECKING:
    from jsonschema import Draft202012Validator
    from jsonschema.exceptions import ValidationError

Name = Literal[
    "manifest-v1",
    "invoke-result-v1",
    "error-v1",
    "batch-call-v1",
    "batch-answer-v1",
    "probe-v1",
    "ready-v1",
    "log-v1",
    "event-v1",
    "inbound-call-v1",
    "inbound-answer-v1",
]
NAMES: tuple[Name, ...] = typing.get_args(Name)
_MAX_DETAILS = 8
_MAX_MESSAGE = 300


def schema(name: Name) -> dict[str, Any]:
    """Read one schema of the contract."""
    text = files("aisops_plugin_sdk").joinpath("schemas", f"{name}.schema.json").read_text("utf-8")
    document: dict[str, Any] = json.loads(text)
    return document


def validate(document: object, name: Name) -> None:
    """Check a document against one schema of the contract.

    Raises:
        ContractError: it breaks the schema; `details` name up to eight places by JSON pointer.
    """
    details = [_detail(error) for error in islice(_validator(name).iter_errors(document), _MAX_DETAILS)]
    if details:
        first = details[0]
        raise ContractError(f"not a {name} document: {first.path or '/'}: {first.message}", details=details)


def check_schema(document: Mapping[str, Any]) -> None:
    """Check that a capability's schema is a JSON Schema (2020-12) that refers only to itself.

    Raises:
        ContractError: it is not a schema, or a `$ref` or `$dynamicRef` leads outside it.
    """
    from jsonschema import Draft202012Validator
    from jsonschema.exceptions import SchemaError

    for key, target in _references(document):
        if not isinstance(target, str) or not target.startswith("#"):
            raise ContractError(f"{key} {str(target)[:100]!r} leads outside the schema")
    try:
        Draft202012Validator.check_schema(dict(document))
    except SchemaError as error:
        raise ContractError(f"not a JSON Schema: {error.message[:_MAX_MESSAGE]}") from None


@cache
def _validator(name: Name) -> "Draft202012Validator":
    """Compile one schema, with an empty registry so that no reference can be fetched."""
    from jsonschema import Draft202012Validator
    from referencing import Registry

    return Draft202012Validator(schema(name), registry=Registry())


def _detail(error: "ValidationError") -> Detail:
    """Say where and why, quoting no more of the document than fits a line."""
    pointer = "".join(f"/{str(part).replace('~', '~0').replace('/', '~1')}" for part in error.absolute_path)
    return Detail(pointer, error.message[:_MAX_MESSAGE])


def _references(value: object) -> Iterator[tuple[str, object]]:
    """List every reference in a schema, without recursion."""
    pending = [value]
    while pending:
        item = pending.pop()
        if isinstance(item, Mapping):
            for key in ("$ref", "$dynamicRef"):
                # A property may be *named* "$ref"; its value is then a schema, not a text.
                if key in item and not isinstance(item[key], Mapping):
                    yield key, item[key]
            pending.extend(item.values())
        elif isinstance(item, list):
            pending.extend(item)
