"""One capability: the author's function, checked at import, with the models and schemas its signature states."""

import inspect
import re
import typing
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from pydantic import BaseModel, ValidationError

from aisops_plugin_sdk.context import Context
from aisops_plugin_sdk.errors import DefinitionError, Detail, InvalidRequest
from aisops_plugin_sdk.manifest import CapabilitySpec, EffectClass
from aisops_plugin_sdk.model_schemas import input_schema, output_schema

Handler = Callable[[Context[Any], Any], Any]
Accept = Callable[[dict[str, Any]], BaseModel | Mapping[str, Any]]
_NAME = re.compile(r"[a-z][a-z0-9_]*(\.[a-z][a-z0-9_]*)+", re.ASCII)
_MAX_NAME = 128
_MAX_DETAILS = 16


@dataclass(frozen=True, slots=True)
class Capability:
    """A registered capability. `accept` maps the body of POST /send (and other alias routes) to the input."""

    spec: CapabilitySpec
    input_model: type[BaseModel]
    output_model: type[BaseModel]
    handler: Handler
    accept: Accept | None

    def read(self, body: bytes) -> BaseModel:
        """Validate the input. The bytes have passed the strict JSON loader already.

        Raises:
            InvalidRequest: the input breaks the schema; `details` say where and why.
        """
        try:
            return self.input_model.model_validate_json(body, strict=True, extra="forbid")
        except ValidationError as error:
            raise _refused(error) from None

    def write(self, result: object) -> bytes:
        """Check what the handler returned and write it as JSON.

        Raises:
            ValidationError, ValueError, TypeError: it does not fit the output model, or cannot be written.
        """
        model = result if isinstance(result, self.output_model) else self.output_model.model_validate(result)
        return model.__pydantic_serializer__.to_json(model, by_alias=True)


def build_capability(
    handler: Handler,
    *,
    name: str,
    effect: EffectClass,
    channel: bool,
    timeout_s: float,
    accept: Accept | None,
    target_field: str | None,
    description: str | None,
) -> Capability:
    """Check an author's function and build its capability.

    Raises:
        DefinitionError: the name, the effect, the signature or a model is not acceptable; the text names the function.
    """
    where = f"capability {name!r} ({getattr(handler, '__qualname__', handler)!s})"
    if len(name) > _MAX_NAME or not _NAME.fullmatch(name):
        raise DefinitionError(f"{where}: the name must read <domain>.<verb> in lower case, such as 'slack.send'")
    if effect not in typing.get_args(EffectClass):
        raise DefinitionError(f"{where}: effect must be 'idempotent' or 'at_most_once', not {effect!r}")
    if not 0 < timeout_s <= 86_400:
        raise DefinitionError(f"{where}: timeout_s must be over 0 and at most 86400 seconds")
    input_model, output_model = _models(handler, where)
    mapping = _accept(where, input_model, channel=channel, accept=accept, target_field=target_field)
    try:
        spec = CapabilitySpec(
            name=name,
            description=inspect.cleandoc(description or handler.__doc__ or ""),
            effect_class=effect,
            channel=channel,
            timeout_s=float(timeout_s),
            input_schema=input_schema(input_model),
            output_schema=output_schema(output_model),
        )
    except DefinitionError as error:
        raise DefinitionError(f"{where}: {error}") from None
    return Capability(spec, input_model, output_model, handler, mapping)


def _models(handler: Handler, where: str) -> tuple[type[BaseModel], type[BaseModel]]:
    """Read the input and output model from the signature `(ctx: Context, input: Model) -> Model`."""
    parameters = list(inspect.signature(handler).parameters.values())
    kinds = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)
    if len(parameters) != 2 or any(parameter.kind not in kinds for parameter in parameters):
        raise DefinitionError(f"{where}: the function must take exactly (ctx: Context, input: YourModel)")
    try:
        hints = typing.get_type_hints(handler)
    except (NameError, TypeError) as error:
        raise DefinitionError(f"{where}: an annotation cannot be resolved: {error}") from None
    context, given = parameters
    hint = hints.get(context.name)
    if hint is not Context and typing.get_origin(hint) is not Context:
        raise DefinitionError(f"{where}: the first parameter must be annotated with Context")
    return _model(hints.get(given.name), f"{where}: parameter {given.name!r}"), _model(
        hints.get("return"), f"{where}: the return value"
    )


def _model(hint: Any, what: str) -> type[BaseModel]:
    """Accept a pydantic model class as annotation."""
    if isinstance(hint, type) and issubclass(hint, BaseModel):
        return hint
    raise DefinitionError(f"{what} must be annotated with a pydantic model")


def _accept(
    where: str, model: type[BaseModel], *, channel: bool, accept: Accept | None, target_field: str | None
) -> Accept | None:
    """Find out how `{target, text}` becomes the input of a channel capability."""
    if accept is not None and target_field is not None:
        raise DefinitionError(f"{where}: give accept or target_field, not both")
    if (accept is not None or target_field is not None) and not channel:
        raise DefinitionError(f"{where}: accept and target_field are for channel=True")
    if accept is not None or not channel:
        return accept
    missing = {target_field or "target", "text"} - set(model.model_fields)
    if missing:
        raise DefinitionError(
            f"{where}: a channel accepts {{target, text}}, but {model.__name__} has no field "
            f"{', '.join(sorted(missing))}; name the field with target_field=, or map the body with accept="
        )
    return None if target_field is None else _renaming(target_field)


def _renaming(field: str) -> Accept:
    """Build the mapping that moves `target` to another field and leaves everything else."""

    def accept(body: dict[str, Any]) -> dict[str, Any]:
        if "target" not in body or field in body:
            return body
        return {field if key == "target" else key: value for key, value in body.items()}

    return accept


def _refused(error: ValidationError) -> InvalidRequest:
    """Turn pydantic's complaints into ours. Input values are not repeated."""
    found = error.errors(include_url=False, include_context=False, include_input=False)
    details = [Detail(_pointer(item["loc"]), item["msg"]) for item in found[:_MAX_DETAILS]]
    return InvalidRequest(f"input breaks the schema: {details[0].path or '/'}: {details[0].message}", details=details)


def _pointer(location: tuple[int | str, ...]) -> str:
    """Write a location as a JSON pointer."""
    return "".join(f"/{str(part).replace('~', '~0').replace('/', '~1')}" for part in location)


def refused_mapping(error: ValidationError) -> InvalidRequest:
    """Turn a validation error raised inside an author's `accept` into the same answer as any other."""
    return _refused(error)
