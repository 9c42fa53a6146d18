"""Each damage changes the file, in the way it says and no other."""

from __future__ import annotations

import random
from pathlib import Path

import pytest

from tests.chaos.injection.damage import PAGE_BYTES, flip_bit, truncate, zero_page

pytestmark = pytest.mark.chaos
SOUND = random.Random(1).randbytes(3 * PAGE_BYTES + 100)


@pytest.fixture
def file(tmp_path: Path) -> Path:
    (tmp_path / "file").write_bytes(SOUND)
    return tmp_path / "file"


@pytest.mark.parametrize("seed", range(20))
def test_one_bit_is_turned_over(file: Path, seed: int) -> None:
    flip_bit(file, random.Random(seed))
    changed = [a ^ b for a, b in zip(file.read_bytes(), SOUND, strict=True) if a != b]
    assert len(changed) == 1
    assert changed[0].bit_count() == 1


@pytest.mark.parametrize("seed", range(20))
def test_one_page_is_made_zeros(file: Path, seed: int) -> None:
    zero_page(file, random.Random(seed))
    content = file.read_bytes()
    assert len(content) == len(SOUND)
    touched = {at // PAGE_BYTES for at, (a, b) in enumerate(zip(content, SOUND, strict=True)) if a != b}
    assert len(touched) == 1
    start = touched.pop() * PAGE_BYTES
    assert not any(content[start : start + PAGE_BYTES])


@pytest.mark.parametrize("seed", range(20))
def test_the_end_is_cut_off(file: Path, seed: int) -> None:
    truncate(file, random.Random(seed))
    content = file.read_bytes()
    assert len(content) < len(SOUND)
    assert SOUND.startswith(content)
