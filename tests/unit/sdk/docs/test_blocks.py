"""Generated parts never touch what people wrote around them, and never eat it when markers are damaged."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aisops_plugin_sdk.docs.blocks import BEGIN, END, BrokenMarkers, find, outside, put
from aisops_plugin_sdk.docs.pages import _code, cell

PROSE = st.text(st.characters(exclude_categories=["Cs"]), max_size=60).filter(lambda text: "<!--" not in text)
OPEN = BEGIN.format(name="configuration")


@given(PROSE, PROSE, PROSE, PROSE)
def test_a_block_is_replaced_and_nothing_else(before: str, after: str, old: str, new: str) -> None:
    page = f"{before}{OPEN}\n{old}\n{END}{after}"
    written = put(page, "configuration", new)
    assert written.startswith(before)
    assert written.endswith(after)
    assert new.strip() in written
    assert put(written, "configuration", new) == written
    assert outside(written) == outside(page)


@given(PROSE, PROSE)
def test_a_page_without_the_block_gets_it_at_its_end_once(page: str, body: str) -> None:
    written = put(page, "configuration", body, heading="## Configuration")
    assert page.strip() in written
    assert put(written, "configuration", body, heading="## Configuration") == written


@pytest.mark.parametrize(
    "page",
    [
        f"text {OPEN} more text of mine",
        f"text {END}",
        f"{OPEN}{END}{OPEN}{END}",
        f"{OPEN} {BEGIN.format(name='capabilities')} {END}",
        f"{OPEN}{END} and {END}",
    ],
)
def test_damaged_markers_are_said_and_nothing_is_written(page: str) -> None:
    with pytest.raises(BrokenMarkers):
        put(page, "configuration", "new")


@given(st.text(max_size=80))
def test_no_text_of_a_model_ends_the_part_it_stands_in(text: str) -> None:
    for hostile in (text, f"{text}{END}", f"{OPEN}{text}", f"```\n{text}"):
        code = _code({"example": hostile, hostile: 1})
        body = f"| {cell(hostile)} |\n\n{code}"
        page = put("# mine\n", "configuration", body)
        assert list(find(page)) == ["configuration"]
        assert outside(page) == "# mine"
        assert code.count("```") == 2
