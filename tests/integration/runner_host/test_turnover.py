"""A running fleet takes up what was installed, switched and disabled; what is under way finishes or can be stopped.

The environments here are made by hand: an interpreter that sees one vendor folder. Real ones are in
`tests/integration/plugin_environments` and `tests/e2e/test_own_environment.py`.
"""

import asyncio
import sys
from pathlib import Path

import pytest

from aisops_plugin_sdk.manifest import Manifest
from aisops_runner.adapters.discovery import Place
from aisops_runner.environments import registry
from aisops_runner.environments.building import ask
from aisops_runner.environments.layout import Layout
from aisops_runner.environments.shelf import Environment, Shelf
from aisops_runner.errors import RegistryDamaged
from tests.integration.runner_host.conftest import CLEAN_ENV, Bench, gone, until
from tests.support.installed_plugins import install
from tests.support.vendor_plugins import GOOD, install_vendor

pytestmark = pytest.mark.integration


class Shelves:
    """Hand-made environments of the plugin `own` and the file that names those in use."""

    def __init__(self, bench: Bench, tmp_path: Path) -> None:
        self.layout = Layout(bench.data / "plugins")
        self.tmp_path = tmp_path
        self.number = 0

    async def make(self, version: str, name: str = "own") -> Environment:
        one = self._lay_out(version, name)
        found = registry.installed_of(one, self.layout)
        manifest: Manifest = await asyncio.to_thread(ask, found, self.layout, CLEAN_ENV, 60.0)
        registry.store_environment(self.layout, one, manifest)
        return one

    def _lay_out(self, version: str, name: str) -> Environment:
        self.number += 1
        site = self.tmp_path / f"site-{self.number}"
        site.mkdir()
        source = GOOD.replace("NAME", name).replace('version="1.0"', f'version="{version}"')
        install(site, name, source, version=version)
        identity = f"{name}-{version}-{self.number:08x}"
        python = Path(self.layout.python(identity))
        python.parent.mkdir(parents=True)
        python.write_text(f'#!/bin/sh\nPYTHONPATH={site} exec {sys.executable} "$@"\n')
        python.chmod(0o700)
        return Environment(identity, name, f"{name}:plugin", name, version, "record:1", self.number)

    def use(self, shelf: Shelf) -> None:
        registry.write(self.layout, shelf)


@pytest.fixture
def shelves(bench: Bench, tmp_path: Path) -> Shelves:
    return Shelves(bench, tmp_path)


async def test_a_plugin_joins_is_succeeded_and_leaves_while_calls_are_under_way(bench: Bench, shelves: Shelves) -> None:
    fleet = await bench.start(describe_timeout_s=60)
    assert await fleet.reload() == {"added": (), "changed": (), "removed": ()}
    shelf = Shelf().put(await shelves.make("1.0"))
    shelves.use(shelf)
    assert (await fleet.reload())["added"] == ("own",)
    first = await bench.invoke("own.echo")
    assert (first.ok, first.plugin_version, bench.changes) == (True, "1.0", 1)

    long = asyncio.create_task(bench.invoke("own.echo", b'{"sleep_s":1.5,"text":"old"}', job_id="long"))
    await until(lambda: bench.row("own").in_flight == 1)
    shelf = shelf.put(await shelves.make("2.0"))
    shelves.use(shelf)
    assert (await fleet.reload())["changed"] == ("own",)
    second = await bench.invoke("own.echo", job_id="new")
    assert (second.ok, second.plugin_version, bench.row("own").version) == (True, "2.0", "2.0")
    assert second.sidecar_pid != first.sidecar_pid
    outcome = await long
    assert (outcome.ok, outcome.plugin_version, outcome.sidecar_pid) == (True, "1.0", first.sidecar_pid)
    await until(lambda: gone(first.sidecar_pid))
    new = shelf.holding("own").now.id
    await until(lambda: {path.stem for path in shelves.layout.run.glob("*.json")} == {new})  # each has its own record

    shelves.use(shelf.without("own"))
    assert (await fleet.reload())["removed"] == ("own",)
    refused = await bench.invoke("own.echo", job_id="late")
    assert refused.error is not None
    assert refused.error.code == "unknown_capability"
    await until(lambda: gone(second.sidecar_pid))
    assert [kind for kind, _ in bench.events if kind.startswith("plugin.")] == [
        "plugin.added",
        "plugin.changed",
        "plugin.removed",
    ]


async def test_a_call_of_the_version_before_can_still_be_cut_off(bench: Bench, shelves: Shelves) -> None:
    fleet = await bench.start(describe_timeout_s=60)
    shelf = Shelf().put(await shelves.make("1.0"))
    shelves.use(shelf)
    await fleet.reload()
    pid = (await bench.invoke("own.echo")).sidecar_pid
    long = asyncio.create_task(bench.invoke("own.echo", b'{"sleep_s":600}', job_id="long", timeout_s=600))
    await until(lambda: bench.row("own").in_flight == 1)
    shelves.use(shelf.put(await shelves.make("2.0")))
    await fleet.reload()
    assert not gone(pid)
    long.cancel()
    with pytest.raises(asyncio.CancelledError):
        await long
    await until(lambda: gone(pid))


async def test_a_disabled_plugin_leaves_and_an_enabled_one_comes_back(bench: Bench, shelves: Shelves) -> None:
    install_vendor(bench.site, "good")
    fleet = await bench.start("good", describe_timeout_s=60)
    assert (await bench.invoke("good.echo")).ok
    shelves.use(Shelf().switched("good", off=frozenset({Place.BESIDE})))
    assert (await fleet.reload())["removed"] == ("good",)
    row = bench.row("good")
    assert (row.state, row.reason) == ("disabled", "disabled; enable it with: aisops-runner plugin enable good")
    shelves.use(Shelf())
    assert (await fleet.reload())["added"] == ("good",)
    assert (await bench.invoke("good.echo", job_id="again")).ok


async def test_a_name_in_both_places_is_served_by_neither_until_one_is_disabled(bench: Bench, shelves: Shelves) -> None:
    install_vendor(bench.site, "good")
    fleet = await bench.start("good", describe_timeout_s=60)
    shelf = Shelf().put(await shelves.make("2.0", name="good"))
    shelves.use(shelf)
    assert (await fleet.reload())["removed"] == ("good",)
    assert "installed twice: beside the Runner by" in bench.row("good").reason
    shelves.use(shelf.switched("good", off=frozenset({Place.BESIDE})))
    assert (await fleet.reload())["added"] == ("good",)
    assert (await bench.invoke("good.echo")).plugin_version == "2.0"


async def test_a_damaged_registry_changes_nothing_that_runs_and_a_start_goes_on_without(
    bench: Bench, shelves: Shelves
) -> None:
    install_vendor(bench.site, "good")
    shelves.use(Shelf().put(await shelves.make("1.0")))
    fleet = await bench.start("good", describe_timeout_s=60)
    assert (await bench.invoke("own.echo")).ok
    shelves.layout.registry.write_text("nonsense")
    with pytest.raises(RegistryDamaged):
        await fleet.reload()
    assert (await bench.invoke("own.echo", job_id="still")).ok
    await fleet.stop()
    second = Bench(bench.site, bench.data)
    fleet = await second.start("good", describe_timeout_s=60)
    try:
        assert (await second.invoke("good.echo")).ok
        assert [row.name for row in fleet.status() if row.name == "own"] == []
    finally:
        await fleet.stop()


async def test_what_sidecars_write_is_kept_for_the_operator(bench: Bench, shelves: Shelves) -> None:
    from aisops_runner.sidecars.logbook import last_lines

    install_vendor(bench.site, "good")
    fleet = await bench.start("good", describe_timeout_s=60)
    assert (await bench.invoke("good.echo")).ok
    await until(lambda: [one for one in last_lines(shelves.layout.logs, "good", 50) if one.job_id == "job-1"])
    await fleet.stop()
    assert len(last_lines(shelves.layout.logs, "good", 50)) == len(bench.logs)
