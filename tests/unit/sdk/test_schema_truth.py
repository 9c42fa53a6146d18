"""The schema a capability shows is the rule it applies: both accept the same inputs."""

import json
from typing import Literal

from hypothesis import given
from hypothesis import strategies as st
from jsonschema import Draft202012Validator
from pydantic import BaseModel, Field

from aisops_plugin_sdk import Context, Delivery, InvalidRequest, Plugin


class Button(BaseModel):
    label: str = Field(max_length=3)
    style: Literal["plain", "danger"] = "plain"


class Message(BaseModel):
    target: str = Field(min_length=1, max_length=5)
    text: str
    count: int = Field(default=1, ge=0, le=9)
    ratio: float | None = None
    urgent: bool = False
    buttons: list[Button] = Field(default=[], max_length=2)
    variables: dict[str, str] = {}


plugin = Plugin("truth")


@plugin.capability("truth.send")
async def send(ctx: Context, message: Message) -> Delivery:
    return Delivery(provider="x")


CAPABILITY = plugin.find("truth.send")
VALIDATOR = Draft202012Validator(CAPABILITY.spec.input_schema)

# 5.0 is left out: JSON Schema calls it an integer, the capability does not.
SCALARS = (
    st.none()
    | st.booleans()
    | st.integers(-2, 12)
    | st.floats(-9, 9).filter(lambda number: not number.is_integer())
    | st.text(max_size=6)
    | st.sampled_from(["plain", "danger", "1", "true"])
)
BUTTONS = st.fixed_dictionaries({"label": st.text(max_size=4)}, optional={"style": SCALARS, "extra": SCALARS})
VALUES = SCALARS | st.lists(BUTTONS | SCALARS, max_size=3) | st.dictionaries(st.text(max_size=2), SCALARS, max_size=2)
INPUTS = st.fixed_dictionaries(
    {},
    optional={
        "target": st.text(max_size=6) | VALUES,
        "text": st.text(max_size=3) | VALUES,
        "count": st.integers(-1, 10) | VALUES,
        "ratio": VALUES,
        "urgent": st.booleans() | VALUES,
        "buttons": st.lists(BUTTONS, max_size=3) | VALUES,
        "variables": st.dictionaries(st.text(max_size=2), st.text(max_size=2)) | VALUES,
        "surprise": VALUES,
    },
)
GOOD = st.fixed_dictionaries(
    {"target": st.text(min_size=1, max_size=5), "text": st.text(max_size=3)},
    optional={"count": st.integers(0, 9), "urgent": st.booleans(), "ratio": st.none() | st.floats(-9, 9)},
)


def accepts(document):
    """Whether the capability takes the input; a refusal must name a place."""
    try:
        CAPABILITY.read(json.dumps(document).encode())
    except InvalidRequest as error:
        return not error.details
    return True


@given(INPUTS | GOOD)
def test_schema_and_capability_agree(document):
    assert accepts(document) == VALIDATOR.is_valid(document)


@given(GOOD)
def test_good_inputs_are_taken(document):
    assert accepts(document)
