"""A torrent of which not everything is wanted: what is given up, who interests us, and who is told."""

from __future__ import annotations

import pytest
from rig import (
    CANCEL,
    INTERESTED,
    PIECE,
    REQUEST,
    UNINTERESTED,
    Rig,
    message,
)

from swarm.engine.candidates import FIRST_RETRY
from swarm.engine.peer import Peer
from swarm.proto.tracker import TrackerReply


def arrange(rig: Rig, ranks: str, *, sequential: bool = False) -> None:
    """One digit a piece."""
    rig.torrent.arrange(bytes(map(int, ranks)), sequential=sequential)


def asked(rig: Rig, peer: Peer) -> set[int]:
    """Pieces it was asked for since the last time."""
    return {at // PIECE for kind, at in rig.listen(peer) if kind == REQUEST}


def answered(rig: Rig) -> None:
    """The tracker has heard that we started."""
    (announce,) = rig.torrent.announces(rig.now)
    assert announce.event == "started"
    rig.torrent.on_tracker_reply(announce.url, TrackerReply(interval=600), rig.now)


def events(rig: Rig) -> list[str]:
    """What the tracker is told now; it answers."""
    announces = rig.torrent.announces(rig.now)
    for announce in announces:
        rig.torrent.on_tracker_reply(announce.url, TrackerReply(interval=600), rig.now)
    return [announce.event for announce in announces]


# ---------------------------------------------------------------- giving up


def test_what_is_not_wanted_any_more_is_given_up_at_once() -> None:
    rig = Rig(pieces=4)
    peer = rig.peer()
    rig.send(peer, 1)
    begun = {fill.piece for fill in peer.wire.fills}
    ranks = "".join("01"[piece not in begun] for piece in range(4))
    arrange(rig, ranks)
    said = rig.listen(peer)
    cancels = {at // PIECE for kind, at in said if kind == CANCEL}
    requests = {at // PIECE for kind, at in said if kind == REQUEST}
    assert cancels <= begun
    assert cancels
    assert requests
    assert not requests & begun
    assert rig.pool.in_use == len(peer.wire.fills) * PIECE
    rig.torrent.picker.put_back(begun.pop())
    assert rig.torrent.picker.rarity.idle_count == 2


def test_what_waits_for_its_verdict_still_counts() -> None:
    rig = Rig(pieces=2)
    peer = rig.peer((0,))
    while not rig.committed:
        rig.send(peer)
    arrange(rig, "01")
    rig.torrent.on_verdict(0, True, rig.now)
    assert rig.good == [0]
    assert rig.told == []
    assert not rig.torrent.finished


def test_a_bad_piece_that_is_not_wanted_any_more_is_not_fetched_again() -> None:
    rig = Rig(pieces=2)
    peer = rig.peer((0,))
    while not rig.committed:
        rig.send(peer)
    arrange(rig, "01")
    rig.torrent.on_verdict(0, False, rig.now)
    assert peer.strikes == 1
    rig.wait(3.0)
    assert REQUEST not in rig.kinds(peer)


# ---------------------------------------------------------------- interest


def test_interest_is_in_what_is_wanted() -> None:
    rig = Rig(pieces=4)
    arrange(rig, "0110")
    stranger, friend = rig.peer((0, 3)), rig.peer((2,))
    assert INTERESTED not in rig.kinds(stranger)
    assert INTERESTED in rig.kinds(friend)
    arrange(rig, "1001")
    assert asked(rig, stranger) == {0, 3}
    assert UNINTERESTED in rig.kinds(friend)
    assert friend.wire.outstanding == 0


def test_end_game_starts_when_the_wanted_are_assigned() -> None:
    """Though there are pieces that nobody was asked for."""
    rig = Rig(pieces=4)
    arrange(rig, "1000")
    slow, fast = rig.peer(), rig.peer()
    assert slow.wire.outstanding == 4
    slow.snubbed = True
    rig.wait(1.0)
    assert asked(rig, fast) == {0}


# ---------------------------------------------------------------- a partial seed


def test_a_partial_seed_tells_and_keeps_who_wants_something() -> None:
    rig = Rig(pieces=3)
    answered(rig)
    arrange(rig, "100")
    seed, leecher = rig.peer(), rig.peer((1,))
    assert rig.fetch(seed) == 0
    assert rig.torrent.finished
    assert not rig.torrent.complete
    assert rig.told == [True]
    assert rig.closed == [(seed, "nothing to trade")]
    assert list(rig.torrent.peers.values()) == [leecher]
    assert not leecher.wire.am_interested
    rig.tell(leecher, message(2))
    rig.wait(1.0)
    assert not leecher.wire.am_choking
    rig.torrent.set_upload_only(leecher, True)
    assert rig.closed[-1] == (leecher, "nothing to trade")


def test_trackers_hear_of_a_partial_seed_and_of_the_completion() -> None:
    """BEP 21: `paused` while it is one; BEP 3: `completed` for all of the torrent only."""
    rig = Rig(pieces=2)
    answered(rig)
    arrange(rig, "10")
    rig.fetch(rig.peer())
    assert events(rig) == []
    rig.now += 600
    assert events(rig) == ["paused"]
    arrange(rig, "11")
    rig.now += 600
    assert events(rig) == [""]
    rig.fetch(rig.peer())
    assert rig.torrent.complete
    assert events(rig) == ["completed"]
    rig.now += 600
    assert events(rig) == [""]
    rig.torrent.stop(rig.now)
    assert events(rig) == ["stopped"]


def test_from_finished_back_to_downloading() -> None:
    rig = Rig(pieces=2)
    arrange(rig, "10")
    seed, leecher = rig.peer(), rig.peer((1,))
    rig.fetch(seed)
    assert rig.torrent.dials(rig.now, 5) == []
    arrange(rig, "11")
    assert rig.told == [True, False]
    assert rig.torrent.dials(rig.now, 5) == [seed.addr], "not only after its time-out"
    assert leecher.wire.outstanding == 4
    rig.fetch(leecher)
    assert rig.told == [True, False, True]
    assert rig.torrent.complete


def test_who_wants_nothing_more_is_finished() -> None:
    rig = Rig(pieces=2)
    peer = rig.peer((0, 1))
    arrange(rig, "00")
    assert rig.told == [True]
    assert rig.closed == [(peer, "nothing to trade")]
    assert rig.pool.in_use == 0
    arrange(rig, "00")
    arrange(rig, "00", sequential=True)
    assert rig.told == [True]


def test_a_choice_before_the_start_tells_nobody() -> None:
    rig = Rig(pieces=2, have=(0,))
    rig.torrent.stop(rig.now)
    arrange(rig, "10")
    assert rig.told == []
    assert rig.torrent.finished
    rig.torrent.start(rig.now)
    peer = rig.peer((1,))
    assert INTERESTED not in rig.kinds(peer)


def test_an_upload_only_peer_may_change_its_mind() -> None:
    rig = Rig(pieces=2, have=(0,))
    peer = rig.peer((1,))
    rig.torrent.set_upload_only(peer, True)
    assert peer.is_seed
    rig.torrent.set_upload_only(peer, False)
    assert not peer.is_seed
    assert rig.closed == []


# ---------------------------------------------------------------- what comes first


def test_the_urgent_first_then_in_order() -> None:
    rig = Rig(pieces=6)
    arrange(rig, "121132", sequential=True)
    peer = rig.peer()
    peer.proven = True
    while not rig.torrent.complete:
        assert rig.send(peer)
        for piece, *_ in rig.committed[len(rig.good) :]:
            rig.torrent.on_verdict(piece, True, rig.now)
    assert rig.good == [4, 1, 5, 0, 2, 3]


@pytest.mark.parametrize("sequential", [False, True])
def test_a_new_order_leaves_alone_what_is_under_way(sequential: bool) -> None:
    rig = Rig(pieces=4)
    peer = rig.peer()
    before = {fill.piece for fill in peer.wire.fills}
    arrange(rig, "1112", sequential=sequential)
    assert {fill.piece for fill in peer.wire.fills} >= before
    assert CANCEL not in rig.kinds(peer)


def test_seeds_that_were_left_wait_no_longer_than_before() -> None:
    """What `dials` gave once is not given twice."""
    rig = Rig(pieces=2)
    arrange(rig, "10")
    seed = rig.peer()
    rig.fetch(seed)
    arrange(rig, "11")
    assert rig.torrent.dials(rig.now, 5) == [seed.addr]
    arrange(rig, "10")
    arrange(rig, "11")
    assert rig.torrent.dials(rig.now + FIRST_RETRY, 5) == []
