"""What the YAML reader takes, what it refuses and where, and that no bytes get anything else out of it."""

from __future__ import annotations

import contextlib

import pytest
import yaml
from hypothesis import example, given
from hypothesis import strategies as st

from aisops_runner.adapters.foreign.strict_yaml import LIMIT_BYTES, MAX_DEPTH, YamlRefused, load

TEXTS = st.text(st.characters(exclude_categories=("Cs",)), max_size=20)
TREES = st.recursive(TEXTS, lambda inner: st.lists(inner, max_size=4) | st.dictionaries(TEXTS, inner, max_size=4))


@pytest.mark.parametrize(
    ("text", "line", "reason"),
    [
        ("a: 1\nb: &x 2\n", 2, "anchor"),
        ("a: &x [1]\nb: *x\n", 1, "anchor"),
        ("a: 1\nb: *x\n", 2, "alias"),
        ("a: !!python/object/apply:os.system [id]\n", 1, "tag"),
        ("a: !!str 1\n", 1, "tag"),
        ("a: ! x\n", 1, "tag"),
        ("a: 1\nb: 2\na: 3\n", 3, "'a' appears twice"),
        ("a: {b: 1, b: 2}\n", 1, "'b' appears twice"),
        ("? [a]\n: 1\n", 1, "only texts are keys"),
        ("a: 1\n---\nb: 2\n", 2, "second document"),
        ("a: [1\n", 2, "not YAML"),
        ("a:\n\t- 1\n", 2, "not YAML"),
        ('a: "\\ud800"\n', 1, "surrogate"),
        ("[" * (MAX_DEPTH + 1), 1, "deeper"),
        ("", 0, "empty"),
        ("# nothing\n", 0, "empty"),
        ("a: \0\n", 0, "not YAML"),
        ('a: "\\UFFFFFFFF"\n', 0, "not YAML"),
    ],
)
def test_what_is_refused_is_named_with_its_line(text: str, line: int, reason: str) -> None:
    with pytest.raises(YamlRefused, match=reason) as refusal:
        load(text.encode())
    assert refusal.value.line == line


def test_bytes_beyond_the_limit_and_bytes_that_are_no_text_are_refused() -> None:
    with pytest.raises(YamlRefused, match="larger"):
        load(b"a" * (LIMIT_BYTES + 1))
    with pytest.raises(YamlRefused, match="UTF-8") as refusal:
        load(b"a: 1\nb: \xff\n")
    assert refusal.value.line == 2


def test_values_stay_texts_and_only_a_plain_null_is_none() -> None:
    text = "v: 0.10\nt: yes\nd: 2026-11-23\nn: ~\ne:\nq: ''\nw: null\nz: \"null\"\n"
    assert load(text.encode()).content == {
        "v": "0.10", "t": "yes", "d": "2026-11-23", "n": None, "e": None, "q": "", "w": None, "z": "null",
    }  # fmt: skip


def test_every_place_knows_its_line() -> None:
    document = load(b"a:\n  b:\n    - x\n    - y\nc: z\n")
    assert document.line(("a", "b", 1)) == 4
    assert document.line(("c",)) == 5
    assert document.line(("a", "b", 1, "gone")) == 4
    assert document.line(("gone",)) == 1


@given(TREES)
def test_what_yaml_writes_is_read_back(tree: object) -> None:
    """Quoted throughout, so that no text can be taken for a null."""
    written = yaml.safe_dump(tree, default_style='"', allow_unicode=True)
    assert load(written.encode(), limit_bytes=1 << 20).content == tree


@given(st.binary(max_size=200) | st.text("a:-[]{}&*!?|>'\"#%@`,\n \\x0", max_size=200).map(str.encode))
@example(b"%YAML 99999999999999999999999999999999.1\n---\na")
@example(b'"\\U00110000"')
@example(b"\xef\xbb\xbfa: 1")
def test_any_bytes_are_read_or_refused(raw: bytes) -> None:
    with contextlib.suppress(YamlRefused):
        _plain(load(raw).content)


def _plain(value: object) -> None:
    assert value is None or isinstance(value, (str, list, dict))
    for item in value.values() if isinstance(value, dict) else value if isinstance(value, list) else ():
        _plain(item)
