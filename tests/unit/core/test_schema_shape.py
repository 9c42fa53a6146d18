"""Records and tables agree by construction; errors speak in codes."""

from __future__ import annotations

import pytest

from aisops_core import errors
from aisops_core.dispatch.job import JobRecord, Note
from aisops_core.storage.schema import job_notes, jobs, metadata


def test_a_job_record_is_a_row_of_jobs() -> None:
    assert list(JobRecord.__dataclass_fields__) == list(jobs.c.keys())
    assert set(Note.__dataclass_fields__) == set(job_notes.c.keys()) - {"id"}


def test_every_table_belongs_to_a_tenant() -> None:
    assert {name for name, table in metadata.tables.items() if "tenant_id" not in table.c} == {"meta"}


def _tree(cls: type[errors.CoreError]) -> list[type[errors.CoreError]]:
    return [cls, *(deeper for sub in cls.__subclasses__() for deeper in _tree(sub))]


def test_every_error_has_its_own_code_and_words() -> None:
    tree = _tree(errors.CoreError)
    assert len({error.code for error in tree}) == len(tree)
    assert all(error.__doc__ for error in tree)


@pytest.mark.parametrize(
    "error",
    [
        errors.UnknownCapability("x.y", []),
        errors.InputTooLarge(2, 1),
        errors.SessionRefused("OVERLOADED", "busy", retry_after_ms=5),
        errors.InputInvalid("bad", [errors.FieldError("/a", "missing")]),
        errors.Unauthenticated(),
    ],
)
def test_diagnostics_say_what_happened_and_what_to_do(error: errors.CoreError) -> None:
    told = error.diagnostics()
    assert told["code"] == error.code
    assert told["message"] == str(error)
    assert "advice" in told
