from pathlib import Path

import pytest

from aisops_plugin_sdk.manifest import EnvSpec, Manifest
from aisops_runner.adapters.kinds import Foreign, Kind
from aisops_runner.errors import SecretUnavailable
from aisops_runner.sidecars.environment import TOKEN_ENV, build_env, unlisted, unset

MANIFEST = Manifest(
    name="p", version="1", sdk_version="1", contract=(1,), capabilities=(),
    env=(EnvSpec("ACME_TOKEN", secret=True, required=True), EnvSpec("ACME_URL")),
)  # fmt: skip
RUNNER_ENV = {
    "PATH": "/bin", "HOME": "/root", "HTTPS_PROXY": "http://p:1", "CORE_RUNNER_AUTH_TOKEN": "top-secret",
    "AWS_SECRET_ACCESS_KEY": "leak", "ACME_URL": "http://acme", "VAULT": "v4ult-value",
}  # fmt: skip


def test_only_listed_and_harmless_variables_pass() -> None:
    env = build_env(MANIFEST, RUNNER_ENV, {"ACME_TOKEN": "env:VAULT"}, token="t0ken", dry_run=True)
    assert dict(env.variables) == {
        "PATH": "/bin", "HOME": "/root", "HTTPS_PROXY": "http://p:1", "ACME_URL": "http://acme",
        "ACME_TOKEN": "v4ult-value",
        "PORT": "0", TOKEN_ENV: "t0ken", "AISOPS_LIFELINE": "stdin", "PYTHONUNBUFFERED": "1", "AISOPS_DRY_RUN": "1",
    }  # fmt: skip
    assert set(env.secrets) == {"t0ken", "v4ult-value"}
    assert "v4ult" not in repr(env)


def test_a_file_reference_drops_one_line_end(tmp_path: Path) -> None:
    (tmp_path / "s").write_text("abc \r\n")
    env = build_env(MANIFEST, {}, {"ACME_TOKEN": f"file:{tmp_path / 's'}"}, token="t", dry_run=False)
    assert env.variables["ACME_TOKEN"] == "abc "


@pytest.mark.parametrize("reference", ["env:NOT_SET", "file:/does/not/exist", "file:/", "file:/dev/zero"])
def test_a_dead_reference_names_the_variable(reference: str) -> None:
    with pytest.raises(SecretUnavailable, match="ACME_TOKEN"):
        build_env(MANIFEST, {}, {"ACME_TOKEN": reference}, token="t", dry_run=False)


def test_variables_nobody_asked_for_are_told() -> None:
    assert unlisted(MANIFEST, {"ACME_TOKEN": "x", "OTHER": "y"}) == ("OTHER",)


FOREIGN = Foreign(Kind.STDIO_JSON, defaults={"ACME_URL": "file:/etc/passwd", "ACME_TOKEN": "from the manifest"})


def test_a_foreign_program_gets_its_manifests_defaults_and_nothing_that_is_for_packages() -> None:
    runner_env = {"PATH": "/bin", "PYTHONPATH": "/site", "VIRTUAL_ENV": "/venv"}
    env = build_env(MANIFEST, runner_env, {"ACME_TOKEN": "set"}, token="t0ken", dry_run=False, foreign=FOREIGN)
    assert dict(env.variables) == {
        "PATH": "/bin", "ACME_URL": "file:/etc/passwd", "ACME_TOKEN": "set", TOKEN_ENV: "t0ken",
        "PYTHONUNBUFFERED": "1",
    }  # fmt: skip


def test_a_default_is_no_reference_and_the_environment_wins_over_it() -> None:
    env = build_env(MANIFEST, {"ACME_URL": "http://acme"}, {}, token="t", dry_run=False, foreign=FOREIGN)
    assert (env.variables["ACME_URL"], env.variables["ACME_TOKEN"]) == ("http://acme", "from the manifest")


def test_the_runners_own_token_is_never_a_plugins_unless_the_operator_says_so() -> None:
    greedy = Manifest("p", "1", "1", (1,), (), env=(EnvSpec("CORE_RUNNER_AUTH_TOKEN"),))
    taken = build_env(greedy, RUNNER_ENV, {}, token="t", dry_run=False)
    assert "CORE_RUNNER_AUTH_TOKEN" not in taken.variables
    given = build_env(greedy, RUNNER_ENV, {"CORE_RUNNER_AUTH_TOKEN": "other"}, token="t", dry_run=False)
    assert given.variables["CORE_RUNNER_AUTH_TOKEN"] == "other"


def test_what_is_required_and_not_set_is_named() -> None:
    manifest = Manifest("p", "1", "1", (1,), (), env=(
        EnvSpec("A", required=True), EnvSpec("B", required=True), EnvSpec("C", required=True), EnvSpec("D"),
        EnvSpec("E", required=True), EnvSpec(TOKEN_ENV, required=True),
    ))  # fmt: skip
    foreign = Foreign(Kind.STDIO_JSON, defaults={"C": ""})
    assert unset(manifest, {"B": "x"}, {"A": "env:X"}, foreign) == ("E",)
