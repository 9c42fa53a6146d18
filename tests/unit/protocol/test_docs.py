"""What the documents say about the contract is what the code does, and the contract only grows."""

from __future__ import annotations

from pathlib import Path

import pytest
from google.protobuf.descriptor_pb2 import DescriptorProto, FileDescriptorProto, FileDescriptorSet

from aisops_protocol.errors import REASON_METADATA_KEY, RETRY_AFTER_METADATA_KEY, Code, Refusal
from aisops_protocol.session import TRANSITIONS, State, diagram
from aisopsflow.core.runner.v1 import runner_pb2 as pb
from tests.unit.protocol import examples as ex

ROOT = Path(__file__).resolve().parents[3]
PAGE = (ROOT / "docs" / "protocol.md").read_text(encoding="utf-8")
PROTO = (ROOT / "proto" / "aisopsflow" / "core" / "runner" / "v1" / "runner.proto").read_text(encoding="utf-8")


def test_the_diagram_in_the_page_is_drawn_from_the_transition_table() -> None:
    assert f"```mermaid\n{diagram()}```\n" in PAGE, "run `make proto`"


def test_the_diagram_shows_every_transition_of_the_table() -> None:
    lines = diagram().splitlines()
    for state, steps in TRANSITIONS.items():
        for step, target in steps.items():
            assert any(
                line.startswith(f"    {state.name} --> {target.name}: ") and step.value in line for line in lines
            ), f"{state.name} {step.value}"
    assert f"    [*] --> {State.IDLE.name}" in lines


def test_the_page_lists_every_code_and_every_refusal_and_nothing_else() -> None:
    listed = {
        line.split("`")[1] for line in PAGE.splitlines() if line.startswith("| `") and line.split("`")[1].isupper()
    }
    assert listed == set(Code) | set(Refusal)
    assert REASON_METADATA_KEY in PAGE
    assert RETRY_AFTER_METADATA_KEY in PAGE


@pytest.mark.parametrize("body", [*ex.RUNNER.values(), *ex.CORE_BODIES.values()], ids=lambda body: type(body).__name__)
def test_the_page_names_every_message(body: object) -> None:
    assert type(body).__name__ in PAGE


def test_every_message_field_and_enum_value_is_documented() -> None:
    bare = []
    above = ""
    for line in (line.strip() for line in PROTO.splitlines()):
        declares = line.endswith(("{", ";")) and not line.startswith(("//", "syntax", "package", "}"))
        if declares and not above.startswith("//"):
            bare.append(line)
        above = line
    assert bare == []


def test_generated_code_and_the_proto_file_declare_the_same() -> None:
    current = FileDescriptorProto.FromString(pb.DESCRIPTOR.serialized_pb)
    for message in current.message_type:
        assert f"message {message.name} {{" in PROTO
        for field in message.field:
            assert f" {field.name} = {field.number};" in PROTO


def test_nothing_released_was_changed_or_taken_away() -> None:
    [released] = FileDescriptorSet.FromString((ROOT / "proto" / "baseline" / "v1.binpb").read_bytes()).file
    current = FileDescriptorProto.FromString(pb.DESCRIPTOR.serialized_pb)
    messages = {message.name: message for message in current.message_type}
    enums = {enum.name: {value.number: value.name for value in enum.value} for enum in current.enum_type}
    for old in released.message_type:
        assert fields_of(old).items() <= fields_of(messages[old.name]).items(), old.name
    for enum in released.enum_type:
        assert {value.number: value.name for value in enum.value}.items() <= enums[enum.name].items()


def fields_of(message: DescriptorProto) -> dict[int, tuple[str, int, int, str, int]]:
    return {
        field.number: (
            field.name,
            field.type,
            field.label,
            field.type_name,
            field.oneof_index if field.HasField("oneof_index") else -1,
        )
        for field in message.field
    }
