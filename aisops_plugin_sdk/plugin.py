"""The object a plugin author writes against: name, config, hooks and capabilities. Nothing runs at import."""

import re
from collections.abc import Callable, Iterable, Sequence
from typing import Any, TypeVar

from aisops_plugin_sdk import batch, webhooks
from aisops_plugin_sdk.capability import Accept, Capability, build_capability
from aisops_plugin_sdk.config import Config, env_specs
from aisops_plugin_sdk.context import Context
from aisops_plugin_sdk.egress import check_entries
from aisops_plugin_sdk.errors import DefinitionError
from aisops_plugin_sdk.manifest import (
    DEFAULT_BODY_LIMIT_BYTES,
    DEFAULT_TIMEOUT_S,
    MAX_BODY_LIMIT_BYTES,
    EffectClass,
    EnvSpec,
    Manifest,
)
from aisops_plugin_sdk.version import CONTRACT_MAJORS, SDK_VERSION
from aisops_plugin_sdk.webhooks import Verify, Webhook, check_path

Hook = Callable[[Context[Any]], Any]
F = TypeVar("F", bound=Callable[..., Any])
_NAME = re.compile(r"[a-z0-9][a-z0-9._-]{0,63}", re.ASCII)
_FEATURES = frozenset({batch.FEATURE, "cancel", "config_check", "idempotency_replay", "shutdown"})


class Plugin:
    """A plugin: one per distribution, exported under the entry-point group `aisops.plugins` by the same name.

    Args:
        name: lower case letters, digits, `.`, `_`, `-`; at most 64.
        version: the plugin's version; empty takes the version of the distribution that exports it.
        config: the class of its configuration.
        description: one paragraph for people.
        max_concurrency: calls served at once, 1 to 1024; further ones are answered 429.
        startup_timeout_s: seconds `on_start` may take.
        body_limit_bytes: largest request body, 1 KiB to 1 MiB.
        egress: where `ctx.http()` may go: `api.acme.test` (port 443), `api.acme.test:8443`, `*.acme.test`, an address,
            or `${ACME_URL}` for whatever the operator puts into that variable. None: the plugin does not say, and
            `ctx.http()` refuses everything.

    Raises:
        DefinitionError: an argument is out of its range.
    """

    def __init__(
        self,
        name: str,
        *,
        version: str = "",
        config: type[Config] = Config,
        description: str = "",
        max_concurrency: int = 4,
        startup_timeout_s: float = 10.0,
        body_limit_bytes: int = DEFAULT_BODY_LIMIT_BYTES,
        egress: Sequence[str] | None = None,
    ) -> None:
        if not _NAME.fullmatch(name):
            raise DefinitionError(f"plugin name {name!r} must match {_NAME.pattern}")
        if not 1 <= max_concurrency <= 1024:
            raise DefinitionError("max_concurrency must be 1 to 1024")
        if not 0.1 <= startup_timeout_s <= 300:
            raise DefinitionError("startup_timeout_s must be 0.1 to 300 seconds")
        if not 1024 <= body_limit_bytes <= MAX_BODY_LIMIT_BYTES:
            raise DefinitionError(f"body_limit_bytes must be 1024 to {MAX_BODY_LIMIT_BYTES}")
        self.name = name
        self.version = version
        self.description = description
        self.config_class = config
        self.max_concurrency = max_concurrency
        self.startup_timeout_s = startup_timeout_s
        self.body_limit_bytes = body_limit_bytes
        self.egress = None if egress is None else tuple(egress)
        try:
            check_entries(self.egress or (), (spec.name for spec in env_specs(config)))
        except ValueError as error:
            raise DefinitionError(f"plugin {name!r}: {error}") from None
        self._capabilities: dict[str, Capability] = {}
        self._hooks: dict[str, Hook] = {}
        self._webhooks: dict[str, Webhook] = {}

    def __repr__(self) -> str:
        return f"Plugin({self.name!r}, capabilities={sorted(self._capabilities)})"

    def capability(
        self,
        name: str,
        *,
        effect: EffectClass = "at_most_once",
        channel: bool = False,
        timeout_s: float = DEFAULT_TIMEOUT_S,
        accept: Accept | None = None,
        target_field: str | None = None,
        description: str | None = None,
    ) -> Callable[[F], F]:
        """Register a function `(ctx: Context, input: Model) -> Model`; its signature is the schema.

        Args:
            name: `<domain>.<verb>`, such as `slack.send`.
            effect: `idempotent` only when a repetition with the same `ctx.idempotency_key` has no second effect.
            channel: it sends messages: POST /send reaches it, with `{target, text}` too. At most one per plugin.
            timeout_s: how long a call may take when the caller sets no deadline.
            accept: maps any body of POST /send, a dict, to the input model or a dict of it; returns a body that is in
                the model's own form unchanged. May raise InvalidRequest.
            target_field: shorter than `accept` when `target` only has another name in the model.
            description: for people; the function's docstring when None.

        Raises:
            DefinitionError: at import, when anything about it is wrong.
        """

        def register(handler: F) -> F:
            if name in self._capabilities:
                raise DefinitionError(f"capability {name!r} is registered twice")
            if channel and self.channel is not None:
                raise DefinitionError(f"capability {name!r}: {self.channel.spec.name!r} is the channel already")
            self._capabilities[name] = build_capability(
                handler,
                name=name,
                effect=effect,
                channel=channel,
                timeout_s=timeout_s,
                accept=accept,
                target_field=target_field,
                description=description,
            )
            return handler

        return register

    def webhook(self, path: str, *, verify: Verify) -> Callable[[F], F]:
        """Register a public route, `(ctx: Context, request: WebhookRequest) -> Inbound | WebhookReply`.

        What the function returns as `Inbound` is told to Core; the provider is answered only after the Runner has it on
        its disk, and 503 with Retry-After otherwise. A `WebhookReply` is answered at once. An error of the SDK is
        answered with its status and text. The function has two seconds: what takes longer belongs into a job.

        Args:
            path: such as `/acme/events`.
            verify: raises `Unauthorized` for what the provider did not send; `aisops_plugin_sdk.verifiers` has some.

        Raises:
            DefinitionError: the path is none, is the sidecar's own, or is registered twice.
        """
        check_path(path)

        def register(handler: F) -> F:
            if path in self._webhooks:
                raise DefinitionError(f"webhook {path!r} is registered twice")
            self._webhooks[path] = Webhook(path, verify, handler)
            return handler

        return register

    def webhook_at(self, path: str) -> Webhook | None:
        """Find the webhook of a path, or None."""
        return self._webhooks.get(path)

    def on_start(self, hook: F) -> F:
        """Register the function that opens clients and keeps them in `ctx.state`. Runs once, before any call."""
        return self._register("on_start", hook)

    def on_stop(self, hook: F) -> F:
        """Register the function that closes what `on_start` opened. Runs once, after the last call."""
        return self._register("on_stop", hook)

    def check(self, hook: F) -> F:
        """Register the connection test: it returns, or raises an error of the SDK that says what is wrong."""
        return self._register("check", hook)

    def hook(self, name: str) -> Hook | None:
        """Return the registered `on_start`, `on_stop` or `check`, or None."""
        return self._hooks.get(name)

    @property
    def env(self) -> tuple[EnvSpec, ...]:
        """The variables the plugin may receive, retired ones included."""
        return env_specs(self.config_class)

    @property
    def channel(self) -> Capability | None:
        """The capability behind POST /send, or None."""
        return next((item for item in self._capabilities.values() if item.spec.channel), None)

    def capabilities(self) -> Iterable[Capability]:
        """List the registered capabilities in the order of registration."""
        return self._capabilities.values()

    def find(self, name: str) -> Capability | None:
        """Find a capability by its name or by the original product's spelling (`send.slack` for `slack.send`)."""
        found = self._capabilities.get(name)
        if found is None and "." in name:
            verb, _, domain = name.partition(".")
            found = self._capabilities.get(f"{domain}.{verb}")
        return found

    def manifest(self) -> Manifest:
        """Describe the plugin.

        Raises:
            DefinitionError: it has no capability.
        """
        if not self._capabilities:
            raise DefinitionError(f"plugin {self.name!r} has no capability")
        channel = self.channel
        return Manifest(
            name=self.name,
            version=self.version or "0.0.0",
            sdk_version=SDK_VERSION,
            contract=CONTRACT_MAJORS,
            capabilities=tuple(item.spec for item in self._capabilities.values()),
            env=self.env,
            max_concurrency=self.max_concurrency,
            startup_timeout_s=self.startup_timeout_s,
            features=_FEATURES | ({webhooks.FEATURE} if self._webhooks else set()),
            webhooks=tuple(self._webhooks),
            channel=None if channel is None else channel.spec.name,
            body_limit_bytes=self.body_limit_bytes,
            description=self.description,
            egress=self.egress,
            config_version=self.config_class.config_version,
        )

    def _register(self, name: str, hook: F) -> F:
        """Keep one hook, refusing a second."""
        if name in self._hooks:
            raise DefinitionError(f"{name} is registered twice")
        self._hooks[name] = hook
        return hook
