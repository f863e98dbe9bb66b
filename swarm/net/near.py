"""What the kernel may hold of what is sent to a peer that is near."""

from __future__ import annotations

import socket
import struct
from typing import Protocol

NEAR = 0.0005
"""Seconds of round trip within which a peer is near."""
BUFFER = 256 << 10
"""Bytes that wait in the kernel for a peer that is near (Linux takes twice that, for its books): a round
trip of `NEAR` at 1 GiB/s."""
_MIN_RTT = struct.Struct("148xI")  # tcpi_min_rtt of Linux's struct tcp_info, in microseconds


class Socket(Protocol):
    """What of a socket is used here; those of transports are no `socket.socket`."""

    def getsockopt(self, level: int, name: int, size: int, /) -> bytes: ...
    def setsockopt(self, level: int, name: int, value: int, /) -> None: ...


def round_trip(sock: Socket) -> float | None:
    """Seconds of the shortest round trip so far; None where the system does not tell."""
    try:
        told = sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, _MIN_RTT.size)
        (microseconds,) = _MIN_RTT.unpack(told)
    except (AttributeError, OSError, struct.error):
        return None
    return float(microseconds) / 1e6


def bound(sock: Socket) -> None:
    """Keeps what is under way to a near peer small, so that the processor's caches have it when it is read.

    Left to itself, a kernel that paces (BBR) takes megabytes ahead. A peer further away needs them, and its
    socket is left alone.
    """
    trip = round_trip(sock)
    if trip is not None and 0 < trip <= NEAR:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, BUFFER)
