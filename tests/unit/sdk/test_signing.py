"""The internal signature: the original's seven vectors, and everything that must not pass."""

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aisops_plugin_sdk.errors import SignatureRefused
from aisops_plugin_sdk.signing import NonceMemory, Verifier, headers, sign

TOKEN = "conformance-token"
NOW = 1_700_000_000
VECTORS = [
    ("POST", "/send", '{"target":"#ops","text":"deployment failed"}', "rllRw7mcXrU6lRDxQOjzsNIn9F2DqMKU6XLBb+kAkHA="),
    ("POST", "/send?delay_ms=250", "{}", "x1FHINzskF+Z8eAn0M4BFiEoVk10n8/icYekSMmtxKc="),
    ("POST", "/send?", "{}", "xU7boCeTDpG0ofAIoigI6mJZIrRH5F3y8pMoXjgiLSE="),
    ("POST", "/send?a=1?b=2", "{}", "r9s8d0cT1hRj72VkCddZL+YJStcZ7s84alQHT6SQAuA="),
    ("GET", "/api/internal/approvals/ex%201/s1", "", "4kQ9xhf6XgBUp2gqrUAgu2sOuZYSCvP2Gy32ZVkq8zo="),
    ("POST", "/send", '{"text":"한글 알림 🚨"}', "zIQ0e4N8FaiQbtIhnL2FhDpBKlVU/nSI3+5G1KgFGS4="),
    ("POST", "", "", "8uKkwga7mycxZttePRBtoPcf85elmU0uKWpzB2sIVDM="),
]


def refusal(received, *, token=TOKEN, now=NOW, method="POST", target="/send", body=b"{}"):
    """Verify and return the status of the refusal, or 200."""
    pairs = received.items() if isinstance(received, dict) else received
    try:
        Verifier(token).verify(pairs, now=now, method=method, raw_target=target, body=body)
    except SignatureRefused as error:
        return error.http_status
    return 200


def signed(**changed):
    """A valid set of headers for POST /send {}, with some of them replaced (None removes one)."""
    good = headers(TOKEN, now=NOW, method="POST", raw_target="/send", body=b"{}")
    good |= changed
    return {name: value for name, value in good.items() if value is not None}


@pytest.mark.parametrize(("method", "target", "body", "expected"), VECTORS)
def test_the_seven_vectors_of_the_original_are_reproduced(method, target, body, expected):
    assert sign(TOKEN, str(NOW), method, target, body.encode()) == f"sha256={expected}"


@pytest.mark.parametrize(("method", "target", "body", "expected"), VECTORS)
def test_what_we_sign_we_accept(method, target, body, expected):
    sent = headers(TOKEN, now=NOW, method=method, raw_target=target, body=body.encode(), nonce="n-1")
    assert refusal(sent, method=method, target=target, body=body.encode()) == 200


@pytest.mark.parametrize(("off", "status"), [(-302, 401), (-301, 401), (-300, 200), (299, 200), (300, 200), (301, 401)])
def test_exactly_300_seconds_pass_and_301_do_not(off, status):
    assert refusal(signed(), now=NOW + off) == status


@pytest.mark.parametrize("token", [None, ""])
def test_without_a_configured_token_the_answer_is_503_whatever_was_sent(token):
    assert refusal(signed(), token=token) == 503
    assert refusal({}, token=token) == 503


@pytest.mark.parametrize("name", ["X-Internal-Auth", "X-Internal-Timestamp", "X-Internal-Signature"])
def test_every_header_is_needed_and_none_may_come_twice(name):
    assert refusal(signed(**{name: None})) == 401
    assert refusal([*signed().items(), (name.lower(), signed()[name])]) == 401


@pytest.mark.parametrize(
    "timestamp",
    [
        "",
        " 1700000000",
        "1700000000 ",
        "1.7e9",
        "0x6553f100",
        "Infinity",
        "-1",
        "nan",
        str(2**63),
        "１７００００００００",
    ],
)
def test_a_timestamp_is_plain_digits(timestamp):
    sent = signed(
        **{"X-Internal-Timestamp": timestamp, "X-Internal-Signature": sign(TOKEN, timestamp, "POST", "/send", b"{}")}
    )
    assert refusal(sent) == 401


def test_other_spellings_of_the_signature_are_refused():
    good = signed()["X-Internal-Signature"]
    for other in (
        good.upper(),
        good.rstrip("="),
        good.replace("+", "-").replace("/", "_") + "x",
        good + "=",
        good + "\n",
        good.removeprefix("sha256="),
        "sha256=" + good,
        "",
    ):
        assert refusal(signed(**{"X-Internal-Signature": other})) == 401


def test_a_token_of_another_length_or_case_is_refused():
    for token in (TOKEN.upper(), TOKEN[:-1], TOKEN + "x", "", "토큰"):
        assert refusal(signed(**{"X-Internal-Auth": token})) == 401


def test_header_names_may_have_any_case():
    assert refusal({name.upper(): value for name, value in signed().items()}) == 200


def test_the_path_is_signed_as_sent_not_decoded():
    sent = headers(TOKEN, now=NOW, method="POST", raw_target="/a%2Fb", body=b"")
    assert refusal(sent, target="/a%2Fb", body=b"") == 200
    assert refusal(sent, target="/a/b", body=b"") == 401


def test_a_nonce_seen_before_is_refused_with_409():
    verifier = Verifier(TOKEN)
    sent = headers(TOKEN, now=NOW, method="POST", raw_target="/send", body=b"{}", nonce="once")
    verifier.verify(sent.items(), now=NOW, method="POST", raw_target="/send", body=b"{}")
    with pytest.raises(SignatureRefused) as refused:
        verifier.verify(sent.items(), now=NOW + 1, method="POST", raw_target="/send", body=b"{}")
    assert (refused.value.http_status, refused.value.code) == (409, "replayed")


def test_a_nonce_is_remembered_only_after_the_signature_was_right():
    verifier = Verifier(TOKEN)
    sent = headers(TOKEN, now=NOW, method="POST", raw_target="/send", body=b"{}", nonce="once")
    with pytest.raises(SignatureRefused):
        verifier.verify(sent.items(), now=NOW, method="POST", raw_target="/send", body=b"other")
    verifier.verify(sent.items(), now=NOW, method="POST", raw_target="/send", body=b"{}")


@pytest.mark.parametrize("nonce", ["", "a b", "x" * 129, "널"])
def test_a_nonce_must_be_short_and_plain(nonce):
    assert refusal(signed(**{"X-Internal-Nonce": nonce})) == 401


def test_the_memory_of_nonces_is_bounded_in_number_and_time():
    memory = NonceMemory(capacity=3)
    assert all(memory.is_new(str(number), NOW) for number in range(5))
    assert len(memory) == 3
    assert memory.is_new("0", NOW), "the oldest was forgotten"
    assert not memory.is_new("4", NOW)
    assert memory.is_new("4", NOW + 601)
    assert len(memory) == 1


def test_a_verifier_does_not_show_its_token():
    assert TOKEN not in repr(Verifier(TOKEN))


@given(body=st.binary(max_size=200), target=st.text(st.characters(min_codepoint=33, max_codepoint=126), max_size=60))
def test_any_body_and_target_verify_as_sent(body, target):
    sent = headers(TOKEN, now=NOW, method="PUT", raw_target=target, body=body)
    assert refusal(sent, method="PUT", target=target, body=body) == 200


def test_no_mutant_of_the_signed_bytes_is_accepted():
    rng = random.Random(7)
    sent = signed()
    body = b'{"target":"#ops","text":"deployment failed"}'
    sent = headers(TOKEN, now=NOW, method="POST", raw_target="/send?a=1", body=body)
    for _ in range(10_000):
        mutant, target, method = bytearray(body), bytearray(b"/send?a=1"), "POST"
        part = rng.choice(("body", "target", "method"))
        if part == "method":
            method = rng.choice(("GET", "PUT", "POSTS", "POS"))
        else:
            changed = mutant if part == "body" else target
            changed[rng.randrange(len(changed))] ^= 1 << rng.randrange(7)
        assert refusal(sent, method=method, target=target.decode("latin-1"), body=bytes(mutant)) == 401
