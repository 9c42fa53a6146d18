import io
import json
import logging
from collections.abc import Iterator

import pytest
import structlog

from aisops_runner.logs import REDACTED, Redactor, configure_logs


@pytest.fixture
def stream() -> Iterator[io.StringIO]:
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    yield io.StringIO()
    root.handlers[:], root.level = handlers, level
    structlog.reset_defaults()


def test_every_form_of_a_registered_secret_is_taken_out() -> None:
    redactor = Redactor()
    redactor.register('s3cr"et/ü')
    for form in ('s3cr"et/ü', "s3cr%22et%2F%C3%BC", 's3cr\\"et/ü', "czNjciJldC/DvA"):
        assert redactor.text(f"before {form} after") == f"before {REDACTED} after"
    assert "s3cr" not in repr(redactor)


def test_short_values_are_not_registered() -> None:
    redactor = Redactor()
    redactor.register("a")
    assert redactor.text("banana") == "banana"


@pytest.mark.parametrize(
    "key", ["token", "bot_token", "password", "api-key", "Authorization", "private_key", "client_secret"]
)
def test_values_under_telling_keys_are_replaced(key: str) -> None:
    assert Redactor().value({"a": [{key: "x"}]}) == {"a": [{key: REDACTED}]}


@pytest.mark.parametrize(
    "text", ["aisops_runner_abc123_s3cr3ts3cr3t_0000", "Bearer abcdefgh12345", "basic dXNlcjpwYXNz"]
)
def test_what_looks_like_a_credential_goes(text: str) -> None:
    assert REDACTED in Redactor().text(f"header {text}")


def test_lines_of_structlog_and_of_the_standard_library_are_json_and_clean(stream: io.StringIO) -> None:
    redactor = Redactor()
    redactor.register("hunter2hunter2")
    configure_logs(redactor, log_format="json", stream=stream)
    try:
        raise ValueError("hunter2hunter2")
    except ValueError:
        structlog.get_logger("x").exception("failed hunter2hunter2", n=1)
    logging.getLogger("lib").warning("saw %s", "hunter2hunter2", extra={"password": "x"})
    lines = [json.loads(line) for line in stream.getvalue().splitlines()]
    assert "hunter2" not in stream.getvalue()
    assert [line["event"] for line in lines] == [f"failed {REDACTED}", f"saw {REDACTED}"]
    assert lines[0]["n"] == 1
    assert lines[1]["password"] == REDACTED
