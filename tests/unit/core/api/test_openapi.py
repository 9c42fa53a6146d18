"""The OpenAPI document: complete, resolvable, and made of valid JSON Schemas."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

import pytest
from jsonschema import Draft202012Validator

from aisops_core.api import openapi
from aisops_core.api.batches import BatchEndpoints
from aisops_core.api.jobs import JobEndpoints
from aisops_core.api.operation import RANK, Operation, operations_of
from aisops_core.api.routing import ROOT
from aisops_core.api.runners import RunnerEndpoints

# The endpoints are only described here, never called: they need no parts.
ENDPOINTS = (object.__new__(JobEndpoints), object.__new__(BatchEndpoints), object.__new__(RunnerEndpoints))
OPERATIONS = [operation for part in ENDPOINTS for operation, _ in operations_of(part)]
EXPECTED = {
    "POST /jobs", "POST /jobs/batch", "GET /jobs", "GET /jobs/{job_id}", "POST /jobs/{job_id}/cancel",
    "GET /jobs/{job_id}/logs", "GET /jobs/{job_id}/explain", "POST /jobs/{job_id}/resolve",
    "GET /jobs/{job_id}/timeline", "POST /runners", "POST /runners/{runner_id}/tokens", "GET /runners",
    "GET /runners/{runner_id}", "GET /runners/{runner_id}/events", "GET /capabilities", "GET /whoami",
}  # fmt: skip


@pytest.fixture(scope="module")
def document() -> dict[str, Any]:
    return openapi.describe(OPERATIONS, ROOT, "1.2.3")


def references(value: Any) -> Iterator[str]:
    if isinstance(value, dict):
        if isinstance(value.get("$ref"), str):
            yield value["$ref"]
        for part in value.values():
            yield from references(part)
    elif isinstance(value, list):
        for part in value:
            yield from references(part)


def test_every_operation_is_there() -> None:
    assert {f"{operation.method} {operation.path}" for operation in OPERATIONS} == EXPECTED


def test_every_reference_resolves(document: dict[str, Any]) -> None:
    found = set(references(document))
    assert found
    for reference in found:
        node: Any = document
        for part in reference.removeprefix("#/").split("/"):
            node = node[part]


def test_every_schema_is_valid_json_schema(document: dict[str, Any]) -> None:
    for schema in document["components"]["schemas"].values():
        Draft202012Validator.check_schema(schema)


def test_operation_ids_are_unique_and_described(document: dict[str, Any]) -> None:
    entries = [entry for path in document["paths"].values() for entry in path.values()]
    assert len({entry["operationId"] for entry in entries}) == len(entries)
    assert all(entry["summary"].endswith(".") for entry in entries)
    assert all(re.fullmatch("[a-z_]+", entry["operationId"]) for entry in entries)


@pytest.mark.parametrize("operation", OPERATIONS, ids=lambda operation: operation.name)
def test_every_operation_names_its_parameters_problems_and_token(
    operation: Operation, document: dict[str, Any]
) -> None:
    entry = document["paths"][ROOT + operation.path][operation.method.lower()]
    assert entry["security"] == [{"bearer": []}]
    assert {"400", "401", "403", "500"} <= entry["responses"].keys()
    in_path = {parameter["name"] for parameter in entry["parameters"] if parameter["in"] == "path"}
    assert in_path == set(re.findall(r"{(\w+)}", operation.path))
    for status, answer in entry["responses"].items():
        media = "application/json" if int(status) < 400 else "application/problem+json"
        assert list(answer["content"]) == [media]


def test_whatever_changes_something_needs_more_than_a_viewer() -> None:
    for operation in OPERATIONS:
        assert operation.method == "GET" or RANK[operation.role] > RANK["viewer"]
