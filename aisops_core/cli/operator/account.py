"""`aisops login` and `aisops whoami`."""

from __future__ import annotations

import os

import click

from aisops_core.cli.lazy import ExampleCommand
from aisops_core.cli.operator.client import CoreClient
from aisops_core.cli.operator.output import Context, output_options, print_json, show_fields
from aisops_core.cli.operator.profile import Profile, check_url, profile_path, read_token, refuse_plaintext, save


@click.command(
    cls=ExampleCommand,
    examples=(
        "aisops login http://127.0.0.1:8080 --token-file ./admin-token",
        "aisops login https://core.example.com --token-file -      (paste the token, then Ctrl-D)",
    ),
)
@click.argument("url")
@click.option("--token-file", required=True, metavar="FILE|-", help="File with the API token, - for standard input.")
@click.option(
    "--ca-file", default="", envvar="AISOPS_CA_FILE", help="Certificate authority of a Core with a private one (PEM)."
)
@click.option("--allow-plaintext", is_flag=True, help="Send the token over http:// to another machine.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON document.")
@click.option("--debug", is_flag=True, expose_value=False, help="Show a traceback when something fails.")
def login(*, url: str, token_file: str, ca_file: str, allow_plaintext: bool, as_json: bool) -> None:
    """Check a token with the Core at URL and keep both in a profile file only you can read.

    The token is read from a file or standard input, never from the command line, where other users could see it.
    """
    profile = Profile(check_url(url), read_token(token_file), ca_file, allow_plaintext)
    refuse_plaintext(profile)
    who = CoreClient(profile).get("/whoami")
    path = profile_path(os.environ)
    save(profile, path)
    if as_json:
        print_json({**who, "profile": str(path)})
    else:
        click.echo(f"Logged in to {profile.url} as {who['name']} ({who['role']}, tenant {who['tenant_id']}).")
        click.echo(f"Kept in {path}.", err=True)


@click.command(cls=ExampleCommand, examples=("aisops whoami",))
@output_options
def whoami(context: Context) -> None:
    """Show whose token this is."""
    who = context.client.get("/whoami")
    if context.as_json:
        print_json(who)
    elif context.quiet:
        click.echo(who["token_id"])
    else:
        show_fields({"name": who["name"], "role": who["role"], "tenant": who["tenant_id"], "token": who["token_id"]})
