"""Config is read from variables; complaints name variables and never values."""

import pytest
from pydantic import AliasChoices, BaseModel, Field, Json, ValidationError, field_validator

from aisops_plugin_sdk import Config, Secret
from aisops_plugin_sdk.config import env_specs, load
from aisops_plugin_sdk.errors import ConfigInvalid, DefinitionError
from aisops_plugin_sdk.manifest import EnvSpec


class Provider(BaseModel):
    client_secret: Secret


class Sample(Config):
    token: Secret = Field(alias="SAMPLE_TOKEN", description="API token")
    port: int = Field(default=587, ge=1)
    tls: bool = False
    providers: Json[dict[str, Provider]] = Field(default={}, alias="SAMPLE_PROVIDERS_JSON")


def complaints(environ):
    """Load and return the complaints as a dict."""
    with pytest.raises(ConfigInvalid) as refused:
        load(Sample, environ)
    assert "hunter22" not in str(refused.value) + repr(refused.value.details)
    return {detail.path: detail.message for detail in refused.value.details}


def test_variables_are_aliases_or_upper_case_names():
    config = load(Sample, {"SAMPLE_TOKEN": "t", "PORT": "25", "TLS": "true"})
    assert (config.token.reveal(), config.port, config.tls, config.providers) == ("t", 25, True, {})


def test_structured_values_are_json():
    config = load(Sample, {"SAMPLE_TOKEN": "t", "SAMPLE_PROVIDERS_JSON": '{"main":{"client_secret":"s"}}'})
    assert config.providers["main"].client_secret.reveal() == "s"


def test_empty_variables_are_unset():
    assert complaints({"SAMPLE_TOKEN": "", "PORT": ""}) == {"SAMPLE_TOKEN": "is not set"}


def test_all_complaints_come_at_once():
    found = complaints({"PORT": "many", "SAMPLE_PROVIDERS_JSON": '{"main":{"hunter22":"hunter22"}}'})
    assert set(found) == {"SAMPLE_TOKEN", "PORT", "SAMPLE_PROVIDERS_JSON"}
    assert found["SAMPLE_PROVIDERS_JSON"] == "is not valid (missing)"


def test_a_validator_that_quotes_a_secret_is_silenced():
    class Strict(Config):
        token: Secret

        @field_validator("token")
        @classmethod
        def check(cls, value):
            raise ValueError(f"bad token {value.reveal()}")

    with pytest.raises(ConfigInvalid) as refused:
        load(Strict, {"TOKEN": "hunter22"})
    assert "hunter22" not in repr(refused.value.details)


def test_the_manifest_lists_what_is_secret_and_required():
    assert env_specs(Sample) == (
        EnvSpec("SAMPLE_TOKEN", secret=True, required=True, description="API token"),
        EnvSpec("PORT"),
        EnvSpec("TLS"),
        EnvSpec("SAMPLE_PROVIDERS_JSON", secret=True),
    )


def test_a_plugin_without_config_needs_no_class():
    assert env_specs(Config) == ()
    assert load(Config, {"ANY": "thing"}) == Config()


def test_tests_may_build_a_config_by_field_names():
    assert Sample(token=Secret("t"), port=1).port == 1


def test_a_config_is_frozen():
    with pytest.raises(ValidationError):
        load(Sample, {"SAMPLE_TOKEN": "t"}).port = 1


def test_two_names_for_one_field_are_refused():
    class Twice(Config):
        token: str = Field(validation_alias=AliasChoices("A", "B"))

    with pytest.raises(DefinitionError, match="one environment variable"):
        env_specs(Twice)


def test_two_fields_with_one_name_are_refused():
    class Same(Config):
        a: str = Field(alias="X")
        b: str = Field(alias="X")

    with pytest.raises(DefinitionError, match="same environment variable"):
        env_specs(Same)
