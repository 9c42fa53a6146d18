"""`aisops-plugin diff`: what changed between two versions of a plugin, and whom it breaks."""

import json
import sys
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from collections.abc import Sequence

    from aisops_plugin_sdk.diff import Finding
    from aisops_plugin_sdk.manifest import Manifest

COMPATIBLE = 0
BREAKING = 1
NOT_COMPARED = 2


@click.command(
    epilog="Examples: aisops-plugin diff git:v1.2.0 .  |  aisops-plugin diff old.whl new.whl --json  |  "
    "aisops-plugin diff acme-chat dist/aisops_plugin_acme_chat-2.0.0-py3-none-any.whl. "
    "Exit codes: 0 nothing breaks, 1 something does, 2 nothing could be compared."
)
@click.argument("old")
@click.argument("new", default=".")
@click.option("--json", "as_json", is_flag=True, help="Print the findings as JSON.")
def diff(old: str, new: str, as_json: bool) -> None:  # noqa: FBT001 - click passes flags so
    """Find breaking changes between two versions of a plugin, OLD and NEW (the current folder by default).

    Each is a manifest file (what `aisops-plugin describe` printed), a wheel, a plugin's folder, the name of an
    installed plugin, or git:REF (the current folder as it stood at a commit, a tag or a branch) and git:REF:FOLDER. Of
    all but a manifest file the code is run, with what is installed here.
    """
    from aisops_plugin_sdk.diff import compare
    from aisops_plugin_sdk.errors import SourceError
    from aisops_plugin_sdk.sources.spec import read_manifest

    try:
        before, after = read_manifest(old), read_manifest(new)
    except SourceError as error:
        if as_json:
            click.echo(json.dumps({"ok": False, **error.diagnostics()}))
        else:
            click.echo(f"Error: {error}", err=True)
        sys.exit(NOT_COMPARED)
    findings = sorted(compare(before, after), key=lambda item: not item.breaking)
    breaking = sum(item.breaking for item in findings)
    if as_json:
        click.echo(json.dumps(_document(before, after, findings, breaking), ensure_ascii=False))
    else:
        click.echo(_text(before, after, findings, breaking))
    sys.exit(BREAKING if breaking else COMPATIBLE)


def _document(old: "Manifest", new: "Manifest", findings: "Sequence[Finding]", breaking: int) -> dict[str, object]:
    """Write the answer for programs."""
    return {
        "ok": not breaking,
        "old": {"name": old.name, "version": old.version},
        "new": {"name": new.name, "version": new.version},
        "breaking": breaking,
        "compatible": len(findings) - breaking,
        "findings": [item.to_document() for item in findings],
    }


def _text(old: "Manifest", new: "Manifest", findings: "Sequence[Finding]", breaking: int) -> str:
    """Write the answer for people: a table, with advice below each row that breaks, and one closing line."""
    places = [printable(_place(item)) for item in findings]
    width = max(map(len, places), default=0)
    lines = []
    for item, place in zip(findings, places, strict=True):
        verdict = click.style("breaking  ", fg="red") if item.breaking else "compatible"
        lines.append(f"{verdict}  {place.ljust(width)}  {printable(item.change)}")
        if item.advice:
            lines.append(f"{' ' * 12}{' ' * width}  → {item.advice}")
    found = f"{breaking} breaking, {len(findings) - breaking} compatible" if findings else "nothing changed"
    lines.append(printable(f"{new.name} {old.version} → {new.version}: {found}"))
    return "\n".join(lines)


def _place(item: "Finding") -> str:
    return f"{item.capability} {item.side} {item.path or '/'}" if item.side in {"input", "output"} else item.path


def printable(text: str) -> str:
    """Put a question mark in the place of what would move the cursor or change the terminal."""
    return "".join(letter if letter.isprintable() else "?" for letter in text)
