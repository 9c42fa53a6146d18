"""Where the client goes and as whom: precedence, private files, no token in the clear or at a strange address."""

from __future__ import annotations

import stat
from pathlib import Path

import pytest

from aisops_core.cli.failure import Failure
from aisops_core.cli.operator.profile import Profile, check_url, load, profile_path, read_token, resolve, save


@pytest.fixture
def environment(tmp_path: Path) -> dict[str, str]:
    return {"XDG_CONFIG_HOME": str(tmp_path)}


def test_the_profile_is_private_and_complete(environment: dict[str, str]) -> None:
    path = profile_path(environment)
    profile = Profile("https://core.example.com", "aisops_api_x", "ca.pem", allow_plaintext=True)
    save(profile, path)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert load(path) == profile
    assert [file.name for file in path.parent.iterdir()] == [path.name]
    assert "aisops_api_x" not in repr(profile)


def test_option_then_environment_then_profile(environment: dict[str, str], tmp_path: Path) -> None:
    save(Profile("https://saved.example.com", "saved"), profile_path(environment))
    assert resolve(environment) == Profile("https://saved.example.com", "saved")
    (tmp_path / "token").write_text("from-file\n")
    environment |= {"AISOPS_URL": "https://env.example.com/", "AISOPS_TOKEN_FILE": str(tmp_path / "token")}
    assert resolve(environment) == Profile("https://env.example.com", "from-file")
    environment["AISOPS_TOKEN"] = "from-env"
    assert resolve(environment).token == "from-env"
    found = resolve(environment, "https://option.example.com", str(tmp_path / "token"))
    assert found == Profile("https://option.example.com", "from-file")


def test_a_saved_token_is_never_sent_to_another_address(environment: dict[str, str]) -> None:
    save(Profile("https://saved.example.com", "saved"), profile_path(environment))
    with pytest.raises(Failure, match="no token for this Core"):
        resolve(environment, "https://other.example.com")


def test_plaintext_to_another_machine_must_be_asked_for(environment: dict[str, str]) -> None:
    environment["AISOPS_TOKEN"] = "t"
    for url in ("http://127.0.0.1:1", "http://localhost:1", "http://[::1]:1", "https://core.example.com"):
        resolve(environment, url)
    with pytest.raises(Failure, match="not encrypted"):
        resolve(environment, "http://core.example.com")
    environment["AISOPS_ALLOW_PLAINTEXT"] = "1"
    resolve(environment, "http://core.example.com")


@pytest.mark.parametrize(
    "url", ["", "core", "ftp://core", "http://", "http://u:p@core", "http://core?x=1", "http://c:x"]
)
def test_what_is_not_an_address_is_refused(url: str) -> None:
    with pytest.raises(Failure, match="not the address of a Core"):
        check_url(url)


@pytest.mark.parametrize("content", [b"", b" \n", b"two words", b"\xff\xfe", "ключ".encode()])
def test_what_is_not_a_token_is_refused_without_being_quoted(tmp_path: Path, content: bytes) -> None:
    file = tmp_path / "token"
    file.write_bytes(content)
    with pytest.raises(Failure) as caught:
        read_token(str(file))
    assert str(file) in caught.value.message
    assert "words" not in caught.value.message


def test_a_damaged_profile_is_named(environment: dict[str, str]) -> None:
    path = profile_path(environment)
    path.parent.mkdir()
    path.write_text("[]")
    with pytest.raises(Failure, match="cannot be used"):
        resolve(environment)
