"""`aisops-plugin new`: make the folder of a new plugin, with tests that are green. No questions asked."""

import json
import sys
from pathlib import Path

import click

OK = 0
FAILED = 1
WRONG_NAME = 2


@click.command(epilog="Example: aisops-plugin new acme-chat && cd acme-chat && pip install -e '.[dev]' && pytest")
@click.argument("name")
@click.option("--dir", "folder", type=click.Path(path_type=Path), help="Where to make it.  [default: ./NAME]")
@click.option("--json", "as_json", is_flag=True, help="Print what was made as JSON.")
def new(name: str, folder: Path | None, as_json: bool) -> None:  # noqa: FBT001 - click passes flags so
    """Make a plugin NAME (such as acme-chat): one capability, typed config, tests, README, CI and entry point."""
    from aisops_plugin_sdk.errors import SourceError
    from aisops_plugin_sdk.scaffold.making import make
    from aisops_plugin_sdk.scaffold.naming import BadName, names_of

    target = folder or Path(name)
    try:
        names = names_of(name)
        made = make(names, target)
    except (BadName, SourceError) as error:
        if as_json:
            click.echo(json.dumps({"ok": False, "error": str(error)}))
        else:
            click.echo(f"Error: {error}", err=True)
        sys.exit(WRONG_NAME if isinstance(error, BadName) else FAILED)
    if as_json:
        click.echo(json.dumps({"ok": True, "folder": str(target), "files": [str(path) for path in made]}))
        return
    click.echo(
        f"Made {names.distribution} in {target}, {len(made)} files; the capability is in {names.module}/adapter.py.\n"
    )
    click.echo(
        f"  cd {target}\n  pip install -e '.[dev]'\n  pytest\n  {names.env}_TOKEN=anything aisops-plugin check {name}"
    )
