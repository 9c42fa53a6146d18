"""Outgoing requests: what never left, what left, and redirects are told apart."""

import socket

import pytest

from aisops_plugin_sdk import Ambiguous, NotConfigured, Permanent, Transient
from aisops_plugin_sdk.addresses import is_loopback
from aisops_plugin_sdk.outbound import Outbound, base_url, read_at_most, trusting

pytestmark = pytest.mark.integration


async def post(url, *, timeout_s=5.0):
    """Post once through an Outbound."""
    async with (
        Outbound(url) as outbound,
        outbound.attempt("Acme", timeout_s),
        outbound.session.post(url, json={}) as answer,
    ):
        return await read_at_most(answer, 10)


async def test_an_answer_comes_through_and_is_cut(fake_provider):
    fake_provider.answer("/a", b"x" * 100)
    assert await post(f"{fake_provider.url}/a") == b"x" * 10


async def test_a_refused_connection_left_nothing():
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        with pytest.raises(Transient):
            await post(f"http://127.0.0.1:{unused.getsockname()[1]}/a")


@pytest.mark.parametrize("fault", ["drop", "half"])
async def test_a_dropped_connection_is_ambiguous_and_sent_once(fake_provider, fault):
    getattr(fake_provider, fault)("/a")
    with pytest.raises(Ambiguous):
        await post(f"{fake_provider.url}/a")
    assert len(fake_provider.requests) == 1


async def test_a_provider_that_does_not_answer_in_time_is_ambiguous(fake_provider):
    fake_provider.hang("/a")
    with pytest.raises(Ambiguous):
        await post(f"{fake_provider.url}/a", timeout_s=0.1)


async def test_a_redirect_is_not_followed(fake_provider):
    fake_provider.answer("/a", {}, status=302, headers={"Location": "/b"})
    with pytest.raises(Permanent, match="redirect"):
        await post(f"{fake_provider.url}/a")
    assert fake_provider.to("/b") == []


@pytest.mark.parametrize(
    "text",
    ["http://acme.example", "ftp://acme.example", "https://", "https://u:p@acme.example", "https://acme.example?x=1"],
)
def test_addresses_that_would_leak_credentials_are_refused(text):
    with pytest.raises(ValueError, match="must"):
        base_url(text)


def test_good_addresses_lose_their_trailing_slash():
    assert base_url("https://acme.example/api/") == "https://acme.example/api"
    assert base_url("http://127.0.0.1:80/") == "http://127.0.0.1:80"
    assert is_loopback("localhost")
    assert not is_loopback("localhost.evil.example")


def test_a_missing_file_of_authorities_is_a_matter_of_configuration(tmp_path):
    with pytest.raises(NotConfigured):
        trusting(str(tmp_path / "none.pem"))
