"""OpenAPI 3.1 of every mounted operation, from the same models that validate the requests."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from http import HTTPStatus
from typing import Any

from pydantic import BaseModel
from pydantic.json_schema import JsonSchemaMode, models_json_schema

from aisops_core.api.operation import Operation
from aisops_core.api.problems import CONTENT_TYPE, ProblemDocument

REF = "#/components/schemas/{model}"
SHARED_PROBLEMS = (400, 401, 403, 422, 500, 503)
_NAME_IN_PATH = re.compile(r"{(\w+)}")


def _models(operations: Sequence[Operation]) -> list[tuple[type[BaseModel], JsonSchemaMode]]:
    found: dict[tuple[type[BaseModel], JsonSchemaMode], None] = {(ProblemDocument, "serialization"): None}
    for operation in operations:
        found[operation.out, "serialization"] = None
        if operation.body is not None:
            found[operation.body, "validation"] = None
    return list(found)


def _parameters(operation: Operation) -> list[dict[str, Any]]:
    parameters: list[dict[str, Any]] = [
        {"name": name, "in": "path", "required": True, "schema": {"type": "string"}}
        for name in _NAME_IN_PATH.findall(operation.path)
    ]
    if operation.query is not None:
        schema = operation.query.model_json_schema(ref_template=REF)
        for name, part in schema["properties"].items():
            required = name in schema.get("required", ())
            text = part.get("description", "")
            parameters.append({"name": name, "in": "query", "required": required, "description": text, "schema": part})
    for header in operation.headers:
        shape = {"type": "string", "pattern": header.pattern}
        parameters.append({"name": header.name, "in": "header", "description": header.description, "schema": shape})
    return parameters


def _content(media_type: str, schema: dict[str, Any]) -> dict[str, Any]:
    return {media_type: {"schema": schema}}


def _describe(operation: Operation, refs: Mapping[Any, dict[str, Any]]) -> dict[str, Any]:
    problem = _content(CONTENT_TYPE, refs[ProblemDocument, "serialization"])
    answers: dict[str, Any] = {
        str(operation.status): {
            "description": HTTPStatus(operation.status).phrase,
            "content": _content("application/json", refs[operation.out, "serialization"]),
        }
    }
    own = (404,) if _NAME_IN_PATH.search(operation.path) else ()
    sized = (413, 415) if operation.body is not None else ()
    if operation.status == 202:
        answers["200"] = {**answers["202"], "description": "Already finished"}
    for status in sorted({*SHARED_PROBLEMS, *own, *sized, *operation.problems}):
        answers[str(status)] = {"description": HTTPStatus(status).phrase, "content": problem}
    entry: dict[str, Any] = {
        "operationId": operation.name,
        "summary": operation.summary,
        "description": f"Needs the role {operation.role} or one above it.",
        "parameters": _parameters(operation),
        "responses": answers,
        "security": [{"bearer": []}],
    }
    if operation.body is not None:
        schema = refs[operation.body, "validation"]
        entry["requestBody"] = {"required": True, "content": _content("application/json", schema)}
    return entry


def describe(operations: Sequence[Operation], root: str, version: str) -> dict[str, Any]:
    """Return the OpenAPI document of `operations`, mounted under the path `root`."""
    refs, definitions = models_json_schema(_models(operations), ref_template=REF)
    paths: dict[str, dict[str, Any]] = {}
    for operation in operations:
        paths.setdefault(root + operation.path, {})[operation.method.lower()] = _describe(operation, refs)
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "AIsOpsFlow Core",
            "version": version,
            "description": "Submit jobs to Runners behind firewalls and follow them. Errors are problem documents.",
            "license": {"name": "Apache-2.0", "identifier": "Apache-2.0"},
        },
        "paths": paths,
        "components": {
            "schemas": definitions.get("$defs", {}),
            "securitySchemes": {
                "bearer": {"type": "http", "scheme": "bearer", "description": "An API token (aisops_api_…)."}
            },
        },
    }
