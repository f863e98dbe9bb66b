"""Several wires of one torrent against their models, at random, for as long as one likes:

    python tests/fuzz/fuzz_wire.py [SECONDS] [FIRST_SEED]

Each seed plays one swarm: peers that are honest, odd or broken (flipped bytes, noise), fed in random
portions, and an engine that assigns, releases, chokes and serves without reason. After every step all
that a wire shows has to be what its model says. A failure prints the seed, which repeats it.
"""

from __future__ import annotations

import importlib.util
import random
import sys
import time
from itertools import accumulate
from pathlib import Path

sys.path.append(str(Path(__file__).resolve().parents[2]))

from swarm import _wire
from swarm._bits import Bits, Rarity
from swarm._fill import Fill
from swarm._wire import Wire
from swarm.errors import ProtocolError

_spec = importlib.util.spec_from_file_location(
    "reference_wire", Path(__file__).parents[1] / "reference" / "wire.py"
)
assert _spec is not None
assert _spec.loader is not None
reference = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(reference)

FLAGS = [
    "CHOKED",
    "UNCHOKED",
    "INTEREST",
    "HAVE",
    "BITFIELD",
    "REQUESTS",
    "EXTENDED",
    "REJECTED",
    "ALLOWED",
]
PIECE_LENGTHS = (1, 3, 16383, 16384, 16385, 32768, 40000, 70000)


class Part:
    """One piece that is being fetched: its fill, and what is known of it from outside."""

    def __init__(self, piece: int, length: int, part_size: int) -> None:
        self.fill = Fill(piece, length, part_size)
        self.part_size, self.attached = part_size, 0
        self.begins: set[int] = set()  # blocks that are here
        self.contributors: set[int] = set()
        self.taken = 0

    def reachable(self, begin: int) -> bool:
        """Whether the block has a slot."""
        return begin < self.attached * self.part_size

    @property
    def complete(self) -> int:
        """Parts that are full, in order, from the first on."""
        parts = 0
        while parts < self.fill.parts and all(self._here(parts)):
            parts += 1
        return parts

    @property
    def full(self) -> set[int]:
        return {i for i in range(self.fill.parts) if all(self._here(i))}

    def _here(self, part: int) -> list[bool]:
        end = min(self.fill.length, (part + 1) * self.part_size)
        return [at in self.begins for at in range(part * self.part_size, end, reference.BLOCK)]


class Line:
    """One connection: the wire, its model, and the bytes on their way."""

    def __init__(self, swarm: Swarm, key: int) -> None:
        rng = swarm.rng
        self.fast = rng.random() < 0.6
        self.honest = rng.random() < 0.7
        queue = rng.choice([5, 2000, 2000])
        shape = {"piece_length": swarm.piece_length, "length": swarm.length}
        self.wire = Wire(
            key, swarm.own, swarm.rarity, swarm.dirty, fast=self.fast, request_queue=queue, **shape
        )
        self.allowance = _wire.UNLIMITED
        self.wire.depth = self.depth = rng.choice([1, 2, 5, 32, 100])
        self.wire.ceiling = self.ceiling = max(self.depth, rng.choice([4, 64, 512]))
        self.model = reference.Peer(
            own=swarm.owned,
            pieces=swarm.pieces,
            fast=self.fast,
            request_queue=queue,
            memory=swarm.memory,
            **shape,
        )
        self.incoming = b""
        self.haves: list[int] = []
        self.ready: list[Fill] = []
        self.blocks = self.read = 0


class Swarm:
    """A torrent, its wires, and everything that they must agree on."""

    def __init__(self, seed: int) -> None:
        self.rng = rng = random.Random(seed)
        self.piece_length = rng.choice(PIECE_LENGTHS)
        self.pieces = rng.choice([1, 2, 7, 8, 9, 30])
        last = rng.randint(1, self.piece_length)
        self.length = (self.pieces - 1) * self.piece_length + last
        self.content = rng.randbytes(self.length)
        self.memory = bytearray(self.length)
        self.owned = {i for i in range(self.pieces) if rng.random() < 0.3}
        self.own = Bits(self.pieces, reference.bitfield(self.owned, self.pieces)[5:])
        self.rarity = Rarity(self.pieces)
        self.dirty: list[Wire] = []
        self.parts: dict[int, Part] = {}
        self.keys = 0
        self.lines: list[Line] = []
        self.deaths = self.blocks = self.pieces_done = 0
        for _ in range(rng.choice([1, 2, 4])):
            self.connect()

    def connect(self) -> None:
        self.keys += 1
        line = Line(self, self.keys)
        self.lines.append(line)
        if self.rng.random() < 0.8:
            line.incoming = reference.message(1)
            line.wire.interested(True)
            line.model.replies = reference.message(2)
            self.fetch(line)

    def step(self) -> None:
        """One random thing happens, and everything is looked at."""
        line = self.rng.choice(self.lines)
        kind = self.rng.random()
        if kind < 0.4:
            self.deliver(line)
        elif kind < 0.7:
            line.incoming += self.says(line)
        else:
            self.rng.choice(self.ACTIONS)(self, line)
        self.settle()

    # ---------------------------------------------------------------- the peer

    def says(self, line: Line) -> bytes:
        rng, model = self.rng, line.model
        data = b""
        for _ in range(rng.choice([1, 1, 3, 10])):
            # What was asked, but is answered already in `incoming`, is asked no more.
            asked = list(model.asked)
            if asked and rng.random() < 0.7:
                piece, begin = asked[0] if rng.random() < 0.8 else rng.choice(asked)
                at = piece * self.piece_length + begin
                payload = self.content[at : at + model.asked[piece, begin]]
                data += reference.block(piece, begin, payload)
            else:
                data += self.remark(line)
        if not line.honest and rng.random() < 0.1:
            broken = bytearray(data)
            for _ in range(rng.choice([1, 1, 4])):
                broken[rng.randrange(len(broken))] = rng.randrange(256)
            data = bytes(broken) if rng.random() < 0.9 else rng.randbytes(40)
        return data

    def remark(self, line: Line) -> bytes:
        rng, model = self.rng, line.model
        piece = rng.randrange(self.pieces)
        size = model.size_of(piece)
        begin = rng.choice([0, rng.randrange(size)])
        wanted = (piece, begin, min(reference.BLOCK, size - begin))
        asked = rng.choice(list(model.asked)) if model.asked else (piece, begin)
        simple = [reference.KEEPALIVE, *map(reference.message, (1, 1, 1, 0, 2, 3))]
        said = [
            *simple,
            reference.have(piece),
            reference.request(*wanted),
            reference.request(*wanted),
            reference.cancel(*(rng.choice(model.queue) if model.queue else wanted)),
            reference.extended(rng.randrange(3), b"d1:mdee"),
            reference.message(rng.choice([10, 21, 200]), rng.randbytes(rng.choice([0, 9]))),
            reference.message(9, b"\x1a\xe1"),
        ]
        if not model.said_pieces and not line.incoming:
            said += [reference.bitfield({piece}, self.pieces)] * 5
        if line.fast:
            said += [reference.reject(*asked, 16384), reference.allowed_fast(piece)]
            said += [reference.message(13, reference.u32(piece))]
        if not line.honest:
            said += [reference.block(piece, begin, rng.randbytes(wanted[2]))]
        return rng.choice(said)

    def deliver(self, line: Line) -> None:
        rng, wire, model = self.rng, line.wire, line.model
        n = rng.choice([1, 2, 13, 100, 5000, 20000, 1 << 20])
        data, line.incoming = line.incoming[:n], line.incoming[n:]
        model.seen, model.touched, before = set(), set(), len(model.received)
        full = {piece: part.full for piece, part in self.parts.items()}
        line.read += len(data)
        broken = flags = None
        try:
            model.read(data)
        except reference.Broken as error:
            broken = error
        refused = None
        try:
            flags = wire.receive(data)
        except ProtocolError as error:
            refused = error
        assert bool(refused) == bool(broken), f"wire: {refused}, model: {broken}"
        for piece in model.touched:
            self.parts[piece].contributors.add(wire.key)
        for where in model.received[before:]:
            self.landed(line, *where)
        line.ready += [part.fill for p, part in self.parts.items() if part.full != full[p]]
        if broken:
            self.ended(line)
            return
        done = any(part.full != full[piece] for piece, part in self.parts.items())
        expected = model.seen | ({"PARTS"} if done else set())
        assert flags is not None
        assert {name for name in [*FLAGS, "PARTS"] if flags & getattr(_wire, name)} == expected
        assert bool(flags & _wire.HUNGRY) == wire.hungry
        assert bool(flags & _wire.LIMITED) == wire.limited

    def landed(self, line: Line, piece: int, begin: int) -> None:
        """A block is here for good: nobody else's copy of it counts."""
        part = self.parts[piece]
        assert begin not in part.begins
        part.begins.add(begin)
        line.blocks += 1
        self.blocks += 1
        line.depth = min(line.depth + 1, max(line.ceiling, line.depth))
        for other in self.lines:
            other.model.drop(lambda where: where == (piece, begin))

    def ended(self, line: Line) -> None:
        """The connection is closed; another one comes."""
        self.deaths += 1
        self.take_parts(line)
        line.wire.leave()
        assert line.wire.pending == 0
        assert line.wire.outstanding == 0
        assert line.wire.fills == []
        self.lines.remove(line)
        if line.wire in self.dirty:
            self.dirty.remove(line.wire)
        self.connect()

    # ---------------------------------------------------------------- the engine

    def fetch(self, line: Line) -> None:
        missing = [i for i in range(self.pieces) if i not in self.owned]
        if not missing:
            return
        piece = self.rng.choice(missing)
        if piece not in self.parts:
            size = line.model.size_of(piece)
            part_size = self.rng.choice([16384, 32768, max(size, self.piece_length)])
            self.parts[piece] = Part(piece, size, part_size)
        if not self.parts[piece].fill.done:
            line.wire.assign(self.parts[piece].fill)
        self.attach(line)

    def attach(self, line: Line) -> None:
        for part in self.parts.values():
            if part.fill.wants_slot and self.rng.random() < 0.7:
                part.fill.attach(bytearray(part.fill.slot_size))
                part.attached += 1

    def unassign(self, line: Line) -> None:
        if self.parts:
            part = self.rng.choice(list(self.parts.values()))
            line.wire.unassign(part.fill)
            line.model.drop(lambda where: where[0] == part.fill.piece)

    def spare(self, line: Line) -> None:
        if not line.wire.fills:
            return
        fill = self.rng.choice(line.wire.fills)
        keep = self.rng.choice([1, 2, 10])
        model = line.model
        first = [model.active] if model.active else []
        before = model.grace if line.fast else 0  # what was cancelled may come before the rest,
        before += (
            line.wire.owed > (len(model.asked) + before) * reference.BLOCK
        )  # and what comes now
        soon = first + list(model.asked)[: max(keep - before, 0)]
        soon = [at for at in soon if at[0] == fill.piece]
        line.wire.spare(fill, keep)
        self.settle()
        assert [at for at in first + list(model.asked) if at[0] == fill.piece] == soon

    def release(self, line: Line) -> None:
        line.wire.release()
        line.model.drop(lambda where: True)
        assert line.wire.outstanding == 0

    def refill(self, line: Line) -> None:
        line.wire.refill()
        self.settle()
        room = len(line.model.asked) < line.wire.depth
        if not line.wire.held and line.allowance and room:
            assert not self.pickable(line), "blocks are left and the pipeline is not full"

    def hold(self, line: Line) -> None:
        line.wire.held = line.model.held = self.rng.random() < 0.3

    def limit(self, line: Line) -> None:
        """So many more blocks may be requested."""
        line.wire.allowance = line.allowance = self.rng.choice([0, 1, 3, 20, _wire.UNLIMITED])

    def choke(self, line: Line) -> None:
        choking = self.rng.random() < 0.3
        line.wire.choke(choking)
        line.model.choke(choking)

    def settle_choke(self, line: Line) -> None:
        line.wire.choke_settled = line.model.choke_settled = True

    def interest(self, line: Line) -> None:
        interested = self.rng.random() < 0.8
        if interested != line.wire.am_interested:
            line.model.replies += reference.message(2 if interested else 3)
        line.wire.interested(interested)

    def allow(self, line: Line) -> None:
        if line.fast:
            pieces = self.rng.sample(range(self.pieces), min(2, self.pieces))
            line.wire.send_allowed_fast(pieces)
            line.model.allow(pieces)

    def tell(self, line: Line) -> None:
        line.wire.send_extended(3, b"x" * 20)
        line.wire.keepalive()
        line.model.replies += reference.extended(3, b"x" * 20) + reference.KEEPALIVE
        piece = self.rng.randrange(self.pieces)
        line.wire.have(piece)
        if piece not in line.model.bits:
            line.haves.append(piece)
        if self.rng.random() < 0.5:
            line.wire.push_haves()

    def serve(self, line: Line) -> None:
        n = self.rng.choice([1, 3, 1000])
        packed = line.wire.take_requests(n)
        numbers = [int.from_bytes(packed[i : i + 4], "little") for i in range(0, len(packed), 4)]
        sizes = accumulate(length for _, _, length in line.model.queue)
        count = sum(size <= n * reference.BLOCK for size in sizes) or 1
        taken, line.model.queue = line.model.queue[:count], line.model.queue[count:]
        assert [tuple(numbers[i : i + 3]) for i in range(0, len(numbers), 3)] == taken
        if self.rng.random() < 0.3:
            line.wire.refuse(packed)
            if line.fast:
                line.model.replies += b"".join(reference.reject(*wanted) for wanted in taken)

    def endgame(self, line: Line) -> None:
        for part in self.parts.values():
            part.fill.endgame = self.rng.random() < 0.7

    def take_parts(self, line: Line) -> None:
        fills = line.wire.take_parts()
        assert len(set(map(id, fills))) == len(fills)
        assert set(map(id, fills)) == set(map(id, line.ready))
        line.ready = []
        for fill in fills:
            part = self.parts.get(fill.piece)
            if part is None or part.fill is not fill:
                continue  # another wire finished it in the meantime
            for offset, slot, size in fill.take_ready():
                assert offset == part.taken * part.part_size
                at = fill.piece * self.piece_length + offset
                assert slot[:size] == self.memory[at : at + size]
                slot.append(0)  # nobody looks into it any more
                part.taken += 1
            assert part.taken == min(part.complete, part.attached)
            if part.fill.done:
                assert part.taken == part.fill.parts
                del self.parts[fill.piece]
                self.pieces_done += 1
                if self.rng.random() < 0.5:  # else it turned out to be wrong
                    self.owned.add(fill.piece)
                    self.own.set(fill.piece)

    def forget(self, line: Line) -> None:
        if self.rng.random() < 0.1:
            self.ended(line)

    ACTIONS = (
        *(
            fetch,
            attach,
            unassign,
            spare,
            release,
            refill,
            refill,
            hold,
            limit,
            choke,
            settle_choke,
            interest,
        ),
        *(allow, tell, serve, endgame, take_parts, take_parts, forget, fetch, fetch),
    )

    # ---------------------------------------------------------------- what must hold

    def holders(self, piece: int, begin: int) -> int:
        where = piece, begin
        return sum(where in at.model.asked or where == at.model.active for at in self.lines)

    def pickable(self, line: Line) -> set[tuple[int, int]]:
        """Blocks that this wire may ask for."""
        blocks = set()
        for piece, part in self.parts.items():
            if part.fill not in line.wire.fills:
                continue
            if line.model.choking and piece not in line.model.allowed_fast:
                continue
            free = set()
            slow = set()
            for begin in range(0, part.fill.length, reference.BLOCK):
                if begin not in part.begins and part.reachable(begin):
                    where = piece, begin
                    count = self.holders(*where)
                    mine = where in line.model.asked or where == line.model.active
                    if count == 0:
                        free.add(where)
                    elif count < 3 and part.fill.endgame and not mine:
                        slow.add(where)
            assert part.fill.has_free == bool(free)
            blocks |= free or slow
        return blocks

    def settle(self) -> None:
        """Looks at what was written, then at every wire and every fill."""
        for line in self.lines:
            assert line.wire.pending == 0 or line.wire in self.dirty
        assert len(set(map(id, self.dirty))) == len(self.dirty)
        for wire in self.dirty:
            line = next(line for line in self.lines if line.wire is wire)
            self.written(line, wire.take_output())
        self.dirty.clear()
        for line in self.lines:
            self.check(line)
        for piece, part in self.parts.items():
            assert part.fill.missing == part.fill.blocks - len(part.begins)
            assert part.fill.contributors == part.contributors
            assert part.fill.done == (part.fill.missing == 0)
            assigned = {line.wire.key for line in self.lines if part.fill in line.wire.fills}
            assert {wire.key for wire in part.fill.wires} == assigned
            assert not (part.fill.done and assigned), f"piece {piece} is done and still fetched"
        for piece in range(self.pieces):
            count = sum(piece in line.model.bits for line in self.lines)
            assert self.rarity.availability(piece) == count

    def written(self, line: Line, output: bytes) -> None:
        asked = reference.requests(output)
        frames = reference.split(output)
        others = [
            frame for frame in frames if frame[0] not in (reference.REQUEST, reference.CANCEL)
        ]
        haves = b"".join(map(reference.have, line.haves))
        assert others == reference.split(line.model.replies + haves)
        line.model.replies, line.haves = b"", []
        line.model.sent(output)
        for piece, begin, size in asked:
            part = self.parts[piece]
            assert size == min(reference.BLOCK, part.fill.length - begin)
            assert begin not in part.begins
            assert part.reachable(begin)
            assert part.fill in line.wire.fills
            assert not line.model.choking or piece in line.model.allowed_fast
            assert not line.model.held
            assert self.holders(piece, begin) <= (3 if part.fill.endgame else 1)
        assert not asked or len(line.model.asked) <= line.wire.depth
        line.allowance -= len(asked)

    def check(self, line: Line) -> None:
        wire, model = line.wire, line.model
        assert bytes(wire.bits) == reference.bitfield(model.bits, self.pieces)[5:]
        assert wire.bits.count == len(model.bits)
        assert (wire.peer_choking, wire.peer_interested) == (model.choking, model.interested)
        assert wire.am_choking == model.am_choking
        assert wire.allowed_fast == model.allowed_fast
        assert wire.noise == model.noise
        assert wire.held == model.held
        assert wire.wants == len(model.queue)
        assert wire.outstanding == model.outstanding
        assert (wire.downloaded, wire.wasted) == (model.downloaded, model.wasted)
        assert (wire.blocks, wire.received, wire.depth) == (line.blocks, line.read, line.depth)
        assert wire.take_extended() == model.extended
        model.extended = []
        willing = not model.choking or bool(model.allowed_fast)
        room = len(model.asked) < wire.depth and not wire.held and wire.am_interested
        answers = room and willing
        assert wire.allowance == line.allowance >= 0
        assert wire.limited == (answers and not line.allowance)
        assert wire.hungry == (answers and line.allowance > 0 and not self.pickable(line))


def play(seed: int, steps: int = 400) -> Swarm:
    """One swarm. AssertionError says what did not hold."""
    swarm = Swarm(seed)
    for _ in range(steps):
        swarm.step()
    return swarm


def main() -> None:
    seconds = float(sys.argv[1]) if len(sys.argv) > 1 else 60.0
    seed = first = int(sys.argv[2]) if len(sys.argv) > 2 else random.randrange(1 << 32)
    end = time.monotonic() + seconds
    blocks = pieces = deaths = 0
    while time.monotonic() < end:
        try:
            swarm = play(seed)
        except BaseException:
            print(f"seed {seed}", file=sys.stderr)
            raise
        blocks += swarm.blocks
        pieces += swarm.pieces_done
        deaths += swarm.deaths
        seed += 1
    print(
        f"{seed - first} swarms from seed {first}: {blocks} blocks, {pieces} pieces, {deaths} deaths"
    )


if __name__ == "__main__":
    main()
