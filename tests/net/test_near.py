"""What the kernel may hold for peers that are near, and for those that are not."""

from __future__ import annotations

import socket
import struct
import sys

import pytest

from swarm.net import near

linux = pytest.mark.skipif(sys.platform != "linux", reason="only Linux tells the round trip")


class Far:
    """A socket whose kernel tells of a given round trip; it notes what it is told."""

    def __init__(self, microseconds: int) -> None:
        self.told: list[int] = []
        self._info = struct.pack("148xI", microseconds)

    def getsockopt(self, level: int, name: int, size: int) -> bytes:
        assert (level, name) == (socket.IPPROTO_TCP, socket.TCP_INFO)
        return self._info[:size]

    def setsockopt(self, level: int, name: int, value: int) -> None:
        self.told.append(value)


@linux
def test_little_waits_in_the_kernel_for_a_near_peer() -> None:
    with (
        socket.create_server(("127.0.0.1", 0)) as server,
        socket.create_connection(server.getsockname()) as ours,
    ):
        theirs, _ = server.accept()
        with theirs:
            for end in (ours, theirs):
                assert (near.round_trip(end) or 0) > 0
                near.bound(end)
                assert end.getsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF) <= 2 * near.BUFFER


@linux
def test_a_peer_further_away_keeps_what_the_kernel_gives_it() -> None:
    edge = round(near.NEAR * 1e6)
    for microseconds, bound in ((1, True), (edge, True), (edge + 1, False), (50_000, False)):
        far = Far(microseconds)
        near.bound(far)
        assert far.told == [near.BUFFER] * bound


@linux
def test_an_unknown_round_trip_is_not_a_short_one() -> None:
    unknown = Far(0)
    near.bound(unknown)
    assert not unknown.told


def test_who_cannot_tell_is_left_alone() -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as datagrams:
        before = datagrams.getsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF)
        near.bound(datagrams)
        assert near.round_trip(datagrams) is None
        assert datagrams.getsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF) == before
