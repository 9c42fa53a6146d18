"""How Telegram reads a message text: length in UTF-16 code units, HTML and MarkdownV2 entities. Pure."""

from __future__ import annotations

import re
from html.parser import HTMLParser

TEXT_MAX_UTF16 = 4096
TAGS = frozenset(
    {"b", "strong", "i", "em", "u", "ins", "s", "strike", "del", "span", "tg-spoiler", "a", "tg-emoji", "code", "pre",
     "blockquote"}
)  # fmt: skip
RESERVED = frozenset(">#+-=|{}.!")
_MARKERS = re.compile(r"(?<!\\)[*_~`\[\]]|\(https?://[^)]*\)")


class EntityError(ValueError):
    """The text's markup cannot be read; the message is Telegram's own description."""


def utf16_length(text: str) -> int:
    """Length in UTF-16 code units, the unit of all of Telegram's limits."""
    return len(text.encode("utf-16-le", "surrogatepass")) // 2


def plain_text(text: str, parse_mode: str | None) -> str:
    """The text that remains after the markup was read.

    Raises:
        EntityError: unsupported mode or markup that cannot be parsed.
    """
    match (parse_mode or "").lower():
        case "":
            return text
        case "html":
            return _read_html(text)
        case "markdownv2":
            return _read_markdown(text)
        case _:
            raise EntityError("Bad Request: unsupported parse_mode")


class _HtmlReader(HTMLParser):
    def __init__(self) -> None:
        super().__init__(convert_charrefs=True)
        self.parts: list[str] = []
        self.open: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag not in TAGS:
            raise EntityError(f'Bad Request: can\'t parse entities: Unsupported start tag "{tag}"')
        self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        if not self.open or self.open.pop() != tag:
            raise EntityError(f'Bad Request: can\'t parse entities: Unmatched end tag, found "</{tag}>"')

    def handle_data(self, data: str) -> None:
        self.parts.append(data)


def _read_html(text: str) -> str:
    reader = _HtmlReader()
    reader.feed(text)
    reader.close()
    if reader.open:
        raise EntityError(
            f"Bad Request: can't parse entities: Can't find end tag corresponding to start tag {reader.open[-1]}"
        )
    return "".join(reader.parts)


def _read_markdown(text: str) -> str:
    without_links = _MARKERS.sub("", text)
    plain: list[str] = []
    characters = iter(without_links)
    for character in characters:
        if character == "\\":
            plain.append(next(characters, ""))
        elif character in RESERVED:
            raise EntityError(
                f"Bad Request: can't parse entities: Character '{character}' is reserved and must be escaped "
                "with the preceding '\\'"
            )
        else:
            plain.append(character)
    return "".join(plain)
