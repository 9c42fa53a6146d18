"""A dial that failed is over: its error keeps no connection alive that gRPC would go on dialling by itself."""

from __future__ import annotations

import socket
import traceback
from collections.abc import Iterator

import grpc
import pytest

from aisops_runner.errors import UplinkLost
from aisops_runner.uplink.dialer import Endpoint, GrpcDialer

pytestmark = pytest.mark.integration


def errors_behind(error: BaseException | None) -> Iterator[BaseException]:
    """An error and everything it was raised from."""
    while error is not None:
        yield error
        error = error.__cause__ or error.__context__


async def test_the_error_of_a_failed_dial_holds_neither_call_nor_channel() -> None:
    """Whoever keeps the error (a log, a task, a cycle) must not keep the connection."""
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))  # bound, not listening: refuses
        dial = GrpcDialer(Endpoint("127.0.0.1", closed.getsockname()[1], plaintext=True), lambda: None)
        with pytest.raises(UplinkLost) as caught:
            await dial()
    held = [
        value
        for error in errors_behind(caught.value)
        for frame, _ in traceback.walk_tb(error.__traceback__)
        for value in frame.f_locals.values()
    ]
    assert not [value for value in held if isinstance(value, (grpc.aio.Channel, grpc.aio.Call))]
