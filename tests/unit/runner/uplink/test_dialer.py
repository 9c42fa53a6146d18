"""Where a dialer may go, before it goes."""

from __future__ import annotations

import pytest

from aisops_runner.errors import ConfigInvalid
from aisops_runner.uplink.dialer import Endpoint, GrpcDialer, is_loopback


def test_plaintext_to_another_machine_is_refused_unless_asked_for_by_name():
    with pytest.raises(ConfigInvalid, match="allow_plaintext"):
        GrpcDialer(Endpoint("core.example.com", 80, plaintext=True), lambda: None)
    GrpcDialer(Endpoint("core.example.com", 80, plaintext=True, allow_plaintext=True), lambda: None)
    GrpcDialer(Endpoint("127.0.0.1", 50051, plaintext=True), lambda: None)


def test_an_endpoint_shows_no_credentials():
    endpoint = Endpoint("fd00::1", 443, proxy="http://user:secret@proxy:1", key=b"secret")

    assert (endpoint.target, repr(endpoint)) == ("[fd00::1]:443", "Endpoint(https://[fd00::1]:443)")


def test_loopback_is_this_machine_only():
    assert [is_loopback(host) for host in ("localhost", "127.8.8.8", "::1", "10.0.0.1", "core")] == [
        True,
        True,
        True,
        False,
        False,
    ]


def test_messages_name_the_proxy_on_the_way_and_not_its_password():
    endpoint = Endpoint("core.example.com", 443, proxy="http://user:secret@proxy:3128")

    assert endpoint.described == "https://core.example.com:443 through the proxy proxy:3128"
    assert Endpoint("core.example.com", 443, proxy="http://proxy:1", no_proxy="*").described == endpoint.url
