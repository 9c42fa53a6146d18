"""The recording misses nothing, and a power cut keeps exactly what it may."""

from __future__ import annotations

import random
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.chaos.injection.power import Cut, Loss, cuts
from tests.chaos.injection.trace import (
    Made,
    Moved,
    Removed,
    Resized,
    Said,
    Synced,
    TraceEvent,
    TraceUnreadable,
    Wrote,
    complete,
    read_trace,
    sayings,
    traced,
)
from tests.support.core_process import until

pytestmark = [
    pytest.mark.chaos,
    pytest.mark.skipif(shutil.which("strace") is None, reason="strace is not installed"),
]

PROGRAM = """
import os, socket, sys
folder, words = sys.argv[1:]
said = os.open(words, os.O_WRONLY | os.O_CREAT)
one = os.open(folder + "/one", os.O_RDWR | os.O_CREAT)
os.pwrite(one, b"first", 0)
os.fdatasync(one)
os.write(said, b"kept")
os.write(one, b"F")
os.write(one, b"I")
os.ftruncate(one, 4)
draft = os.open(folder + "/draft", os.O_WRONLY | os.O_CREAT)
os.write(draft, b"whole")
os.fsync(draft)
os.rename(folder + "/draft", folder + "/final")
at = os.open(folder, os.O_RDONLY)
os.fsync(at)
os.unlink(folder + "/final")
near, far = socket.socketpair()
near.sendall(b"told")
open("/dev/null", "wb").write(b"elsewhere")
"""


def recorded(tmp_path: Path, program: str = PROGRAM) -> list[TraceEvent]:
    folder, words, trace = tmp_path / "data", tmp_path / "words", tmp_path / "trace"
    folder.mkdir()
    done = subprocess.Popen(traced([sys.executable, "-c", program, str(folder), str(words)], trace))
    assert done.wait(60) == 0
    until(lambda: complete(trace, done.pid), "the end of the recording")
    return read_trace(trace, folder, words)


def after(events: list[TraceEvent], point: int, loss: Loss, seed: int = 0) -> Cut:
    return next(cut for cut in cuts(events, [point], random.Random(seed)) if cut.loss is loss)


def test_everything_done_to_the_folder_is_recorded_in_order(tmp_path: Path) -> None:
    assert recorded(tmp_path) == [
        Made("one"),
        Wrote("one", 0, b"first"),
        Synced("one", 2),
        Said(b"kept"),
        Wrote("one", 0, b"F"),
        Wrote("one", 1, b"I"),
        Resized("one", 4),
        Made("draft"),
        Wrote("draft", 0, b"whole"),
        Synced("draft", 9),
        Moved("draft", "final"),
        Synced("", 11),
        Removed("final"),
        Said(b"told"),
    ]


@pytest.mark.parametrize("pid", [7, 1959, 12345, 4194303])
def test_the_end_of_a_recording_is_found_whatever_the_process_id(tmp_path: Path, pid: int) -> None:
    trace = tmp_path / "trace"
    trace.write_text(f"{pid:<5} fsync(3</x>) = 0\n1{pid:<5} +++ exited with 0 +++\n")
    assert not complete(trace, pid)
    trace.write_text(f"{trace.read_text()}{pid:<5} +++ exited with 0 +++\n")
    assert complete(trace, pid)


def test_a_change_the_replay_does_not_know_is_refused(tmp_path: Path) -> None:
    with pytest.raises(TraceUnreadable, match="writev"):
        recorded(tmp_path, "import os, sys; os.writev(os.open(sys.argv[1] + '/x', os.O_CREAT | os.O_RDWR), [b'a'])")


def test_what_was_synced_survives_every_loss_and_names_need_their_folder_synced(tmp_path: Path) -> None:
    events = recorded(tmp_path)
    assert after(events, 11, Loss.LOST).files == {}
    assert after(events, 12, Loss.LOST).files == {"one": b"first", "final": b"whole"}
    for seed in range(50):
        for loss in Loss:
            files = after(events, 12, loss, seed).files
            assert files["final"] == b"whole"
            assert files["one"][2:4] == b"rs"
    assert list(sayings(events[:12])) == [b"kept"]


WRITES: list[TraceEvent] = [
    Made("f"),
    Synced("", 1),
    Wrote("f", 0, b"a" * 1024),
    Wrote("f", 1024, b"b" * 1024),
]


def outcomes(loss: Loss, events: list[TraceEvent] = WRITES) -> set[bytes]:
    """Each 512 octets of the file as one character, however it may come out."""
    found = {after(events, len(events), loss, seed).files["f"] for seed in range(200)}
    return {content[::512].replace(b"\0", b".") for content in found}


def test_each_loss_keeps_what_it_says() -> None:
    assert outcomes(Loss.LOST) == {b""}
    assert outcomes(Loss.SUBSET) == {b"", b"aa", b"..bb", b"aabb"}
    assert outcomes(Loss.REORDERED) == {b"", b"..bb", b"aabb"}
    torn = outcomes(Loss.TORN)
    assert {b"a", b".abb", b"a.b", b"aabb"} <= torn
    assert len(torn) == 16


def test_a_sync_covers_only_what_was_written_when_it_began() -> None:
    assert outcomes(Loss.LOST, [*WRITES, Synced("f", 3)]) == {b"aa"}
    assert outcomes(Loss.SUBSET, [*WRITES, Synced("f", 3)]) == {b"aa", b"aabb"}
    assert outcomes(Loss.LOST, [*WRITES, Synced("f", 4)]) == {b"aabb"}


def test_names_are_lost_in_order() -> None:
    events: list[TraceEvent] = [Made("a"), Made("b"), Removed("a"), Made("x-shm"), Moved("b", "c")]
    found = {tuple(sorted(after(events, 5, Loss.SUBSET, seed).files)) for seed in range(100)}
    assert found == {(), ("a",), ("a", "b"), ("b",), ("c",)}
