"""Generated parts of a page that people write, between comments that name them. Pure."""

import re

BEGIN = "<!-- aisops-plugin docs: {name} (made from the models; edits are lost) -->"
END = "<!-- aisops-plugin docs: end -->"
_BEGIN = re.compile(r"<!-- aisops-plugin docs: (?!end\b)([a-z]+)[^>]*-->")


class BrokenMarkers(Exception):
    """The markers of a page do not belong together; the text says which."""


def put(page: str, name: str, body: str, *, heading: str = "") -> str:
    """Put a body between the markers of that name; a page without them gets them at its end, below a heading.

    Raises:
        BrokenMarkers: a marker has no partner, or a name appears twice.
    """
    block = f"{BEGIN.format(name=name)}\n\n{body.strip()}\n\n{END}"
    spans = find(page)
    if name in spans:
        start, end = spans[name]
        return page[:start] + block + page[end:]
    head = f"{heading}\n\n" if heading else ""
    return f"{page.rstrip()}\n\n{head}{block}\n".lstrip()


def find(page: str) -> dict[str, tuple[int, int]]:
    """Find where each block begins and ends, its markers included.

    Raises:
        BrokenMarkers: a marker has no partner, or a name appears twice.
    """
    found: dict[str, tuple[int, int]] = {}
    position = 0
    while (begin := _BEGIN.search(page, position)) is not None:
        name = begin[1]
        end = page.find(END, begin.end())
        following = _BEGIN.search(page, begin.end())
        if end < 0 or (following is not None and following.start() < end):
            raise BrokenMarkers(f"the block {name!r} has no end marker; write {END} below it")
        if name in found:
            raise BrokenMarkers(f"the block {name!r} appears twice; delete one")
        position = end + len(END)
        found[name] = begin.start(), position
    if END in page[position:]:
        raise BrokenMarkers(f"an end marker has no beginning: delete {END}")
    return found


def outside(page: str) -> str:
    """What of a page is not generated."""
    position, kept = 0, []
    for start, end in sorted(find(page).values()):
        kept.append(page[position:start])
        position = end
    return "".join([*kept, page[position:]]).strip()
