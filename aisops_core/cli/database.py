"""`aisops-core migrate` and `aisops-core token …`: administration beside a Core that may or may not be running."""

from __future__ import annotations

import asyncio
import json
import os
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

import click

from aisops_core.app import Administration, administer, upgrade_database
from aisops_core.cli.core import ExampleCommand, location_options
from aisops_core.cli.failure import Failure
from aisops_core.config import CoreConfig, load
from aisops_core.identity.store import TokenRecord

DEFAULT_TENANT = "t_default"

json_option = click.option("--json", "as_json", is_flag=True, help="Print one JSON document.")
tenant_option = click.option("--tenant", default=DEFAULT_TENANT, show_default=True, help="Tenant the token belongs to.")


def _settings(data_dir: Path | None, config: Path | None) -> CoreConfig:
    os.umask(0o077)
    return load(config, os.environ, {"data_dir": data_dir})


@click.command(cls=ExampleCommand, examples=("aisops-core migrate --data ./core-data",))
@location_options
@json_option
def migrate(*, data_dir: Path | None, config: Path | None, as_json: bool) -> None:
    """Bring the database to this version's schema. Repeating it changes nothing; `serve` does it by itself."""
    done = upgrade_database(_settings(data_dir, config))
    if as_json:
        click.echo(json.dumps({"before": done.before, "after": done.after, "changed": done.changed}))
    elif done.changed:
        click.echo(f"Database brought from {done.before or 'nothing'} to {done.after}.")
    else:
        click.echo(f"Nothing to do: the database is at {done.after}.")


@click.group()
def token() -> None:
    """Create, list and revoke tokens. Works beside a running Core; revocation reaches it within seconds."""


@asynccontextmanager
async def opened(data_dir: Path | None, config: Path | None) -> AsyncIterator[Administration]:
    """Open what administration works on, where Core's data is. Raises Failure when there is none."""
    settings = _settings(data_dir, config)
    if "://" not in settings.database and not settings.data_dir.is_dir():
        raise Failure(
            f"There is no data folder {settings.data_dir}.", advice="Name the folder that `aisops-core serve` uses."
        )
    async with administer(settings) as administration:
        yield administration


@token.command(
    "create",
    cls=ExampleCommand,
    examples=(
        "aisops-core token create --data ./core-data --name grafana --role viewer",
        "aisops-core token create --data ./core-data --runner runner-1",
    ),
)
@location_options
@click.option("--name", help="Whom an API token is for.")
@click.option("--role", type=click.Choice(["viewer", "operator", "admin"]), default="operator", show_default=True)
@click.option("--runner", "runner_id", help="Make a runner token for this Runner instead.")
@tenant_option
@click.option("--new-tenant", is_flag=True, help="Make the tenant when it does not exist.")
@json_option
def create(
    *,
    data_dir: Path | None,
    config: Path | None,
    name: str | None,
    role: str,
    runner_id: str | None,
    tenant: str,
    new_tenant: bool,
    as_json: bool,
) -> None:
    """Make a token and show it, this once."""
    if (name is None) == (runner_id is None):
        raise click.UsageError("Say either --name (API token) or --runner (runner token).")

    async def work() -> str:
        async with opened(data_dir, config) as administration:
            if new_tenant:
                await administration.tenants.ensure(tenant)
            if runner_id is not None:
                return await administration.tokens.create_runner(tenant, runner_id)
            return await administration.create_api_token(tenant, str(name), role)

    text = asyncio.run(work())
    click.echo(json.dumps({"token": text}) if as_json else text)


@token.command("list", cls=ExampleCommand, examples=("aisops-core token list --data ./core-data",))
@location_options
@tenant_option
@json_option
def list_tokens(*, data_dir: Path | None, config: Path | None, tenant: str, as_json: bool) -> None:
    """List tokens: ids, holders and states, never secrets."""

    async def work() -> Sequence[TokenRecord]:
        async with opened(data_dir, config) as administration:
            return await administration.tokens.list(tenant)

    records = asyncio.run(work())
    if as_json:
        items = [
            {"id": r.token_id, "kind": r.kind, "subject": r.subject_id, "role": r.role, "state": _state(r)}
            for r in records
        ]
        click.echo(json.dumps({"items": items, "next_cursor": None}))
        return
    if not records:
        click.echo(f"No tokens in tenant {tenant}.", err=True)
        return
    click.echo(f"{'ID':<12}  {'KIND':<4}  {'ROLE':<8}  {'STATE':<8}  HOLDER")
    for record in records:
        click.echo(
            f"{record.token_id:<12}  {record.kind:<4}  {record.role:<8}  {_state(record):<8}  {record.subject_id}"
        )


def _state(record: TokenRecord) -> str:
    return "revoked" if record.revoked_unix_ms is not None else "active"


@token.command("revoke", cls=ExampleCommand, examples=("aisops-core token revoke k3wq… --data ./core-data",))
@click.argument("token_id")
@location_options
@tenant_option
def revoke(token_id: str, data_dir: Path | None, config: Path | None, tenant: str) -> None:
    """End a token at once, by its id (the part after `aisops_api_` or `aisops_run_`)."""

    async def work() -> None:
        async with opened(data_dir, config) as administration:
            await administration.tokens.revoke(tenant, token_id)

    asyncio.run(work())
    click.echo(f"Token {token_id} is revoked.")
