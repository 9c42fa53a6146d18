"""The two capabilities of the kit's effect protocol: each posts to the address in its input, under the job's key.

They differ in nothing but their effect class, so that a runner's treatment of the class is all that is tested. Because
a job says where to post, nothing but loopback is posted to, and one host more when it is named in the configuration.
"""

from urllib.parse import urlsplit

from pydantic import BaseModel, Field, ValidationError

from aisops_plugin_sdk import Ambiguous, Config, Context, InvalidRequest, Plugin, ProviderError, Transient
from aisops_plugin_sdk.addresses import is_loopback
from aisops_plugin_sdk.outbound import Outbound, read_at_most

KEY_HEADER = "Idempotency-Key"
MOST_OCTETS = 32 * 1024 * 1024
LONGEST_S = 3600.0
DONE, NOT_DONE = 200, 503


class ConformanceConfig(Config):
    """Where effects may be posted to."""

    host: str = Field(
        default="", alias="AISOPS_CONFORMANCE_HOST", description="host of the kit when it is not this machine"
    )


class Order(BaseModel):
    """What to do."""

    url: str = Field(max_length=512, description="address of the effect, given by the kit")
    fill: str = Field(default="", description="makes the input larger")


class Done(BaseModel):
    """The kit's answer, as it came."""

    effect: str
    pad: str


plugin = Plugin(
    "conformance",
    config=ConformanceConfig,
    description="Test capabilities for aisops-delivery-conformance; not for production.",
    max_concurrency=64,
    body_limit_bytes=1024 * 1024,
)


@plugin.on_start
async def start(ctx: Context[ConformanceConfig]) -> None:
    """Open the session to the kit."""
    ctx.state.outbound = Outbound("http://127.0.0.1")


@plugin.on_stop
async def stop(ctx: Context[ConformanceConfig]) -> None:
    """Close it."""
    await ctx.state.outbound.close()


@plugin.capability("conformance.idempotent", effect="idempotent", timeout_s=60)
async def idempotent(ctx: Context[ConformanceConfig], order: Order) -> Done:
    """Do what may be repeated under the same key."""
    return await post(ctx, order)


@plugin.capability("conformance.at_most_once", effect="at_most_once", timeout_s=60)
async def at_most_once(ctx: Context[ConformanceConfig], order: Order) -> Done:
    """Do what must not be repeated."""
    return await post(ctx, order)


async def post(ctx: Context[ConformanceConfig], order: Order) -> Done:
    """Post to the effect's address and return the answer.

    Raises:
        InvalidRequest: The address is not the kit's.
        Transient: Nothing was done (503, or the request did not leave).
        Ambiguous: The request left and no usable answer came.
        ProviderError: Any other answer.
    """
    host = urlsplit(order.url).hostname or ""
    if not order.url.startswith("http://") or not (is_loopback(host) or (host and host == ctx.config.host)):
        raise InvalidRequest("url must be http:// on this machine, or on the host in AISOPS_CONFORMANCE_HOST")
    if ctx.dry_run:
        return Done(effect="dry-run", pad="")
    outbound: Outbound = ctx.state.outbound
    body, headers = order.model_dump(exclude_defaults=True), {KEY_HEADER: ctx.idempotency_key}
    async with (
        outbound.attempt("the kit", LONGEST_S),  # the deadline is the sidecar's to keep: it tells it from a lost answer
        outbound.session.post(order.url, json=body, headers=headers) as answer,
    ):
        if answer.status == NOT_DONE:
            raise Transient("the kit says: not now")
        if answer.status != DONE:
            raise ProviderError(f"the kit answered {answer.status}", code="kit_refused")
        try:
            return Done.model_validate_json(await read_at_most(answer, MOST_OCTETS))
        except ValidationError:
            raise Ambiguous("the answer is not the kit's") from None
