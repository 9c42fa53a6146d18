from pathlib import Path

import pytest

from aisops_plugin_sdk.manifest import EnvSpec, Manifest
from aisops_runner.errors import SecretUnavailable
from aisops_runner.sidecars.environment import TOKEN_ENV, build_env, unlisted
from aisops_runner.sidecars.settings import DefaultSettings, told

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


def test_proxies_and_places_are_the_operators_whatever_the_plugin_asks_for() -> None:
    configured = {"HTTPS_PROXY": "http://u:pr0xy-word@q:2"}
    settings = DefaultSettings(egress=("10.0.0.0/8", "x.test:1"), config_version="2.0")
    env = build_env(MANIFEST, RUNNER_ENV, configured, token="t", dry_run=False, told=told(settings))
    assert env.variables["HTTPS_PROXY"] == configured["HTTPS_PROXY"]
    assert "pr0xy-word" in env.secrets
    assert env.variables["AISOPS_EGRESS"] == "10.0.0.0/8,x.test:1"
    assert env.variables["AISOPS_CONFIG_VERSION"] == "2.0"
    assert told(DefaultSettings()) == {}
    assert unlisted(MANIFEST, configured) == ()


def test_variables_nobody_asked_for_are_told() -> None:
    assert unlisted(MANIFEST, {"ACME_TOKEN": "x", "OTHER": "y"}) == ("OTHER",)
