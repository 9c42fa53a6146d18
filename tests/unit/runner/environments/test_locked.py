"""Locks: what is understood is written anew, everything else is refused."""

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aisops_runner.environments import locked
from aisops_runner.environments.locked import Pin
from aisops_runner.errors import PluginRefused

DIGEST = "0a" * 32
HEX = st.binary(min_size=32, max_size=32).map(bytes.hex)
PINS = st.builds(
    Pin,
    st.text("abz09-", min_size=1, max_size=9).map(lambda text: re.sub("-+", "-", f"a{text}0")),
    st.lists(st.integers(0, 99), min_size=1, max_size=4).map(lambda parts: ".".join(map(str, parts))),
    st.lists(HEX, min_size=1, max_size=3, unique=True).map(lambda found: tuple(sorted(found))),
    st.sampled_from(["", 'python_version >= "3.11"', 'sys_platform == "linux"']),
)


@given(st.lists(PINS, max_size=6))
def test_what_is_written_is_read_back(pins: list[Pin]) -> None:
    assert locked.parse(locked.render(pins)) == pins


def test_the_form_of_lock_tools_is_read() -> None:
    other = "0b" * 32
    text = f"# by a tool\nacme-chat==1.0 \\\n    --hash=sha256:{DIGEST} \\\n    --hash=sha256:{other}\n    # via x\n"
    assert locked.parse(text) == [Pin("acme-chat", "1.0", (DIGEST, other))]


@pytest.mark.parametrize(
    "line",
    [
        "--index-url https://example.invalid", "-r other.txt", "-e .", "acme==1", "acme==1 --hash=md5:00",
        f"acme @ https://example.invalid/a.whl --hash=sha256:{DIGEST}", f"acme>=1 --hash=sha256:{DIGEST}",
        f"acme==1.* --hash=sha256:{DIGEST}", f"acme===1 --hash=sha256:{DIGEST}", "acme==1 --hash=sha256:00",
        f"acme==1 --hash=sha256:{DIGEST} --global-option=x",
    ],
)  # fmt: skip
def test_anything_but_exact_versions_with_hashes_is_refused(line: str) -> None:
    with pytest.raises(PluginRefused, match="lock cannot be used"):
        locked.parse(line)


@given(st.text(max_size=200))
def test_no_text_gets_more_than_pins_past_the_reader(text: str) -> None:
    try:
        pins = locked.parse(text)
    except PluginRefused:
        return
    for line in locked.render(pins).splitlines():
        assert locked.parse(line)


def test_a_package_must_be_named_once() -> None:
    pin = Pin("acme", "1", (DIGEST,))
    assert locked.find([pin], "acme") is pin
    for pins in ([], [pin, pin]):
        with pytest.raises(PluginRefused):
            locked.find(pins, "acme")
    assert locked.narrowed([Pin("acme", "1", (DIGEST, "0b" * 32))], {"acme": DIGEST}) == [pin]
