"""One clear message, with key and place, for every way a configuration can be wrong."""

from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from aisops_runner.config import ENV_KEYS, RunnerConfig, load_config
from aisops_runner.errors import ConfigInvalid


def _load(tmp_path: Path, text: str, env: dict[str, str] | None = None) -> RunnerConfig:
    path = tmp_path / "runner.toml"
    path.write_text(text)
    return load_config(path, env or {})


def test_defaults_are_those_of_the_original(tmp_path: Path) -> None:
    config = load_config(None, {})
    assert (config.core_endpoint, config.tenant_id, config.runner_id) == (
        "http://127.0.0.1:50051",
        "t_default",
        "runner-1",
    )
    assert (config.job_slots, config.allow_plaintext, config.hooks) == (16, False, ())


def test_a_whole_file(tmp_path: Path) -> None:
    config = _load(
        tmp_path,
        """
        core_endpoint = "https://core.example.com"
        tenant_id = "acme"
        runner_id = "seoul-dc-1"
        token_file = "token"
        data_dir = "data"
        labels = { site = "seoul" }
        bindings = { "slack.send" = "slack" }
        [plugins.slack]
        max_concurrency = 2
        prewarm = true
        env = { SLACK_BOT_TOKEN = "file:/run/secrets/slack" }
        """,
    )
    assert (config.core_endpoint, config.core_host, config.core_port) == (
        "https://core.example.com:443",
        "core.example.com",
        443,
    )
    assert config.token_file == tmp_path / "token"
    assert config.data_dir == tmp_path / "data"
    assert config.plugins["slack"].env == {"SLACK_BOT_TOKEN": "file:/run/secrets/slack"}
    assert "run/secrets" not in repr(config)


def test_the_environment_wins_and_its_credential_replaces_the_files(tmp_path: Path) -> None:
    env = {
        "TENANT_ID": "t2",
        "CORE_RUNNER_AUTH_TOKEN": "tok",
        "AISOPS_RUNNER_LABELS": "a=b, c=d",
        "AISOPS_DRY_RUN": "1",
    }
    config = _load(tmp_path, 'tenant_id = "t1"\ntoken_file = "x"', env)
    assert (config.tenant_id, config.token_file, config.labels, config.dry_run) == (
        "t2",
        None,
        {"a": "b", "c": "d"},
        True,
    )
    assert config.token is not None
    assert config.token.get_secret_value() == "tok"
    assert "tok'" not in repr(config)


@pytest.mark.parametrize(
    ("given", "endpoint"),
    [
        ("core.example.com:443", "https://core.example.com:443"),
        ("127.0.0.1:50051", "http://127.0.0.1:50051"),
        ("localhost:1", "http://localhost:1"),
        ("http://[::1]:5", "http://[::1]:5"),
        ("https://core.example.com/", "https://core.example.com:443"),
    ],
)
def test_endpoints_are_normalised(given: str, endpoint: str) -> None:
    assert load_config(None, {"CORE_GRPC_ENDPOINT": given}).core_endpoint == endpoint


@pytest.mark.parametrize(
    ("text", "key", "hint"),
    [
        ("job_slots = 0", "job_slots", "greater than or equal to 1"),
        ('job_slots = "many"', "job_slots", "integer"),
        ("jobslots = 3", "jobslots", "no such setting"),
        ('tenant_id = "a b"', "tenant_id", "pattern"),
        ("tenant_id = 5", "tenant_id", "string"),
        ('core_endpoint = "http://core.example.com:1"', "", "allow_plaintext"),
        ('core_endpoint = "ftp://x:1"', "core_endpoint", "https://core.example.com:443"),
        ('core_endpoint = "https://x:99999"', "core_endpoint", "Port out of range"),
        ('core_endpoint = "https://u:p@x:1"', "core_endpoint", "no path, query or user"),
        ('core_endpoint = "https://x:1/path"', "core_endpoint", "no path"),
        ('tls_cert = "x"', "", "go together"),
        ('token = "a"\ntoken_file = "b"', "", "keep one"),
        ('proxy = "socks5://x:1"', "proxy", "http://"),
        ("[plugins.slack]\nmax_concurrency = 0", "plugins.slack.max_concurrency", "greater"),
        ("[plugins.slack]\nenvv = {}", "plugins.slack.envv", "no such setting"),
        ('[plugins.slack.env]\n"a b" = "c"', "plugins.slack.env.a b", "pattern"),
        ('log_format = "xml"', "log_format", "json"),
        ("a = ", "", "not TOML"),
    ],
)
def test_each_fault_names_key_and_file(tmp_path: Path, text: str, key: str, hint: str) -> None:
    with pytest.raises(ConfigInvalid) as caught:
        _load(tmp_path, text)
    assert caught.value.key == key
    assert hint in str(caught.value)
    assert str(tmp_path / "runner.toml") in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_fault_in_the_environment_names_the_variable() -> None:
    with pytest.raises(ConfigInvalid, match="environment variable AISOPS_RUNNER_JOB_SLOTS: job_slots"):
        load_config(None, {"AISOPS_RUNNER_JOB_SLOTS": "x"})
    with pytest.raises(ConfigInvalid, match="site=seoul"):
        load_config(None, {"AISOPS_RUNNER_LABELS": "nonsense"})


def test_a_secret_in_a_faulty_value_is_not_shown() -> None:
    with pytest.raises(ConfigInvalid) as caught:
        load_config(None, {"HTTPS_PROXY": "socks5://user:hunter2@x"})
    assert "hunter2" not in str(caught.value)


@pytest.mark.parametrize("make", ["missing", "folder", "binary", "huge"])
def test_a_file_that_cannot_be_read_is_named(tmp_path: Path, make: str) -> None:
    path = tmp_path / make
    if make == "folder":
        path.mkdir()
    elif make == "binary":
        path.write_bytes(b"\xff\xfe")
    elif make == "huge":
        path.write_bytes(b"#" * (1024 * 1024 + 1))
    with pytest.raises(ConfigInvalid, match=str(path)):
        load_config(path, {})


@given(st.sampled_from(sorted(RunnerConfig.model_fields)), st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=6,
))  # fmt: skip
def test_any_value_for_any_key_is_taken_or_named(key: str, value: object) -> None:
    from pydantic import ValidationError

    from aisops_runner.config import _explain

    try:
        RunnerConfig.model_validate({key: value})
    except ValidationError as error:
        found = _explain(error, {key: "file"}, "file")
    else:
        return
    assert str(found).startswith("file: ")


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=50)
@given(
    st.sampled_from([name for names in ENV_KEYS.values() for name in names]),
    st.text(st.characters(blacklist_categories=("Cs",), blacklist_characters="\0"), max_size=30),
)
def test_any_text_in_any_variable_is_taken_or_named(name: str, value: str) -> None:
    try:
        load_config(None, {name: value})
    except ConfigInvalid as error:
        source = error.source
    else:
        return
    assert source


def test_plugins_of_the_original_are_found_by_path_address_and_folder(tmp_path: Path) -> None:
    config = _load(
        tmp_path,
        """
        plugin_folders = ["plugins", "/opt/plugins"]
        [plugin_permissions]
        outbound = ["https"]
        [plugins.notes]
        path = "notes"
        interpreter = "/opt/node/bin/node"
        routes = { "acme.count" = "/count" }
        [plugins.mail]
        url = "https://mail.example.com/plugin/"
        token = "file:/run/secrets/mail"
        capabilities = ["email.send"]
        """,
    )
    assert config.plugin_folders == (tmp_path / "plugins", Path("/opt/plugins"))
    assert config.plugin_permissions.outbound == ("https",)
    notes, mail = config.plugins["notes"], config.plugins["mail"]
    assert (notes.path, notes.interpreter) == (tmp_path / "notes", Path("/opt/node/bin/node"))
    assert (mail.url, mail.capabilities) == ("https://mail.example.com/plugin", ("email.send",))
    assert "run/secrets" not in repr(config)


def test_the_originals_variables_name_addresses_and_win_over_the_file(tmp_path: Path) -> None:
    text = '[plugins."my.mail"]\nurl = "http://127.0.0.1:1"\nprewarm = true\n'
    env = {
        "PLUGIN_MY_MAIL_URL": "http://127.0.0.1:9001/",
        "PLUGIN_KAKAO_URL": "http://localhost:9011",
        "PLUGIN_DB_QUERY_URL": "https://db.example.com",
        "PLUGIN_EMPTY_URL": "",
        "PLUGIN_URL": "x",
        "AISOPS_RUNNER_PLUGIN_FOLDERS": "/a:/b",
    }
    config = _load(tmp_path, text, env)
    assert {name: plugin.url for name, plugin in config.plugins.items()} == {
        "my.mail": "http://127.0.0.1:9001",
        "kakao": "http://localhost:9011",
        "db-query": "https://db.example.com",
    }
    assert config.plugins["my.mail"].prewarm
    assert config.plugins["kakao"].token == "env:AISOPSFLOW_INTERNAL_AUTH_TOKEN"
    assert config.plugin_folders == (Path("/a"), Path("/b"))


@pytest.mark.parametrize(
    ("url", "reason"),
    [
        ("ftp://x", "must look like"),
        ("plugin:9011", "must look like"),
        ("http://", "must look like"),
        ("http://127.0.0.1:0", "must look like"),
        ("http://127.0.0.1:99999", "must look like"),
        ("http://me:pw@127.0.0.1", "takes no query and no user"),
        ("http://127.0.0.1/?a=b", "takes no query"),
        ("http://127.0.0.1/a b", "cannot stand"),
        ("http://127.0.0.1/a/../b", "cannot stand"),
        ("http://플러그인", "must look like"),
        ("http://plugin_kakao:9011", "allow_plaintext = true"),
    ],
)
def test_an_address_that_cannot_be_used_is_named(tmp_path: Path, url: str, reason: str) -> None:
    with pytest.raises(ConfigInvalid, match=reason) as error:
        load_config(None, {"PLUGIN_KAKAO_URL": url})
    assert "kakao" in str(error.value)
    assert "pw@" not in str(error.value)


def test_plaintext_to_a_plugin_elsewhere_is_allowed_by_name(tmp_path: Path) -> None:
    config = _load(
        tmp_path, "[plugins.kakao]\nallow_plaintext = true\n", {"PLUGIN_KAKAO_URL": "http://plugin_kakao:9011"}
    )
    assert config.plugins["kakao"].url == "http://plugin_kakao:9011"


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ('[plugins.x]\npath = "a"\nurl = "http://127.0.0.1"\n', "keep one"),
        ('[plugins."My Plugin"]\npath = "a"\n', "small letters"),
        ('[plugins.x]\nroutes = { "a.b" = "nowhere" }\n', "routes"),
        ('[plugins.x]\ncapabilities = ["A"]\n', "capabilities"),
        ("[plugin_permissions]\nnetwork = []\n", "no such setting"),
    ],
)
def test_settings_of_such_plugins_that_contradict_themselves(tmp_path: Path, text: str, reason: str) -> None:
    with pytest.raises(ConfigInvalid, match=reason):
        _load(tmp_path, text)
