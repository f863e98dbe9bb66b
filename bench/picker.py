"""What the picker costs with a million pieces: `python bench/picker.py [pieces]`.

Times include the call from Python. Targets: pick <= 10 us, have <= 50 ns, join <= 5 ms.
"""

from __future__ import annotations

import random
import statistics
import sys
import time
from collections.abc import Callable, Iterable

from swarm._bits import CLASS_EDGES, Bits, Rarity
from swarm.engine.picker import Picker

CPU = time.thread_time  # for calls that are long enough to be interrupted


def sparse(n: int, density: float, rng: random.Random) -> Bits:
    """A set of about `density * n` pieces; the density is a multiple of 1/8."""
    word = 0
    for step in f"{round(density * 8):03b}"[::-1]:  # each step halves, and adds a half or nothing
        dice = rng.getrandbits(n)
        word = word | dice if step == "1" else word & dice
    if density == 1:
        word = (1 << n) - 1
    return Bits(n, (word << (-n % 8)).to_bytes((n + 7) // 8, "big"))


def scattered(n: int, count: int, rng: random.Random) -> Bits:
    bits = Bits(n)
    for piece in rng.sample(range(n), count):
        bits.set(piece)
    return bits


def per_call(
    calls: Iterable[Callable[[], object]], clock: Callable[[], float] = time.perf_counter
) -> float:
    """Seconds of the median call, so that what else the machine does matters little."""
    times = []
    for call in calls:
        started = clock()
        call()
        times.append(clock() - started)
    return statistics.median(times)


def show(what: str, seconds: float, target: str = "") -> None:
    for unit, scale in (("ms", 1e3), ("us", 1e6), ("ns", 1e9)):
        if seconds * scale >= 1 or unit == "ns":
            print(f"{what:<58}{seconds * scale:>9.2f} {unit}   {target}")
            return


def main() -> None:
    n = int(sys.argv[1]) if len(sys.argv) > 1 else 1_000_000
    rng = random.Random(1)
    print(f"{n:,} pieces")
    started = CPU()
    picker = Picker(Bits(n))
    show("a new picker, nothing on disk", CPU() - started)
    rarity = picker.rarity

    half = [sparse(n, 0.5, rng) for _ in range(20)]
    joins = per_call([lambda b=b: rarity.join(b) for b in half], CPU)
    show("join, half of the pieces", joins, "<= 5 ms")
    near = sparse(n, 1, rng)
    near.clear(0)
    show("join, all pieces but one", per_call([lambda: rarity.join(near)], CPU), "<= 5 ms")
    show(
        "leave, half of the pieces", per_call([lambda b=b: rarity.leave(b) for b in half[10:]], CPU)
    )
    seed = sparse(n, 1, rng)
    show("join, a seed", per_call([lambda: rarity.join(seed)] * 9))

    pieces = [rng.randrange(n) for _ in range(1_000_000)]
    chunks = [pieces[i : i + 1000] for i in range(0, len(pieces), 1000)]

    def each(call: Callable[[int], object], chunks: list[list[int]]) -> float:
        return per_call([lambda c=c: [call(piece) for piece in c] for c in chunks]) / 1000

    gross = each(rarity.have, chunks)
    call = each(rarity.availability, [[0] * 1000] * 1000)
    show("have, called from Python", gross)
    show("have, less a call that touches one piece only", gross - call, "<= 50 ns")

    def picks(offered: Bits, times: int = 2000) -> float:
        taken = []
        seconds = per_call([lambda: taken.append(picker.pick(offered, rng))] * times)
        for piece in taken:
            if piece is not None:
                picker.put_back(piece)
        return seconds

    show("pick from a seed", picks(seed), "<= 10 us")
    show("pick from a peer with half", picks(half[0]), "<= 10 us")
    show("pick from a peer with 1,000 pieces", picks(scattered(n, 1000, rng), 900), "<= 10 us")
    show("pick from a peer with 30 pieces", picks(scattered(n, 30, rng), 29), "<= 10 us")
    show("interesting, a peer with half", per_call([lambda: picker.interesting(half[1])] * 99))

    chosen = bytearray(b"\3" * n)  # as of ten files: one urgent, one skipped
    chosen[n // 10 : n // 5] = b"\5" * (n // 5 - n // 10)
    chosen[n // 2 : n // 2 + n // 10] = bytes(n // 10)
    plain, ranks = bytes([3]) * n, bytes(chosen)

    def arranged(ranks: bytes, *, sequential: bool = False) -> float:
        started = CPU()
        picker.arrange(ranks, sequential=sequential)
        return CPU() - started

    arranged(plain)
    show(
        "another choice, a fifth of the pieces",
        statistics.median(map(arranged, [ranks, plain] * 4)),
    )
    arranged(ranks)
    show("pick from a seed, some urgent", picks(seed), "<= 10 us")
    show("pick from a peer with half, some urgent", picks(half[0]), "<= 10 us")
    apart = bytearray(b"\3\5" * (n // 2) + b"\3" * (n % 2))  # the urgent are all elsewhere
    evens = Bits(n, (int("10" * 32, 2).to_bytes(8, "big") * (n // 64 + 1))[: n // 8 + (n % 8 > 0)])
    arranged(bytes(apart))
    show("pick from a peer that has nothing urgent", picks(evens), "<= 10 us")
    arranged(ranks, sequential=True)
    show("pick in order, from a peer with half", picks(half[0]), "<= 10 us")
    arranged(plain)

    worst = Rarity(n)
    worst.want_missing(Bits(n))
    deep = Bits(n)
    for piece in range(n):  # twelve dense classes, and the peer has pieces of the last only
        for _ in range(CLASS_EDGES[piece % 12]):
            worst.have(piece)
        if piece % 12 == 11:
            deep.set(piece)
    everyone = [lambda: worst.rarest(deep, rng.getrandbits(64))] * 500
    show("rarest, twelve dense classes, a peer of the commonest only", per_call(everyone))

    for piece in range(n):
        if piece % 5000:
            rarity.unwant(piece)
    show("pick from a peer with half, 200 pieces left", picks(half[0], 50), "<= 10 us")
    print(f"memory: {sys.getsizeof(rarity) / n:.2f} bytes a piece, and {n / 8e3:.0f} kB a peer")


if __name__ == "__main__":
    main()
