"""Older configurations: found by what they say or set, migrated step by step, refused with a sentence."""

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import Field

from aisops_plugin_sdk import Config, DefinitionError, Plugin, Secret
from aisops_plugin_sdk.config import load, migrated
from aisops_plugin_sdk.errors import ConfigInvalid
from aisops_plugin_sdk.migrations import Migration, migrate, read_version
from aisops_plugin_sdk.testing import PluginTest

NAMES = st.sampled_from(["A", "B", "C", "D"])
VERSIONS = st.tuples(st.integers(0, 5), st.integers(0, 3))


def acme() -> type[Config]:
    """Version 1 had a key and seconds, version 2 a token, version 3 milliseconds and a list."""

    class AcmeConfig(Config):
        config_version = "3.1"
        token: Secret = Field(alias="ACME_TOKEN")
        timeout_ms: int = Field(default=1000, alias="ACME_TIMEOUT_MS")
        note: str = Field(default="", alias="ACME_NOTE")

    @AcmeConfig.migration("2.0", retires=["ACME_KEY"])
    def to_token(old):
        return old | ({"ACME_TOKEN": old["ACME_KEY"]} if "ACME_KEY" in old else {})

    @AcmeConfig.migration("3.0", retires=["ACME_TIMEOUT_S"])
    def to_milliseconds(old):
        return old | ({"ACME_TIMEOUT_MS": str(int(old["ACME_TIMEOUT_S"]) * 1000)} if "ACME_TIMEOUT_S" in old else {})

    return AcmeConfig


def read(config_class, **environ):
    found = migrated(config_class, environ)
    return load(config_class, found.environ), found


@pytest.mark.parametrize(
    ("environ", "start", "timeout_ms"),
    [
        ({"ACME_KEY": "k-1", "ACME_TIMEOUT_S": "7"}, (0, 0), 7000),
        ({"ACME_TOKEN": "k-1", "ACME_TIMEOUT_S": "7"}, (2, 0), 7000),
        ({"ACME_TOKEN": "k-1", "ACME_TIMEOUT_MS": "7"}, (3, 1), 7),
        ({"ACME_TOKEN": "k-1", "ACME_TIMEOUT_MS": "7", "AISOPS_CONFIG_VERSION": "2.5"}, (2, 5), 7),
        ({"ACME_TOKEN": "k-1", "ACME_TIMEOUT_MS": "7", "AISOPS_CONFIG_VERSION": "3.9"}, (3, 9), 7),
    ],
)
def test_an_older_environment_is_understood(environ, start, timeout_ms):
    config, found = read(acme(), **environ)
    assert (config.token.reveal(), config.timeout_ms, found.start) == ("k-1", timeout_ms, start)


def test_a_newer_major_is_a_sentence_that_names_both():
    with pytest.raises(ConfigInvalid, match=r"version 4\.0.*up to 3\.1.*upgrade the plugin"):
        read(acme(), ACME_TOKEN="t", AISOPS_CONFIG_VERSION="4.0")
    with pytest.raises(ConfigInvalid, match="AISOPS_CONFIG_VERSION"):
        read(acme(), ACME_TOKEN="t", AISOPS_CONFIG_VERSION="latest")


def test_a_step_that_fails_shows_no_value():
    with pytest.raises(ConfigInvalid, match=r"3\.0 \(ValueError\)") as failed:
        read(acme(), ACME_KEY="k-1", ACME_TIMEOUT_S="seven-secret")
    assert "seven" not in str(failed.value) + str(failed.value.details)


@pytest.mark.parametrize("made", [None, {"A": 1}, 5])
def test_a_step_that_makes_no_texts_is_refused(made):
    step = Migration((2, 0), (), lambda old: made)
    with pytest.raises(ConfigInvalid, match=r"2\.0"):
        migrate({}, [step], start=(1, 0), end=(2, 0))


def test_retired_variables_stand_in_the_manifest_as_secrets():
    plugin = Plugin("acme", config=acme())
    env = {spec.name: (spec.secret, spec.required) for spec in plugin.env}
    assert env["ACME_KEY"] == (True, False)
    assert list(env) == ["ACME_TOKEN", "ACME_TIMEOUT_MS", "ACME_NOTE", "ACME_KEY", "ACME_TIMEOUT_S"]


def test_classes_do_not_share_migrations():
    class Other(acme()):
        config_version = "4.0"

    @Other.migration("4.0")
    def to_four(old):
        return old

    assert [step.to for step in Other.config_migrations] == [(2, 0), (3, 0), (4, 0)]
    assert Config.config_migrations == []


@pytest.mark.parametrize(
    ("version", "to", "retires", "text"),
    [
        ("2.0", ["3.0"], [], "leads past"),
        ("2.0", ["2.0", "2.0"], [], "twice"),
        ("2.0", ["2.0"], ["NOW"], "still read"),
        ("2.0", ["2.0"], ["no name"], "no variable"),
        ("two", [], [], "config_version"),
        ("2.0", ["2"], [], "no version"),
    ],
)
def test_what_cannot_be_meant_is_refused_at_import(version, to, retires, text):
    class Wrong(Config):
        config_version = version
        now: str = Field(default="", alias="NOW")

    def register():
        for one in to:
            Wrong.migration(one, retires=retires)(lambda old: old)
        Plugin("wrong", config=Wrong)

    with pytest.raises(DefinitionError, match=text):
        register()


def renaming(to, pairs):
    """A step that renames variables, as most are."""

    def function(old):
        return {dict(pairs).get(name, name): value + f">{to[0]}.{to[1]}" for name, value in old.items()}

    return Migration(to, (), function)


@given(
    environ=st.dictionaries(NAMES, st.text(max_size=5)),
    steps=st.dictionaries(VERSIONS, st.lists(st.tuples(NAMES, NAMES), max_size=3), max_size=5),
    stops=st.lists(VERSIONS, min_size=2, max_size=5),
)
def test_step_by_step_is_the_same_as_in_one_go(environ, steps, stops):
    migrations = [renaming(to, pairs) for to, pairs in steps.items()]
    stops = sorted(stops)
    walked = dict(environ)
    for start, end in itertools.pairwise(stops):
        walked = migrate(walked, migrations, start=start, end=end)
    assert walked == migrate(environ, migrations, start=stops[0], end=stops[-1])
    assert migrate(walked, migrations, start=stops[-1], end=stops[-1]) == walked


@given(st.text(max_size=12))
def test_any_text_is_a_version_or_refused(text):
    try:
        version = read_version(text)
    except ValueError:
        return
    assert f"{version[0]}.{version[1]}" == ".".join(str(int(part)) for part in text.split("."))


async def test_a_sidecar_serves_an_older_configuration_and_says_so():
    plugin = Plugin("acme", config=acme())

    @plugin.check
    async def check(ctx):
        assert ctx.config.token.reveal() == "key-secret-1"

    _capable(plugin)
    async with PluginTest(plugin, env={"ACME_KEY": "key-secret-1", "ACME_TIMEOUT_S": "2"}) as t:
        assert (await t.get("/v1/config/check")).ok
        warnings = [record.message for record in t.logs if record.level == "warning"]
    assert warnings == [
        "the configuration sets variables of an older version: ACME_KEY, ACME_TIMEOUT_S; it was understood, "
        "but set those of version 3.1 instead"
    ]
    async with PluginTest(plugin, env={"ACME_TOKEN": "t", "AISOPS_CONFIG_VERSION": "4.0"}) as t:
        ready = await t.get("/readyz", signed=False)
    assert (ready.status, ready.code) == (503, "not_configured")
    assert "this plugin knows versions up to 3.1" in ready.error


def _capable(plugin):
    from pydantic import BaseModel

    from aisops_plugin_sdk import Context, Delivery

    class In(BaseModel):
        text: str = ""

    @plugin.capability("acme.do")
    async def do(ctx: Context, given: In) -> Delivery:
        return Delivery(provider="acme")
