"""Why a stream ends: every code of the contract has a status, and no unexpected text gets out."""

from __future__ import annotations

import pytest
from grpc import StatusCode

from aisops_core import errors
from aisops_core.rpc.ending import GONE, ORDERLY, STATUS, ending, from_error, unexpected
from aisops_protocol.errors import Code, Refusal, RemoteProtocolError


@pytest.mark.parametrize("code", [*Code, *Refusal])
def test_every_code_of_the_contract_has_its_status(code: str) -> None:
    assert code in STATUS
    assert ending(code, "x").trailing_metadata() == (("aisops-reason", str(code)),)


def test_expected_errors_keep_their_words_and_pause() -> None:
    refused = from_error(errors.SessionRefused("OVERLOADED", "too many", retry_after_ms=500))
    assert refused is not None
    assert refused.status is StatusCode.UNAVAILABLE
    assert dict(refused.trailing_metadata()) == {"aisops-reason": "OVERLOADED", "aisops-retry-after-ms": "500"}
    wrong = from_error(RemoteProtocolError(Code.IDENTITY_MISMATCH, "another tenant"))
    assert wrong is not None
    assert wrong.status is StatusCode.PERMISSION_DENIED
    unknown = from_error(errors.Unauthenticated())
    assert unknown is not None
    assert unknown.status is StatusCode.UNAUTHENTICATED
    fenced = from_error(errors.Fenced("runner-1"))
    assert fenced is not None
    assert fenced.code == "FENCED"


def test_an_unexpected_error_has_no_ending_of_its_own_and_tells_nothing() -> None:
    assert from_error(ValueError("secret")) is None
    assert unexpected().status is StatusCode.INTERNAL
    assert "secret" not in unexpected().message


def test_an_orderly_end_says_nothing_more() -> None:
    assert ORDERLY.orderly
    assert ORDERLY.trailing_metadata() == ()
    assert not GONE.orderly
