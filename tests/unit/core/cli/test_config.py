"""Configuration: every source is understood, and every mistake is named with its key and its place."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aisops_core.config import GRPC_PORT, HTTP_PORT, Address, CoreConfig, load
from aisops_core.errors import ConfigError


def test_a_data_folder_is_enough(tmp_path: Path) -> None:
    config = load(None, {}, {"data_dir": tmp_path})
    assert config.database_url == f"sqlite:///{tmp_path}/core.sqlite"
    assert str(config.http) == "127.0.0.1:8080"
    assert str(config.grpc) == "127.0.0.1:50051"


def test_without_a_data_folder_the_message_says_the_three_ways_to_name_one() -> None:
    with pytest.raises(ConfigError, match=r"--data DIR.*AISOPSFLOW_DATA"):
        load(None, {}, {})


def test_option_wins_over_environment_wins_over_file(tmp_path: Path) -> None:
    file = tmp_path / "core.toml"
    file.write_text('data_dir = "/from/file"\nhttp = "127.0.0.1:1"\ngrpc = "127.0.0.1:1"\nlease_s = 5\n')
    config = load(file, {"AISOPSFLOW_HTTP": ":2", "AISOPSFLOW_GRPC": ":2"}, {"grpc": "127.0.0.1:3", "http": None})
    assert (config.http.port, config.grpc.port, config.lease_s) == (2, 3, 5)
    assert config.data_dir == Path("/from/file")


def test_the_originals_environment_names_are_understood() -> None:
    environment = {"AISOPSFLOW_DB": "/data/a.sqlite", "CORE_GRPC_PORT": "6000", "CORE_GRPC_TLS": "false"}
    config = load(None, environment, {"data_dir": Path("/x")})
    assert config.database_url == "sqlite:////data/a.sqlite"
    assert config.grpc == Address("127.0.0.1", 6000)
    assert config.allow_plaintext


MISTAKES = [
    ("leese_s = 5\n", "leese_s", "lease_s"),
    ('lease_s = "sixty"\n', "lease_s", "number"),
    ("lease_s = nan\n", "lease_s", "finite"),
    ("lease_s = -1\n", "lease_s", "greater than 0"),
    ('http = "127.0.0.1:70000"\n', "http", "not a port"),
    ("allow_plaintext = 1\n", "allow_plaintext", "boolean"),
    ('log_format = "xml"\n', "log_format", "json"),
    ('tls_cert = "c.pem"\n', "configuration", "tls_key"),
    ("[http]\nhost = 1\n", "http", ""),
]


@pytest.mark.parametrize(("text", "key", "hint"), MISTAKES)
def test_each_mistake_is_one_line_naming_key_and_file(tmp_path: Path, text: str, key: str, hint: str) -> None:
    file = tmp_path / "core.toml"
    file.write_text('data_dir = "/x"\n' + text)
    with pytest.raises(ConfigError) as caught:
        load(file)
    message = caught.value.message
    assert key in message
    assert hint in message
    assert "\n" not in message
    assert key == "configuration" or str(file) in message


def test_a_broken_or_missing_file_is_named(tmp_path: Path) -> None:
    file = tmp_path / "core.toml"
    with pytest.raises(ConfigError, match=r"Cannot read .*core\.toml"):
        load(file)
    file.write_bytes(b"a = \xff")
    with pytest.raises(ConfigError, match=r"core.toml is not valid TOML"):
        load(file)


def test_a_bad_environment_variable_is_named() -> None:
    with pytest.raises(ConfigError, match="AISOPSFLOW_ALLOW_PLAINTEXT: write true or false"):
        load(None, {"AISOPSFLOW_ALLOW_PLAINTEXT": "maybe"}, {"data_dir": Path("/x")})
    with pytest.raises(ConfigError, match="environment variable CORE_GRPC_PORT: key 'grpc'"):
        load(None, {"CORE_GRPC_PORT": "99999"}, {"data_dir": Path("/x")})


@given(
    st.dictionaries(st.sampled_from(sorted(CoreConfig.model_fields)), st.text() | st.integers() | st.lists(st.none()))
)
def test_any_values_end_in_a_config_or_in_one_line(options: dict[str, object]) -> None:
    message = ""
    try:
        load(None, {}, options)
    except ConfigError as error:
        message = error.message
    assert "\n" not in message


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("0.0.0.0:9", Address("0.0.0.0", 9)),
        (":9", Address("127.0.0.1", 9)),
        ("9", Address("127.0.0.1", 9)),
        ("core.local", Address("core.local", HTTP_PORT)),
        ("[::1]:9", Address("::1", 9)),
        ("::1", Address("::1", HTTP_PORT)),
        ("[::]", Address("::", HTTP_PORT)),
    ],
)
def test_addresses(text: str, expected: Address) -> None:
    assert Address.parse(text, HTTP_PORT) == expected
    assert Address.parse(str(expected), 1) == expected


def test_plaintext_is_refused_where_others_can_reach_it_unless_asked_for_by_name() -> None:
    def config(**more: object) -> CoreConfig:
        return CoreConfig.model_validate({"data_dir": Path("/x"), **more})

    config(http="127.8.8.8:1", grpc="[::1]:1").refuse_plaintext()
    for door in ("http", "grpc"):
        with pytest.raises(ConfigError, match=f"{door} would listen on 0.0.0.0:1 without TLS"):
            config(**{door: "0.0.0.0:1"}).refuse_plaintext()
    with pytest.raises(ConfigError):
        config(grpc=f"core.example.com:{GRPC_PORT}").refuse_plaintext()
    config(grpc="0.0.0.0:1", allow_plaintext=True).refuse_plaintext()
    files = {"tls_cert": Path("c"), "tls_key": Path("k")}
    config(grpc="0.0.0.0:1", **files).refuse_plaintext()
    behind_a_proxy = config(grpc="0.0.0.0:1", http_plaintext=True, **files)
    behind_a_proxy.refuse_plaintext()
    assert (behind_a_proxy.tls, behind_a_proxy.http_tls) == (True, False)
    with pytest.raises(ConfigError, match="http would listen"):
        config(http="0.0.0.0:1", http_plaintext=True, **files).refuse_plaintext()
