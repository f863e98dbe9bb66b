"""Swarms whose nodes want different things, read from what they said."""

from __future__ import annotations

import random
from collections.abc import Iterable
from itertools import pairwise
from statistics import mean

import pytest

from swarm.engine.selection import Priority
from swarm.proto.fast import allowed_fast_set
from swarm.settings import Settings
from swarm.testing import Node, Swarm

KIB, MIB = 1 << 10, 1 << 20
PIECE = 64 * KIB
SKIP, LOW, NORMAL, HIGH = Priority


def pieces(swarm: Swarm, *files: int) -> set[int]:
    return {piece for file in files for piece in swarm.content.pieces_of(file)}


def begun(swarm: Swarm, node: str, *, since: float = 0.0) -> list[int]:
    """Pieces that it asked for, in order, each time that it began one."""
    asked = [e for e in swarm.events("request", node) if e[0] >= since]
    return [int(str(event[3][1])) for event in asked]


def verified(swarm: Swarm, node: str, *, since: float = 0.0) -> list[int]:
    asked = [e for e in swarm.events("verified", node) if e[0] >= since]
    return [int(str(event[3][0])) for event in asked]


def given_to_the_choked(swarm: Swarm, node: Node) -> set[int]:
    """Pieces that seeds give this node before they unchoke it (BEP 6): they may come before all else."""
    content = swarm.content
    return set(allowed_fast_set(content.infohash, node.addr[0], content.piece_count))


def holds(node: Node) -> set[int]:
    return {piece for piece in range(node.store.have.n) if node.store.have[piece]}


def others(swarm: Swarm, count: int, **how: float) -> list[Node]:
    return [swarm.add(f"other{i}", start=i * 0.1, **how) for i in range(count)]  # type: ignore[arg-type]


def late(order: Iterable[int]) -> int:
    """How many come after one that should have come after them, by how far at most."""
    order = list(order)
    places = {piece: place for place, piece in enumerate(sorted(order))}
    return max(abs(places[piece] - at) for at, piece in enumerate(order))


# ---------------------------------------------------------------- what comes first, what never


@pytest.fixture(scope="module")
def choosy() -> Swarm:
    """A node that wants four files of five, among eight that want all of it; run to its end."""
    swarm = Swarm(4, files=[MIB, 900_001, MIB, 1_200_003, MIB], piece_length=PIECE)
    swarm.add("seed", complete=True, up=2 * MIB)
    others(swarm, 8, up=512 * KIB)
    swarm.add("choosy", up=512 * KIB, priorities={0: LOW, 2: HIGH, 3: SKIP})
    swarm.run(until=300)
    return swarm


def test_what_is_skipped_is_never_asked_for(choosy: Swarm) -> None:
    node = choosy.nodes["choosy"]
    wanted = pieces(choosy, 0, 1, 2, 4)
    assert set(begun(choosy, "choosy")) == holds(node) == wanted
    shared = wanted & pieces(choosy, 3)
    assert len(shared) == 2, "the ends of the skipped file lie in pieces of its neighbours"
    assert not node.complete
    size = sum(len(choosy.content.piece(piece)) for piece in wanted)
    assert node.engine.totals()[0] == size
    assert [event[1] for event in choosy.events("complete")].count("choosy") == 1


def test_the_high_come_before_the_normal_and_those_before_the_low(choosy: Swarm) -> None:
    """As asked of the seed, who has them all."""
    node = choosy.nodes["choosy"]
    ranks = node.selection.ranks()
    early = given_to_the_choked(choosy, node)
    asked = [e[3] for e in choosy.events("request", "choosy") if e[3][0] == "seed"]
    order = [ranks[int(str(piece))] for _, piece, *_ in asked if piece not in early]
    assert len(set(order)) >= 2, "what is low may all come from others"
    assert order == sorted(order, reverse=True)
    done = verified(choosy, "choosy")
    places = {file: mean(map(done.index, pieces(choosy, file))) for file in (0, 1, 2)}
    assert places[2] < places[1] < places[0]


def test_the_others_get_everything_all_the_same(choosy: Swarm) -> None:
    for node in choosy.nodes.values():
        if node.name.startswith("other"):
            assert node.store.data() == choosy.content.data


# ---------------------------------------------------------------- in order


def test_in_order_with_many_peers() -> None:
    swarm = Swarm(5, length=12 * MIB, piece_length=PIECE)
    for i in range(6):
        swarm.add(f"seed{i}", complete=True, up=(64 + 128 * i) * KIB)
    swarm.add("player", sequential=True)
    swarm.run(until=300)
    early = given_to_the_choked(swarm, swarm.nodes["player"])
    last = swarm.content.piece_count - 1
    order = [piece for piece in begun(swarm, "player") if piece not in early]
    assert {0, last} - early == set(order[:2]) - early & {0, last}
    places = [order.index(piece) for piece in sorted(order) if piece != last]
    assert sum(a > b for a, b in pairwise(places)) <= 0.05 * len(order)
    assert late(piece for piece in order if piece != last) <= 8, "what somebody gave back"


def test_a_player_does_not_wait_for_the_slow() -> None:
    """Whose pieces would be holes for half a minute each, if nobody helped them."""
    swarm = Swarm(5, length=48 * MIB, piece_length=MIB)
    for i in range(8):
        swarm.add(f"seed{i}", complete=True, up=(32, 32, 64, 64, 128, 128, 512, 512)[i] * KIB)
    player = swarm.add("player", sequential=True)
    swarm.run(until=600)
    here: set[int] = set()
    head, last, waits = 0, 0.0, []
    for time, _, _, (piece,) in swarm.events("verified", "player"):
        here.add(int(str(piece)))
        if head in here:
            waits.append(time - last)
            last = time
        while head in here:
            head += 1
    assert max(waits) < 10.0
    assert swarm.clock.now < 48 * MIB / (1472 * KIB) * 1.1, "and the line is as busy as ever"
    assert player.engine.totals()[2] <= MIB


def test_in_order_costs_a_lone_download_nothing() -> None:
    times = []
    for sequential in False, True:
        swarm = Swarm(6, length=8 * MIB, piece_length=PIECE)
        for i in range(4):
            swarm.add(f"seed{i}", complete=True, up=256 * KIB)
        swarm.add("leecher", sequential=sequential)
        times.append(swarm.run(until=300))
    assert times[1] < 1.1 * times[0]


# ---------------------------------------------------------------- another choice on the way


def test_another_choice_in_mid_download() -> None:
    swarm = Swarm(7, files=[2 * MIB, 2 * MIB, 2 * MIB], piece_length=PIECE)
    swarm.add("seed", complete=True, up=MIB)
    others(swarm, 4, up=512 * KIB)
    fickle = swarm.add("fickle", priorities={1: SKIP, 2: SKIP})
    swarm.run(stop=lambda: len(swarm.events("verified", "fickle")) >= 10)
    before = set(begun(swarm, "fickle"))
    assert before <= pieces(swarm, 0)
    when = swarm.clock.now
    here = holds(fickle)
    under_way = set(fickle.engine._flight.judged)
    fickle.prioritise({0: SKIP, 2: HIGH})
    assert fickle.pool.in_use <= (len(under_way) + len(fickle.asked)) * PIECE
    swarm.run(until=300)
    assert set(begun(swarm, "fickle", since=when)) == pieces(swarm, 2)
    assert holds(fickle) - here <= pieces(swarm, 2) | under_way
    assert fickle.engine.totals()[2] <= 8 * PIECE, "what was on its way when it was cancelled"
    assert {e[3][1] for e in swarm.events("cancel", "fickle")} <= before | pieces(swarm, 2)


def test_many_changes_of_mind_end_well() -> None:
    """Every second something else is wanted, until all of it is."""
    swarm = Swarm(8, files=[MIB] * 6, piece_length=PIECE)
    swarm.add("seed", complete=True, up=512 * KIB)
    others(swarm, 3, up=256 * KIB)
    fickle = swarm.add("fickle", up=256 * KIB)
    for second in range(12):
        swarm.run(until=second + 1.0, stop=lambda: False)
        choice = {file: swarm.rng.choice(list(Priority)) for file in range(6)}
        fickle.prioritise(choice, sequential=second % 3 == 0)
    fickle.prioritise(dict.fromkeys(range(6), NORMAL))
    swarm.run(until=300)
    assert fickle.store.data() == swarm.content.data
    assert fickle.complete
    assert fickle.pool.in_use == 0
    assert not swarm.events("ban")
    assert not swarm.events("corrupt")


# ---------------------------------------------------------------- partial seeds


def test_two_that_want_halves_get_them_of_each_other() -> None:
    """There is no seed any more: what one of them has the other wants, later on."""
    swarm = Swarm(9, files=[MIB, MIB], piece_length=PIECE)
    seed = swarm.add("seed", complete=True, up=MIB)
    left = swarm.add("left", priorities={1: SKIP})
    right = swarm.add("right", priorities={0: SKIP})
    swarm.run(until=300)
    seed.stop()
    assert holds(left) | holds(right) == set(range(swarm.content.piece_count))
    when = swarm.clock.now
    left.prioritise({1: NORMAL})
    right.prioritise({0: NORMAL})
    swarm.run(until=when + 300)
    assert left.store.data() == right.store.data() == swarm.content.data
    assert {e[3][0] for e in swarm.events("request", "left") if e[0] > when} == {"right"}


def test_leechers_with_different_halves_exchange_nothing_they_do_not_want() -> None:
    swarm = Swarm(10, files=[MIB, MIB], piece_length=PIECE)
    swarm.add("seed", complete=True, up=256 * KIB)
    left = swarm.add("left", priorities={1: SKIP})
    right = swarm.add("right", priorities={0: SKIP})
    swarm.run(until=300)
    assert holds(left) == pieces(swarm, 0)
    assert holds(right) == pieces(swarm, 1)
    assert not [e for e in swarm.events("interested", "left") if e[3] == ("right",)]


def test_a_partial_seed_stays_useful() -> None:
    """It is done before the others, and gives them what it has; the seed need not."""
    swarm = Swarm(11, files=[2 * MIB, 2 * MIB], piece_length=PIECE)
    seed = swarm.add("seed", complete=True, up=512 * KIB)
    partial = swarm.add("partial", priorities={1: SKIP}, up=MIB)
    swarm.run(until=300)
    done = swarm.clock.now
    newcomers = [swarm.add(f"new{i}", start=done + 1.0) for i in range(3)]
    swarm.run(until=done + 600)
    assert all(node.store.data() == swarm.content.data for node in newcomers)
    given = partial.up.carried
    assert given > 2 * MIB, "more than one copy of its half"
    assert seed.up.carried < 2 * MIB + 3 * 4 * MIB - given + 2 * MIB
    assert not [e for e in swarm.events("interested", "partial") if e[0] > done]
    reasons = {e[3][1] for e in swarm.events("leave", "partial") if e[0] > done}
    assert reasons <= {"nothing to trade", "closed by the peer"}


# ---------------------------------------------------------------- anything, at any time


@pytest.mark.parametrize("seed", range(12))
def test_whatever_they_want_and_whenever_they_change_it(seed: int) -> None:
    """Files and pieces of all sizes, little memory, slow disks, liars, crashes: all is well in the end."""
    dice = random.Random(seed)
    piece = dice.choice([16, 64, 256, 2048]) * KIB
    files = [dice.choice([0, 1, 1000, 70_000, MIB, 3 * MIB]) for _ in range(dice.randint(1, 8))] + [
        5
    ]
    memory = dice.choice([1, 4, 32]) * MIB if piece < MIB else 8 * MIB
    swarm = Swarm(seed, files=files, piece_length=piece, settings=Settings(memory=memory))
    swarm.add("seed", complete=True, up=dice.choice([256, 1024]) * KIB)
    if dice.random() < 0.3:
        swarm.add("liar", complete=True, lie=lambda piece, begin: True)

    def choice(share: float) -> dict[int, Priority]:
        chosen = (file for file in range(len(files)) if dice.random() < share)
        return {file: dice.choice(list(Priority)) for file in chosen}

    nodes = [
        swarm.add(
            f"node{i}",
            up=dice.choice([64, 256, 512]) * KIB,
            fast=dice.random() < 0.8,
            disk_delay=dice.choice([0, 0.05]),
            sequential=dice.random() < 0.3,
            priorities=choice(0.5),
        )
        for i in range(dice.randint(1, 5))
    ]
    for _ in range(dice.randint(1, 10)):
        swarm.run(until=swarm.clock.now + dice.random() * 2, stop=lambda: False)
        node = dice.choice(nodes)
        if dice.random() < 0.15:
            node.stop(crash=dice.random() < 0.5)
        elif not node.running:
            node.start()
        else:
            node.prioritise(choice(0.6), sequential=dice.random() < 0.3)
        for node in nodes:
            missing = node.engine.picker.missing
            assert all(missing[piece] for piece in node.engine._flight.fills)
            wires = [end.peer.wire for end in node.ends.values()]
            assert all(wire.am_interested for wire in wires if wire.outstanding)
    for node in nodes:
        node.start()
    swarm.run(until=swarm.clock.now + 2000)
    for node in nodes:
        wanted = [
            i for i, priority in enumerate(node.selection.priorities) if priority and files[i]
        ]
        assert pieces(swarm, *wanted) <= holds(node)
        assert node.engine._flight.fills == {}
        node.prioritise(dict.fromkeys(range(len(files)), NORMAL))
    swarm.run(until=swarm.clock.now + 2000)
    swarm.run(until=swarm.clock.now + 1, stop=lambda: False)
    for node in nodes:
        assert node.store.data() == swarm.content.data
        assert node.pool.in_use == 0
