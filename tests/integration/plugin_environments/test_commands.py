"""`aisops-runner plugin …` as a customer uses it: processes, real environments, a wheelhouse and no network."""

from __future__ import annotations

import fcntl
import json
import os
import shutil
from pathlib import Path

import pytest

from aisops_runner.environments import registry
from tests.integration.plugin_environments.conftest import Site
from tests.support.wheels import make_plugin, make_wheel, manifest

pytestmark = [pytest.mark.integration, pytest.mark.timeout(600)]
OFFLINE = ("--wheelhouse", "wheelhouse")


def source_of(name: str, version: str) -> str:
    """A module whose plugin calls itself so, whatever its package says."""
    return f"plugin = {json.dumps(manifest(name, version))!r}\n"


@pytest.mark.parametrize("installer", ["uv", "pip"])
def test_a_plugin_lives_its_life_offline(site: Site, installer: str) -> None:
    """Install, list, describe, upgrade, roll back, roll forward, uninstall; with either installer."""
    how = (*OFFLINE, "--installer", installer)
    done = site.ok("install", "acme-chat", *how)
    assert (done["name"], done["version"], done["runner"]) == ("acme-chat", "1.0", "not_running")
    row = site.rows()["acme-chat"]
    assert (row["state"], row["place"], row["capabilities"]) == ("installed", "own", ["acme_chat.send"])
    assert site.ok("describe", "acme-chat")["version"] == "1.0"
    first = registry.read(site.layout).holding("acme-chat").now
    assert list(site.layout.venv(first.id).rglob("acme_chat*.pyc")), "compiled ahead"
    assert "--hash=sha256:" in site.layout.requirements(first.id).read_text()
    assert not (site.layout.venv(first.id) / "bin" / "pip").exists()

    make_plugin(site.house, "1.1")
    done = site.ok("upgrade", "acme-chat", *how)
    assert (done["version"], done["before"], site.rows()["acme-chat"]["version"]) == ("1.1", "1.0", "1.1")
    assert site.ok("rollback", "acme-chat")["version"] == site.version() == "1.0"
    assert site.ok("rollback", "acme-chat")["version"] == site.version() == "1.1"

    make_plugin(site.house, "1.2")
    site.ok("upgrade", "acme-chat", *how)
    standing = {path.name for path in site.layout.environments.iterdir()}
    assert len(standing) == 2, "the one in use and the one before"
    assert first.id not in standing
    assert site.ok("uninstall", "acme-chat")["version"] is None
    assert "acme-chat" not in site.rows()
    assert list(site.layout.environments.iterdir()) == []


def test_a_wheel_that_was_named_is_the_one_that_is_installed(site: Site, tmp_path: Path) -> None:
    """The wheelhouse holds another file of the same version."""
    marked = [{"name": "FROM_THE_NAMED_WHEEL"}]
    wheel = make_plugin(tmp_path / "named", "1.0", env=marked)
    site.ok("install", str(wheel), *OFFLINE)
    assert [one["name"] for one in site.ok("describe", "acme-chat")["env"]] == ["FROM_THE_NAMED_WHEEL"]


def test_a_given_lock_decides_and_a_wheel_that_it_does_not_mean_is_refused(site: Site, tmp_path: Path) -> None:
    site.ok("install", "acme-chat", *OFFLINE)
    lock = tmp_path / "given.lock"
    lock.write_bytes(site.layout.requirements(registry.read(site.layout).holding("acme-chat").now.id).read_bytes())
    site.ok("uninstall", "acme-chat")
    make_plugin(site.house, "1.1")
    assert site.ok("install", "acme-chat", *OFFLINE, "--lock", str(lock))["version"] == "1.0"
    site.ok("uninstall", "acme-chat")
    other = make_plugin(tmp_path / "other", "1.0", env=[{"name": "OTHER"}])
    assert site.refused("install", str(other), *OFFLINE, "--lock", str(lock))["code"] == "lock_mismatch"
    shutil.copy(other, site.house / other.name)
    failed = site.refused("install", "acme-chat", *OFFLINE, "--lock", str(lock), code=1)
    assert failed["code"] == "install_failed"
    lock.write_text("acme-chat==1.0\n--index-url https://example.invalid\n")
    assert site.refused("install", "acme-chat", *OFFLINE, "--lock", str(lock))["code"] == "lock_invalid"
    assert site.version() == ""


def test_what_does_not_fit_is_refused_and_leaves_nothing(site: Site) -> None:
    """Every wheel that must not come in, through the front door, each with its code."""
    house = site.house
    taken = manifest("acme-chat", "1.0")["capabilities"]
    make_plugin(house, "1.0", distribution="tampered", name="tampered", tampered={"tampered.py": "plugin = 'evil'\n"})
    make_plugin(house, "1.0", distribution="misnamed", name="misnamed", source=source_of("other", "1.0"))
    make_plugin(house, "1.0", distribution="misversioned", name="misversioned", source=source_of("misversioned", "9.9"))
    make_plugin(house, "1.0", distribution="too-new", name="too-new", contract=[7])
    make_plugin(house, "1.0", distribution="rival", name="rival", capabilities=taken)
    make_plugin(house, "1.0", distribution="reserved", name="runner")
    make_plugin(house, "1.0", distribution="raises", name="raises", source="raise RuntimeError('no licence found')\n")
    make_plugin(house, "1.0", distribution="email-two", name="email")
    make_wheel(house, "no-plugin", "1.0", {"no_plugin.py": ""})
    make_wheel(house, "two-plugins", "1.0", {"t.py": ""}, entry_points={"one": "t:one", "two": "t:two"})
    make_wheel(house, "bad-name", "1.0", {"b.py": ""}, entry_points={"../../bad": "b:plugin"})
    site.ok("install", "acme-chat", *OFFLINE)
    expected = {
        "tampered": (78, "record_mismatch", "was changed after it was built"),
        "misnamed": (1, "manifest_invalid", "make the two equal"),
        "misversioned": (78, "version_mismatch", "calls itself 9.9"),
        "too-new": (78, "incompatible", "speaks version 7 of the sidecar contract and this Runner speaks 1"),
        "rival": (78, "capability_taken", '"acme_chat.send" = "rival"'),
        "reserved": (78, "invalid_name", "part of the Runner itself"),
        "raises": (1, "describe_failed", "no licence found"),
        "email-two": (78, "installed_beside", "plugin disable email --beside"),
        "no-plugin": (78, "not_one_plugin", "exactly one plugin"),
        "two-plugins": (78, "not_one_plugin", "one, two"),
        "bad-name": (78, "invalid_name", "not a plugin's name"),
        "ghost": (1, "install_failed", "it must hold the plugin and all it needs"),
        "acme-chat": (78, "already_installed", "plugin upgrade acme-chat"),
        "https://example.invalid/x": (78, "invalid_requirement", "name a package"),
    }
    for what, (exit_code, code, words) in expected.items():
        told = site.refused("install", what, *OFFLINE, code=exit_code)
        assert (what, told["code"]) == (what, code), told
        assert words in told["message"], told
    assert set(registry.read(site.layout).holdings) == {"acme-chat"}
    assert len(list(site.layout.environments.iterdir())) == 1


def test_a_capability_may_be_offered_twice_once_it_is_bound(site: Site) -> None:
    make_plugin(
        site.house, "1.0", distribution="rival", name="rival", capabilities=manifest("acme-chat", "1")["capabilities"]
    )
    site.ok("install", "acme-chat", *OFFLINE)
    assert site.refused("install", "rival", *OFFLINE)["code"] == "capability_taken"
    site.configure('[bindings]\n"acme_chat.send" = "rival"')
    assert site.ok("install", "rival", *OFFLINE)["version"] == "1.0"


def test_an_upgrade_that_takes_away_or_asks_for_more_waits_for_consent(site: Site) -> None:
    site.ok("install", "acme-chat", *OFFLINE)
    assert site.refused("upgrade", "acme-chat", *OFFLINE)["code"] == "already_newest"
    make_plugin(site.house, "2.0", env=[{"name": "ACME_TOKEN", "required": True, "secret": True}])
    told = site.refused("upgrade", "acme-chat", *OFFLINE)
    assert told["code"] == "changes_not_accepted"
    assert "requires the variable ACME_TOKEN" in told["message"]
    assert site.version() == "1.0"
    done = site.ok("upgrade", "acme-chat", *OFFLINE, "--accept-changes")
    assert (done["version"], done["unset_variables"]) == ("2.0", ["ACME_TOKEN"])
    assert [one["kind"] for one in done["accepted"]] == ["variable_required"]


def test_enabling_and_disabling_works_without_a_runner_for_either_place(site: Site) -> None:
    site.ok("install", "acme-chat", *OFFLINE)
    assert site.ok("disable", "acme-chat")["disabled"] == ["beside", "own"]
    row = site.rows()["acme-chat"]
    assert (row["state"], row["reason"]) == (
        "disabled",
        "disabled; enable it with: aisops-runner plugin enable acme-chat",
    )
    site.ok("enable", "acme-chat")
    assert site.rows()["acme-chat"]["state"] == "installed"
    assert site.refused("disable", "ghost")["code"] == "not_installed"
    site.ok("disable", "email", "--beside")
    make_plugin(site.house, "1.0", distribution="email-two", name="email")
    done = site.ok("install", "email-two", *OFFLINE)
    assert (done["name"], done["disabled"]) == ("email", False), "only the one beside the Runner is disabled"
    site.ok("enable", "email", "--beside")
    row = site.rows()["email"]
    assert row["state"] == "broken"
    assert "beside the Runner by aisops-plugin-email" in row["reason"]
    assert "environment of its own by email-two 1.0" in row["reason"]
    site.ok("disable", "email", "--own")
    assert site.rows()["email"]["place"] == "beside"


def test_the_doctor_finds_what_is_wrong_and_a_rebuild_mends_it(site: Site) -> None:
    site.configure('[plugins.acme-chat.env]\nACME_TOKEN = "file:/does/not/exist"')
    make_plugin(site.house, "1.0", env=[{"name": "ACME_TOKEN", "required": True, "secret": True}])
    site.ok("install", "acme-chat", *OFFLINE)
    now = registry.read(site.layout).holding("acme-chat").now
    code = next(site.layout.venv(now.id).rglob("acme_chat.py"))
    sound = code.read_text()
    code.write_text(sound + "# changed\n")
    done = site.run("doctor", "acme-chat", "--json")
    findings = {one["check"]: one for one in json.loads(done.stdout)["items"]}
    assert done.returncode == 1
    assert [check for check, one in findings.items() if not one["ok"]] == ["files", "variables"]
    assert "'acme_chat.py' was changed" in findings["files"]["text"]
    assert "upgrade acme-chat --rebuild" in findings["files"]["text"]
    assert "cannot read /does/not/exist" in findings["variables"]["text"]
    Path(site.layout.python(now.id)).unlink()
    done = site.run("doctor", "acme-chat", "--json")
    assert "its Python is gone" in done.stdout
    site.ok("upgrade", "acme-chat", "--rebuild", *OFFLINE)
    done = site.run("doctor", "acme-chat", "--json")
    wrong = [one["check"] for one in json.loads(done.stdout)["items"] if not one["ok"]]
    assert wrong == ["variables"]


def test_a_damaged_registry_is_told_and_repaired_on_demand_only(site: Site) -> None:
    site.ok("install", "acme-chat", *OFFLINE)
    site.layout.registry.write_text("nonsense")
    for words in (("install", "acme-chat", *OFFLINE), ("list",), ("disable", "acme-chat")):
        assert site.refused(*words, code=1)["code"] == "registry_damaged"
    assert len(list(site.layout.environments.iterdir())) == 1, "nothing was deleted"
    assert site.run("doctor", "--repair").returncode == 0
    assert site.rows()["acme-chat"]["state"] == "disabled"
    site.ok("enable", "acme-chat")
    assert site.rows()["acme-chat"]["state"] == "installed"


def test_two_commands_do_not_meet(site: Site) -> None:
    site.layout.plugins.mkdir(parents=True)
    with site.layout.lock.open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        told = site.refused("install", "acme-chat", *OFFLINE, code=1)
    assert told["code"] == "plugin_commands_busy"
    assert site.version() == ""
    shutil.rmtree(site.data)
    site.ok("install", "acme-chat", *OFFLINE)
    assert site.data.stat().st_mode & 0o077 == 0, "nobody else looks in"


@pytest.mark.skipif(os.geteuid() != 0, reason="only root may give a folder to another user")
def test_root_does_not_write_into_the_folder_of_the_runners_user(site: Site) -> None:
    site.layout.plugins.mkdir(parents=True)
    os.chown(site.layout.plugins, 12345, 12345)
    assert site.refused("install", "acme-chat", *OFFLINE)["code"] == "other_user"
    assert list(site.layout.plugins.iterdir()) == []


def test_nothing_of_the_runners_environment_reaches_a_plugin_of_its_own(site: Site, tmp_path: Path) -> None:
    """A module on the Runner's PYTHONPATH must not take the place of what was installed and checked."""
    (tmp_path / "leak").mkdir()
    (tmp_path / "leak" / "acme_chat.py").write_text("raise RuntimeError('the wrong one')\n")
    site.ok("install", "acme-chat", *OFFLINE, env={"PYTHONPATH": str(tmp_path / "leak")})
    done = site.run("doctor", "acme-chat", env={"PYTHONPATH": str(tmp_path / "leak"), "VIRTUAL_ENV": "/nowhere"})
    assert done.returncode == 0, done.stdout


def test_secrets_of_the_caller_do_not_reach_the_installers(site: Site, tmp_path: Path) -> None:
    """A stand-in for uv notes what it may see, and fails with an address that holds a password."""
    tools = tmp_path / "tools"
    tools.mkdir()
    script = "env > ../../../seen.txt; echo 'no https://user:hunter22@index.invalid' >&2; exit 2"
    (tools / "uv").write_text(f"#!/bin/sh\n{script}\n")
    (tools / "uv").chmod(0o700)
    env = {"CORE_RUNNER_AUTH_TOKEN": "aisops_run_secret", "SLACK_BOT_TOKEN": "xoxb", "PATH": f"{tools}:/usr/bin:/bin"}
    done = site.run("install", "acme-chat", env=env)
    assert done.returncode == 1
    seen = (site.root / "seen.txt").read_text()
    assert "UV_CACHE_DIR" in seen
    assert "aisops_run_secret" not in seen
    assert "xoxb" not in seen
    assert "hunter22" not in done.stderr
    assert "https://***@index.invalid" in done.stderr
