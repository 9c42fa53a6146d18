"""`python -m aisops_plugin_sdk.docs.inspecting NAME`: what a plugin's own models tell, as one JSON line.

Runs where the plugin's code may be imported. Examples are tried here, on the schema and on the models themselves.
"""

import json
import sys
from typing import Annotated, Any

from jsonschema import Draft202012Validator
from pydantic import TypeAdapter, ValidationError
from pydantic.errors import PydanticInvalidForJsonSchema, PydanticUserError
from pydantic.fields import FieldInfo
from pydantic_core import PydanticUndefined, to_jsonable_python

from aisops_plugin_sdk.capability import Capability
from aisops_plugin_sdk.config import Config, env_specs
from aisops_plugin_sdk.docs.examples import NoExample, example
from aisops_plugin_sdk.docs.facts import Facts, Sample, Variable
from aisops_plugin_sdk.docs.wording import kind
from aisops_plugin_sdk.errors import InvalidRequest, LoadFailed, ManifestError
from aisops_plugin_sdk.manifest import Manifest
from aisops_plugin_sdk.process.loading import load_plugin
from aisops_plugin_sdk.process.stdout import ContractOutput

OK = 0
FAILED = 1


def main(name: str) -> int:
    """Print the facts of a plugin, or `{"ok":false,"error":…,"code":…}`. Returns the exit code."""
    output = ContractOutput()
    try:
        plugin = load_plugin(name)
        manifest = Manifest.parse(plugin.manifest().to_document())
        samples = {item.spec.name: _sample(item) for item in plugin.capabilities()}
        output.line(Facts(manifest, _variables(plugin.config_class), samples).to_document())
    except (LoadFailed, ManifestError) as error:
        output.line({"ok": False, **error.diagnostics()})
        return FAILED
    except NoExample as error:
        output.line({"ok": False, "error": str(error), "code": "no_example"})
        return FAILED
    else:
        return OK
    finally:
        output.close()


def _sample(capability: Capability) -> Sample:
    """Make the examples of a capability and try them.

    Raises:
        NoExample: none can be made up, or one that the author gave is not valid.
    """
    spec = capability.spec
    given = [*spec.input_schema.get("examples", ()), _made(spec.input_schema, f"{spec.name}, input")]
    for value in given:
        _fits(value, spec.input_schema, f"{spec.name}, input")
        try:
            capability.read(json.dumps(value).encode())
        except InvalidRequest as error:
            raise NoExample(_advice(f"{spec.name}, input", value, str(error))) from None
    answered = [*spec.output_schema.get("examples", ()), _made(spec.output_schema, f"{spec.name}, output")]
    for value in answered:
        _fits(value, spec.output_schema, f"{spec.name}, output")
        try:
            capability.output_model.model_validate(value)
        except ValidationError as error:
            raise NoExample(_advice(f"{spec.name}, output", value, str(error).splitlines()[-1])) from None
    return Sample(given[0], answered[0])


def _made(schema: dict[str, Any], where: str) -> Any:
    try:
        return example(schema)
    except NoExample as error:
        raise NoExample(f"{where}: {error}") from None


def _fits(value: Any, schema: dict[str, Any], where: str) -> None:
    complaint = next(Draft202012Validator(schema).iter_errors(value), None)
    if complaint is not None:
        raise NoExample(_advice(where, value, complaint.message))


def _advice(where: str, value: Any, why: str) -> str:
    shown = json.dumps(value, ensure_ascii=False)[:200]
    return f"{where}: the example {shown} is not valid: {why[:300]}; give the model or the field valid `examples`"


def _variables(config: type[Config]) -> tuple[Variable, ...]:
    """List the configuration in the order of its fields; retired variables, which come after them, are left out."""
    pairs = zip(config.model_fields.values(), env_specs(config), strict=False)
    return tuple(
        Variable(spec.name, _kind(field), spec.required, spec.secret, _default(field, spec.secret), spec.description)
        for field, spec in pairs
    )


def _kind(field: FieldInfo) -> str:
    """Say what form a value must have; a text where its type has no JSON Schema, as secrets have none."""
    annotation: Any = field.annotation
    for rule in field.metadata:
        annotation = Annotated[annotation, rule]
    try:
        found = kind(TypeAdapter(annotation).json_schema())
    except (PydanticInvalidForJsonSchema, PydanticUserError, TypeError):
        return "string"
    return "JSON" if found.startswith(("object", "list", "map")) else found


def _default(field: FieldInfo, secret: bool) -> str:  # noqa: FBT001 - one fact
    """Write the default; nothing for secrets and for what means `unset`."""
    value = field.get_default(call_default_factory=True, validated_data={})
    if secret or value in (None, "", PydanticUndefined):
        return ""
    return json.dumps(to_jsonable_python(value, fallback=str), ensure_ascii=False).strip('"')


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
