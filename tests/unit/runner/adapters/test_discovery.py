"""Plugins are found, told apart and fingerprinted without one line of theirs being run."""

import os
import sys
from pathlib import Path

import pytest

from aisops_runner.adapters.discovery import discover
from tests.support.vendor_plugins import SOURCES, install_vendor


@pytest.fixture
def site(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.syspath_prepend(str(tmp_path))
    return tmp_path


def _find(name: str) -> object:
    return next(found for found in discover().installed if found.name == name)


def test_lists_every_plugin_with_its_distribution_and_imports_none(site: Path) -> None:
    install_vendor(site, *SOURCES)
    found = {plugin.name: plugin for plugin in discover().installed}
    assert set(SOURCES) <= set(found)
    assert (found["good"].distribution, found["good"].version) == ("vendor-good", "1.0")
    assert not [module for module in sys.modules if module.startswith("vendor_")]


def test_one_name_from_two_packages_is_refused_naming_both(site: Path) -> None:
    install_vendor(site, "good")
    info = site / "other-2.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: other\nVersion: 2\n")
    (info / "entry_points.txt").write_text("[aisops.plugins]\ngood = other:plugin\n")
    found = discover()
    assert "good" not in {plugin.name for plugin in found.installed}
    (duplicate,) = [item for item in found.duplicates if item.name == "good"]
    assert duplicate.distributions == ("other 2", "vendor-good 1.0")
    assert "uninstall" in duplicate.reason


def test_the_fingerprint_follows_the_record(site: Path) -> None:
    install_vendor(site, "good")
    record = site / "vendor_good-1.0.dist-info" / "RECORD"
    record.write_text("vendor_good.py,sha256=abc,10\n")
    first = _find("good").fingerprint
    record.write_text("vendor_good.py,sha256=abd,10\n")
    assert first.startswith("record:")
    assert _find("good").fingerprint != first


def test_the_fingerprint_of_an_editable_install_follows_its_files(site: Path) -> None:
    install_vendor(site, "good")
    info = site / "vendor_good-1.0.dist-info"
    (info / "RECORD").write_text("vendor_good.pth,sha256=abc,10\n")
    (info / "direct_url.json").write_text('{"url":"file:///x","dir_info":{"editable":true}}')
    first = _find("good").fingerprint
    assert first == _find("good").fingerprint
    os.utime(site / "vendor_good.py", ns=(1, 1))
    assert first.startswith("files:")
    assert _find("good").fingerprint != first
