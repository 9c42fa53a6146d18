"""Where http.request may go: the table. Anything a parser could read differently is refused, not interpreted."""

import ipaddress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aisops_runner.builtins.egress import EgressPolicy, Rule, check_addresses, next_hop, parse_target, refusal
from aisops_runner.errors import PolicyDenied

OPEN = Rule("x", allow_private=True, allow_loopback=True)
CLOSED = Rule("x")
POLICY = EgressPolicy(
    (
        Rule("cmdb.local", frozenset({"http", "https"}), frozenset({443, 8080}), frozenset({"GET", "POST"}), "/api"),
        Rule("*.corp.example"),
        Rule("192.0.2.7", frozenset({"http"})),
        Rule("2001:db8::7", methods=frozenset({"GET"})),
    )
)


@pytest.mark.parametrize(
    ("method", "url"),
    [
        ("GET", "https://cmdb.local/api"),
        ("GET", "https://CMDB.local./api/x?y=1"),
        ("POST", "http://cmdb.local:8080/api/"),
        ("GET", "https://a.corp.example/"),
        ("HEAD", "https://a.b.corp.example/any/path"),
        ("GET", "http://192.0.2.7/"),
        ("GET", "http://192.0.2.7"),
        ("GET", "https://[2001:db8::7]/"),
        ("GET", "https://[2001:0db8:0::7]:443/"),
        ("GET", "HTTPS://cmdb.local/api/%41"),
    ],
)
def test_listed_calls_pass(method: str, url: str) -> None:
    POLICY.check(method, parse_target(url))


@pytest.mark.parametrize(
    ("method", "url"),
    [
        ("DELETE", "https://cmdb.local/api"),
        ("get", "https://cmdb.local/api"),
        ("GET\r\nX: y", "https://cmdb.local/api"),
        ("GET", "https://cmdb.local/"),
        ("GET", "https://cmdb.local/apix"),
        ("GET", "https://cmdb.local/API"),
        ("GET", "https://cmdb.local/api%2f..%2fadmin"),
        ("GET", "https://cmdb.local/api/%252e%252e/admin"),
        ("GET", "https://cmdb.local/api%5c..%5cadmin"),
        ("GET", "https://cmdb.local:9999/api"),
        ("GET", "http://cmdb.local/api"),
        ("GET", "https://corp.example/"),
        ("GET", "https://evilcorp.example/"),
        ("GET", "https://a.corp.example.evil.test/"),
        ("GET", "http://a.corp.example/"),
        ("POST", "https://a.corp.example/"),
        ("GET", "https://a.corp.example:8443/"),
        ("GET", "https://192.0.2.7/"),
        ("GET", "http://192.0.2.8/"),
        ("GET", "https://[2001:db8::8]/"),
        ("GET", "https://unlisted.test/"),
        ("GET", "https://cmdb.local.evil.test/api"),
    ],
)
def test_what_is_not_listed_is_denied(method: str, url: str) -> None:
    with pytest.raises(PolicyDenied):
        POLICY.check(method, parse_target(url))


def test_an_empty_policy_allows_nothing_and_says_so() -> None:
    with pytest.raises(PolicyDenied, match=r"no .* rule"):
        EgressPolicy().check("GET", parse_target("https://cmdb.local/api"))


@pytest.mark.parametrize(
    "url",
    [
        "", "/", "//cmdb.local/api", "cmdb.local/api", "ftp://cmdb.local/", "file:///etc/passwd",
        "gopher://cmdb.local/",
        "javascript:alert(1)", "data:text/plain,x", "unix:///var/run/docker.sock", "http:/cmdb.local/",
        "http:cmdb.local",
        "http:///api", "https://", "https://:443/", "https://user@cmdb.local/api", "https://user:pw@cmdb.local/api",
        "https://cmdb.local@169.254.169.254/", "https://169.254.169.254@cmdb.local/api", "https://@cmdb.local/api",
        "https://cmdb.local\\@evil.test/", "https:\\\\cmdb.local\\api", "https://cmdb.local\\.evil.test/",
        "https://cmdb.local/api\r\nHost: evil", "https://cmdb.local/api\n", "https://cmdb.local/a b",
        " https://cmdb.local/",
        "\thttps://cmdb.local/", "https://cmdb.local/\x00", "https://cmdb.lo\u0441al/api",
        "https://cmdb\u3002local/api",
        "https://cmdb%2elocal/api", "https://cmdb.local%00.evil.test/", "https://cmdb.local:0/api",
        "https://cmdb.local:99999/",
        "https://cmdb.local:abc/", "https://cmdb.local:/api", "https://cmdb.local:-1/",
        "https://cmdb.local/api/../admin",
        "https://cmdb.local/api/./x", "https://cmdb.local/api/%2e%2e/admin", "https://cmdb.local/api/.%2E/admin",
        "http://2130706433/", "http://0x7f000001/", "http://0x7f.1/", "http://0177.0.0.1/", "http://017700000001/",
        "http://127.1/", "http://127.0.1/", "http://1/", "http://0/", "http://256.256.256.256/", "http://1.2.3.4.5/",
        "http://127.0.0.1./x/../", "http://127.0.0.01/", "http://0x/", "http://127.0.0.0x1/", "http://a.0x7f/",
        "http://a.1/",
        "http://[::1/", "http://::1/", "http://[::1]]/", "http://[fe80::1%25eth0]/", "http://[fe80::1%eth0]/",
        "http://[v1.x]/",
        "http://[127.0.0.1]/", "http://[cmdb.local]/", "http://-cmdb.local/", "http://cmdb-.local/",
        "http://cmdb..local/",
        "http://.cmdb.local/", "http://" + "a" * 64 + ".test/", "http://" + "a." * 130 + "test/",
        "https://cmdb.local/" + "a" * 9000,
        "http://*.corp.example/", "http://cmdb.local;evil.test/", "http://cmdb.local,evil.test/",
        "http://<cmdb.local>/",
        "https://cmdb.local/{x}", 'https://cmdb.local/"', "https://cmdb.local/`id`", "https://cmdb.local/a|b",
        "https://cmdb.local/a^b",
    ],
)  # fmt: skip
def test_urls_that_could_be_read_in_two_ways_are_refused(url: str) -> None:
    with pytest.raises(PolicyDenied):
        parse_target(url)


@pytest.mark.parametrize(
    "address",
    [
        "169.254.169.254", "169.254.170.2", "169.254.0.1", "100.100.100.200", "168.63.129.16", "192.0.0.192",
        "fd00:ec2::254",
        "fd00:ec2::23", "fd20:ce::254", "fe80::1", "fe80::a9fe:a9fe", "0.0.0.0", "0.1.2.3", "::", "224.0.0.1",
        "239.255.255.255",
        "240.0.0.1", "255.255.255.255", "ff02::1", "ff0e::1", "fec0::1", "::ffff:169.254.169.254", "::ffff:0.0.0.0",
        "::ffff:100.100.100.200", "64:ff9b::a9fe:a9fe", "64:ff9b::0.0.0.0", "2002:a9fe:a9fe::1", "::169.254.169.254",
        "2001:0:a9fe:a9fe::", "::ffff:224.0.0.1", "64:ff9b:1::1",
    ],
)  # fmt: skip
def test_addresses_that_no_rule_can_allow(address: str) -> None:
    assert refusal(OPEN, ipaddress.ip_address(address))


@pytest.mark.parametrize(
    "address",
    [
        "10.0.0.1", "10.255.255.255", "172.16.0.1", "172.31.255.255", "192.168.1.1", "100.64.0.1", "fc00::1", "fdff::1",
        "::ffff:10.0.0.1", "64:ff9b::a00:1", "2002:a00:1::1",
    ],
)  # fmt: skip
def test_private_addresses_need_the_rules_word(address: str) -> None:
    assert "allow_private" in refusal(Rule("x", allow_loopback=True), ipaddress.ip_address(address))
    assert not refusal(Rule("x", allow_private=True), ipaddress.ip_address(address))


@pytest.mark.parametrize(
    "address", ["127.0.0.1", "127.255.255.254", "::1", "::ffff:127.0.0.1", "2002:7f00:1::1", "64:ff9b::7f00:1"]
)
def test_loopback_needs_the_rules_word(address: str) -> None:
    assert "allow_loopback" in refusal(Rule("x", allow_private=True), ipaddress.ip_address(address))
    assert not refusal(Rule("x", allow_loopback=True), ipaddress.ip_address(address))


@pytest.mark.parametrize(
    "address", ["8.8.8.8", "172.32.0.1", "172.15.0.1", "192.167.1.1", "100.128.0.1", "2606:4700::1", "11.0.0.1"]
)
def test_public_addresses_need_nothing_more(address: str) -> None:
    assert not refusal(CLOSED, ipaddress.ip_address(address))


def test_one_bad_address_condemns_the_name() -> None:
    target = parse_target("https://x.test/")
    assert check_addresses(CLOSED, target, ["8.8.8.8", "8.8.4.4"]) == ["8.8.8.8", "8.8.4.4"]
    for addresses in (["8.8.8.8", "127.0.0.1"], ["10.0.0.1", "8.8.8.8"], ["fe80::1%eth0"], []):
        with pytest.raises(PolicyDenied):
            check_addresses(CLOSED, target, addresses)


@pytest.mark.parametrize(
    ("method", "status", "after", "keeps_body"),
    [
        ("GET", 301, "GET", True), ("POST", 301, "GET", False), ("POST", 302, "GET", False), ("PUT", 302, "PUT", True),
        ("POST", 303, "GET", False), ("HEAD", 303, "HEAD", False), ("DELETE", 303, "GET", False), ("POST", 307,
        "POST", True),
        ("POST", 308, "POST", True),
    ],
)  # fmt: skip
def test_redirects_change_the_method_as_browsers_do(method: str, status: int, after: str, keeps_body: bool) -> None:
    hop = next_hop(method, status, "/next", parse_target("https://a.test/x"))
    assert hop is not None
    assert (hop.method, hop.keep_body, hop.keep_credentials) == (after, keeps_body, True)
    assert hop.target.url == "https://a.test/next"


@pytest.mark.parametrize("location", ["https://b.test/", "https://a.test:444/", "//b.test/"])
def test_credentials_do_not_follow_to_another_origin(location: str) -> None:
    hop = next_hop("GET", 302, location, parse_target("https://a.test/"))
    assert hop is not None
    assert not hop.keep_credentials


@pytest.mark.parametrize(
    "location", ["http://a.test/", "ftp://a.test/", "https://u@a.test/", "http://[::1", "https://a.test/a b"]
)
def test_redirects_that_cannot_be_trusted_are_denied(location: str) -> None:
    with pytest.raises(PolicyDenied):
        next_hop("GET", 302, location, parse_target("https://a.test/"))


@pytest.mark.parametrize(("status", "location"), [(200, "/x"), (304, "/x"), (300, "/x"), (302, "")])
def test_other_answers_are_no_redirects(status: int, location: str) -> None:
    assert next_hop("GET", status, location, parse_target("https://a.test/")) is None


@given(st.text(max_size=60))
def test_no_text_makes_the_parser_raise_anything_else(tail: str) -> None:
    for head in ("", "http://", "https://[", "http://a.test/"):
        try:
            target = parse_target(head + tail)
        except PolicyDenied:
            continue
        assert parse_target(target.url) == target, "what is sent is what was checked"
