"""Which names a plugin may have, and what is named after it."""

from __future__ import annotations

import keyword
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aisops_plugin_sdk import Plugin
from aisops_plugin_sdk.scaffold.naming import BadName, names_of

GOOD = st.from_regex(r"[a-z][a-z0-9]{0,6}(-[a-z0-9]{1,6}){0,3}", fullmatch=True).filter(lambda name: len(name) <= 32)


@given(GOOD)
def test_a_good_name_gives_names_that_python_pip_and_the_sdk_take(name: str) -> None:
    names = names_of(name)
    assert Plugin(names.name).name == name
    assert names.module.isidentifier()
    assert not keyword.iskeyword(names.module)
    assert f"{names.class_name}Config".isidentifier()
    assert re.fullmatch(r"[A-Z][A-Z0-9_]*", names.env)
    assert re.fullmatch(r"[a-z][a-z0-9_]*\.send", names.capability)


@pytest.mark.parametrize(
    "name",
    [
        *("", "Acme", "acme_chat", "acme--chat", "-acme", "acme-", "1acme", "../acme", "acme/chat", "acme chat"),
        *("a" * 33, "에이", "aisops-plugin-acme", "acme\n", "acme;rm", "${HOME}"),
    ],
)
def test_other_names_are_refused(name: str) -> None:
    with pytest.raises(BadName):
        names_of(name)
