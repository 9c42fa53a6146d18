"""Typed plugin configuration, read from environment variables. Pure: the environment is passed in.

A field's variable is its alias, or its name in upper case. Empty variables count as unset. Structured values are JSON
in one variable: annotate them with `pydantic.Json[...]`. Complaints name variables and never repeat a value.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, ClassVar, TypeVar, get_args

from pydantic import BaseModel, ConfigDict, ValidationError
from pydantic.fields import FieldInfo
from pydantic_core import ErrorDetails

from aisops_plugin_sdk.errors import ConfigInvalid, DefinitionError, Detail
from aisops_plugin_sdk.manifest import EnvSpec
from aisops_plugin_sdk.migrations import (
    FIRST,
    VERSION_ENV,
    Migrate,
    Migrated,
    Migration,
    bring_up,
    check_migrations,
    read_version,
    show,
)
from aisops_plugin_sdk.secret import Redactor, Secret

M = TypeVar("M", bound=Migrate)


class Config(BaseModel):
    """Base of a plugin's configuration: frozen, closed, and silent about values in its errors.

    Attributes:
        config_version: major.minor of what the class reads.
        config_migrations: what `migration` registered.
    """

    config_version: ClassVar[str] = FIRST
    config_migrations: ClassVar[list[Migration]] = []
    model_config: ClassVar[ConfigDict] = ConfigDict(
        frozen=True, extra="forbid", validate_by_name=True, validate_by_alias=True, hide_input_in_errors=True
    )

    @classmethod
    def __pydantic_init_subclass__(cls, **options: Any) -> None:
        """Give every class migrations of its own, after those of the class it is made from."""
        super().__pydantic_init_subclass__(**options)
        cls.config_migrations = list(cls.config_migrations)

    @classmethod
    def migration(cls, to: str, *, retires: Sequence[str] = ()) -> Callable[[M], M]:
        """Register a function from an older environment to one of version `to`: `(dict of text) -> dict of text`.

        It gets the variables that are set (the class's own and retired ones), and returns those of `to`. Register it
        before the `Plugin` is made.

        Args:
            to: major.minor, at most `config_version`.
            retires: variables that are no longer read from `to` on. The sidecar still receives them, as secrets, and
                one that is set shows that an environment is older.

        Raises:
            DefinitionError: `to` is no version.
        """
        try:
            version = read_version(to)
        except ValueError as error:
            raise DefinitionError(f"{cls.__name__}.migration: {error}") from None

        def register(function: M) -> M:
            cls.config_migrations.append(Migration(version, tuple(retires), function))
            return function

        return register


C = TypeVar("C", bound=Config)


def env_specs(config_class: type[Config]) -> tuple[EnvSpec, ...]:
    """Describe the environment variables of a config class, in the order of its fields.

    Raises:
        DefinitionError: a field uses an alias that is not one plain variable name, or two fields share a variable.
    """
    own = tuple(
        EnvSpec(
            name=_env_name(name, field),
            secret=holds_secret(field.annotation),
            required=field.is_required(),
            description=field.description or "",
        )
        for name, field in config_class.model_fields.items()
    )
    names = [spec.name for spec in own]
    if len(set(names)) != len(names):
        raise DefinitionError(f"{config_class.__name__}: two fields read the same environment variable")
    check_migrations(config_class.config_version, config_class.config_migrations, names)
    retired = {name: step.to for step in config_class.config_migrations for name in step.retires}
    return own + tuple(
        EnvSpec(name, secret=True, description=f"No longer read since version {show(version)} of the configuration")
        for name, version in retired.items()
    )


def migrated(config_class: type[Config], environ: Mapping[str, str]) -> Migrated:
    """The class's variables in an environment, brought to its version.

    Raises:
        ConfigInvalid: the environment is of a newer major, or a migration failed.
    """
    known = [spec.name for spec in env_specs(config_class)]
    given = {name: environ[name] for name in known if environ.get(name, "") != ""}
    return bring_up(
        given,
        config_class.config_migrations,
        current=read_version(config_class.config_version),
        said=environ.get(VERSION_ENV, ""),
    )


def load(config_class: type[C], environ: Mapping[str, str]) -> C:
    """Read the config from an environment of its own version.

    Raises:
        ConfigInvalid: variables are missing or invalid; it names all of them at once and quotes no value.
    """
    fields = {_key(name, field): (_env_name(name, field), field) for name, field in config_class.model_fields.items()}
    given = {key: environ[env] for key, (env, _) in fields.items() if environ.get(env, "") != ""}
    try:
        return config_class.model_validate(given)
    except ValidationError as error:
        secrets = Redactor(value for key, value in given.items() if holds_secret(fields[key][1].annotation))
        found = error.errors(include_url=False, include_context=False, include_input=False)
        raise ConfigInvalid([_complaint(item, fields, secrets) for item in found]) from None


def values_by_variable(config: Config) -> dict[str, tuple[Any, bool]]:
    """The values of a loaded config by their variable, each with whether the operator set it (else: the default)."""
    return {
        _env_name(name, field): (getattr(config, name), name in config.model_fields_set)
        for name, field in type(config).model_fields.items()
    }


def holds_secret(annotation: Any) -> bool:
    """Tell whether a type is or contains `Secret`, through containers, unions and models."""
    return any(part is Secret for part in _parts(annotation, set()))


def _parts(annotation: Any, seen: set[Any]) -> Iterator[Any]:
    """Walk a type and everything it is made of, each model once."""
    yield annotation
    if isinstance(annotation, type) and issubclass(annotation, BaseModel) and annotation not in seen:
        seen.add(annotation)
        for field in annotation.model_fields.values():
            yield from _parts(field.annotation, seen)
    for argument in get_args(annotation):
        yield from _parts(argument, seen)


def _env_name(name: str, field: FieldInfo) -> str:
    """Name the variable of a field."""
    if field.validation_alias is not None and not isinstance(field.validation_alias, str):
        raise DefinitionError(f"config field {name!r}: its alias must be one environment variable name")
    return field.validation_alias or field.alias or name.upper()


def _key(name: str, field: FieldInfo) -> str:
    """Name the key under which pydantic takes a field, which is also the first part of its error locations."""
    return field.validation_alias if isinstance(field.validation_alias, str) else field.alias or name


def _complaint(error: ErrorDetails, fields: Mapping[str, tuple[str, FieldInfo]], secrets: Redactor) -> Detail:
    """Turn one pydantic error into a complaint about a variable; secret variables get the error's kind only."""
    key = str(error["loc"][0]) if error["loc"] else ""
    if key not in fields:
        return Detail("", secrets.text(error["msg"]))
    env_name, field = fields[key]
    if error["type"] == "missing" and len(error["loc"]) == 1:
        return Detail(env_name, "is not set")
    if holds_secret(field.annotation):
        return Detail(env_name, f"is not valid ({error['type']})")
    return Detail(env_name, secrets.text(error["msg"]))
