"""Output of foreign processes: lines come out whole, capped, and a flood costs nothing but a count."""

import itertools

from hypothesis import given
from hypothesis import strategies as st

from aisops_runner.adapters.pipes import ByteCollector, LineReader


def _reader(lines: list[bytes], cap: int = 8, admit: object = None) -> LineReader:
    return LineReader(lines.append, cap_bytes=cap, admit=admit)


@given(st.lists(st.binary(max_size=7).map(lambda raw: raw.replace(b"\n", b"").replace(b"\r", b""))), st.data())
async def test_lines_do_not_depend_on_how_the_bytes_arrive(lines: list[bytes], data: st.DataObject) -> None:
    stream = b"".join(line + b"\n" for line in lines)
    got: list[bytes] = []
    reader = _reader(got)
    while stream:
        size = data.draw(st.integers(1, len(stream)))
        reader.data_received(stream[:size])
        stream = stream[size:]
    assert got == lines
    assert reader.lines_dropped == reader.bytes_dropped == 0


@given(st.lists(st.binary(max_size=40), max_size=30), st.integers(0, 3))
async def test_no_stream_makes_it_hold_or_pass_on_more_than_the_cap(chunks: list[bytes], budget: int) -> None:
    got: list[bytes] = []
    reader = _reader(got, admit=lambda: budget)
    for chunk in chunks:
        before = len(got)
        reader.data_received(chunk)
        assert len(got) - before <= budget
        assert len(reader._rest) <= 8
    reader.connection_lost(None)
    assert all(len(line) <= 8 for line in got)


async def test_a_long_line_is_cut_and_the_rest_counted() -> None:
    got: list[bytes] = []
    reader = _reader(got)
    for _ in range(100):
        reader.data_received(b"0123456789")
    reader.data_received(b"\nnext\n")
    assert got == [b"01234567", b"next"]
    assert reader.bytes_dropped == 992


async def test_lines_beyond_the_budget_are_counted_and_the_stream_goes_on() -> None:
    got: list[bytes] = []
    budgets = iter([2, 10])
    reader = _reader(got, admit=lambda: next(budgets))
    reader.data_received(b"a\nb\nc\nd\ne")
    reader.data_received(b"f\ng\n")
    assert got == [b"a", b"b", b"ef", b"g"]
    assert reader.lines_dropped == 2


async def test_the_last_words_come_out_when_the_writer_leaves() -> None:
    got: list[bytes] = []
    reader = _reader(got)
    reader.data_received(b"bye")
    reader.connection_lost(None)
    assert got == [b"bye"]
    assert reader.closed.done()


async def test_a_collector_keeps_nothing_beyond_its_cap_and_says_so_once() -> None:
    calls: list[int] = []
    collector = ByteCollector(10)
    collector.on_overflow = lambda: calls.append(1)
    for _ in range(5):
        collector.data_received(b"12345")
    assert collector.overflowed
    assert collector.data == b""
    assert calls == [1]


@given(
    lines=st.lists(st.sampled_from([b"E:one", b"noise", b"", b"E:", b"xE:no", b"noise E:"]), max_size=30),
    cuts=st.lists(st.integers(0, 400), max_size=6),
    budget=st.integers(0, 3),
    kept=st.integers(0, 40),
)
async def test_lines_to_be_kept_pass_a_flood_however_the_stream_is_cut(
    lines: list[bytes], cuts: list[int], budget: int, kept: int
) -> None:
    got: list[bytes] = []
    reader = LineReader(got.append, admit=lambda: budget, kept=b"E:", admit_kept=lambda: kept)
    stream = b"".join(line + b"\n" for line in lines)
    edges = sorted({0, *(cut for cut in cuts if cut < len(stream)), len(stream)})
    for start, end in itertools.pairwise(edges):
        reader.data_received(stream[start:end])
    assert len(got) + reader.lines_dropped == len(lines)
    rest = iter(lines)
    assert all(line in rest for line in got), "in order, and nothing that was not written"
    if kept >= len(lines):
        assert [line for line in got if line.startswith(b"E:")] == [line for line in lines if line.startswith(b"E:")]
