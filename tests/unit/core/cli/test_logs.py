"""Logs: no secret gets out by any way in, and no value can forge a line."""

from __future__ import annotations

import io
import json
import logging
from collections.abc import Iterator

import pytest
import structlog
from hypothesis import given
from hypothesis import strategies as st

from aisops_core import logs
from aisops_core.identity.tokens import mint


@pytest.fixture(autouse=True)
def _restore() -> Iterator[None]:
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    yield
    root.handlers[:] = handlers
    root.setLevel(level)
    structlog.reset_defaults()


TOKEN = mint("api", lambda count: b"\x07" * count)


def written(style: str = "json") -> io.StringIO:
    stream = io.StringIO()
    logs.configure(style, "debug", stream)
    return stream


@pytest.mark.parametrize("style", ["json", "console"])
def test_secrets_are_redacted_wherever_they_stand(style: str) -> None:
    stream = written(style)
    log = structlog.get_logger("test")
    log.info(TOKEN.text(), nested={"deep": [TOKEN.text()]}, headers={"Authorization": "Bearer abcdefghij"})
    log.info("more", password="hunter2hunter2", runner_token="t0ps3cret", url="postgresql://u:pw12345@h/db")
    logging.getLogger("library").warning("sent Bearer %s", TOKEN.text())
    try:
        raise ValueError(TOKEN.text())
    except ValueError:
        log.exception("failed")
    text = stream.getvalue()
    for secret in (TOKEN.secret, "abcdefghij", "hunter2", "t0ps3cret", "pw12345"):
        assert secret not in text
    assert TOKEN.token_id in text, "the public id stays, so that a token can be found and revoked"


@pytest.mark.parametrize("style", ["json", "console"])
def test_a_value_cannot_forge_a_line(style: str) -> None:
    stream = written(style)
    structlog.get_logger("test").info("a\nb\r\x1b[2J\u2028", value="c\n{}")
    assert stream.getvalue().count("\n") == 1
    assert "\x1b[2J" not in stream.getvalue()
    assert "\u2028" not in stream.getvalue()


def test_json_lines_hold_time_level_logger_and_event() -> None:
    stream = written()
    logging.getLogger("library").error("went %s", "wrong", extra={"more": 1})
    line = json.loads(stream.getvalue())
    assert (line["event"], line["level"], line["logger"], line["more"]) == ("went wrong", "error", "library", 1)
    assert line["timestamp"].endswith("Z")


@given(st.binary(min_size=12, max_size=80), st.text(max_size=20), st.text(max_size=20))
def test_no_token_survives_in_any_surroundings(noise: bytes, before: str, after: str) -> None:
    token = mint("run", lambda count: (noise * count)[:count])
    assert token.secret not in logs.redact_text(f"{before}{token.text()}{after}")
