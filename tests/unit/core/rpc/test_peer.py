"""Who is calling: exactly one well-formed bearer token, and a certificate that is valid now."""

from __future__ import annotations

import datetime as dt

import pytest
import trustme

from aisops_core.errors import SessionRefused, Unauthenticated
from aisops_core.rpc.peer import address_of, certificate_of, token_of

NOW = dt.datetime(2030, 1, 1, tzinfo=dt.UTC)


@pytest.mark.parametrize(
    ("peer", "address"),
    [
        ("ipv4:192.0.2.1:50000", "192.0.2.1:50000"),
        ("ipv6:%5B2001:db8::1%5D:50000", "[2001:db8::1]:50000"),
        ("ipv6:[::1]:50000", "[::1]:50000"),
        ("unix:/run/core.sock", "unix:/run/core.sock"),
        ("", ""),
    ],
)
def test_the_address_of_a_caller(peer: str, address: str) -> None:
    assert address_of(peer) == address


def test_one_bearer_token_is_taken() -> None:
    assert token_of([("user-agent", "x"), ("authorization", "Bearer abc")]) == "abc"


@pytest.mark.parametrize(
    "metadata",
    [
        [],
        [("authorization", "abc")],
        [("authorization", "Bearer ")],
        [("authorization", "Bearer a b")],
        [("authorization", b"Bearer abc")],
        [("authorization", "Bearer abc"), ("authorization", "Bearer abc")],
        [("authorization", "Bearer " + "a" * 257)],
    ],
)
def test_everything_else_is_refused_alike(metadata: list[tuple[str, str | bytes]]) -> None:
    with pytest.raises(Unauthenticated) as caught:
        token_of(metadata)
    assert "abc" not in str(caught.value)


def test_a_certificate_is_checked_against_the_time_given() -> None:
    ca = trustme.CA()
    pem = ca.issue_cert("runner", not_before=NOW, not_after=NOW + dt.timedelta(hours=1))
    found = certificate_of({"x509_pem_cert": [pem.cert_chain_pems[0].bytes()]})
    assert found is not None
    found.check(NOW)
    with pytest.raises(SessionRefused) as early:
        found.check(NOW - dt.timedelta(seconds=1))
    with pytest.raises(SessionRefused) as late:
        found.check(NOW + dt.timedelta(hours=1, seconds=1))
    assert (early.value.reason, late.value.reason) == ("NOT_ACTIVE", "EXPIRED")


def test_no_certificate_is_none_and_nonsense_is_refused() -> None:
    assert certificate_of({}) is None
    with pytest.raises(SessionRefused):
        certificate_of({"x509_pem_cert": [b"nonsense"]})
