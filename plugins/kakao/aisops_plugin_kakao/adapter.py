"""The Kakao plugin: its configuration, its connection test and the capability kakao.alimtalk.send."""

import asyncio
import time
import uuid
from typing import Any

from aisops_plugin_kakao.client import ANSWER_MAX_BYTES, KakaoClient
from aisops_plugin_kakao.config import KakaoConfig, KakaoTemplate
from aisops_plugin_kakao.message import (
    KakaoMessage,
    accept,
    body,
    masked,
    message_cid,
    recipients,
    text_of,
    variables,
)
from aisops_plugin_kakao.rules import Kind, Verdict, conclude
from aisops_plugin_sdk import (
    Ambiguous,
    Context,
    Delivery,
    InvalidRequest,
    Plugin,
    PluginError,
    RateLimited,
    RecipientResult,
    Transient,
    Unauthorized,
)

plugin = Plugin(
    "kakao",
    config=KakaoConfig,
    description="Sends Kakao AlimTalk through DK Techin BizMessage v2.",
    max_concurrency=16,
    egress=["${KAKAO_BIZ_PROVIDERS_JSON}"],
)

PARALLEL_REQUESTS = 8


@plugin.on_start
async def start(ctx: Context[KakaoConfig]) -> None:
    """Open a session to each account."""
    ctx.state.clients = {}
    for name, provider in ctx.config.providers.items():
        http = ctx.http(
            provider.base_url,
            name="the Kakao provider",
            timeout_s=ctx.config.timeout_s,
            ca_file=ctx.config.ca_file,
            max_response_bytes=ANSWER_MAX_BYTES,
        )
        ctx.state.clients[name] = KakaoClient(provider, http, clock=time.monotonic)


@plugin.check
async def check(ctx: Context[KakaoConfig]) -> None:
    """Get an access token from each account; a configured token is not tried, because only sending would show.

    Nothing leaves in a dry run.
    """
    if ctx.dry_run:
        return
    for client in ctx.state.clients.values():
        await client.token()


@plugin.capability("kakao.alimtalk.send", channel=True, accept=accept, effect="idempotent", timeout_s=30)
async def send(ctx: Context[KakaoConfig], message: KakaoMessage) -> Delivery:
    """Send an AlimTalk by an approved template to one or more phone numbers."""
    provider_id, template_id, template = _template(ctx.config, message)
    values = _values(ctx, message, template)
    common = body(ctx.config.providers[provider_id], template, values)
    numbers = recipients(message.to)
    refs = {"provider_id": provider_id, "template_id": template_id}
    if message.trace_id:
        refs["trace_id"] = message.trace_id
    if ctx.dry_run:
        dry = [RecipientResult(to=number, status="accepted") for number in numbers]
        return Delivery(provider="dkt", refs={**refs, "dry_run": "true"}, per_recipient=dry)
    # A call without a key comes from a caller that does not repeat calls.
    key = ctx.idempotency_key or uuid.uuid4().hex
    client: KakaoClient = ctx.state.clients[provider_id]
    limit = asyncio.Semaphore(PARALLEL_REQUESTS)

    async def one(number: str) -> Verdict:
        own = {"cid": message_cid(key, provider_id, template_id, number), "phone_number": number}
        async with limit:
            return await _send_one(ctx, client, common | own)

    verdicts = await asyncio.gather(*(one(number) for number in numbers))
    return conclude(list(zip(numbers, verdicts, strict=True)), refs)


async def _send_one(ctx: Context[KakaoConfig], client: KakaoClient, message: dict[str, Any]) -> Verdict:
    """Send to one recipient; what fails becomes its verdict, so that it does not stop the others."""
    try:
        verdict = await client.send(message)
    except Ambiguous as error:
        verdict = Verdict(Kind.AMBIGUOUS, error.code, str(error))
    except RateLimited as error:
        verdict = Verdict(Kind.RATE_LIMITED, error.code, str(error), retry_after_s=error.retry_after_s)
    except Transient as error:
        verdict = Verdict(Kind.TRANSIENT, error.code, str(error))
    except Unauthorized as error:
        verdict = Verdict(Kind.TOKEN, error.code, str(error))
    except PluginError as error:
        verdict = Verdict(Kind.PERMANENT, error.code, str(error))
    if verdict.kind is not Kind.ACCEPTED:
        ctx.logger.warning(
            "not accepted",
            to=masked(message["phone_number"]),
            kind=verdict.kind.value,
            code=verdict.code,
            cid=message["cid"],
        )
    return verdict


def _template(config: KakaoConfig, message: KakaoMessage) -> tuple[str, str, KakaoTemplate]:
    """Find the account and the template that a call names or that are the configured defaults."""
    provider_id = message.provider_id or config.default_provider
    provider = config.providers.get(provider_id)
    if provider is None:
        known = ", ".join(sorted(config.providers)) or "none"
        raise InvalidRequest(f"provider_id {provider_id!r} is not configured; known: {known}", code="unknown_provider")
    template_id = message.template_id or config.default_template
    template = provider.templates.get(template_id)
    if template is None:
        known = ", ".join(sorted(provider.templates)) or "none"
        raise InvalidRequest(f"template_id {template_id!r} is not configured; known: {known}", code="unknown_template")
    return provider_id, template_id, template


def _values(ctx: Context[KakaoConfig], message: KakaoMessage, template: KakaoTemplate) -> dict[str, str]:
    """The value of each variable; `text` fills the configured one."""
    values = {name: text_of(value) for name, value in message.vars.items()}
    if message.text is not None:
        values[ctx.config.text_variable] = message.text
    names = variables(template)
    if message.text is not None and ctx.config.text_variable not in names:
        text = f"the template has no variable {ctx.config.text_variable!r} that the text could fill"
        raise InvalidRequest(text, code="no_text_variable")
    if missing := sorted(names - values.keys()):
        ctx.logger.warning("variables without a value were left empty", variables=missing)
    return values
