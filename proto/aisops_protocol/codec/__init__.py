"""Between the dataclasses of `messages` and octets: the only place that knows the generated protobuf code.

`frames` holds the doors, `runner`, `core` and `parts` the field rules, `fields` the engine that runs them.
"""

from __future__ import annotations

from typing import Final

from aisops_protocol.codec.frames import (
    decode_core_frame,
    decode_runner_body,
    decode_runner_frame,
    encode_core_frame,
    encode_runner_body,
    encode_runner_frame,
    encoded_size,
)

__all__ = [
    "METHOD",
    "METHOD_PATH",
    "SERVICE_NAME",
    "decode_core_frame",
    "decode_runner_body",
    "decode_runner_frame",
    "encode_core_frame",
    "encode_runner_body",
    "encode_runner_frame",
    "encoded_size",
]

SERVICE_NAME: Final = "aisopsflow.core.runner.v1.CoreRunner"
METHOD: Final = "Connect"
METHOD_PATH: Final = f"/{SERVICE_NAME}/{METHOD}"
