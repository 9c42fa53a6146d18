"""`aisops-plugin docs`: write a plugin's README tables and capability pages from its models, or check them."""

import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from aisops_plugin_sdk.docs.writing import Page

OK = 0
FAILED = 1


@click.command(epilog="Examples: aisops-plugin docs  |  aisops-plugin docs --check plugins/slack plugins/email")
@click.argument("folders", nargs=-1, type=click.Path(exists=True, file_okay=False, path_type=Path))
@click.option("--check", is_flag=True, help="Write nothing; exit 1 and name the files that differ.")
@click.option("--json", "as_json", is_flag=True, help="Print the files as JSON.")
def docs(folders: tuple[Path, ...], check: bool, as_json: bool) -> None:  # noqa: FBT001 - click passes flags so
    """Bring README.md and docs/capabilities of the plugins in FOLDERS (the current one by default) up to date.

    Only what stands between the markers is written. Examples are those of the models (`examples`), or made up, and
    always validated.
    """
    from aisops_plugin_sdk.docs.writing import survey, write
    from aisops_plugin_sdk.errors import SourceError

    drifted: list[Page] = []
    problems: list[str] = []
    for folder in folders or (Path(),):
        try:
            for page in survey(folder):
                if page.drift:
                    drifted.append(page)
                    if not check:
                        write(page)
        except SourceError as error:
            problems.append(str(error))
    failed = bool(problems or (check and drifted))
    if as_json:
        files = [{"path": str(page.path), "drift": page.drift} for page in drifted]
        click.echo(json.dumps({"ok": not failed, "files": files, "errors": problems}, ensure_ascii=False))
    else:
        _print(drifted, problems, check=check)
    sys.exit(FAILED if failed else OK)


def _print(drifted: "list[Page]", problems: list[str], *, check: bool) -> None:
    """Print a line for each file."""
    for page in drifted:
        done = "deleted" if page.text is None else "written"
        click.echo(f"{page.path} {page.drift}" if check else f"{page.path} {done}")
    for problem in problems:
        click.echo(f"Error: {problem}", err=True)
    if check and drifted:
        click.echo("Run `aisops-plugin docs` without --check, and commit what it writes.", err=True)
    if not drifted and not problems:
        click.echo("Everything is up to date.")
