"""Writes the parts of the pages from the facts, as Markdown. Pure."""

import json
from collections.abc import Iterable, Sequence
from typing import Any

from aisops_plugin_sdk.docs.facts import Facts, Sample
from aisops_plugin_sdk.docs.wording import fields
from aisops_plugin_sdk.manifest import CapabilitySpec

PAGES = "docs/capabilities"
_EFFECTS = {
    "idempotent": "`idempotent`, repeated with the same key it has no second effect",
    "at_most_once": "`at_most_once`, never repeated blindly",
}


def capabilities(facts: Facts) -> str:
    """The table of capabilities for the README, and the limits of the plugin as a whole."""
    manifest = facts.manifest
    rows = [
        (
            f"[`{spec.name}`]({PAGES}/{spec.name}.md)",
            first_sentence(spec.description),
            spec.effect_class.replace("_", " "),
            f"{spec.timeout_s:g} s",
            "`POST /send`" if spec.channel else "",
        )
        for spec in manifest.capabilities
    ]
    limits = f"{manifest.max_concurrency} calls at once, bodies of up to {manifest.body_limit_bytes:,} bytes."
    if manifest.egress is not None:
        places = ", ".join(f"`{cell(place)}`" for place in manifest.egress) or "nowhere"
        limits += f" Requests go to: {places}."
    return f"{_table(('capability', 'does', 'effect', 'longest call', 'also'), rows)}\n\n{limits}"


def configuration(facts: Facts) -> str:
    """The table of variables for the README."""
    if not facts.variables:
        return "There is nothing to configure."
    rows = [
        (
            f"`{item.name}`",
            f"{item.kind}{', secret' if item.secret else ''}",
            "**required**" if item.required else f"`{item.default}`" if item.default else "",
            item.description,
        )
        for item in facts.variables
    ]
    return _table(("variable", "value", "default", "meaning"), rows)


def capability(spec: CapabilitySpec, sample: Sample) -> str:
    """The page of one capability."""
    facts = [f"Effect: {_EFFECTS[spec.effect_class]}. A call may take {spec.timeout_s:g} s."]
    if spec.channel:
        facts.append("It is the plugin's channel: `POST /send` reaches it too, with `{target, text}`.")
    parts = [
        f"# `{spec.name}`",
        cell(spec.description, newline="\n") or "It does not say what it does.",
        " ".join(facts),
        _side("Input", "Fields that are not named are refused.", spec.input_schema, sample.input),
        _side(
            "Output",
            "More fields may be added: readers ignore what they do not know.",
            spec.output_schema,
            sample.output,
        ),
    ]
    return "\n\n".join(parts)


def _side(title: str, rule: str, schema: dict[str, Any], example: Any) -> str:
    rows = [(f"`{item.place}`", item.kind, item.needed, item.meaning) for item in fields(schema)]
    table = _table(("field", "value", "", "meaning"), rows) if rows else "It has no named fields."
    return "\n\n".join(
        [
            f"## {title}",
            table,
            rule,
            "Example:",
            _code(example),
            f"<details><summary>JSON Schema</summary>\n\n{_code(schema)}\n\n</details>",
        ]
    )


def first_sentence(text: str) -> str:
    """The first sentence or line of a description."""
    line = text.strip().splitlines()[0] if text.strip() else ""
    head, stop, _ = line.partition(". ")
    return head + stop.strip()


def cell(text: str, *, newline: str = " ") -> str:
    """Make a text fit for a page: it begins no comment (which could end a generated part) and no further cell."""
    plain = "".join(letter if letter.isprintable() or letter == "\n" else "?" for letter in text)
    return newline.join(plain.split("\n")).replace("<!--", "&lt;!--").replace("|", "\\|")


def _table(titles: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    lines = [titles, ["---"] * len(titles), *([cell(text) for text in row] for row in rows)]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def _code(value: Any) -> str:
    """Write JSON; what would begin a comment or end the code is escaped: no value ends the part it stands in."""
    text = json.dumps(value, ensure_ascii=False, indent=2).replace("<!--", "\\u003c!--").replace("```", "\\u0060``")
    return f"```json\n{text}\n```"
