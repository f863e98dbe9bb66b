"""Lines in user space: what is cut is whole, what is lost is single packets, and TCP gets through."""

from __future__ import annotations

import random
import struct
import threading
from collections.abc import Iterator
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from swarm.bench import link, network
from swarm.bench.link import ROW, SINGLE, Line, cut, segments

TCP = 20
HEADERS = 52
SIZE = 100
KIND = 1
NEEDS_CHECKSUM = 1
FIRST, LAST = link.CWR, link.FIN | link.PSH
SEQUENCE = 0xFFFFFF00


def row(count: int, last: int = SIZE) -> bytes:
    """A row of `count` segments, the last of them `last` bytes long, whose numbers pass zero."""
    length = (count - 1) * SIZE + last
    body = random.Random(count).randbytes(length)
    ip = struct.pack(">BBHIBBH4s4s", 0x45, 0, HEADERS + length, 0, 64, 6, 0, b"abcd", b"efgh")
    tcp = struct.pack(">HHIIBBHI", 1, 2, SEQUENCE, 0, 0x80, FIRST | LAST | 0x10, 9, 0)
    kind = (KIND, HEADERS, SIZE) if count > 1 else (SINGLE, HEADERS, 0)
    return ROW.pack(NEEDS_CHECKSUM, *kind, TCP, 16) + ip + tcp + bytes(12) + body


def flags(packet: bytes) -> int:
    return packet[ROW.size + TCP + 13]


def checksum(packet: bytes) -> int:
    total: int = sum(struct.unpack_from(">10H", packet, ROW.size))
    return (total & 0xFFFF) + (total >> 16)


@given(st.integers(2, 40), st.integers(1, SIZE), st.data())
def test_cuts_make_the_whole(count: int, last: int, data: st.DataObject) -> None:
    whole = row(count, last)
    assert segments(whole) == count
    places = data.draw(st.sets(st.integers(1, count - 1)))
    parts = [cut(whole, first, end) for first, end in pairwise([0, *sorted(places), count])]
    assert b"".join(part[ROW.size + HEADERS :] for part in parts) == whole[ROW.size + HEADERS :]
    assert sum(map(segments, parts)) == count
    at = SEQUENCE
    for n, part in enumerate(parts):
        assert int.from_bytes(part[ROW.size + TCP + 4 :][:4], "big") == at & 0xFFFFFFFF
        assert int.from_bytes(part[ROW.size + 2 :][:2], "big") == len(part) - ROW.size
        assert checksum(part) == 0xFFFF
        assert flags(part) & FIRST == (FIRST if n == 0 else 0)
        assert flags(part) & LAST == (LAST if n == len(parts) - 1 else 0)
        at += len(part) - ROW.size - HEADERS


def arrivals(line: Line) -> Iterator[tuple[float, bytes]]:
    while line.due < float("inf"):
        yield line.due, line.arrive()


def test_packets_are_late_and_in_order() -> None:
    line = Line(0.05, 0.0, 1000.0 * len(row(1)), random.Random(1))
    for n in range(5):
        line.take(row(n + 1), 7.0)
    came = list(arrivals(line))
    assert [segments(packet) for _, packet in came] == [1, 2, 3, 4, 5]
    assert came[0][0] == pytest.approx(7.0 + 0.001 + 0.05)
    assert [at for at, _ in came] == sorted(at for at, _ in came)


def test_a_full_queue_drops() -> None:
    packet = row(1)
    line = Line(0.0, 0.0, 1e6, random.Random(1))
    for _ in range(2 * link.LEAST_QUEUE // len(packet)):
        line.take(packet, 0.0)
    waited = max(at for at, _ in arrivals(line))
    assert waited == pytest.approx(link.LEAST_QUEUE / 1e6, rel=0.01)


@pytest.mark.parametrize("count", [1, 30])
def test_the_share_that_is_lost(count: int) -> None:
    line = Line(0.0, 0.02, float("inf"), random.Random(3))
    sent = 20_000 // count
    for _ in range(sent):
        line.take(row(count), 0.0)
    came = sum(segments(packet) for _, packet in arrivals(line))
    assert came + line.lost == sent * count
    assert line.lost == pytest.approx(0.02 * sent * count, rel=0.15)


@pytest.mark.parametrize("bad", [(-1, 0, 1), (0, 1, 1), (0, 0, 0), (float("nan"), 0, 1)])
def test_a_line_that_makes_no_sense(bad: tuple[float, float, float]) -> None:
    with pytest.raises(ValueError, match="a line with"):
        Line(*bad, random.Random(1))


def test_a_stream_survives_it() -> None:
    if problem := network.missing() or link.missing():
        pytest.skip(problem)
    sent = random.Random(1).randbytes(2_000_000)
    with network.Network(3, delay=0.005, loss=0.02, rate=20e6) as made:
        sender, receiver, _ = made.hosts
        listener = sender.listen()

        def send() -> None:
            connection, _ = listener.accept()
            with connection:
                connection.sendall(sent)

        thread = threading.Thread(target=send)
        thread.start()
        with receiver.connect(listener.getsockname()) as connection:
            connection.settimeout(30)
            came = b"".join(iter(lambda: connection.recv(1 << 16), b""))
        thread.join()
        listener.close()
    assert came == sent
