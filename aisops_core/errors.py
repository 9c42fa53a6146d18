"""Every error Core raises on purpose: one tree, imported by all, importing nothing of ours.

    CoreError
    ├── ConfigError              the settings cannot be used as they are
    ├── InvalidRequest           the caller's request is malformed
    │   ├── InvalidCursor
    │   ├── InputInvalid         the job's input breaks its capability's schema
    │   ├── InputTooLarge
    │   └── UnknownCapability
    ├── NotFound                 JobNotFound, RunnerNotFound, TokenNotFound, TenantNotFound
    ├── Conflict                 AlreadyExists, IdempotencyMismatch, NotUncertain
    ├── Denied                   Unauthenticated, Forbidden
    ├── SessionRefused           a Runner's stream may not open
    ├── Fenced                   a newer session of the same Runner has taken over
    ├── IllegalTransition        a job cannot take this step from the state it is in
    └── Unavailable              StorageUnavailable, StorageVersionMismatch

`code` is stable and part of the public contract; `message` says what happened, `advice` what to do next. Neither ever
holds a secret. How a code becomes an HTTP status, a gRPC status or an exit code is decided at each door, once.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar


@dataclass(frozen=True, slots=True)
class FieldError:
    """One thing wrong with a document: `path` is a JSON pointer ("" is the whole document)."""

    path: str
    message: str


class CoreError(Exception):
    """Base of all errors Core raises on purpose.

    Attributes:
        code: Stable machine-readable name.
        message: What happened, for people.
        advice: What to do next, for people; may be empty.
    """

    code: ClassVar[str] = "core_error"
    default_advice: ClassVar[str] = ""

    def __init__(self, message: str, *, advice: str | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.advice = self.default_advice if advice is None else advice

    def diagnostics(self) -> Mapping[str, object]:
        """What happened and what to do, as plain values for logs, problem documents and `--json`."""
        return {"code": self.code, "message": self.message, "advice": self.advice}


class ConfigError(CoreError):
    """The settings cannot be used as they are."""

    code = "config_invalid"
    default_advice = "Correct the named setting and start again."


class InvalidRequest(CoreError):
    """The caller's request is malformed; `errors` names each field."""

    code = "invalid_request"

    def __init__(self, message: str, errors: Sequence[FieldError] = (), *, advice: str | None = None) -> None:
        super().__init__(message, advice=advice)
        self.errors = tuple(errors)

    def diagnostics(self) -> Mapping[str, object]:
        """As the base, with the list of field errors."""
        return {
            **super().diagnostics(),
            "errors": [{"path": error.path, "message": error.message} for error in self.errors],
        }


class InvalidCursor(InvalidRequest):
    """The cursor was not given out by this API."""

    code = "invalid_cursor"
    default_advice = "Use next_cursor from the previous page, or leave the cursor out to start again."

    def __init__(self) -> None:
        super().__init__("The cursor is not one that was given out.")


class InputInvalid(InvalidRequest):
    """A job's input is not JSON, or breaks the input schema its capability publishes."""

    code = "input_invalid"
    default_advice = (
        "Compare the input with the capability's input schema"
        " (`aisops capability show NAME`, GET /api/v1/capabilities)."
    )


class InputTooLarge(InvalidRequest):
    """A job's input is above the size limit (octets)."""

    code = "input_too_large"
    default_advice = "Pass large data by reference."

    def __init__(self, size_bytes: int, limit_bytes: int) -> None:
        super().__init__(f"The input has {size_bytes} bytes; the limit is {limit_bytes}.")
        self.size_bytes = size_bytes
        self.limit_bytes = limit_bytes


class UnknownCapability(InvalidRequest):
    """No Runner of this tenant (or not `runner_id`) ever offered the capability; `known` lists those on offer."""

    code = "unknown_capability"

    def __init__(self, capability: str, known: Sequence[str], runner_id: str | None = None) -> None:
        offer = ", ".join(known) if known else "none yet: connect a Runner that has the plugin"
        who = "No Runner of this tenant" if runner_id is None else f"No Runner {runner_id!r} of this tenant"
        where = "Known capabilities" if runner_id is None else "What it offers"
        super().__init__(f"{who} offers the capability {capability!r}.", advice=f"{where}: {offer}.")
        self.capability = capability
        self.known = tuple(known)

    def diagnostics(self) -> Mapping[str, object]:
        """As the base, with the capabilities that are known."""
        return {**super().diagnostics(), "known": list(self.known)}


class NotFound(CoreError):
    """The thing named does not exist in the caller's tenant."""

    code = "not_found"


class JobNotFound(NotFound):
    """No such job in this tenant."""

    code = "job_not_found"

    def __init__(self, job_id: str) -> None:
        super().__init__(f"There is no job {job_id!r}.")


class RunnerNotFound(NotFound):
    """No such Runner in this tenant."""

    code = "runner_not_found"

    def __init__(self, runner_id: str) -> None:
        super().__init__(
            f"There is no Runner {runner_id!r}.", advice="`aisops runner list` shows the Runners of this tenant."
        )


class TokenNotFound(NotFound):
    """No such token in this tenant."""

    code = "token_not_found"

    def __init__(self, token_id: str) -> None:
        super().__init__(f"There is no token {token_id!r}.")


class TenantNotFound(NotFound):
    """No such tenant."""

    code = "tenant_not_found"

    def __init__(self, tenant_id: str) -> None:
        super().__init__(f"There is no tenant {tenant_id!r}.")


class Conflict(CoreError):
    """The request contradicts what is already there."""

    code = "conflict"


class AlreadyExists(Conflict):
    """Something of that name exists."""

    code = "already_exists"

    def __init__(self, kind: str, name: str) -> None:
        super().__init__(
            f"A {kind} named {name!r} already exists.",
            advice=f"Choose another name; `aisops runner token {name}` makes a Runner a further token.",
        )


class IdempotencyMismatch(Conflict):
    """The idempotency key was used before for a different request; `job_id` is the job it made."""

    code = "idempotency_mismatch"
    default_advice = "Use a new Idempotency-Key for a new job, and the old key only to repeat the same request."

    def __init__(self, job_id: str) -> None:
        super().__init__(f"This Idempotency-Key was used for a different request, which made job {job_id}.")
        self.job_id = job_id


class NotUncertain(Conflict):
    """Only a job whose outcome is unknown can be resolved."""

    code = "not_uncertain"
    default_advice = "`aisops job explain JOB_ID` says where the job stands."

    def __init__(self, job_id: str, state: str) -> None:
        super().__init__(f"Job {job_id} is {state}: only an uncertain job can be resolved.")


class OtherAttempt(Conflict):
    """A decision names an attempt that is not the job's last."""

    code = "other_attempt"
    default_advice = "Look again: `aisops job show JOB_ID`. Then decide about the attempt it shows."

    def __init__(self, job_id: str, attempt: int, wanted: int) -> None:
        super().__init__(f"Job {job_id} is at attempt {attempt}; the decision is about attempt {wanted}.")


class Denied(CoreError):
    """The caller may not do this."""

    code = "denied"


class Unauthenticated(Denied):
    """No valid credential. Says the same for every cause, so that nothing can be learned by trying."""

    code = "unauthenticated"
    default_advice = "Send a valid token as `Authorization: Bearer …`."

    def __init__(self, message: str = "The token is missing, malformed, unknown, expired or revoked.") -> None:
        super().__init__(message)


class Forbidden(Denied):
    """The credential is valid and its role does not allow this."""

    code = "forbidden"


class SessionRefused(CoreError):
    """A Runner's stream may not open.

    Attributes:
        reason: Machine-readable, upper case: DUPLICATE_INSTANCE, NOT_ENROLLED, PROTOCOL_UNSUPPORTED, IDENTITY_MISMATCH,
            DRAINING, OVERLOADED, INVALID.
        retry_after_ms: When to try again; 0 leaves it to the Runner's back-off.
    """

    code = "session_refused"

    def __init__(self, reason: str, message: str, *, retry_after_ms: int = 0) -> None:
        super().__init__(message)
        self.reason = reason
        self.retry_after_ms = retry_after_ms

    def diagnostics(self) -> Mapping[str, object]:
        """As the base, with the reason and the pause asked for (ms)."""
        return {**super().diagnostics(), "reason": self.reason, "retry_after_ms": self.retry_after_ms}


class Fenced(CoreError):
    """A newer session of the same Runner has taken over; nothing of this write was stored."""

    code = "fenced"

    def __init__(self, runner_id: str) -> None:
        super().__init__(f"A newer session of Runner {runner_id!r} has taken over.")


class IllegalTransition(CoreError):
    """A job cannot take this step from the state it is in."""

    code = "illegal_transition"


class Unavailable(CoreError):
    """Core cannot do this now; trying again later may work."""

    code = "unavailable"
    default_advice = "Try again shortly."


class StorageUnavailable(Unavailable):
    """The database cannot be reached or written (disk full, locked, I/O error, closed).

    A write that ends so may or may not have been committed when the database is remote: repeat it under the same
    idempotency key.
    """

    code = "storage_unavailable"
    default_advice = "Check the free space and health of the database, then try again."


class StorageVersionMismatch(Unavailable):
    """The database was written by a newer version of Core."""

    code = "storage_version_mismatch"
    default_advice = "Start the newer version of Core, or restore a backup made by this one."
