"""Routes, headers, answers, log lines, error classes and the public face."""

import json
import tomllib
from pathlib import Path

import pytest

import aisops_plugin_sdk
from aisops_plugin_sdk import contracts, errors, testing
from aisops_plugin_sdk.errors import Detail, InvalidRequest, NotConfigured, PluginError, RateLimited
from aisops_plugin_sdk.logs import JobLogger, LogRecord, to_document
from aisops_plugin_sdk.secret import Redactor
from aisops_plugin_sdk.server import answers
from aisops_plugin_sdk.server.answers import CallOutcome, MethodRefused, Refusal
from aisops_plugin_sdk.server.call_headers import read_call
from aisops_plugin_sdk.server.routes import find_route

SDK = Path(aisops_plugin_sdk.__file__).parent


def test_the_face_of_the_test_kit_is_frozen():
    assert sorted(testing.__all__) == [
        "Answer",
        "DeliverySubject",
        "FakeProvider",
        "HttpUpstream",
        "PluginTest",
        "Received",
        "SidecarClient",
        "SidecarFailed",
        "SidecarProcess",
        "Upstream",
    ]
    assert all(getattr(testing, name) for name in testing.__all__)
    with pytest.raises(AttributeError):
        testing.NoSuchThing  # noqa: B018


def test_the_version_is_that_of_the_distribution():
    project = tomllib.loads((SDK / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    assert aisops_plugin_sdk.__version__ == project["version"]


@pytest.mark.parametrize(
    ("name", "status"),
    [
        ("InvalidRequest", 400),
        ("Unauthorized", 401),
        ("NotConfigured", 503),
        ("Conflict", 409),
        ("RateLimited", 429),
        ("ProviderError", 502),
        ("Transient", 503),
        ("Permanent", 422),
        ("Ambiguous", 502),
    ],
)
def test_every_error_class_answers_by_the_contract(name, status):
    error = getattr(errors, name)("text")
    answer = answers.failure(error, Redactor())
    contracts.validate(json.loads(answer.body), "error-v1")
    assert answer.status == status
    assert error.retryable is (name in ("RateLimited", "Transient"))
    assert error.ambiguous is (name == "Ambiguous")


def test_retry_after_is_told_in_both_ways():
    answer = answers.failure(RateLimited(retry_after_s=1.5), Redactor())
    assert json.loads(answer.body)["retry_after_ms"] == 1500
    assert dict(answer.headers) == {"Retry-After": "2"}


def test_error_texts_lose_secrets():
    error = InvalidRequest("token hunter22", details=[Detail("/hunter22", "not hunter22")])
    assert b"hunter22" not in answers.failure(error, Redactor(["hunter22"])).body


def test_not_configured_names_variables():
    document = answers.error_document(NotConfigured("missing", names=["A", "B"]), Redactor())
    assert [item["path"] for item in document["details"]] == ["A", "B"]


def test_an_error_without_text_shows_its_code():
    assert answers.error_document(PluginError(""), Redactor())["error"] == "plugin_error"


def test_alias_answers_repeat_the_result_at_the_top():
    body = json.loads(answers.sent(CallOutcome(result=b'{"ok":false,"id":"1"}'), Redactor()).body)
    assert body == {"status": "accepted", "id": "1", "ok": True, "result": {"ok": False, "id": "1"}}
    kept = json.loads(answers.sent(CallOutcome(result=b'{"status":"deferred"}'), Redactor()).body)
    assert kept["status"] == "deferred"


@pytest.mark.parametrize(
    ("method", "path", "name", "signed", "argument"),
    [
        ("POST", "/probe", "probe", False, ""),
        ("GET", "/healthz", "healthz", False, ""),
        ("GET", "/readyz", "readyz", False, ""),
        ("GET", "/describe", "describe", True, ""),
        ("GET", "/v1/config/check", "check", True, ""),
        ("POST", "/v1/shutdown", "shutdown", True, ""),
        ("POST", "/send", "send", True, ""),
        ("POST", "/kakao/alimtalk/send", "alimtalk", True, ""),
        ("POST", "/v1/invoke/slack.send", "invoke", True, "slack.send"),
        ("POST", "/v1/cancel/job-1", "cancel", True, "job-1"),
    ],
)
def test_routes(method, path, name, signed, argument):
    route = find_route(method, path, alimtalk=True)
    assert (route.name, route.signed, route.argument) == (name, signed, argument)
    with pytest.raises(MethodRefused):
        find_route("DELETE", path, alimtalk=True)


@pytest.mark.parametrize(
    "path",
    ["", "/", "/send/", "//send", "/SEND", "/v1/invoke/", "/v1/invoke/a/b", "/v1/invoke", "/probe/x", "http://x/send"],
)
def test_other_paths_are_not_found(path):
    with pytest.raises(Refusal) as refused:
        find_route("POST", path, alimtalk=True)
    assert refused.value.http_status == 404


def test_the_alimtalk_route_needs_the_capability():
    with pytest.raises(Refusal):
        find_route("POST", "/kakao/alimtalk/send", alimtalk=False)


def test_call_headers_are_read():
    call = read_call(
        {
            "X-Aisops-Tenant": "t",
            "X-Aisops-Runner": "r",
            "X-Aisops-Job": "j",
            "X-Aisops-Execution": "e",
            "X-Aisops-Step": "s",
            "X-Aisops-Attempt": "3",
            "X-Aisops-Deadline": "1700000000500",
            "Idempotency-Key": "k",
            "traceparent": "00-aa-bb-01",
        }
    )
    assert (call.tenant_id, call.runner_id, call.job_id, call.execution_id, call.step_id) == ("t", "r", "j", "e", "s")
    assert (call.attempt, call.deadline, call.idempotency_key, call.traceparent) == (
        3,
        1_700_000_000.5,
        "k",
        "00-aa-bb-01",
    )
    assert read_call({}).deadline is None


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("X-Aisops-Job", "a b"),
        ("X-Aisops-Job", "x" * 129),
        ("X-Aisops-Attempt", "-1"),
        ("X-Aisops-Deadline", "1e9"),
        ("X-Aisops-Deadline", "9" * 16),
        ("Idempotency-Key", "키"),
    ],
)
def test_a_wrong_header_is_refused_by_name(name, value):
    with pytest.raises(InvalidRequest, match=name):
        read_call({name: value})


def test_log_lines_follow_the_contract_whatever_is_logged():
    record = LogRecord("info", "x" * 20_000 + "hunter22", "j", {"a": 1, "secret": "hunter22", "o": object()}, 7.0)
    document = to_document(record, time_ms=1, redactor=Redactor(["hunter22"]))
    contracts.validate(document, "log-v1")
    assert "hunter22" not in json.dumps(document)
    assert document["progress"] == 1.0


def test_the_logger_has_four_levels_and_keeps_the_job():
    seen = []
    logger = JobLogger(seen.append, "j")
    logger.debug("a")
    logger.info("b", n=1)
    logger.warning("c")
    logger.error("d")
    assert [(record.level, record.job_id) for record in seen] == [
        ("debug", "j"),
        ("info", "j"),
        ("warning", "j"),
        ("error", "j"),
    ]


@pytest.mark.parametrize("text", ["한글" * 20_000, "\ud800" * 20_000, "🚨" * 20_000, "\x00\n" * 20_000])
def test_log_texts_are_cut_by_bytes_and_always_utf_8(text):
    document = to_document(LogRecord("info", text, "", {"f": text}), time_ms=1, redactor=Redactor())
    assert 16 * 1024 - 4 < len(document["message"].encode()) <= 16 * 1024
    assert len(document["fields"]["f"].encode()) <= 512
    record = LogRecord("info", text, "", dict.fromkeys(map(str, range(99)), text))
    many = to_document(record, time_ms=1, redactor=Redactor())
    assert len(json.dumps(many, ensure_ascii=False).encode()) < 64 * 1024
