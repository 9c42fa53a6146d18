"""The error tree of the SDK: what a plugin may raise, and what each class means to the caller.

This file imports nothing of ours. Every error that can leave a capability carries a stable `code`, an HTTP status and
three answers the Runner acts on: may the call be repeated (`retryable`), after how long (`retry_after_s`), and may the
outside effect have happened although no success was seen (`ambiguous`).
"""

from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Detail:
    """One precise complaint: `path` is a JSON pointer into the input (or an environment name), `message` says why."""

    path: str
    message: str


class SdkError(Exception):
    """Base of every error the SDK defines. `code` is stable and machine-readable."""

    code = "sdk_error"

    def diagnostics(self) -> dict[str, str]:
        """Name the error for a log line or a JSON answer: its code and its text."""
        return {"code": self.code, "error": str(self)}


class PluginError(SdkError):
    """Base of the errors a capability raises to answer its caller.

    Attributes:
        http_status: the status of the answer.
        retryable: the same call may succeed later.
        retry_after_s: earliest sensible repetition in seconds; None when unknown.
        ambiguous: the request left and the outcome is unknown; never repeated blindly.
        details: precise complaints, at most a handful.
    """

    code = "plugin_error"
    http_status = 500

    def __init__(
        self,
        message: str,
        *,
        code: str | None = None,
        retryable: bool = False,
        retry_after_s: float | None = None,
        ambiguous: bool = False,
        details: Sequence[Detail] = (),
    ) -> None:
        super().__init__(message)
        self.code = code or type(self).code
        self.retryable = retryable
        self.retry_after_s = retry_after_s
        self.ambiguous = ambiguous
        self.details = tuple(details)


class InvalidRequest(PluginError):
    """400: the input is well-formed but wrong, and will stay wrong. Nothing was sent."""

    code = "invalid_request"
    http_status = 400

    def __init__(self, message: str, *, code: str | None = None, details: Sequence[Detail] = ()) -> None:
        super().__init__(message, code=code, details=details)


class Unauthorized(PluginError):
    """401: the provider refuses the plugin's own credentials. Not retried: somebody must change them."""

    code = "credentials_refused"
    http_status = 401

    def __init__(self, message: str, *, code: str | None = None) -> None:
        super().__init__(message, code=code)


class NotConfigured(PluginError):
    """503: the plugin lacks configuration. `names` are environment names, never values."""

    code = "not_configured"
    http_status = 503

    def __init__(self, message: str, *, names: Sequence[str] = (), details: Sequence[Detail] = ()) -> None:
        super().__init__(message, details=tuple(details) or tuple(Detail(name, "is not set") for name in names))


class Conflict(PluginError):
    """409: the provider's state contradicts the request (already exists, already answered)."""

    code = "conflict"
    http_status = 409

    def __init__(self, message: str, *, code: str | None = None) -> None:
        super().__init__(message, code=code)


class RateLimited(PluginError):
    """429: the provider asks to slow down; nothing was done. `retry_after_s` is its own wish in seconds, if it said."""

    code = "rate_limited"
    http_status = 429

    def __init__(
        self,
        message: str = "the provider limits the rate",
        *,
        retry_after_s: float | None = None,
        code: str | None = None,
    ) -> None:
        super().__init__(message, code=code, retryable=True, retry_after_s=retry_after_s)


class ProviderError(PluginError):
    """502: the provider answered with an error of its own. `code` should be the provider's, in snake_case."""

    code = "provider_error"
    http_status = 502

    def __init__(
        self,
        message: str,
        *,
        code: str | None = None,
        retryable: bool = False,
        retry_after_s: float | None = None,
        details: Sequence[Detail] = (),
    ) -> None:
        super().__init__(message, code=code, retryable=retryable, retry_after_s=retry_after_s, details=details)


class Transient(PluginError):
    """503: it certainly had no effect (the connection was refused, the name did not resolve) and may work later."""

    code = "transient"
    http_status = 503

    def __init__(self, message: str, *, code: str | None = None, retry_after_s: float | None = None) -> None:
        super().__init__(message, code=code, retryable=True, retry_after_s=retry_after_s)


class Permanent(PluginError):
    """422: understood, refused for good (an unknown channel, a blocked recipient). Nothing was done."""

    code = "permanent"
    http_status = 422

    def __init__(self, message: str, *, code: str | None = None, details: Sequence[Detail] = ()) -> None:
        super().__init__(message, code=code, details=details)


class Ambiguous(PluginError):
    """502: the request left and no answer came. The effect may or may not have happened."""

    code = "ambiguous"
    http_status = 502

    def __init__(self, message: str, *, code: str | None = None) -> None:
        super().__init__(message, code=code, ambiguous=True)


class DefinitionError(SdkError):
    """The plugin's own source is wrong (a signature, a name, a model). Raised at import, so that it cannot ship."""

    code = "invalid_plugin"


class ManifestError(SdkError):
    """A manifest document breaks its schema or contradicts itself. `path` is a JSON pointer to the guilty place."""

    code = "invalid_manifest"

    def __init__(self, message: str, *, path: str = "") -> None:
        super().__init__(f"{path or '/'}: {message}")
        self.path = path


class ContractError(SdkError):
    """A document of the sidecar contract breaks its JSON Schema. `details` name up to eight places."""

    code = "contract_broken"

    def __init__(self, message: str, *, details: Sequence[Detail] = ()) -> None:
        super().__init__(message)
        self.details = tuple(details)


class JsonRefused(SdkError):
    """Bytes are not acceptable JSON (malformed, too large, too deep, duplicate keys, NaN, lone surrogates)."""

    code = "invalid_json"


class JsonTooLarge(JsonRefused):
    """The document is larger than its limit and was not parsed."""

    code = "body_too_large"


class SignatureRefused(SdkError):
    """A signed call is not acceptable. `http_status` is 503 (no token), 401, or 409 (a replayed nonce)."""

    def __init__(self, message: str, *, code: str, http_status: int) -> None:
        super().__init__(message)
        self.code = code
        self.http_status = http_status


class ConfigInvalid(SdkError):
    """The environment does not make a valid config. `details` name the variables and the complaint, never a value.

    `text` is said instead of the list of variables where a sentence says more.
    """

    code = "not_configured"

    def __init__(self, details: Sequence[Detail], text: str = "") -> None:
        names = ", ".join(dict.fromkeys(detail.path for detail in details))
        super().__init__(text or f"configuration is missing or invalid: {names}")
        self.details = tuple(details)


class LoadFailed(SdkError):
    """An installed plugin cannot be loaded. `code`: plugin_not_found, duplicate_plugin, import_failed, not_a_plugin."""

    def __init__(self, message: str, *, code: str) -> None:
        super().__init__(message)
        self.code = code


class SourceError(SdkError):
    """A manifest, a wheel, a folder or a version of it cannot be read. The text says what was tried and what to do."""

    code = "no_manifest"
