"""`aisops-delivery-conformance`: point the kit at a runner and say what it found."""

from __future__ import annotations

import asyncio
import secrets
import shlex
import sys
import time
from pathlib import Path

import click

from aisops_protocol.conformance import report
from aisops_protocol.conformance.core import Tls
from aisops_protocol.conformance.findings import Finding
from aisops_protocol.conformance.process import Launch
from aisops_protocol.conformance.registry import Check, every
from aisops_protocol.conformance.run import examine
from aisops_protocol.conformance.station import Settings
from aisops_protocol.session import Identity

EXAMPLES = """
\b
Examples:
  # our own Runner, with the test plugin installed beside it (pip install aisops-plugin-conformance)
  aisops-delivery-conformance --runner 'aisops-runner run' \\
      --env CORE_GRPC_ENDPOINT={endpoint} --env AISOPS_RUNNER_TOKEN_FILE={token_file} \\
      --env AISOPS_RUNNER_DATA_DIR={data} --env AISOPS_RUNNER_JOB_SLOTS=4
\b
  # another one, by a configuration file with placeholders
  aisops-delivery-conformance --runner './my-runner --config {config}' --template my-runner.yaml.in
\b
  # one that runs already and dials 127.0.0.1:50051 (what needs kill -9 is skipped)
  aisops-delivery-conformance --attach --listen 127.0.0.1:50051
\b
  # one check again, with the chance of an earlier run
  aisops-delivery-conformance … --only storm.cuts --seed 3f9a1c

Placeholders: {endpoint} {host} {port} {tenant} {runner} {token_file} {data} {config} {ca}; the same values are in the
environment as AISOPS_CONFORMANCE_ENDPOINT and so on. What they mean and what the runner must offer:
docs/delivery-conformance.md.

Exit codes: 0 nothing failed, 1 something did, 2 wrong usage or the kit could not judge.
"""


@click.command(epilog=EXAMPLES, context_settings={"max_content_width": 120})
@click.option("--runner", "command", help="Command line that starts the runner; no shell, placeholders filled in.")
@click.option("--attach", is_flag=True, help="The runner runs already and dials --listen; kill checks are skipped.")
@click.option("--env", "variables", multiple=True, metavar="NAME=TEXT", help="Variable for the runner; repeatable.")
@click.option("--template", type=click.Path(path_type=Path, exists=True, dir_okay=False), help="File for {config}.")
@click.option("--tenant", default="t_default", show_default=True, help="Tenant the runner is told to be of.")
@click.option("--runner-id", default="runner-1", show_default=True, help="Runner it is told to be.")
@click.option("--token-file", type=click.Path(path_type=Path, exists=True, dir_okay=False), help="Its credential.")
@click.option("--host", default="127.0.0.1", show_default=True, help="Where the runner finds the kit.")
@click.option("--listen", default="127.0.0.1:0", show_default=True, help="Address for its stream; port 0: any.")
@click.option("--effects", default="127.0.0.1:0", show_default=True, help="Address of the effect endpoint.")
@click.option("--tls-cert", type=click.Path(path_type=Path, exists=True, dir_okay=False), help="Listen with TLS (PEM).")
@click.option("--tls-key", type=click.Path(path_type=Path, exists=True, dir_okay=False), help="Its key (PEM).")
@click.option(
    "--tls-client-ca", type=click.Path(path_type=Path, exists=True, dir_okay=False), help="Ask for mutual TLS."
)
@click.option("--ca", type=click.Path(path_type=Path, exists=True, dir_okay=False), help="Value of {ca}.")
@click.option("--only", multiple=True, metavar="ID", help="Make this check, or all of a subject (`job`); repeatable.")
@click.option("--skip", multiple=True, metavar="ID", help="Leave this check or subject out; repeatable.")
@click.option("--at-once", type=click.IntRange(1, 64), default=6, show_default=True, help="Checks at the same time.")
@click.option("--patience", type=click.FloatRange(1, 20), default=1.0, show_default=True, help="Factor on every wait.")
@click.option("--seed", help="Chance of an earlier run; drawn and printed otherwise.")
@click.option("--json", "json_output", is_flag=True, help="Print one JSON document instead of the table.")
@click.option("--junit", type=click.Path(path_type=Path, dir_okay=False), help="Write a JUnit file, too.")
@click.option("--list", "only_list", is_flag=True, help="Print the checks and end.")
def main(
    *,
    command: str | None,
    attach: bool,
    variables: tuple[str, ...],
    template: Path | None,
    tenant: str,
    runner_id: str,
    token_file: Path | None,
    host: str,
    listen: str,
    effects: str,
    tls_cert: Path | None,
    tls_key: Path | None,
    tls_client_ca: Path | None,
    ca: Path | None,
    only: tuple[str, ...],
    skip: tuple[str, ...],
    at_once: int,
    patience: float,
    seed: str | None,
    json_output: bool,
    junit: Path | None,
    only_list: bool,
) -> None:
    """Check that a runner implementation keeps the delivery promises of aisopsflow.core.runner.v1.

    The kit listens as a Core, drives the runner through named checks, cuts its streams, kills it, counts what it does,
    and says for each check what was seen.
    """
    chosen = choose(only, skip)
    if only_list:
        click.echo(report.listing(chosen))
        return
    _need(attach != bool(command), "say either --runner COMMAND or --attach")
    _need(bool(tls_cert) == bool(tls_key), "--tls-cert and --tls-key go together")
    settings = Settings(
        launch=None if command is None else launch(command, variables, template),
        identity=Identity(tenant, runner_id),
        host=host,
        listen=listen,
        effects=effects,
        tls=Tls(tls_cert, tls_key, tls_client_ca) if tls_cert and tls_key else None,
        ca=ca or tls_cert,
        token=token_file.read_text().strip() if token_file else "",
        at_once=at_once,
        seed=seed or secrets.token_hex(4),
        patience=patience,
    )
    sys.exit(_report(settings, chosen, json_output=json_output, junit=junit))


def choose(only: tuple[str, ...], skip: tuple[str, ...]) -> list[Check]:
    """The checks asked for.

    Raises:
        click.UsageError: A name is neither a check nor a subject.
    """
    known = every()
    for name in (*only, *skip):
        if not any(_is(check, name) for check in known):
            raise click.UsageError(f"there is no check {name}; --list shows them")
    wanted = [check for check in known if not only or any(_is(check, name) for name in only)]
    return [check for check in wanted if not any(_is(check, name) for name in skip)]


def launch(command: str, variables: tuple[str, ...], template: Path | None) -> Launch:
    """How to start the runner.

    Raises:
        click.UsageError: Something of it cannot be understood.
    """
    try:
        if not shlex.split(command):
            raise click.UsageError("--runner is empty")
    except ValueError as error:
        raise click.UsageError(f"--runner cannot be read: {error}") from None
    env: dict[str, str] = {}
    for variable in variables:
        name, equals, text = variable.partition("=")
        if not name or not equals:
            raise click.UsageError(f"--env wants NAME=TEXT, not {variable}")
        env[name] = text
    return Launch(command, env, template.read_text(encoding="utf-8") if template else "")


def _need(fact: bool, advice: str) -> None:  # noqa: FBT001 - reads as a sentence
    if not fact:
        raise click.UsageError(advice)


def _is(check: Check, name: str) -> bool:
    return check.id == name or check.id.startswith(f"{name}.")


def _report(settings: Settings, chosen: list[Check], *, json_output: bool, junit: Path | None) -> int:
    """Run, print as it goes, and return the exit code."""
    begun = time.monotonic()

    def tell(finding: Finding) -> None:
        click.echo(report.row(finding), err=json_output)

    try:
        findings = asyncio.run(examine(settings, chosen, tell))
    except OSError as error:
        click.echo(f"Error: {error}", err=True)
        return 2
    if json_output:
        click.echo(report.as_json(findings, settings.seed))
    click.echo(report.summary(findings, settings.seed, time.monotonic() - begun), err=json_output)
    if junit is not None:
        junit.write_text(report.as_junit(findings), encoding="utf-8")
    return report.exit_code(findings)
