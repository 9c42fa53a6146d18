"""Tokens: what they look like, what they hide, what is refused."""

from __future__ import annotations

import re
import secrets

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aisops_core.errors import Unauthenticated
from aisops_core.identity import tokens
from aisops_core.identity.tokens import TOKEN_PATTERN, matches, mint, parse

PEPPER = b"p" * 32


@given(st.sampled_from(["api", "run"]), st.randoms(use_true_random=False))
def test_every_minted_token_parses_back(kind: tokens.TokenKind, rng: object) -> None:
    token = mint(kind, rng.randbytes)  # type: ignore[attr-defined]
    assert parse(token.text()) == token
    assert re.fullmatch(TOKEN_PATTERN, token.text())


def test_a_token_has_256_bits_and_hides_them() -> None:
    token = mint("api", secrets.token_bytes)
    assert len(token.secret) == 43
    assert token.secret not in repr(token)
    assert token.secret.encode() not in token.hashed(PEPPER)
    assert token.hashed(PEPPER) != token.hashed(b"q" * 32), "worthless without the pepper"


def test_the_form_is_fixed() -> None:
    token = mint("run", lambda n: bytes(n))
    assert token.text() == f"aisops_run_aaaaaaaaaaaa_{'A' * 43}_{token.text()[-6:]}"
    assert parse(token.text()).token_id == "a" * 12


@given(st.data())
def test_any_one_changed_character_is_refused(data: st.DataObject) -> None:
    text = mint("api", lambda n: bytes(range(n))).text()
    at = data.draw(st.integers(0, len(text) - 1))
    other = data.draw(st.characters(codec="utf-8").filter(lambda char: char != text[at]))
    with pytest.raises(Unauthenticated):
        parse(text[:at] + other + text[at + 1 :])


@given(st.text(max_size=200))
def test_no_text_does_harm(text: str) -> None:
    with pytest.raises(Unauthenticated) as caught:
        parse(text)
    assert len(text) < 20 or text not in str(caught.value.diagnostics())


def test_matching_needs_the_stored_hash_of_this_secret() -> None:
    token = mint("api", secrets.token_bytes)
    assert matches(token, token.hashed(PEPPER), PEPPER)
    assert not matches(token, mint("api", secrets.token_bytes).hashed(PEPPER), PEPPER)
    assert not matches(token, None, PEPPER)
    assert not matches(token, b"", PEPPER)
