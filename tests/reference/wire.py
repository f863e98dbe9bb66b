"""The peer wire (BEP 3, 6, 10) as a slow and obvious model: what a connection must make of its bytes.

`Peer` reads one frame after the other through a generator, keeps everything in sets and dictionaries,
and raises `Broken` where the connection has to end. It picks no requests: it is told, through `sent`,
what the real wire wrote, and judges by that what comes in.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterable

CHOKE, UNCHOKE, INTERESTED, NOT_INTERESTED, HAVE, BITFIELD, REQUEST, PIECE, CANCEL, PORT = range(10)
SUGGEST, HAVE_ALL, HAVE_NONE, REJECT, ALLOWED_FAST = range(13, 18)
EXTENDED = 20
SIZES = {
    **dict.fromkeys((CHOKE, UNCHOKE, INTERESTED, NOT_INTERESTED, HAVE_ALL, HAVE_NONE), 1),
    **dict.fromkeys((HAVE, SUGGEST, ALLOWED_FAST), 5),
    **dict.fromkeys((REQUEST, CANCEL, REJECT), 13),
    PORT: 3,
}

BLOCK = 16384
MIB = 1 << 20
MAX_BLOCK = 1 << 17
MAX_UNASKED = 16
MAX_ALLOWED_FAST = 100
MAX_CHOKED_REQUESTS = 300

Request = tuple[int, int, int]
Step = Generator[int, bytes, None]


class Broken(Exception):
    """The peer broke the protocol or a budget."""


# ---------------------------------------------------------------- messages


def u32(*numbers: int) -> bytes:
    """Big-endian, four bytes each."""
    return b"".join(number.to_bytes(4, "big") for number in numbers)


def number(data: bytes, at: int = 0) -> int:
    return int.from_bytes(data[at : at + 4], "big")


def message(kind: int, payload: bytes = b"") -> bytes:
    return u32(1 + len(payload)) + bytes([kind]) + payload


def have(piece: int) -> bytes:
    return message(HAVE, u32(piece))


def bitfield(pieces: Iterable[int], n: int) -> bytes:
    raw = bytearray((n + 7) // 8)
    for i in pieces:
        raw[i // 8] |= 128 >> i % 8
    return message(BITFIELD, bytes(raw))


def request(piece: int, begin: int, length: int) -> bytes:
    return message(REQUEST, u32(piece, begin, length))


def cancel(piece: int, begin: int, length: int) -> bytes:
    return message(CANCEL, u32(piece, begin, length))


def reject(piece: int, begin: int, length: int) -> bytes:
    return message(REJECT, u32(piece, begin, length))


def allowed_fast(piece: int) -> bytes:
    return message(ALLOWED_FAST, u32(piece))


def block(piece: int, begin: int, payload: bytes) -> bytes:
    return message(PIECE, u32(piece, begin) + payload)


def extended(kind: int, payload: bytes = b"") -> bytes:
    return message(EXTENDED, bytes([kind]) + payload)


KEEPALIVE = u32(0)


def split(data: bytes) -> list[tuple[int | None, bytes]]:
    """Whole frames, as (id, payload); a keep-alive has no id. Nothing may be left over."""
    frames: list[tuple[int | None, bytes]] = []
    while data:
        end = 4 + number(data)
        if len(data) < end:
            raise ValueError(f"{len(data)} bytes of a frame of {end}")
        frames.append((data[4], data[5:end]) if end > 4 else (None, b""))
        data = data[end:]
    return frames


def requests(data: bytes) -> list[Request]:
    """The requests among whole frames."""
    return [
        (number(payload), number(payload, 4), number(payload, 8))
        for kind, payload in split(data)
        if kind == REQUEST
    ]


# ---------------------------------------------------------------- the model


class Peer:
    """One connection's state after every byte that was read and written so far.

    `memory` is where the torrent's bytes go, shared by all connections; `received` the requests that
    are answered for good. The names in `seen` are those of the flags.
    """

    def __init__(
        self,
        *,
        own: set[int],
        pieces: int,
        piece_length: int,
        length: int,
        fast: bool = False,
        request_queue: int = 2000,
        memory: bytearray | None = None,
    ) -> None:
        self.own, self.pieces, self.fast = own, pieces, fast
        self.piece_length, self.length, self.request_queue = piece_length, length, request_queue
        self.memory = bytearray(length) if memory is None else memory
        # What the peer said.
        self.bits: set[int] = set()
        self.said_pieces = False
        self.choking, self.interested = True, False
        self.allowed_fast: list[int] = []
        self.extended: list[tuple[int, bytes]] = []
        self.queue: list[Request] = []
        self.noise = self.unasked = self.choked_requests = 0
        # What we said.
        self.am_choking, self.choke_settled = True, False
        self.asked: dict[tuple[int, int], int] = {}
        self.grace = 0
        self.held = False
        self.served_fast: dict[int, int] = {}
        # What moved.
        self.active: tuple[int, int] | None = None
        self.active_done = 0
        self.received: list[tuple[int, int]] = []
        self.touched: set[int] = set()
        self.downloaded = self.wasted = 0
        self.replies = b""
        self.seen: set[str] = set()

        self._buffer = b""
        self._frames = self._read_frames()
        self._needed = next(self._frames)

    @property
    def outstanding(self) -> int:
        return len(self.asked) + (self.active is not None)

    def size_of(self, piece: int) -> int:
        return min(self.piece_length, self.length - piece * self.piece_length)

    def read(self, data: bytes) -> None:
        """Takes bytes from the peer."""
        self._buffer += data
        # A positive need is to come as a whole, a negative one in any portions.
        while len(self._buffer) >= max(self._needed, 1) or self._needed == 0:
            take = abs(self._needed)
            part, self._buffer = self._buffer[:take], self._buffer[take:]
            self._needed = self._frames.send(part)

    def sent(self, output: bytes) -> None:
        """Learns what the real wire wrote."""
        for kind, payload in split(output):
            if kind == REQUEST:
                where = number(payload), number(payload, 4)
                if where in self.asked or where == self.active:
                    raise AssertionError(f"{where} was asked for twice")
                self.asked[where] = number(payload, 8)
            elif kind == CANCEL:
                del self.asked[number(payload), number(payload, 4)]
                self.grace += 1

    def choke(self, choking: bool) -> None:
        """We choke the peer, or no longer."""
        if choking == self.am_choking:
            return
        self.am_choking, self.choke_settled, self.choked_requests = choking, False, 0
        self.replies += message(CHOKE if choking else UNCHOKE)
        if choking:
            for wanted in self.queue:
                self._reject(wanted)
            self.queue = []

    def allow(self, pieces: Iterable[int]) -> None:
        """We let the peer have these even while it is choked."""
        for piece in pieces:
            self.replies += allowed_fast(piece)
            self.served_fast[piece] = 3 * -(-self.piece_length // BLOCK)

    def drop(self, where: Callable[[tuple[int, int]], bool]) -> None:
        """What comes in now is of no use any more, if `where` says so."""
        if self.active and where(self.active):
            self.wasted += self.active_done
            self.active = None

    # Every step below yields how many bytes it must see: n of them together, or -n at most.

    def _read_frames(self) -> Step:
        while True:
            size = number((yield 4))
            if size == 0:
                self.noise += 1
                continue
            kind = (yield 1)[0]
            self._check_size(kind, size)
            if kind == PIECE:
                yield from self._read_block((yield 8), size - 9)
            elif kind in SIZES or kind in (BITFIELD, EXTENDED):
                self._take(kind, (yield size - 1))
            else:
                self.noise += 1 + size // 1024
                left = size - 1
                while left:
                    left -= len((yield -left))

    def _check_size(self, kind: int, size: int) -> None:
        if kind == PIECE:
            good = 9 <= size <= 9 + MAX_BLOCK
        elif kind == EXTENDED:
            good = 2 <= size <= MIB
        elif kind == BITFIELD:
            good = size == 1 + -(-self.pieces // 8)
        elif kind in SIZES:
            good = size == SIZES[kind]
        else:
            good = size <= MIB
        if not good:
            raise Broken(f"message {kind} of {size} bytes")

    def _read_block(self, header: bytes, left: int) -> Step:
        where = number(header), number(header, 4)
        if where in self.asked:
            if self.asked.pop(where) != left:
                raise Broken("not the length that was asked for")
            self.active, self.active_done = where, 0
            self.touched.add(where[0])
        elif left == 0:
            raise Broken("an empty block")
        elif self.grace:
            self.grace -= 1
        else:
            self.unasked += 1
            if self.unasked > MAX_UNASKED:
                raise Broken("never asked for")
        while left:
            part = yield -left
            left -= len(part)
            if self.active is None:
                self.wasted += len(part)
                continue
            at = where[0] * self.piece_length + where[1] + self.active_done
            self.memory[at : at + len(part)] = part
            self.active_done += len(part)
        if self.active:
            self.received.append(where)
            self.downloaded += self.active_done
            self.active = None

    def _take(self, kind: int, payload: bytes) -> None:
        if kind in (HAVE_ALL, HAVE_NONE, SUGGEST, REJECT, ALLOWED_FAST) and not self.fast:
            raise Broken("without the fast extension")
        if kind == CHOKE:
            self._choked()
        elif kind == UNCHOKE:
            self.noise += 1
            self.choking = self.held = False
            self.seen.add("UNCHOKED")
        elif kind in (INTERESTED, NOT_INTERESTED):
            self.noise += 1
            if self.interested != (kind == INTERESTED):
                self.interested = kind == INTERESTED
                self.seen.add("INTEREST")
        elif kind == HAVE:
            self._have(number(payload))
        elif kind == BITFIELD:
            bits = {i for i in range(8 * len(payload)) if payload[i // 8] & 128 >> i % 8}
            if bits and max(bits) >= self.pieces:
                raise Broken("spare bits")
            if self.said_pieces:
                self.noise += 100
            self._bitfield(bits)
        elif kind in (HAVE_ALL, HAVE_NONE):
            if self.said_pieces:
                raise Broken("not the first of its kind")
            self._bitfield(set(range(self.pieces)) if kind == HAVE_ALL else set())
        elif kind == REQUEST:
            self._request((number(payload), number(payload, 4), number(payload, 8)))
        elif kind == CANCEL:
            self._cancel((number(payload), number(payload, 4), number(payload, 8)))
        elif kind == EXTENDED:
            self.noise += 1 + (1 + len(payload)) // 1024
            self.extended.append((payload[0], payload[1:]))
            self.seen.add("EXTENDED")
        elif kind == PORT:
            self.noise += 1
        elif number(payload) >= self.pieces:
            raise Broken("no such piece")
        elif kind == REJECT:
            self._rejected(number(payload), number(payload, 4))
        else:
            self.noise += 1
            piece = number(payload)
            room = len(self.allowed_fast) < MAX_ALLOWED_FAST
            if kind == ALLOWED_FAST and room and piece not in self.allowed_fast:
                self.allowed_fast.append(piece)
                self.seen.add("ALLOWED")

    def _choked(self) -> None:
        self.noise += 1
        if self.choking:
            return
        self.choking = True
        self.seen.add("CHOKED")
        if not self.fast:
            self.grace += len(self.asked)
            self.asked = {}

    def _have(self, piece: int) -> None:
        if piece >= self.pieces:
            raise Broken("no such piece")
        self.said_pieces = True
        if piece in self.bits:
            self.noise += 1
            return
        self.bits.add(piece)
        if piece not in self.own:
            self.seen.add("HAVE")

    def _bitfield(self, bits: set[int]) -> None:
        self.said_pieces = True
        self.bits = bits
        self.seen.add("BITFIELD")

    def _rejected(self, piece: int, begin: int) -> None:
        if (piece, begin) in self.asked:
            del self.asked[piece, begin]
            self.held = self.held or not self.choking
            if piece in self.allowed_fast:
                self.allowed_fast.remove(piece)
            self.seen.add("REJECTED")
        elif self.grace:
            self.grace -= 1
        else:
            self.noise += 1

    def _request(self, wanted: Request) -> None:
        piece, begin, length = wanted
        if piece >= self.pieces or not 0 < length <= MAX_BLOCK:
            raise Broken("no such request")
        if begin + length > self.size_of(piece):
            raise Broken("beyond the end of the piece")
        if self.am_choking:
            if not self.served_fast.get(piece):
                self.choked_requests += self.choke_settled
                if self.choked_requests > MAX_CHOKED_REQUESTS:
                    raise Broken("requests while choked")
                self._reject(wanted)
                return
            self.served_fast[piece] -= 1
        if piece not in self.own:
            self.noise += 1
            self._reject(wanted)
        elif len(self.queue) >= self.request_queue:
            if not self.fast:
                raise Broken("too many requests")
            self.noise += 1
            self._reject(wanted)
        else:
            self.queue.append(wanted)
            self.seen.add("REQUESTS")

    def _cancel(self, wanted: Request) -> None:
        if wanted in self.queue:
            self.queue.remove(wanted)
            self._reject(wanted)
        else:
            self.noise += 1

    def _reject(self, wanted: Request) -> None:
        if self.fast:
            self.replies += reject(*wanted)
