"""A peer that does what its script says: correct where it should be, wrong where it wants to be."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import socket
import struct
import time
from collections import Counter
from collections.abc import Awaitable, Callable

BLOCK = 16384
EVIL = "127.0.0.66"
"""Where hostile peers live: honest ones have other addresses, so that a ban tells them apart."""
CHOKE, UNCHOKE, INTERESTED, NOT_INTERESTED, HAVE, BITFIELD, REQUEST, PIECE, CANCEL, PORT = range(10)
SUGGEST, HAVE_ALL, HAVE_NONE, REJECT, ALLOWED_FAST = range(13, 18)
EXTENDED = 20
KEEPALIVE = -1

Answer = Callable[[int, int, int], bytes | None]
"""(piece, begin, length) of a request to what is sent for it: None for silence."""
_serial = itertools.count()


def frame(kind: int, *numbers: int, payload: bytes = b"") -> bytes:
    """A message: `numbers` as 32 bits each, then the payload."""
    body = struct.pack(f">{len(numbers)}I", *numbers) + payload
    return struct.pack(">IB", 1 + len(body), kind) + body


def extended(payload: bytes, kind: int = 0) -> bytes:
    return frame(EXTENDED, payload=bytes([kind]) + payload)


def all_pieces(count: int) -> bytes:
    """A full bitfield."""
    bits = bytearray(b"\xff" * ((count + 7) // 8))
    if count % 8:
        bits[-1] = 0xFF << (8 - count % 8) & 0xFF
    return frame(BITFIELD, payload=bytes(bits))


def handshake(infohash: bytes, peer_id: bytes, *, fast: bool = True, bep10: bool = False) -> bytes:
    reserved = bytes([0, 0, 0, 0, 0, 0x10 * bep10, 0, 0x04 * fast])
    return b"\x13BitTorrent protocol" + reserved + infohash + peer_id


def new_id() -> bytes:
    return b"-EV0001-%012d" % next(_serial)


class Evil:
    """One raw connection. Counts by id the messages it got."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader, self.writer = reader, writer
        self.got: Counter[int] = Counter()
        self.requests: list[tuple[int, int, int]] = []
        self.choked = True
        self.sent = 0
        """Bytes of blocks that it sent."""

    @classmethod
    async def dial(cls, addr: tuple[str, int], source: str = EVIL) -> Evil:
        reader, writer = await asyncio.open_connection(*addr, local_addr=(source, 0))
        return cls(reader, writer)

    @property
    def socket(self) -> socket.socket:
        sock: socket.socket = self.writer.get_extra_info("socket")
        return sock

    @property
    def over(self) -> bool:
        """Whether the other end has gone, read or not."""
        return self.reader._eof or self.reader.exception() is not None

    def send(self, data: bytes) -> None:
        self.writer.write(data)

    async def greet(
        self,
        infohash: bytes,
        peer_id: bytes | None = None,
        *,
        fast: bool = True,
        bep10: bool = False,
    ) -> bytes:
        """Both handshakes; returns the other one. `EOFError` or `OSError` where there is none."""
        self.send(handshake(infohash, peer_id or new_id(), fast=fast, bep10=bep10))
        return await self.reader.readexactly(68)

    async def message(self) -> tuple[int, bytes]:
        """The next message; raises at the end of the connection."""
        (length,) = struct.unpack(">I", await self.reader.readexactly(4))
        if not length:
            self.got[KEEPALIVE] += 1
            return KEEPALIVE, b""
        body = await self.reader.readexactly(length)
        self.got[body[0]] += 1
        if body[0] in (CHOKE, UNCHOKE):
            self.choked = body[0] == CHOKE
        return body[0], body[1:]

    async def expect(self, kind: int) -> bytes:
        """Reads on to the next message of this kind."""
        while True:
            got, payload = await self.message()
            if got == kind:
                return payload

    async def request(self) -> tuple[int, int, int]:
        """Reads on to the next request."""
        piece, begin, length = struct.unpack(">III", await self.expect(REQUEST))
        return piece, begin, length

    async def read(self) -> None:
        """Reads and forgets, until the connection ends."""
        with contextlib.suppress(OSError, EOFError):
            while True:
                await self.message()

    async def lost(self, within: float = 5.0) -> float:
        """Reads until the connection ends; after how many seconds that was."""
        start = time.perf_counter()
        async with asyncio.timeout(within):
            with contextlib.suppress(OSError):
                while await self.reader.read(1 << 16):
                    pass
        return time.perf_counter() - start

    async def pour(self, data: bytes, most: int) -> int:
        """Sends `data` again and again, `most` bytes or until the connection ends; what was sent."""
        sent = 0
        with contextlib.suppress(OSError):
            while sent < most and not self.writer.is_closing():
                self.send(data)
                await self.writer.drain()
                await asyncio.sleep(0)
                sent += len(data)
        return sent

    async def seed(self, pieces: int, answer: Answer) -> None:
        """Claims to have everything and answers requests, until the connection ends."""
        with contextlib.suppress(OSError, EOFError):
            self.send(all_pieces(pieces) + frame(UNCHOKE))
            while True:
                asked = await self.request()
                self.requests.append(asked)
                data = answer(*asked)
                if data is not None:
                    self.sent += len(data)
                    self.send(frame(PIECE, *asked[:2], payload=data))
                    await self.writer.drain()

    def reset(self) -> None:
        """Ends with a RST."""
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.writer.transport.abort()

    def close(self) -> None:
        self.writer.transport.abort()


Script = Callable[[Evil], Awaitable[object]]
