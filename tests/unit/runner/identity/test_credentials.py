"""The runner token is read from a private file and never shown."""

from __future__ import annotations

import pickle
from pathlib import Path

import pytest

from aisops_runner.errors import ConfigInvalid
from aisops_runner.identity.credentials import RunnerToken, load_token

TEXT = "aisops_runner_abc_secretsecret"


def token_file(tmp_path: Path, content: bytes = TEXT.encode() + b"\n", mode: int = 0o600) -> Path:
    path = tmp_path / "token"
    path.write_bytes(content)
    path.chmod(mode)
    return path


def test_a_token_is_given_out_by_reveal_only():
    token = RunnerToken(f" {TEXT}\n")

    assert token.reveal() == TEXT
    for shown in (repr(token), str(token), f"{token}", f"{token!r:>30}", f"{[token]}"):
        assert "secret" not in shown
    with pytest.raises(TypeError):
        pickle.dumps(token)


def test_tokens_compare_by_text():
    assert RunnerToken(TEXT) == RunnerToken(TEXT)
    assert RunnerToken(TEXT) != RunnerToken("other")
    assert RunnerToken(TEXT) != TEXT


def test_a_private_file_is_read(tmp_path: Path):
    assert load_token(token_file(tmp_path)).reveal() == TEXT


@pytest.mark.parametrize("mode", [0o644, 0o640, 0o604, 0o666])
def test_a_file_that_others_may_read_is_refused_with_advice(tmp_path: Path, mode: int):
    with pytest.raises(ConfigInvalid, match="chmod 600") as refused:
        load_token(token_file(tmp_path, mode=mode))
    assert "secret" not in str(refused.value)


@pytest.mark.parametrize("content", [b"", b"  \n", b"two words", "tökén".encode(), b"x" * 5000, b"\x00\xff"])
def test_what_is_no_token_is_refused_without_showing_it(tmp_path: Path, content: bytes):
    with pytest.raises(ConfigInvalid) as refused:
        load_token(token_file(tmp_path, content))
    assert "two words" not in str(refused.value)


def test_a_missing_file_and_a_folder_are_refused(tmp_path: Path):
    for path in (tmp_path / "none", tmp_path):
        with pytest.raises(ConfigInvalid):
            load_token(path)
