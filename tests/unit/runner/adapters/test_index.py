from pathlib import Path

import pytest

from aisops_plugin_sdk.manifest import CapabilitySpec, Manifest
from aisops_runner.adapters.discovery import Installed
from aisops_runner.adapters.index import Entry, Index

INSTALLED = Installed("acme", "acme:plugin", "acme-plugin", "1.0", "record:1")
MANIFEST = Manifest(
    name="acme", version="1.0", sdk_version="0.1.0", contract=(1,),
    capabilities=(CapabilitySpec("acme.send", "", "at_most_once", True, 5.0, {"type": "object"}, {"type": "object"}),),
    egress=("api.acme.test:443", "${ACME_URL}"),
)  # fmt: skip


def _index(path: Path, made_by: str = "py") -> Index:
    index = Index(path, made_by=made_by)
    index.load()
    return index


@pytest.mark.parametrize(
    "entry", [Entry(INSTALLED, MANIFEST, described_unix_ms=5), Entry(INSTALLED, None, "c", "why", 6)]
)
def test_what_is_saved_is_found_again(tmp_path: Path, entry: Entry) -> None:
    path = tmp_path / "plugins" / "index.json"
    index = _index(path)
    index.put(entry)
    index.save()
    assert _index(path).find(INSTALLED) == entry
    assert [file.name for file in path.parent.iterdir()] == ["index.json"]


@pytest.mark.parametrize("change", ["version", "fingerprint", "distribution", "entry_point"])
def test_another_installation_is_not_found(tmp_path: Path, change: str) -> None:
    index = _index(tmp_path / "index.json")
    index.put(Entry(INSTALLED, MANIFEST))
    values = {
        name: getattr(INSTALLED, name) for name in ("name", "entry_point", "distribution", "version", "fingerprint")
    }
    assert index.find(Installed(**(values | {change: "other"}))) is None


def test_another_python_or_sdk_describes_again(tmp_path: Path) -> None:
    index = _index(tmp_path / "index.json")
    index.put(Entry(INSTALLED, MANIFEST))
    index.save()
    assert _index(tmp_path / "index.json", "other").find(INSTALLED) is None


@pytest.mark.parametrize(
    "damage",
    [b"", b"{", b"[]", b"null", b"\xff", b'{"aisops_index":1,"made_by":"py","sha256":"0"}\n[{}]', b"[" * 99999],
)
def test_a_damaged_index_is_an_empty_one(tmp_path: Path, damage: bytes) -> None:
    path = tmp_path / "index.json"
    path.write_bytes(damage)
    assert _index(path).find(INSTALLED) is None


def test_an_edited_manifest_is_not_trusted(tmp_path: Path) -> None:
    path = tmp_path / "index.json"
    index = _index(path)
    index.put(Entry(INSTALLED, MANIFEST))
    index.save()
    path.write_text(path.read_text().replace('"at_most_once"', '"whatever"'))
    assert _index(path).find(INSTALLED) is None


def test_uninstalled_plugins_are_forgotten(tmp_path: Path) -> None:
    index = _index(tmp_path / "index.json")
    index.put(Entry(INSTALLED, MANIFEST))
    index.keep_only(set())
    assert index.find(INSTALLED) is None


def test_what_describe_found_and_what_the_index_gives_back_are_equal(tmp_path: Path) -> None:
    document = MANIFEST.to_document() | {
        "env": [{"name": "A", "secret": True, "required": True, "description": "d"}], "channel": "acme.send",
        "features": ["cancel"], "max_concurrency": 9, "startup_timeout_ms": 2500, "body_limit_bytes": 70_000,
    }  # fmt: skip
    manifest = Manifest.parse(document)
    index = _index(tmp_path / "index.json")
    index.put(Entry(INSTALLED, manifest))
    index.save()
    found = _index(tmp_path / "index.json").find(INSTALLED)
    assert found is not None
    assert found.manifest == manifest


def test_a_thousand_plugins_are_read_in_a_moment(tmp_path: Path) -> None:
    import time

    index = _index(tmp_path / "index.json")
    plugins = [Installed(f"p{n}", "m:plugin", f"d{n}", "1", "record:1") for n in range(1000)]
    for installed in plugins:
        index.put(Entry(installed, MANIFEST))
    index.save()
    began = time.process_time()
    again = _index(tmp_path / "index.json")
    assert time.process_time() - began < 0.25
    assert all(again.find(installed) for installed in plugins)
