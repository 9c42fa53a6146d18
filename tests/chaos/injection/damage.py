"""What a failing disk does to a file that nobody has open: a bit turned over, a page of zeros, an end cut off."""

from __future__ import annotations

import random
from collections.abc import Callable
from pathlib import Path

PAGE_BYTES = 4096

Damage = Callable[[Path, random.Random], str]
"""Damages a file, by chance; returns what it did, in words."""


def flip_bit(file: Path, rng: random.Random) -> str:
    """Turn one bit over."""
    content = bytearray(file.read_bytes())
    at, bit = rng.randrange(len(content)), rng.randrange(8)
    content[at] ^= 1 << bit
    file.write_bytes(content)
    return f"bit {bit} of octet {at} turned over"


def zero_page(file: Path, rng: random.Random) -> str:
    """Make one page zeros, one that was not zeros already."""
    content = bytearray(file.read_bytes())
    pages = [start for start in range(0, len(content), PAGE_BYTES) if any(content[start : start + PAGE_BYTES])]
    start = rng.choice(pages)
    end = min(len(content), start + PAGE_BYTES)
    content[start:end] = bytes(end - start)
    file.write_bytes(content)
    return f"octets {start} to {end - 1} made zeros"


def truncate(file: Path, rng: random.Random) -> str:
    """Cut off the end, at any octet."""
    size = rng.randrange(file.stat().st_size)
    with file.open("r+b") as handle:
        handle.truncate(size)
    return f"cut off at octet {size}"


DAMAGES: dict[str, Damage] = {"bit flip": flip_bit, "zero page": zero_page, "truncation": truncate}
