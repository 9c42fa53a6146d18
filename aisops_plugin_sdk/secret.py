"""A configuration value that does not show itself, and the redactor that removes such values from text. Pure."""

import hmac
from collections.abc import Iterable, Mapping
from typing import Any

from pydantic import BaseModel, GetCoreSchemaHandler
from pydantic_core import CoreSchema, core_schema

MASK = "***"
_SHORTEST_REDACTED = 4


class Secret:
    """A text whose `repr`, `str` and formatting are `***`; only `reveal()` gives it out.

    It is accepted in `Config` fields (and models inside them), not in capability inputs or outputs.
    """

    __slots__ = ("_value",)

    def __init__(self, value: str) -> None:
        self._value = value

    def reveal(self) -> str:
        """Give out the text. Call it where the request is built, keep it nowhere."""
        return self._value

    def __repr__(self) -> str:
        return f"Secret({MASK})"

    def __str__(self) -> str:
        return MASK

    def __format__(self, spec: str) -> str:
        return MASK

    def __bool__(self) -> bool:
        return bool(self._value)

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Secret):
            return NotImplemented
        return hmac.compare_digest(self._value.encode(), other._value.encode())

    def __hash__(self) -> int:
        return hash(self._value)

    def __reduce__(self) -> str | tuple[Any, ...]:
        raise TypeError("a Secret is not pickled")

    @classmethod
    def __get_pydantic_core_schema__(cls, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        """Let pydantic make one from a non-empty text. There is no JSON Schema for it, on purpose."""
        return core_schema.no_info_plain_validator_function(
            _secret_from, serialization=core_schema.plain_serializer_function_ser_schema(str)
        )


def _secret_from(value: object) -> Secret:
    """Accept a Secret or a non-empty text, saying nothing about the value when refusing."""
    if isinstance(value, Secret):
        return value
    if isinstance(value, str) and value:
        return Secret(value)
    raise ValueError("must be a non-empty text")


class Redactor:
    """Replaces known secret texts by `***`. Texts shorter than four characters are left: they occur everywhere."""

    def __init__(self, secrets: Iterable[str] = ()) -> None:
        known = {secret for secret in secrets if len(secret) >= _SHORTEST_REDACTED}
        self._known = sorted(known, key=len, reverse=True)

    def __repr__(self) -> str:
        return f"Redactor({len(self._known)} secrets)"

    def text(self, text: str) -> str:
        """Return the text without any known secret."""
        for secret in self._known:
            if secret in text:
                text = text.replace(secret, MASK)
        return text


def secrets_in(value: object) -> list[str]:
    """List every secret text inside a value: models, mappings and sequences are searched."""
    if isinstance(value, Secret):
        return [value.reveal()]
    if isinstance(value, BaseModel):
        return [secret for name in type(value).model_fields for secret in secrets_in(getattr(value, name))]
    if isinstance(value, Mapping):
        return [secret for item in value.values() for secret in secrets_in(item)]
    if isinstance(value, (list, tuple, set, frozenset)):
        return [secret for item in value for secret in secrets_in(item)]
    return []
