"""What is wrong with a plugin's source is said at import, with the place."""

from collections.abc import Callable
from typing import Any

import pytest
from pydantic import BaseModel, ConfigDict, RootModel

from aisops_plugin_sdk import Context, DefinitionError, Delivery, Plugin, Secret
from aisops_plugin_sdk.manifest import Manifest


class Send(BaseModel):
    target: str
    text: str


class Post(BaseModel):
    chat_id: str
    text: str


def define(handler, **options):
    """Register a handler on a fresh plugin."""
    plugin = Plugin("sample")
    plugin.capability(options.pop("name", "sample.send"), **options)(handler)
    return plugin


async def good(ctx: Context, message: Send) -> Delivery:
    """Send it."""
    return Delivery(provider="x")


async def no_annotations(ctx, message):
    return None


async def no_return(ctx: Context, message: Send):
    return None


async def no_model(ctx: Context, message: dict[str, Any]) -> Delivery:
    return Delivery(provider="x")


async def no_context(ctx: str, message: Send) -> Delivery:
    return Delivery(provider="x")


async def one_parameter(ctx: Context) -> Delivery:
    return Delivery(provider="x")


async def keywords(ctx: Context, *, message: Send) -> Delivery:
    return Delivery(provider="x")


async def unknown_name(ctx: Context, message: "Sned") -> Delivery:  # noqa: F821
    return Delivery(provider="x")


@pytest.mark.parametrize(
    ("handler", "why"),
    [
        (no_annotations, "first parameter must be annotated with Context"),
        (no_return, "return value must be annotated"),
        (no_model, "'message' must be annotated with a pydantic model"),
        (no_context, "annotated with Context"),
        (one_parameter, "exactly"),
        (keywords, "exactly"),
        (unknown_name, "Sned"),
    ],
)
def test_a_wrong_signature_is_refused_with_the_function_named(handler, why):
    with pytest.raises(DefinitionError, match=why) as refused:
        define(handler)
    assert handler.__name__ in str(refused.value)


@pytest.mark.parametrize(
    "name",
    ["send", "Slack.send", "slack.", ".send", "slack-x.send", "slack send", "slack.ßend", "a" * 65 + "." + "b" * 65],
)
def test_a_capability_is_named_domain_dot_verb(name):
    with pytest.raises(DefinitionError, match=r"<domain>\.<verb>"):
        define(good, name=name)


@pytest.mark.parametrize("name", ["", "Slack", "a b", "../x", "-x", "x" * 65])
def test_a_plugin_name_is_plain(name):
    with pytest.raises(DefinitionError):
        Plugin(name)


@pytest.mark.parametrize(
    "options",
    [
        {"max_concurrency": 0},
        {"max_concurrency": 1025},
        {"startup_timeout_s": 0},
        {"body_limit_bytes": 2 * 1024 * 1024},
        {"body_limit_bytes": 10},
    ],
)
def test_numbers_of_a_plugin_have_ranges(options):
    with pytest.raises(DefinitionError):
        Plugin("sample", **options)


@pytest.mark.parametrize("options", [{"effect": "maybe"}, {"timeout_s": 0}, {"timeout_s": 90_000}])
def test_options_of_a_capability_have_ranges(options):
    with pytest.raises(DefinitionError):
        define(good, **options)


def test_a_capability_is_registered_once():
    plugin = define(good)
    with pytest.raises(DefinitionError, match="twice"):
        plugin.capability("sample.send")(good)


def test_a_plugin_has_one_channel():
    plugin = define(good, channel=True)
    with pytest.raises(DefinitionError, match=r"'sample\.send' is the channel already"):
        plugin.capability("sample.other", channel=True)(good)


def test_hooks_are_registered_once():
    plugin = Plugin("sample")
    plugin.on_start(lambda ctx: None)
    with pytest.raises(DefinitionError, match="on_start is registered twice"):
        plugin.on_start(lambda ctx: None)


def test_a_channel_must_take_target_and_text():
    async def post(ctx: Context, message: Post) -> Delivery:
        return Delivery(provider="x")

    with pytest.raises(DefinitionError, match="no field target"):
        define(post, channel=True)
    define(post, channel=True, target_field="chat_id")
    define(post, channel=True, accept=lambda body: body)
    with pytest.raises(DefinitionError, match="not both"):
        define(post, channel=True, accept=lambda body: body, target_field="chat_id")
    with pytest.raises(DefinitionError, match="channel=True"):
        define(post, target_field="chat_id")


def test_a_plugin_without_capabilities_has_no_manifest():
    with pytest.raises(DefinitionError, match="no capability"):
        Plugin("sample").manifest()


def input_of(model):
    """Register a capability with an input model."""

    async def handler(ctx: Context, given: model) -> Delivery:  # type: ignore[valid-type]
        return Delivery(provider="x")

    handler.__annotations__["given"] = model
    return define(handler)


def test_what_json_schema_cannot_express_is_refused():
    class WithCallable(BaseModel):
        hook: Callable[[], None]

    class Opaque:
        pass

    class WithObject(BaseModel):
        model_config = ConfigDict(arbitrary_types_allowed=True)
        thing: Opaque

    class WithSecret(BaseModel):
        token: Secret

    class WithDefault(BaseModel):
        model_config = ConfigDict(arbitrary_types_allowed=True)
        value: Any = Opaque()

    class Items(RootModel[list[int]]):
        pass

    for model in (WithCallable, WithObject, WithSecret, WithDefault, Items):
        with pytest.raises(DefinitionError, match=r"sample\.send"):
            input_of(model)


def test_inputs_are_closed_at_every_depth_and_outputs_open():
    class Leaf(BaseModel):
        x: int

    class Tree(BaseModel):
        leaf: Leaf
        leaves: list[Leaf] = []
        either: Leaf | None = None
        free: dict[str, int] = {}

    schema = input_of(Tree).manifest().capabilities[0].input_schema
    assert schema["additionalProperties"] is False
    assert schema["$defs"]["Leaf"]["additionalProperties"] is False
    assert schema["properties"]["free"]["additionalProperties"] == {"type": "integer"}

    class Closed(BaseModel):
        model_config = ConfigDict(extra="forbid")
        leaf: Leaf

    async def handler(ctx: Context, given: Send) -> Closed:
        return Closed(leaf=Leaf(x=1))

    handler.__annotations__["return"] = Closed
    output = define(handler).manifest().capabilities[0].output_schema
    assert "additionalProperties" not in output


def test_an_input_without_fields_is_closed_too():
    class Nothing(BaseModel):
        pass

    assert input_of(Nothing).manifest().capabilities[0].input_schema["additionalProperties"] is False


def test_extra_allow_is_refused_in_inputs():
    class Loose(BaseModel):
        model_config = ConfigDict(extra="allow")
        x: int

    class Outer(BaseModel):
        loose: Loose

    with pytest.raises(DefinitionError, match="inputs are closed"):
        input_of(Outer)


def test_both_spellings_find_a_capability():
    plugin = define(good)
    plugin.capability("kakao.alimtalk.send")(good)
    assert plugin.find("sample.send") is plugin.find("send.sample")
    assert plugin.find("send.kakao.alimtalk").spec.name == "kakao.alimtalk.send"
    assert plugin.find("sample") is None
    assert plugin.find("nope.send") is None
    assert plugin.find("") is None


def test_the_manifest_says_everything_and_reads_back_equal():
    plugin = define(good, channel=True, effect="idempotent", timeout_s=1.5)
    manifest = plugin.manifest()
    spec = manifest.capabilities[0]
    assert (spec.effect_class, spec.timeout_s, spec.channel, spec.description) == ("idempotent", 1.5, True, "Send it.")
    assert manifest.channel == "sample.send"
    assert Manifest.parse(manifest.to_document()) == manifest
