"""What the HTTP door accepts: strict bodies, single query keys, known headers, and nothing echoed back."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from aisops_core import errors
from aisops_core.api.documents import timestamp
from aisops_core.api.exchange import read_query, refuse, trace_id_of
from aisops_core.api.jobs import ListQuery, SubmitBody, WaitQuery, preferred_wait_s
from aisops_core.api.problems import Problem, as_problem, from_core_error, from_validation


@pytest.mark.parametrize(
    ("header", "expected"),
    [
        ("wait=10", 10),
        ("respond-async, wait=10", 10),
        ("respond-async; WAIT = 7", 7),
        ('wait="5"', 5),
        ("wait=600", 60),
        ("wait=0", 0),
        ("wait=-1", None),
        ("await=5", None),
        ("wait=5x", None),
        ("", None),
    ],
)
def test_prefer_wait(header: str, expected: int | None) -> None:
    assert preferred_wait_s({"Prefer": header}) == expected
    assert preferred_wait_s({"Prefer": None}) is None


def test_a_query_key_given_twice_is_refused() -> None:
    with pytest.raises(Problem) as caught:
        read_query([("limit", "1"), ("limit", "2")], ListQuery)
    assert caught.value.code == "repeated_parameter"


def test_unknown_query_keys_and_values_out_of_range_are_refused() -> None:
    for pair in (("wait", "61"), ("wait", "-1"), ("wait", "x"), ("waits", "1")):
        with pytest.raises(ValidationError):
            read_query([pair], WaitQuery)
    with pytest.raises(Problem):
        read_query([("a", "1")], None)
    assert read_query([("wait", "60")], WaitQuery).wait == 60


@pytest.mark.parametrize(
    ("part", "pointer"),
    [
        ({"capability": "a b"}, "/capability"),
        ({"capability": "x" * 129}, "/capability"),
        ({"runner_id": "../x"}, "/runner_id"),
        ({"labels": {"a": 1}}, "/labels/a"),
        ({"labels": {"a": "x" * 257}}, "/labels/a"),
        ({"labels": {str(n): "" for n in range(65)}}, "/labels"),
        ({"timeout_s": 0}, "/timeout_s"),
        ({"timeout_s": "5"}, "/timeout_s"),
        ({"timeout_s": 1e300}, "/timeout_s"),
        ({"priority": 101}, "/priority"),
        ({"priority": True}, "/priority"),
        ({"extra": 1}, "/extra"),
    ],
)
def test_each_wrong_field_is_named_by_its_pointer_and_not_echoed(part: dict[str, object], pointer: str) -> None:
    with pytest.raises(ValidationError) as caught:
        SubmitBody.model_validate({"capability": "slack.send", "input": {}, **part})
    problem = from_validation(caught.value)
    assert problem.status == 422
    assert problem.fields[0].pointer.startswith(pointer)


@given(st.recursive(st.none() | st.text() | st.integers(), lambda part: st.dictionaries(st.text(), part, max_size=3)))
def test_no_document_makes_validation_or_its_problem_fail(document: object) -> None:
    try:
        SubmitBody.model_validate(document)
    except ValidationError as error:
        json.loads(refuse(from_validation(error), "0" * 32).body)


ERRORS = [
    (errors.UnknownCapability("a.b", ["c.d"]), 422),
    (errors.InputInvalid("no", [errors.FieldError("/text", "is required")]), 422),
    (errors.InputTooLarge(2, 1), 413),
    (errors.InvalidCursor(), 400),
    (errors.JobNotFound("j"), 404),
    (errors.RunnerNotFound("r"), 404),
    (errors.AlreadyExists("Runner", "r"), 409),
    (errors.IdempotencyMismatch("j"), 422),
    (errors.Unauthenticated(), 401),
    (errors.Forbidden("no"), 403),
    (errors.StorageUnavailable("no"), 503),
    (errors.IllegalTransition("no"), 409),
]


@pytest.mark.parametrize(("error", "status"), ERRORS)
def test_each_error_has_one_status_and_keeps_its_code(error: errors.CoreError, status: int) -> None:
    problem = from_core_error(error)
    assert (problem.status, problem.code) == (status, error.code)


def test_schema_errors_point_into_the_request_body() -> None:
    problem = from_core_error(errors.InputInvalid("no", [errors.FieldError("/text", "is required")]))
    assert problem.fields[0].pointer == "/input/text"


def test_an_error_nobody_foresaw_is_none() -> None:
    assert as_problem(ValueError("secret")) is None


def test_the_callers_trace_id_is_kept_and_a_bad_one_replaced() -> None:
    assert trace_id_of(f"00-{'a' * 32}-{'b' * 16}-01") == "a" * 32
    drawn = {trace_id_of(text) for text in ("00-zz-11-01", "", "") for _ in range(200)}
    assert len(drawn) == 600
    assert {len(one) for one in drawn} == {32}


def test_times_are_rfc_3339_in_utc_with_milliseconds() -> None:
    assert timestamp(0) == "1970-01-01T00:00:00.000Z"
    assert timestamp(1_700_000_000_007) == "2023-11-14T22:13:20.007Z"
