"""`aisops-plugin diff` and `docs`, as an author uses them on the folder of a plugin."""

from __future__ import annotations

import json
import os
import stat
import sys
import zipfile
from pathlib import Path
from typing import Any

import pytest

from aisops_plugin_sdk.sources.project import read_project
from tests.support.author import aisops_plugin, run

pytestmark = pytest.mark.integration

GIT = ("git", "-c", "user.name=author", "-c", "user.email=author@example.com", "-c", "init.defaultBranch=main")


@pytest.fixture(scope="module")
def template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("made")
    assert aisops_plugin("new", "acme-chat", cwd=folder).returncode == 0
    return folder / "acme-chat"


@pytest.fixture
def plugin(template: Path, tmp_path: Path) -> Path:
    """A generated plugin that was committed."""
    folder = tmp_path / "acme-chat"
    run(["cp", "-r", template, folder], cwd=tmp_path)
    for arguments in (("init", "-q"), ("add", "-A"), ("commit", "-qm", "first")):
        done = run([*GIT, *arguments], cwd=folder)
        assert done.returncode == 0, done.stderr
    return folder


def adapter(folder: Path) -> Path:
    return folder / "aisops_plugin_acme_chat" / "adapter.py"


def change(path: Path, old: str, new: str) -> None:
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new))


def diff(*arguments: str | Path, cwd: Path) -> tuple[int, dict[str, Any]]:
    done = aisops_plugin("diff", *arguments, "--json", cwd=cwd)
    return done.returncode, json.loads(done.stdout)


def wheel(folder: Path, target: Path) -> Path:
    done = run([sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", target], cwd=folder)
    assert done.returncode == 0, done.stderr
    return next(target.glob("*.whl"))


def test_a_folder_is_compared_with_what_was_committed(plugin: Path) -> None:
    assert diff("git:HEAD", cwd=plugin) == (
        0,
        {
            "ok": True,
            "old": {"name": "acme-chat", "version": "0.1.0"},
            "new": {"name": "acme-chat", "version": "0.1.0"},
            "breaking": 0,
            "compatible": 0,
            "findings": [],
        },
    )
    change(adapter(plugin), "max_length=4000", "max_length=2000")
    code, found = diff("git:HEAD", ".", cwd=plugin)
    assert code == 1
    assert found["findings"] == [
        {
            "rule": "length_narrowed",
            "side": "input",
            "capability": "acme_chat.send",
            "path": "/text",
            "change": "maxLength was 4000, is now 2000",
            "breaking": True,
            "advice": "Go on taking what was taken, or offer the change as a new capability beside this one.",
        }
    ]


def test_people_get_a_table_with_advice(plugin: Path) -> None:
    change(adapter(plugin), "max_length=4000", "max_length=2000")
    change(adapter(plugin), "timeout_s=20", "timeout_s=25")
    done = aisops_plugin("diff", "git:HEAD:acme-chat", "acme-chat", cwd=plugin.parent)
    assert done.returncode == 1
    first, advice, second, closing = done.stdout.splitlines()
    assert first.startswith("breaking    acme_chat.send input /text ")
    assert first.endswith("maxLength was 4000, is now 2000")
    assert advice.strip().startswith("→ Go on taking")
    assert second.startswith("compatible  /capabilities/acme_chat.send/timeout_ms")
    assert closing == "acme-chat 0.1.0 → 0.1.0: 1 breaking, 1 compatible"


def test_a_wheel_and_a_manifest_file_are_compared(plugin: Path, tmp_path: Path) -> None:
    built = wheel(plugin, tmp_path)
    change(adapter(plugin), 'effect="at_most_once"', 'effect="idempotent"')
    with read_project(plugin).importable() as paths:
        path = os.pathsep.join(map(str, paths))
        described = aisops_plugin("describe", "acme-chat", cwd=tmp_path, env={"PYTHONPATH": path})
    (tmp_path / "new.json").write_text(described.stdout)
    code, found = diff(built.name, "new.json", cwd=tmp_path)
    assert (code, [item["rule"] for item in found["findings"]]) == (1, ["effect_changed"])


def test_installed_plugins_are_compared(tmp_path: Path) -> None:
    assert diff("slack", "slack", cwd=tmp_path)[0] == 0


@pytest.mark.parametrize(
    ("old", "says"),
    [
        ("no-such-plugin", "no installed plugin is named 'no-such-plugin'"),
        ("no/such/folder", "there is no file or folder no/such/folder"),
        ("missing.whl", "there is no file or folder missing.whl"),
        ("git:no-such-branch", "git knows no commit 'no-such-branch'"),
        ("git:--output=/tmp/x", "git knows no commit '--output=/tmp/x'"),
        ("README.md", "README.md is not a manifest"),
        ("docs", "docs has no pyproject.toml"),
    ],
)
def test_what_cannot_be_compared_is_a_sentence(plugin: Path, old: str, says: str) -> None:
    code, found = diff(old, ".", cwd=plugin)
    assert code == 2
    assert says in found["error"]
    done = aisops_plugin("diff", old, ".", cwd=plugin)
    assert done.stderr.startswith("Error: ")
    assert "Traceback" not in done.stderr


def test_a_plugin_that_does_not_load_shows_why(plugin: Path) -> None:
    adapter(plugin).write_text("raise RuntimeError('no licence found')\n")
    code, found = diff("git:HEAD", cwd=plugin)
    assert code == 2
    assert "RuntimeError: no licence found" in found["error"]


def hostile(path: Path, name: str, content: str = "x", mode: int = 0) -> Path:
    entry = zipfile.ZipInfo(name)
    entry.external_attr = mode << 16
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr(entry, content)
        archive.writestr("a-1.dist-info/entry_points.txt", "[aisops.plugins]\nacme-chat = os:path\n")
    return path


@pytest.mark.parametrize("name", ["../out.py", "/tmp/out.py", "a/../../out.py", "c:\\out.py"])
def test_a_wheel_that_leads_out_of_itself_is_refused(tmp_path: Path, name: str) -> None:
    folder = tmp_path / "in"
    folder.mkdir()
    hostile(folder / "bad.whl", name)
    code, found = diff("bad.whl", "slack", cwd=folder)
    assert code == 2
    assert "leads out of it" in found["error"]
    assert not list(tmp_path.glob("out*"))


def test_a_wheel_with_a_link_or_without_an_end_is_refused(tmp_path: Path) -> None:
    hostile(tmp_path / "link.whl", "link", "/etc", stat.S_IFLNK | 0o777)
    assert "neither a file nor a folder" in diff("link.whl", "slack", cwd=tmp_path)[1]["error"]
    with (
        zipfile.ZipFile(tmp_path / "bomb.whl", "w", zipfile.ZIP_DEFLATED) as archive,
        archive.open("zeros", "w", force_zip64=True) as opened,
    ):
        for _ in range(300):
            opened.write(bytes(1024 * 1024))
    assert "is too large" in diff("bomb.whl", "slack", cwd=tmp_path)[1]["error"]
    (tmp_path / "text.whl").write_text("not a wheel")
    assert "cannot be unpacked" in diff("text.whl", "slack", cwd=tmp_path)[1]["error"]
    with zipfile.ZipFile(tmp_path / "empty.whl", "w"):
        pass
    assert "exports 0 plugins" in diff("empty.whl", "slack", cwd=tmp_path)[1]["error"]


def test_drift_is_named_and_written(plugin: Path) -> None:
    change(adapter(plugin), "max_length=4000", "max_length=2000")
    change(plugin / "aisops_plugin_acme_chat" / "config.py", "Token of the service", "Token from the settings page")
    done = aisops_plugin("docs", "--check", cwd=plugin)
    assert done.returncode == 1
    pages = ["README.md", "docs/capabilities/acme_chat.send.md"]
    assert done.stdout.splitlines() == [f"{page} differs from the models" for page in pages]
    done = aisops_plugin("docs", cwd=plugin)
    assert (done.returncode, done.stdout.splitlines()) == (0, [f"{page} written" for page in pages])
    assert "Token from the settings page" in (plugin / "README.md").read_text()
    assert "1 to 2,000 characters" in (plugin / pages[1]).read_text()
    assert aisops_plugin("docs", "--check", cwd=plugin).returncode == 0


def test_what_people_wrote_stays(plugin: Path) -> None:
    for page in (plugin / "README.md", plugin / "docs/capabilities/acme_chat.send.md"):
        page.write_text(f"Mine above.\n\n{page.read_text()}\nMine below.\n")
    change(adapter(plugin), "max_length=4000", "max_length=2000")
    assert aisops_plugin("docs", cwd=plugin).returncode == 0
    for page in (plugin / "README.md", plugin / "docs/capabilities/acme_chat.send.md"):
        text = page.read_text()
        assert text.startswith("Mine above.\n\n")
        assert text.endswith("\nMine below.\n")


def test_the_page_of_a_capability_that_is_gone_goes_too_unless_somebody_wrote_into_it(plugin: Path) -> None:
    old = plugin / "docs/capabilities/acme_chat.send.md"
    change(adapter(plugin), '"acme_chat.send"', '"acme_chat.post"')
    done = aisops_plugin("docs", "--check", cwd=plugin)
    assert "docs/capabilities/acme_chat.send.md is about a capability that is gone" in done.stdout
    old.write_text(f"{old.read_text()}\nMine.\n")
    done = aisops_plugin("docs", cwd=plugin)
    assert done.returncode == 1
    assert "holds text of yours" in done.stderr
    change(old, "\nMine.\n", "")
    assert aisops_plugin("docs", cwd=plugin).returncode == 0
    assert not old.exists()


@pytest.mark.parametrize(
    ("old", "new", "says"),
    [
        ('examples=["#ops"]', "examples=[7]", 'acme_chat.send, input: the example {"target": 7'),
        ('examples=["#ops"]', 'pattern="^C[0-9]{9}$"', "target must match '^C[0-9]{9}$'; give the field an example"),
    ],
)
def test_an_example_that_is_wrong_or_missing_is_a_sentence(plugin: Path, old: str, new: str, says: str) -> None:
    change(adapter(plugin), old, new)
    done = aisops_plugin("docs", "--check", cwd=plugin)
    assert done.returncode == 1
    assert says in done.stderr
    assert "Traceback" not in done.stderr


def test_damaged_markers_are_left_alone(plugin: Path) -> None:
    page = plugin / "README.md"
    page.write_text(page.read_text().replace("<!-- aisops-plugin docs: end -->", "", 1))
    before = page.read_text()
    done = aisops_plugin("docs", cwd=plugin)
    assert done.returncode == 1
    assert "has no end marker" in done.stderr
    assert page.read_text() == before


def test_docs_for_programs(plugin: Path) -> None:
    (plugin / "README.md").unlink()
    done = aisops_plugin("docs", "--check", "--json", cwd=plugin)
    assert json.loads(done.stdout) == {
        "ok": False,
        "files": [{"path": "README.md", "drift": "is missing"}],
        "errors": [],
    }
