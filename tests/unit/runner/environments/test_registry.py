"""The file that names what is in use: read back as written, never guessed at when it is not."""

import json
import time
from pathlib import Path

import pytest

from aisops_plugin_sdk.manifest import Manifest
from aisops_runner.adapters.discovery import Place
from aisops_runner.adapters.index import Entry, Index
from aisops_runner.environments import registry
from aisops_runner.environments.layout import Layout
from aisops_runner.environments.repair import remade, repair
from aisops_runner.environments.shelf import BOTH, Environment, Shelf
from aisops_runner.errors import RegistryDamaged
from tests.support.wheels import manifest


def environment(name: str = "acme", number: int = 1) -> Environment:
    return Environment(f"{name}-{number}-{number:08x}", name, "m:p", name, str(number), "record:1", number)


SHELF = Shelf().put(environment()).put(environment(number=2)).switched("slack", off=BOTH)


@pytest.fixture
def layout(tmp_path: Path) -> Layout:
    return Layout(tmp_path / "plugins")


def test_what_is_written_is_read(layout: Layout) -> None:
    assert registry.read(layout) == Shelf()
    registry.write(layout, SHELF)
    assert registry.read(layout) == SHELF
    assert [path.name for path in layout.plugins.iterdir()] == ["installed.json"]


@pytest.mark.parametrize(
    "damage", [b"", b"{", b"[]\n[]", b"\xff", b"null\nnull", b"[" * 99999, b'{"aisops_installed":2,"sha256":""}\n{}']
)
def test_damage_is_an_error_that_says_how_to_mend_it(layout: Layout, damage: bytes) -> None:
    registry.write(layout, SHELF)
    layout.registry.write_bytes(damage)
    with pytest.raises(RegistryDamaged, match="doctor --repair"):
        registry.read(layout)


def test_an_edited_file_is_damage(layout: Layout) -> None:
    registry.write(layout, SHELF)
    layout.registry.write_text(layout.registry.read_text().replace('"record:1"', '"record:2"'))
    with pytest.raises(RegistryDamaged):
        registry.read(layout)


def test_a_path_in_the_place_of_an_id_is_refused_even_with_a_digest_that_fits(layout: Layout) -> None:
    registry.write(layout, Shelf().put(Environment("../../etc-1-00000001", "acme", "m:p", "acme", "1", "r", 1)))
    with pytest.raises(RegistryDamaged):
        registry.read(layout)


def _stand(layout: Layout, one: Environment) -> None:
    registry.store_environment(layout, one, Manifest.parse(manifest(one.name, one.version)))


def test_a_lost_file_is_no_empty_one_while_environments_stand_there(layout: Layout) -> None:
    _stand(layout, environment())
    with pytest.raises(RegistryDamaged, match="is gone"):
        registry.read(layout)


def test_repair_names_the_newest_and_disables_everything(layout: Layout) -> None:
    for number in (2, 1, 3):
        _stand(layout, environment(number=number))
    registry.write(layout, SHELF)
    layout.registry.write_bytes(b"gone bad")
    mended = repair(layout)
    assert mended is not None
    assert mended == registry.read(layout)
    assert mended.holdings["acme"].now == environment(number=3)
    assert mended.holdings["acme"].before == environment(number=2)
    assert mended.off == {"acme": frozenset({Place.OWN})}
    assert layout.registry.with_suffix(".json.damaged").read_bytes() == b"gone bad"
    assert repair(layout) is None, "what is in order is left alone"
    assert remade([]) == Shelf()


def test_the_facts_of_another_environment_are_not_taken(layout: Layout) -> None:
    _stand(layout, environment())
    other = layout.environment("acme-9-00000009")
    layout.environment(environment().id).rename(other)
    assert registry.stored_environment(layout, other.name) is None
    assert registry.stored_manifest(layout, other.name) is not None
    layout.manifest(other.name).write_text("{}")
    assert registry.stored_manifest(layout, other.name) is None


def test_a_thousand_environments_are_known_in_a_moment(layout: Layout) -> None:
    """From two files, without a look into any environment: none of these exists."""
    shelf = Shelf()
    index = Index(layout.plugins / "index.json", made_by="py")
    holdings = {}
    for number in range(1000):
        one = environment(f"p{number}", number)
        holdings |= shelf.put(one).holdings
        found = registry.installed_of(one, layout)
        index.put(Entry(found, Manifest.parse(manifest(one.name, "1"))))
    registry.write(layout, Shelf(holdings))
    index.save()
    began = time.process_time()
    elsewhere = registry.elsewhere(layout.plugins)
    again = Index(layout.plugins / "index.json", made_by="py")
    again.load()
    assert all(again.find(installed) for installed in elsewhere.installed)
    spent = time.process_time() - began
    print(f"{spent * 1000:.1f} ms")
    assert len(elsewhere.installed) == 1000
    assert spent < 0.25
    assert json.loads((layout.plugins / "index.json").read_text().splitlines()[0])["made_by"] == "py"
