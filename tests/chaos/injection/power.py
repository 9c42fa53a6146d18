"""What a power cut leaves on a disk: the folder rebuilt at any point of a recording, what was not synced in doubt.

What a finished sync covers is kept. What it does not may be lost, kept, kept in part, or kept although something
written before it is lost; names made, moved or removed keep their order, and those not synced yet may be lost from some
point on.
"""

from __future__ import annotations

import random
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass, field
from enum import Enum
from pathlib import Path

from tests.chaos.injection.trace import Made, Moved, Removed, Resized, Said, Synced, TraceEvent, Wrote

SECTOR_BYTES = 512
_EMPTY = ("-shm", ".ballast")  # SQLite makes its shared memory anew; reserved space holds nothing


class Loss(Enum):
    """What becomes of writes that were not synced."""

    LOST = "lost"
    SUBSET = "a random subset kept"
    TORN = "torn at 512 octets"
    REORDERED = "later ones kept, earlier ones lost"


@dataclass(slots=True)
class _File:
    """Content that is safe, and the changes since, each with the number of its event."""

    safe: bytearray = field(default_factory=bytearray)
    unsafe: list[tuple[int, Wrote | Resized]] = field(default_factory=list)

    def sync(self, begun: int) -> None:
        kept = [entry for entry in self.unsafe if entry[0] >= begun]
        for number, change in self.unsafe:
            if number < begun:
                _apply(self.safe, change)
        self.unsafe = kept


@dataclass(frozen=True, slots=True)
class Cut:
    """The disk after a power cut, and what the program had said before it."""

    at: int
    loss: Loss
    files: dict[str, bytes]
    said: Collection[bytes]

    def write_to(self, folder: Path) -> None:
        """Put the files into a new folder."""
        folder.mkdir(parents=True)
        for name, content in self.files.items():
            (folder / name).write_bytes(content)


def cuts(events: Sequence[TraceEvent], points: Collection[int], rng: random.Random) -> Iterator[Cut]:
    """The disk as each loss leaves it, cut after each of these many events.

    Args:
        events: A recording.
        points: How many events had happened; in any order.
        rng: Chance.
    """
    disk, done = _Disk(), 0
    for point in sorted(set(points)):
        for number in range(done, point):
            disk.take(number, events[number])
        done = point
        for loss in Loss:
            yield Cut(point, loss, disk.after(loss, rng), tuple(disk.said))


class _Disk:
    def __init__(self) -> None:
        self._now: dict[str, _File] = {}  # by name, as the program sees it
        self._safe: dict[str, _File] = {}  # by name, as the disk surely has it
        self._unsafe: list[tuple[int, Made | Moved | Removed, _File]] = []
        self.said: list[bytes] = []

    def take(self, number: int, event: TraceEvent) -> None:
        if isinstance(event, Said):
            self.said.append(event.data)
        elif isinstance(event, (Wrote, Resized)):
            self._file(event.name).unsafe.append((number, event))
        elif isinstance(event, Synced):
            if event.name:
                self._file(event.name).sync(event.begun)
            else:
                self._sync_names(event.begun)
        else:
            file = _File() if isinstance(event, Made) else self._file(event.name)
            self._unsafe.append((number, event, file))
            _rename(self._now, event, file)

    def after(self, loss: Loss, rng: random.Random) -> dict[str, bytes]:
        """One possible state of the disk after a cut now."""
        names = dict(self._safe)
        kept = 0 if loss is Loss.LOST else rng.randint(0, len(self._unsafe))
        for _, event, file in self._unsafe[:kept]:
            _rename(names, event, file)
        return {name: _content(file, loss, rng) for name, file in names.items() if not name.endswith(_EMPTY)}

    def _file(self, name: str) -> _File:
        """The file of this name; one that was there before the recording began is safe."""
        if name not in self._now:
            self._now[name] = self._safe[name] = _File()
        return self._now[name]

    def _sync_names(self, begun: int) -> None:
        for number, event, file in self._unsafe:
            if number < begun:
                _rename(self._safe, event, file)
        self._unsafe = [entry for entry in self._unsafe if entry[0] >= begun]


def _rename(names: dict[str, _File], event: Made | Moved | Removed, file: _File) -> None:
    if not isinstance(event, Made):
        names.pop(event.name, None)
    if not isinstance(event, Removed):
        names[event.to if isinstance(event, Moved) else event.name] = file


def _content(file: _File, loss: Loss, rng: random.Random) -> bytes:
    content = bytearray(file.safe)
    changes = [change for _, change in file.unsafe]
    if loss is Loss.REORDERED:
        changes = changes[rng.randint(0, len(changes)) :]
    for change in changes:
        if loss is Loss.LOST or (loss is Loss.SUBSET and rng.random() < 0.5):
            continue
        if loss is Loss.TORN and isinstance(change, Wrote):
            for part in _sectors(change):
                if rng.random() < 0.5:
                    _apply(content, part)
        else:
            _apply(content, change)
    return bytes(content)


def _sectors(change: Wrote) -> Iterator[Wrote]:
    """The pieces of a write that a disk may keep one without the other."""
    start, end = change.offset, change.offset + len(change.data)
    while start < end:
        stop = min(end, (start // SECTOR_BYTES + 1) * SECTOR_BYTES)
        yield Wrote(change.name, start, change.data[start - change.offset : stop - change.offset])
        start = stop


def _apply(content: bytearray, change: Wrote | Resized) -> None:
    if isinstance(change, Resized):
        content.extend(bytes(max(0, change.size - len(content))))
        del content[change.size :]
        return
    end = change.offset + len(change.data)
    content.extend(bytes(max(0, end - len(content))))
    content[change.offset : end] = change.data
