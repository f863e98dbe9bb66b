"""Lines of a given delay, loss and rate between hosts, in user space: not every kernel has netem.

Each host's interface is a TUN device. One process takes what the hosts send, lets it wait, and gives it
to the host that has the address. Segments of TCP cross in rows of up to 64 KiB, as they do on a card with
TSO and GRO, so that a Gbit/s costs a fifth of a core; yet single packets are lost.

usage: link.py DELAY LOSS RATE SEED DESCRIPTOR:ADDRESS...   (until standard input ends)
"""

from __future__ import annotations

import os
import random
import select
import socket
import struct
import subprocess
import sys
import time
from collections import deque
from collections.abc import Mapping
from math import inf, log
from pathlib import Path

DEVICE = Path("/dev/net/tun")
TUNSETIFF, TUNSETOFFLOAD = 0x400454CA, 0x400454D0
IFF_TUN, IFF_NO_PI, IFF_VNET_HDR = 0x0001, 0x1000, 0x4000
TUN_F_CSUM, TUN_F_TSO4 = 0x01, 0x02
ROW = struct.Struct("<BBHHHH")
"""What stands before each row (virtio_net_hdr): flags, kind, bytes of headers, of a segment, where TCP
begins, where its checksum is."""
SINGLE = 0
LONGEST = ROW.size + (1 << 16)
QUEUE_TIME = 0.1
LEAST_QUEUE = 1 << 20
"""What waits for a line of a given rate: 0.1 s of it, and no less than 1 MiB. The rest is dropped."""
BATCH = 32
"""Rows taken from one host before the others have their turn."""
FIN, PSH, CWR = 0x01, 0x08, 0x80


def missing() -> str | None:
    """What keeps this machine from having such lines, in one sentence, or None."""
    return None if DEVICE.exists() else f"{DEVICE} is missing: modprobe tun"


def open_tun(name: str) -> int:
    """Makes a TUN device in this thread's network namespace; it goes with its descriptor."""
    import fcntl  # not at the top: Windows has none

    tun = os.open(DEVICE, os.O_RDWR | os.O_NONBLOCK | os.O_CLOEXEC)
    flags = IFF_TUN | IFF_NO_PI | IFF_VNET_HDR
    fcntl.ioctl(tun, TUNSETIFF, struct.pack("16sH22x", name.encode(), flags))
    fcntl.ioctl(tun, TUNSETOFFLOAD, TUN_F_CSUM | TUN_F_TSO4)
    return tun


class Line:
    """What one host sends: `delay` seconds late, a share `loss` of it never, at most `rate` bytes/s.

    ValueError if one of them makes no sense.
    """

    def __init__(self, delay: float, loss: float, rate: float, rng: random.Random) -> None:
        if not (0 <= delay < inf and 0 <= loss < 1 and rate > 0):
            raise ValueError(f"a line with {delay} s of delay, {loss} lost, {rate} bytes/s")
        self.lost = 0
        """Packets that chance took."""
        self._delay = delay
        self._loss = loss
        self._rate = rate
        self._rng = rng
        self._patience = max(QUEUE_TIME, LEAST_QUEUE / rate)
        self._free_at = 0.0
        self._way: deque[tuple[float, bytes]] = deque()
        self._spared = self._spare()

    def take(self, row: bytes, now: float) -> None:
        """A row of segments sets out."""
        if self._free_at > now + self._patience:
            return
        self._free_at = max(self._free_at, now) + len(row) / self._rate
        due = self._free_at + self._delay
        count = segments(row)
        if count <= self._spared:
            self._spared -= count
            self._way.append((due, row))
            return
        first = 0
        while count - first > self._spared:
            lost = first + self._spared
            if lost > first:
                self._way.append((due, cut(row, first, lost)))
            first = lost + 1
            self.lost += 1
            self._spared = self._spare()
        if count > first:
            self._way.append((due, cut(row, first, count)))
            self._spared -= count - first

    @property
    def due(self) -> float:
        """When the next row arrives; infinity if there is none."""
        return self._way[0][0] if self._way else inf

    def arrive(self) -> bytes:
        """The row that is due."""
        return self._way.popleft()[1]

    def _spare(self) -> int:
        """How many packets arrive before the next that is lost."""
        if not self._loss:
            return sys.maxsize
        return int(log(1.0 - self._rng.random()) / log(1.0 - self._loss))


def segments(row: bytes) -> int:
    """How many packets of the wire a row is."""
    _, kind, headers, size, *_ = ROW.unpack_from(row)
    return 1 if kind == SINGLE else -(-(len(row) - ROW.size - headers) // size)


def cut(row: bytes, first: int, end: int) -> bytes:
    """The segments from `first` up to `end` of a row, as a row of its own."""
    flags, kind, _, size, tcp, checksum = ROW.unpack_from(row)
    headers = tcp + (row[ROW.size + tcp + 12] >> 4) * 4
    head = bytearray(row[ROW.size : ROW.size + headers])
    body = row[ROW.size + headers :]
    part = body[first * size : end * size]
    if end * size < len(body):
        head[tcp + 13] &= 0xFF & ~(FIN | PSH)
    if first:
        head[tcp + 13] &= 0xFF & ~CWR
    sequence = int.from_bytes(head[tcp + 4 : tcp + 8], "big") + first * size
    head[tcp + 4 : tcp + 8] = (sequence & 0xFFFFFFFF).to_bytes(4, "big")
    head[2:4] = (headers + len(part)).to_bytes(2, "big")
    head[10:12] = bytes(2)
    total = sum(struct.unpack_from(f">{tcp // 2}H", head))
    total = (total & 0xFFFF) + (total >> 16)
    head[10:12] = (0xFFFF & ~(total + (total >> 16))).to_bytes(2, "big")
    # TCP's own checksum is not there yet, and nobody looks for it within one machine.
    row_of = (kind, headers, size) if end - first > 1 else (SINGLE, headers, 0)
    return ROW.pack(flags, *row_of, tcp, checksum) + head + part


def carry(tuns: Mapping[bytes, int], lines: Mapping[int, Line]) -> None:
    """Carries rows between devices, by packed address, until standard input ends."""
    stdin = sys.stdin.fileno()
    while True:
        due = min(line.due for line in lines.values())
        pause = None if due == inf else max(0.0, due - time.monotonic())
        ready, _, _ = select.select([stdin, *lines], [], [], pause)
        if stdin in ready:
            return
        now = time.monotonic()
        for tun in ready:
            for _ in range(BATCH):
                try:
                    row = os.read(tun, LONGEST)
                except BlockingIOError:
                    break
                if row[ROW.size + 16 : ROW.size + 20] in tuns:
                    lines[tun].take(row, now)
        now = time.monotonic()
        for line in lines.values():
            while line.due <= now:
                row = line.arrive()
                os.write(tuns[row[ROW.size + 16 : ROW.size + 20]], row)


class Lines:
    """The process that carries between devices, given by their addresses. It takes the descriptors."""

    def __init__(
        self, tuns: Mapping[str, int], *, delay: float, loss: float, rate: float, seed: int
    ) -> None:
        ends = [f"{tun}:{address}" for address, tun in tuns.items()]
        how = [str(delay), str(loss), str(rate), str(seed)]
        self._process = subprocess.Popen(
            [sys.executable, "-I", __file__, *how, *ends],
            stdin=subprocess.PIPE,
            pass_fds=tuple(tuns.values()),
        )
        for tun in tuns.values():
            os.close(tun)

    def close(self) -> None:
        """Ends the process, and with it the devices."""
        assert self._process.stdin is not None
        self._process.stdin.close()
        self._process.wait()


def main(delay: str, loss: str, rate: str, seed: str, *ends: str) -> None:
    """What the process does."""
    tuns, lines = {}, {}
    for end in ends:
        tun, _, address = end.partition(":")
        tuns[socket.inet_aton(address)] = int(tun)
        rng = random.Random(f"{seed} {address}")
        lines[int(tun)] = Line(float(delay), float(loss), float(rate), rng)
    carry(tuns, lines)


if __name__ == "__main__":
    main(*sys.argv[1:])
