"""Hundreds of peers in one light process: seeds that serve from memory, or leechers that keep nothing.

usage: load.py seed|leech TORRENT DATA ADDRESS PORT COUNT [--active N] [--take BYTES] [--depth BLOCKS]

Reads DATA into memory, says `ready`, and dials ADDRESS, PORT with COUNT connections once it gets SIGUSR1.
Leechers hold every block against DATA. Ends when each active leecher has BYTES, or at SIGTERM, and prints
a line of JSON. It is the same for every client that it is a load of, and speaks plain BEP 3.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import random
import signal
import struct
import time
from pathlib import Path
from typing import cast

import uvloop

import swarm

BLOCK = 16384
RETRY = 0.05
"""Seconds until a connection that was refused is dialled again."""
HANDSHAKE = 68
CHOKE, UNCHOKE, INTERESTED, NOT_INTERESTED, BITFIELD, REQUEST, PIECE = 0, 1, 2, 3, 5, 6, 7
HEADER = struct.Struct(">IBII")
REQUEST_SIZE = 17


class Load:
    """What all connections of this process share."""

    def __init__(self, torrent: Path, data: Path, options: argparse.Namespace) -> None:
        meta = swarm.Metainfo.load(torrent)
        self.opening = b"\x13BitTorrent protocol" + bytes(8) + meta.infohash.wire
        self.payload = data.read_bytes()
        self.view = memoryview(self.payload)
        self.piece_length = meta.piece_length
        self.buffer = memoryview(bytearray(256 * 1024))
        bits = (1 << meta.piece_count) - 1 << -meta.piece_count % 8
        row = bits.to_bytes((meta.piece_count + 7) // 8, "big")
        self.bitfield = struct.pack(">IB", 1 + len(row), BITFIELD) + row
        self.requests = b"".join(self._request(at) for at in range(0, len(self.payload), BLOCK))
        self.blocks = len(self.requests) // REQUEST_SIZE
        self.active: int = options.count if options.active is None else options.active
        self.take = min(options.take or len(self.payload), len(self.payload))
        self.depth: int = options.depth
        self.at = (options.address, options.port)
        self.connections: list[Connection] = []
        self.began = 0.0
        self.over = asyncio.Event()
        self.unfinished = self.active

    def _request(self, at: int) -> bytes:
        size = min(BLOCK, len(self.payload) - at)
        piece, begin = divmod(at, self.piece_length)
        return HEADER.pack(13, REQUEST, piece, begin) + size.to_bytes(4)

    async def dial(self, connection: Connection) -> None:
        """Keeps a connection up until everything is over."""
        loop = asyncio.get_running_loop()
        while not self.over.is_set():
            try:
                await loop.create_connection(lambda: connection, *self.at)
                await connection.lost.wait()
            except OSError:
                pass
            await asyncio.sleep(RETRY)


class Connection(asyncio.BufferedProtocol):
    """One peer: its frames in, its frames out."""

    def __init__(self, load: Load, number: int) -> None:
        self.load = load
        self.active = number < load.active
        self.name = b"-LO0001-" + random.randbytes(12)
        self.lost = asyncio.Event()
        self.dropped = 0
        """How often the other end has hung up."""
        self.bytes = 0
        self.first = self.finished = 0.0
        self._transport: asyncio.Transport
        self._rest = b""
        self._left = 0
        self._greeted = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)
        self._transport.set_write_buffer_limits(high=1 << 30)
        self._rest, self._left, self._greeted = b"", 0, False
        self.lost.clear()
        self.start()

    def connection_lost(self, exc: Exception | None) -> None:
        self.dropped += 1
        self.lost.set()

    def get_buffer(self, sizehint: int) -> memoryview:
        # What was left of the last read goes in front of the next.
        self.load.buffer[: len(self._rest)] = self._rest
        return self.load.buffer[len(self._rest) :]

    def buffer_updated(self, nbytes: int) -> None:
        end, view, at = nbytes + len(self._rest), self.load.buffer, 0
        while at < end:
            used = self._take(view[at:end])
            if not used:
                break
            at += used
        self._rest = bytes(view[at:end])
        self.turn_over()

    def _take(self, data: memoryview) -> int:
        """Takes the next part of what was read; how many bytes, or none if it is not all there."""
        size = len(data)
        if self._left:
            used = min(self._left, size)
            self._left -= used
            self.block(data[:used])
            return used
        if not self._greeted:
            if size < HANDSHAKE:
                return 0
            self._greeted = True
            self.greeted()
            return HANDSHAKE
        if size < 4 or size < 4 + min(length := int.from_bytes(data[:4]), 9):
            return 0
        if length and data[4] == PIECE:
            _, _, piece, begin = HEADER.unpack_from(data)
            self._left = length - 9
            self.piece(piece * self.load.piece_length + begin)
            return HEADER.size
        if size < 4 + length:
            return 0
        if length:
            self.message(data[4], bytes(data[: 4 + length]))
        return 4 + length

    def start(self) -> None:
        """The connection is up."""
        self._transport.write(self.load.opening + self.name)

    def greeted(self) -> None:
        """The other end's handshake is here."""

    def message(self, kind: int, frame: bytes) -> None:
        """A message that is no block."""

    def piece(self, at: int) -> None:
        """A block begins, `at` this byte of the payload."""

    def block(self, data: memoryview) -> None:
        """More of the block."""

    def turn_over(self) -> None:
        """All of the read was looked at."""


class Seed(Connection):
    """Has everything; an active one unchokes, and sends what it is asked for."""

    def greeted(self) -> None:
        self._out: list[bytes | memoryview] = []
        self._transport.write(self.load.bitfield)
        if self.active:
            self._transport.write(struct.pack(">IB", 1, UNCHOKE))

    def message(self, kind: int, frame: bytes) -> None:
        if kind == REQUEST:
            _, _, piece, begin = HEADER.unpack_from(frame)
            size = int.from_bytes(frame[13:17])
            at = piece * self.load.piece_length + begin
            self._out.append(HEADER.pack(9 + size, PIECE, piece, begin))
            self._out.append(self.load.view[at : at + size])
            self.bytes += size

    def turn_over(self) -> None:
        if self._greeted and self._out:
            self._transport.writelines(self._out)
            self._out = []


class Leech(Connection):
    """Asks for the whole payload from somewhere on, round and round to `take` bytes, and compares it."""

    def __init__(self, load: Load, number: int) -> None:
        super().__init__(load, number)
        self._next = random.randrange(load.blocks)
        self._asked: dict[int, None] = {}
        self._at = 0
        self._choked = True
        self._to_ask = -(-load.take // BLOCK)

    def greeted(self) -> None:
        self._choked = True
        if self.active:
            self._transport.write(struct.pack(">IB", 1, INTERESTED))

    def message(self, kind: int, frame: bytes) -> None:
        if kind == CHOKE:
            self._choked = True
        elif kind == UNCHOKE:
            self._choked = False
            again = [self._row(n, 1) for n in self._asked]
            if again:
                self._transport.write(b"".join(again))

    def piece(self, at: int) -> None:
        self._at = at
        self._asked.pop(at // BLOCK, None)

    def block(self, data: memoryview) -> None:
        if not self.load.payload.startswith(data, self._at):
            raise SystemExit(f"wrong bytes at {self._at}")
        self._at += len(data)
        self.bytes += len(data)

    def turn_over(self) -> None:
        load = self.load
        if self._choked or self.finished:
            return
        room = load.depth - len(self._asked)
        if self._to_ask and (room >= load.depth // 8 or not self._asked):
            n = min(room, self._to_ask, load.blocks - self._next)
            self._asked.update(dict.fromkeys(range(self._next, self._next + n)))
            self._transport.write(self._row(self._next, n))
            self._to_ask -= n
            self._next = (self._next + n) % load.blocks
        elif not self._asked and not self._to_ask:
            self.finished = time.monotonic() - load.began
            self._transport.write(struct.pack(">IB", 1, NOT_INTERESTED))
            load.unfinished -= 1
            if not load.unfinished:
                load.over.set()

    def _row(self, first: int, count: int) -> bytes:
        return self.load.requests[first * REQUEST_SIZE : (first + count) * REQUEST_SIZE]


async def main(options: argparse.Namespace) -> None:
    """Runs until what `options` ask for is done."""
    loop = asyncio.get_running_loop()
    load = Load(options.torrent, options.data, options)
    kind = {"seed": Seed, "leech": Leech}[options.role]
    go = asyncio.Event()
    loop.add_signal_handler(signal.SIGUSR1, go.set)
    loop.add_signal_handler(signal.SIGTERM, load.over.set)
    print("ready", flush=True)
    await go.wait()
    load.began = time.monotonic()
    load.connections = [kind(load, n) for n in range(options.count)]
    dials = [loop.create_task(load.dial(each)) for each in load.connections]
    await load.over.wait()
    seconds = time.monotonic() - load.began
    for task in dials:
        task.cancel()
    active = load.connections[: load.active]
    print(json.dumps({
        "seconds": seconds,
        "connected": sum(not each.lost.is_set() and each._greeted for each in load.connections),
        "dropped": sum(each.dropped for each in load.connections),
        "bytes": [each.bytes for each in active],
        "finished": [each.finished for each in active],
        "cpu": time.process_time(),
    }), flush=True)  # fmt: skip


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("role", choices=["seed", "leech"])
    parser.add_argument("torrent", type=Path)
    parser.add_argument("data", type=Path)
    parser.add_argument("address")
    parser.add_argument("port", type=int)
    parser.add_argument("count", type=int)
    parser.add_argument("--active", type=int)
    parser.add_argument("--take", type=int)
    parser.add_argument("--depth", type=int, default=64)
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(main(parser.parse_args()))
