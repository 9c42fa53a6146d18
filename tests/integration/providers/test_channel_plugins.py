"""What every channel plugin keeps, whatever its provider: /send, signatures, dry run, verdicts, silence on secrets."""

import json
import subprocess
import sys
import time
from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Any

import pytest

from aisops_plugin_email import plugin as email
from aisops_plugin_kakao import plugin as kakao
from aisops_plugin_sdk.plugin import Plugin
from aisops_plugin_sdk.testing import PluginTest
from aisops_plugin_slack import plugin as slack
from aisops_plugin_telegram import plugin as telegram
from demo.providers.faults import Fault, FaultKind
from demo.providers.host import INPUTS, TARGETS, ProviderHost

pytestmark = pytest.mark.integration
TEXT = "[FIRING] 디스크 부족 🚨 db-01 <no> writes & more\n두 번째 줄 👩‍🚒"
CHANNELS = {"slack": slack, "telegram": telegram, "email": email, "kakao": kakao}
ORIGINAL = {
    "slack": {"target": "#ops", "text": TEXT, "blocks": [{"type": "section", "text": {"type": "mrkdwn", "text": "b"}}]},
    "telegram": {"chat_id": TARGETS["telegram.send"], "text": TEXT},
    "email": {"to": "ops@demo.example", "subject": "알림", "text": TEXT},
    "kakao": {
        "tenant_id": "t_default", "provider_id": "demo-dkt", "template_id": "alert", "to": ["01000000000"],
        "vars": {"text": TEXT}, "trace_id": "trace-1",
    },
}  # fmt: skip


@dataclass
class Channel:
    """One plugin served against its stand-in."""

    name: str
    plugin: Plugin
    host: ProviderHost
    env: dict[str, str]

    @property
    def provider(self) -> Any:
        return getattr(self.host, self.name)

    @property
    def capability(self) -> str:
        return self.plugin.channel.spec.name

    @property
    def common_body(self) -> dict[str, str]:
        return {"target": TARGETS[self.capability], "text": TEXT}

    def served(self, **options: Any) -> PluginTest:
        return PluginTest(self.plugin, env=self.env, **options)

    def secrets(self) -> list[str]:
        if self.name == "kakao":
            account = json.loads(self.env["KAKAO_BIZ_PROVIDERS_JSON"])["demo-dkt"]
            return [account["client_secret"], account["sender_key"]]
        return [self.env[spec.name] for spec in self.plugin.env if spec.secret and spec.name in self.env]


@pytest.fixture(params=sorted(CHANNELS))
async def channel(request, tmp_path) -> AsyncIterator[Channel]:
    async with ProviderHost(tmp_path) as host:
        name = request.param
        yield Channel(name, CHANNELS[name], host, host.plugin_env()[name])


async def test_target_and_text_reach_the_provider_to_the_letter(channel):
    async with channel.served() as t:
        answer = await t.send(channel.common_body, idempotency_key="k-1")
    assert (answer.status, answer.ok) == (200, True), answer.document
    assert answer.document["status"] == "accepted"
    (received,) = channel.provider.received
    assert TEXT in received.text
    assert getattr(received, "unknown", ()) == ()
    assert answer.result["message_id"] == received.message_id


async def test_the_original_products_body_is_taken_as_it_is(channel):
    async with channel.served() as t:
        answer = await t.send(ORIGINAL[channel.name])
    assert answer.ok, answer.document
    assert TEXT in channel.provider.received[0].text


async def test_invoke_and_send_are_the_same_capability(channel):
    async with channel.served() as t:
        job = {**INPUTS[channel.capability], "text": TEXT}
        answer = await t.invoke(channel.capability, job, idempotency_key="k-1")
    assert answer.ok, answer.document
    assert TEXT in channel.provider.received[0].text


async def test_a_dry_run_answers_and_sends_nothing(channel):
    async with channel.served(dry_run=True) as t:
        answer = await t.send(channel.common_body)
    assert answer.ok, answer.document
    assert answer.result["refs"]["dry_run"] == "true"
    assert (channel.provider.calls, channel.provider.received) == (0, [])


async def test_calls_without_a_good_signature_send_nothing(channel):
    async with channel.served() as t:
        unsigned = await t.post("/send", channel.common_body, signed=False)
        stale = await t.post("/send", channel.common_body, now=time.time() - 301)
        forged = await t.post("/send", channel.common_body, headers={"X-Internal-Signature": "sha256=AAAA"})
    assert [(answer.status, answer.ok) for answer in (unsigned, stale, forged)] == [(401, False)] * 3
    assert channel.provider.calls == 0


async def test_malformed_incomplete_and_oversized_bodies_are_refused_in_json(channel):
    limit = channel.plugin.body_limit_bytes
    async with channel.served() as t:
        malformed = await t.post("/send", b'{"target":')
        incomplete = await t.send({"text": TEXT})
        unknown = await t.send({**channel.common_body, "nonsense": 1})
        oversized = await t.post("/send", json.dumps({"target": "x", "text": "x" * limit}).encode())
    assert [answer.status for answer in (malformed, incomplete, unknown, oversized)] == [400, 400, 400, 413]
    assert not any(answer.ok for answer in (malformed, incomplete, unknown, oversized))
    assert channel.provider.calls == 0


@pytest.mark.parametrize("plugin_module", [f"aisops_plugin_{name}" for name in sorted(CHANNELS)])
def test_a_plugin_brings_neither_the_runner_nor_core_nor_grpc(plugin_module):
    program = f"import sys, {plugin_module}; print(*sys.modules)"
    loaded = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True).stdout.split()
    assert plugin_module in loaded
    assert not {"aisops_runner", "aisops_core", "aisops_protocol", "aisopsflow", "grpc"} & set(loaded)


async def test_without_configuration_calls_are_refused_and_name_the_variables(channel):
    async with PluginTest(channel.plugin, env={}) as t:
        answer = await t.send(channel.common_body)
    required = {spec.name for spec in channel.plugin.env if spec.required}
    assert (answer.status, answer.code) == (503, "not_configured")
    assert {detail["path"] for detail in answer.details} == required


async def test_the_connection_check_reaches_the_provider(channel):
    async with channel.served() as t:
        answer = await t.get("/v1/config/check")
    assert answer.ok, answer.document
    assert channel.provider.calls == 0


async def test_the_connection_check_of_a_dry_run_reaches_nobody(channel):
    await channel.provider.stop()
    async with channel.served(dry_run=True) as t:
        assert (await t.get("/v1/config/check")).ok


async def test_a_provider_that_cannot_be_reached_is_a_safe_retry(channel):
    async with channel.served() as t:
        await channel.provider.stop()
        answer = await t.send(channel.common_body, idempotency_key="k-1")
    assert (answer.status, answer.retryable, answer.ambiguous) == (503, True, False), answer.document


@pytest.mark.parametrize(("kind", "accepted"), [(FaultKind.DROP_BEFORE_ACCEPT, 0), (FaultKind.DROP_AFTER_ACCEPT, 1)])
async def test_a_connection_dropped_after_the_request_left_is_ambiguous_and_not_repeated(channel, kind, accepted):
    channel.provider.faults.add(Fault(kind))
    async with channel.served() as t:
        answer = await t.send(channel.common_body, idempotency_key="k-1")
    assert (answer.ambiguous, answer.retryable) == (True, False), answer.document
    assert (channel.provider.calls, len(channel.provider.received)) == (1, accepted)


async def test_a_provider_that_accepts_and_then_hangs_is_ambiguous(channel):
    channel.provider.faults.add(Fault(FaultKind.HANG_AFTER_ACCEPT))
    timeout = {"slack": "SLACK_TIMEOUT_S", "telegram": "TELEGRAM_TIMEOUT_S", "kakao": "KAKAO_TIMEOUT_S"}
    channel.env[timeout.get(channel.name, "SMTP_TIMEOUT_S")] = "0.3"
    async with channel.served() as t:
        answer = await t.send(channel.common_body, idempotency_key="k-1")
    assert (answer.ambiguous, answer.code) == (True, "ambiguous"), answer.document
    assert len(channel.provider.received) == 1


async def test_our_verdict_on_a_slow_provider_comes_before_the_callers_deadline(channel):
    channel.provider.faults.add(Fault(FaultKind.HANG_BEFORE_ACCEPT))
    async with channel.served() as t:
        body = {name: value for name, value in ORIGINAL[channel.name].items() if name != "blocks"}
        answer = await t.invoke(channel.capability, body, idempotency_key="k-1", deadline_s=0.6)
    assert (answer.ambiguous, answer.code) == (True, "ambiguous"), answer.document


async def test_rate_limits_are_passed_on_as_retryable(channel):
    channel.provider.faults.add(Fault(FaultKind.RATE_LIMIT, retry_after_s=7))
    async with channel.served() as t:
        answer = await t.send(channel.common_body, idempotency_key="k-1")
    # Mail servers name no time; the plugin's own is used there.
    expected = 60_000 if channel.name == "email" else 7_000
    assert (answer.status, answer.retry_after_ms, answer.ambiguous) == (429, expected, False), answer.document
    assert channel.provider.received == []


@pytest.mark.parametrize("kind", [*FaultKind])
async def test_secrets_appear_in_no_answer_and_no_log(channel, kind):
    if kind in {FaultKind.HANG_AFTER_ACCEPT, FaultKind.HANG_BEFORE_ACCEPT}:
        kind = FaultKind.SERVER_ERROR
    code = "550 5.1.1 no such user" if channel.name == "email" else "3016"
    channel.provider.faults.add(Fault(kind, code=code, status=500))
    async with channel.served() as t:
        answers = [
            await t.send(channel.common_body),
            await t.get("/describe"),
            await t.get("/v1/config/check"),
            await t.get("/readyz", signed=False),
        ]
        await channel.provider.stop()
        answers.append(await t.send(channel.common_body))
        answers.append(await t.get("/v1/config/check"))
    said = "".join(json.dumps(answer.document) for answer in answers) + repr(t.logs)
    assert channel.secrets()
    assert not [secret for secret in channel.secrets() if secret in said]
