"""Where outgoing requests may go: by name, by port, by scheme, and by what a name leads to."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import BaseModel, HttpUrl
from yarl import URL

from aisops_plugin_sdk import Permanent
from aisops_plugin_sdk.egress import check_entries, read_egress, read_entry
from aisops_plugin_sdk.errors import ConfigInvalid
from aisops_plugin_sdk.places import place_of

PUBLIC, PRIVATE, LOOPBACK, METADATA, LINK_LOCAL = (
    "203.0.113.7",
    "10.1.2.3",
    "127.0.0.1",
    "169.254.169.254",
    "169.254.9.9",
)
LABEL = st.from_regex(r"[a-z][a-z0-9]{0,8}", fullmatch=True)


def chosen(configured):
    """The values as the operator set them."""
    return {name: (value, True) for name, value in configured.items()}


def passes(check):
    """Whether a check refuses nothing; a refusal must be the one kind there is."""
    try:
        check()
    except Permanent as error:
        return error.code != "egress_denied"
    return True


def allows(entries, address, **configured):
    """Whether a list lets a request to an address through, as far as names decide."""
    return passes(lambda: read_egress(entries, chosen(configured)).check(*place_of(URL(address))))


def leads(entries, host, *addresses, port=443, operators="", **configured):
    """Whether a host may lead to these addresses."""
    return passes(lambda: read_egress(entries, chosen(configured), operators).check_addresses(host, port, addresses))


@pytest.mark.parametrize(
    ("entry", "address", "allowed"),
    [
        ("api.acme.test", "https://api.acme.test/x", True),
        ("api.acme.test", "https://API.acme.test./x", True),
        ("API.Acme.Test.", "https://api.acme.test/x", True),
        ("api.acme.test", "https://api.acme.test:8443/", False),
        ("api.acme.test", "http://api.acme.test/", False),
        ("api.acme.test", "http://api.acme.test:443/", False),
        ("api.acme.test", "https://api.acme.test.evil.test/", False),
        ("api.acme.test", "https://evil.test/api.acme.test", False),
        ("api.acme.test:8443", "https://api.acme.test:8443/", True),
        ("http://api.acme.test", "http://api.acme.test/", True),
        ("http://api.acme.test:8080", "http://api.acme.test:8080/", True),
        ("*.acme.test", "https://api.acme.test/", True),
        ("*.acme.test", "https://a.b.acme.test/", True),
        ("*.acme.test", "https://acme.test/", False),
        ("*.acme.test", "https://evilacme.test/", False),
        ("*.acme.test", "https://10.0.0.1/", False),
        ("10.1.2.3:8443", "https://10.1.2.3:8443/", True),
        ("10.1.2.3:8443", "https://10.1.2.4:8443/", False),
        ("10.0.0.0/8:8443", "https://10.9.9.9:8443/", True),
        ("10.0.0.0/8", "https://11.0.0.1/", False),
        ("10.0.0.0/8", "https://[::ffff:10.0.0.1]/", False),
        ("[2001:db8::7]", "https://[2001:DB8:0::7]/", True),
        ("[fd00::]/16:444", "https://[fd00::1]:444/", True),
        ("localhost:8443", "https://localhost:8443/", True),
        ("localhost:8443", "https://127.0.0.1:8443/", False),
    ],
)
def test_a_place_is_allowed_when_the_list_names_it(entry, address, allowed):
    assert allows([entry], address) is allowed


@pytest.mark.parametrize(
    "spelling",
    ["2130706433", "0x7f000001", "0177.0.0.1", "127.1", "0x7f.1", "017700000001", "127.0.0.1.", "[::ffff:127.0.0.1]"],
)
def test_an_address_in_an_odd_spelling_is_never_somebody_elses_name(spelling):
    assert not allows(["*.acme.test", "api.acme.test"], f"https://{spelling}/")


@pytest.mark.parametrize(
    "address", ["ftp://api.acme.test/", "https://u:p@api.acme.test/", "file:///etc/passwd", "//x/"]
)
def test_only_plain_http_addresses_are_places(address):
    assert not allows(["api.acme.test"], address)


def test_nothing_is_allowed_without_a_list_and_the_refusal_says_how():
    with pytest.raises(Permanent, match=r"egress=\["):
        read_egress(None, {}).check("https", "api.acme.test", 443)
    with pytest.raises(Permanent, match=r"\(nothing\)"):
        read_egress([], {}).check("https", "api.acme.test", 443)


@pytest.mark.parametrize(
    ("entries", "address", "allowed"),
    [
        (["api.acme.test"], PUBLIC, True),
        (["api.acme.test"], PRIVATE, False),
        (["api.acme.test"], LOOPBACK, False),
        (["api.acme.test"], METADATA, False),
        (["api.acme.test"], LINK_LOCAL, False),
        (["api.acme.test"], "::1", False),
        (["api.acme.test"], "::ffff:10.1.2.3", False),
        (["api.acme.test"], "2002:0a01:0203::", False),
        (["api.acme.test"], "64:ff9b::a9fe:a9fe", False),
        (["api.acme.test"], "0.0.0.0", False),
        (["api.acme.test", "10.0.0.0/8"], PRIVATE, True),
        (["api.acme.test", "10.0.0.0/8:8443"], PRIVATE, False),
        (["api.acme.test", PRIVATE], PRIVATE, True),
        (["api.acme.test", "169.254.0.0/16"], LINK_LOCAL, True),
        (["api.acme.test", "169.254.0.0/16"], METADATA, False),
        (["api.acme.test", METADATA], METADATA, True),
        (["*.acme.test"], PRIVATE, False),
    ],
)
def test_a_listed_name_leads_to_public_addresses_and_to_listed_ones(entries, address, allowed):
    assert leads(entries, "api.acme.test", address) is allowed


def test_one_bad_address_condemns_a_name():
    assert not leads(["api.acme.test"], "api.acme.test", PUBLIC, PRIVATE)


def test_this_machine_by_name_is_this_machine():
    assert leads(["localhost"], "localhost", LOOPBACK, "::1")
    assert not leads(["localhost"], "localhost", PRIVATE)


@pytest.mark.parametrize(
    ("address", "allowed"), [(PRIVATE, True), (LOOPBACK, True), (METADATA, False), (LINK_LOCAL, False)]
)
def test_what_the_operator_configured_may_be_inside(address, allowed):
    entries = ["${ACME_URL}"]
    assert leads(entries, "acme.internal", address, ACME_URL="https://acme.internal/api/") is allowed
    assert leads(entries, address, address, ACME_URL=f"https://{address}") is allowed
    assert allows(entries, "https://acme.internal/x", ACME_URL="https://acme.internal/api")
    assert not allows(entries, "https://other.internal/x", ACME_URL="https://acme.internal/api")


def test_the_operators_own_list_adds_to_the_plugins():
    assert leads(["api.acme.test"], "api.acme.test", PRIVATE, operators="api.acme.test:443")
    assert leads(["api.acme.test"], "api.acme.test", PRIVATE, operators="x.test, 10.0.0.0/8")
    with pytest.raises(ConfigInvalid, match="AISOPS_EGRESS"):
        read_egress([], {}, "https://x/y z")


def test_a_default_is_the_authors_word():
    default = read_egress(["${ACME_URL}"], {"ACME_URL": ("https://api.acme.test", False)})
    default.check("https", "api.acme.test", 443)
    default.check_addresses("api.acme.test", 443, [PUBLIC])
    with pytest.raises(Permanent):
        default.check_addresses("api.acme.test", 443, [PRIVATE])
    here = read_egress(["${ACME_URL}"], {"ACME_URL": ("http://127.0.0.1:9000", False)})
    here.check_addresses(LOOPBACK, 9000, [LOOPBACK])


class Account(BaseModel):
    base: str
    note: str = "no address"
    other: HttpUrl | None = None


def test_every_address_in_a_structured_value_counts():
    value = {"a": Account(base="https://a.test"), "b": [Account(base="http://b.test:8080", other="https://c.test/x")]}
    for address in ("https://a.test", "http://b.test:8080", "https://c.test"):
        assert allows(["${ACCOUNTS}"], address, ACCOUNTS=value)
    assert not allows(["${ACCOUNTS}"], "https://d.test", ACCOUNTS=value)


@pytest.mark.parametrize("value", ["https://", "https://exa mple/", "not an address"])
def test_a_configured_value_that_is_no_address_is_a_matter_of_configuration(value):
    with pytest.raises(ConfigInvalid, match="ACME_URL"):
        read_egress(["${ACME_URL}"], {"ACME_URL": (value, True)})


def test_an_unset_value_opens_nothing():
    for value in (None, ""):
        assert not allows(["${ACME_URL}"], "https://api.acme.test", ACME_URL=value)


@pytest.mark.parametrize(
    "entry",
    [
        "*", "*.test", "", "a b", "https://a/b", "a:0", "a:70000", "ftp://a", "u@h.test", "${NOT_THERE}", "$ACME_URL",
        "10.0.0.0/4", "10.0.0.1/8", "acme.test/8", "*.10.0.0.1", "[::1", "::1", "[fe80::1%eth0]", "300.1.2.3",
        "-a.test", "a..test", "*.a.*", "0.0.0.0/0", "1",
    ],
)  # fmt: skip
def test_an_entry_that_cannot_be_meant_is_refused_by_name(entry):
    with pytest.raises(ValueError, match=r".") as refused:
        check_entries([entry], ["ACME_URL"])
    assert entry[:300] in str(refused.value) or repr(entry) in str(refused.value)


def test_a_list_has_an_end():
    check_entries(["${ACME_URL}", *(f"h{n}.test" for n in range(63))], ["ACME_URL"])
    with pytest.raises(ValueError, match="64"):
        check_entries([f"h{n}.test" for n in range(65)], [])


@given(st.text(max_size=80))
def test_any_text_is_an_entry_or_refused_and_a_read_one_covers_itself(text):
    try:
        rule = read_entry(text)
    except ValueError:
        return
    if rule.network is None and not rule.host.startswith("*."):
        assert rule.covers(rule.scheme, rule.host, rule.port)
        assert not rule.covers(rule.scheme, "x" + rule.host, rule.port)


@given(st.lists(LABEL, min_size=2, max_size=4), st.lists(LABEL, min_size=1, max_size=3), LABEL)
def test_a_wildcard_covers_what_is_below_and_nothing_beside(domain, below, beside):
    name = ".".join(domain)
    rule = read_entry(f"*.{name}")
    assert rule.covers("https", ".".join([*below, *domain]), 443)
    assert not rule.covers("https", name, 443)
    assert not rule.covers("https", beside + name, 443)


@given(st.ip_addresses())
def test_no_address_but_a_public_one_is_reached_by_a_vendors_name(address):
    if leads(["api.acme.test"], "api.acme.test", str(address)):
        inward = ("is_loopback", "is_link_local", "is_multicast", "is_unspecified")
        assert not any(getattr(address, name) for name in inward)
        assert not str(address).startswith(("10.", "192.168.", "169.254.", "127.", "fe80", "fd"))
