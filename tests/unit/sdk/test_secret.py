"""Secrets do not show themselves."""

import copy
import pickle

import pytest
from pydantic import BaseModel

from aisops_plugin_sdk import Secret
from aisops_plugin_sdk.secret import Redactor, secrets_in


def test_no_way_of_printing_shows_the_value():
    secret = Secret("hunter22")
    shown = [repr(secret), str(secret), f"{secret}", f"{secret:>20}", f"{secret!r}", f"{secret}", repr([secret])]
    assert not any("hunter22" in text for text in shown)
    assert secret.reveal() == "hunter22"


def test_models_print_and_dump_it_masked():
    class Holder(BaseModel):
        token: Secret

    holder = Holder(token=Secret("hunter22"))
    assert "hunter22" not in repr(holder) + str(holder.model_dump()["token"]) + holder.model_dump_json()


def test_it_is_not_pickled():
    with pytest.raises(TypeError):
        pickle.dumps(Secret("hunter22"))
    with pytest.raises(TypeError):
        copy.deepcopy(Secret("hunter22"))


def test_equality_and_truth_are_those_of_the_text():
    assert Secret("a") == Secret("a")
    assert Secret("a") != Secret("b")
    assert Secret("a") != "a"
    assert not Secret("")
    assert len({Secret("a"), Secret("a")}) == 1


def test_the_longest_secret_is_removed_first():
    assert Redactor(["abcd", "abcdefgh"]).text("x abcdefgh abcd") == "x *** ***"


def test_texts_of_three_characters_are_not_treated_as_secrets():
    assert Redactor(["abc", ""]).text("abc") == "abc"


def test_secrets_are_found_wherever_they_are():
    class Inner(BaseModel):
        key: Secret

    class Outer(BaseModel):
        one: Secret
        many: dict[str, Inner]
        pair: tuple[Inner, str]

    outer = Outer(one=Secret("1111"), many={"a": Inner(key=Secret("2222"))}, pair=(Inner(key=Secret("3333")), "x"))
    assert secrets_in(outer) == ["1111", "2222", "3333"]
