"""One torrent among peers: what it says to whom, and what it asks of its owner."""

from __future__ import annotations

import pytest
from rig import (
    CANCEL,
    CHOKE,
    HAVE,
    INTERESTED,
    PIECE,
    REJECT,
    REQUEST,
    UNCHOKE,
    UNINTERESTED,
    Rig,
    message,
    number,
)

from swarm._bits import Rarity
from swarm._fill import BLOCK_SIZE
from swarm._wire import NOISE_LIMIT
from swarm.engine.peer import Peer
from swarm.engine.torrent import HAVE_DELAY
from swarm.proto.tracker import TrackerReply
from swarm.settings import Settings

# ---------------------------------------------------------------- a download


def test_a_whole_download() -> None:
    rig = Rig()
    peer = rig.peer()
    while not rig.torrent.complete:
        rig.send(peer)
        for piece, *_ in rig.committed[len(rig.good) :]:
            rig.torrent.on_verdict(piece, True, rig.now)
    assert sorted(rig.good) == list(range(8))
    assert rig.told == [True]
    assert rig.torrent.complete
    assert rig.torrent.totals() == (8 * PIECE, 0, 0)
    assert rig.pool.in_use == 0


def test_nothing_is_asked_of_a_peer_that_chokes() -> None:
    rig = Rig()
    peer = rig.peer(unchokes=False)
    assert rig.kinds(peer) == [INTERESTED]
    rig.tell(peer, message(UNCHOKE))
    assert REQUEST in rig.kinds(peer)


def test_a_choke_gives_the_pieces_to_others() -> None:
    rig = Rig(pieces=1)
    first = rig.peer()
    rig.send(first, 2)
    rig.tell(first, message(CHOKE))
    assert rig.torrent.picker.exhausted
    second = rig.peer()
    assert rig.send(second) == 2, "what the first has sent is not asked again"
    assert rig.committed == [(0, 0, PIECE, True)]


# ---------------------------------------------------------------- interest


def test_interest_comes_with_what_we_lack_and_goes_without() -> None:
    rig = Rig(have=(0,))
    peer = rig.peer((0,))
    assert INTERESTED not in rig.kinds(peer)
    rig.tell(peer, message(HAVE, number(3)))
    assert rig.kinds(peer)[0] == INTERESTED
    other = rig.peer((3,), unchokes=False)
    rig.tell(peer, message(CHOKE))
    rig.tell(other, message(UNCHOKE))
    assert rig.fetch(other) == 3
    rig.wait(1.0)
    assert UNINTERESTED in rig.kinds(peer)


def test_nobody_interests_us_when_we_are_done() -> None:
    rig = Rig(pieces=2, have=(0,))
    peer = rig.peer((1,))
    rig.fetch(peer)
    assert UNINTERESTED in rig.kinds(peer)


# ---------------------------------------------------------------- haves


def test_haves_wait_for_company() -> None:
    rig = Rig()
    giver, other = rig.peer(), rig.peer(())
    rig.listen(other)
    rig.dirty.clear()
    first = rig.fetch(giver)
    rig.now += HAVE_DELAY / 2
    second = rig.fetch(giver)
    rig.torrent.tick(rig.now)
    assert other.wire not in rig.dirty
    rig.wait(HAVE_DELAY)
    assert other.wire in rig.dirty
    assert rig.listen(other) == [(HAVE, first), (HAVE, second)]


def test_no_have_for_what_the_peer_has() -> None:
    rig = Rig()
    peer = rig.peer()
    rig.fetch(peer)
    rig.wait(1.0)
    assert HAVE not in rig.kinds(peer)


# ---------------------------------------------------------------- time-outs


def test_keep_alives_are_sent_in_time() -> None:
    rig = Rig(pieces=1, have=(0,))
    peer = rig.peer(())
    rig.listen(peer)
    rig.wait(rig.settings.keepalive_interval - 2)
    assert -1 not in rig.kinds(peer)
    rig.wait(4)
    assert -1 in rig.kinds(peer)


def test_silence_ends_a_connection() -> None:
    rig = Rig(pieces=1, have=(0,))
    quiet, alive = rig.peer(()), rig.peer(())
    for _ in range(5):
        rig.wait(50)
        rig.tell(alive, bytes(4))
    assert [(peer, reason) for peer, reason in rig.closed] == [(quiet, "silent for too long")]


def test_pw11_a_flood_of_empty_messages_ends_a_connection() -> None:
    rig = Rig()
    flood, calm = rig.peer(), rig.peer()
    rig.wait(1.5)
    rig.tell(flood, bytes(4) * (NOISE_LIMIT + 1))
    rig.tell(calm, bytes(4) * (NOISE_LIMIT // 2))
    rig.wait(1.0)
    assert [peer for peer, _ in rig.closed] == [flood]


def test_pw31_interest_that_flaps_costs_no_choke_round_each() -> None:
    rig = Rig(have=(0,))
    peer = rig.peer(())
    rig.listen(peer)
    for _ in range(500):
        rig.tell(peer, message(INTERESTED) + message(UNINTERESTED) + message(INTERESTED))
        rig.wait(0.001)
    assert rig.kinds(peer).count(UNCHOKE) <= 2


def test_pw27_a_snubbed_peer_gets_one_block_until_it_sends() -> None:
    rig = Rig(pieces=32)
    peer = rig.peer()
    rig.listen(peer)
    rig.wait(rig.settings.snub_timeout + 2)
    assert peer.snubbed
    assert peer.wire.outstanding == 1
    assert CANCEL in rig.kinds(peer)
    (fill,) = peer.wire.fills
    body = number(fill.piece) + number(0) + bytes(BLOCK_SIZE)
    rig.tell(peer, message(7, body))
    rig.wait(1.0)
    assert not peer.snubbed
    assert peer.wire.outstanding > 1


def test_a_peer_that_rejected_is_asked_again_soon() -> None:
    rig = Rig(pieces=2)
    peer = rig.peer(fast=True)
    for kind, at in rig.listen(peer):
        if kind == REQUEST:
            asked = number(at // PIECE) + number(at % PIECE) + number(BLOCK_SIZE)
            rig.tell(peer, message(REJECT, asked))
    assert peer.wire.held
    assert peer.wire.outstanding == 0
    rig.wait(1.0)
    assert peer.wire.outstanding == 8


# ---------------------------------------------------------------- choking


def test_a_free_slot_is_given_at_once() -> None:
    rig = Rig(have=(0,))
    peer = rig.peer(())
    rig.wait(2.0)
    rig.listen(peer)
    rig.tell(peer, message(INTERESTED))
    rig.torrent.tick(rig.now)
    assert UNCHOKE in rig.kinds(peer)


def test_a_slot_of_one_who_left_is_given_on() -> None:
    rig = Rig(have=(0,), settings=Settings(upload_slots=1))
    first, second = rig.peer(()), rig.peer(())
    rig.tell(first, message(INTERESTED))
    rig.wait(1.0)
    rig.tell(second, message(INTERESTED))
    rig.wait(1.0)
    assert not first.wire.am_choking
    assert second.wire.am_choking
    rig.torrent.leave(first, rig.now)
    rig.wait(1.5)
    assert not second.wire.am_choking


def test_requests_are_handed_to_the_owner() -> None:
    rig = Rig(have=(0,))
    peer = rig.peer(())
    rig.tell(peer, message(INTERESTED))
    rig.wait(1.0)
    rig.tell(peer, message(REQUEST, number(0) + number(0) + number(BLOCK_SIZE)))
    assert rig.served == [peer]


# ---------------------------------------------------------------- bad pieces


def test_pw23_two_bad_pieces_of_its_own_ban_a_peer() -> None:
    rig = Rig(pieces=16)
    liar, honest = rig.peer(), rig.peer()
    rig.fetch(liar, good=False)
    assert not rig.closed
    (_, second) = rig.committed  # no third before the verdicts on these
    rig.torrent.on_verdict(second[0], False, rig.now)
    assert rig.closed == [(liar, "bad pieces")]
    assert [suspects for _, suspects in rig.bad] == [[liar], [liar]]
    assert rig.torrent.candidates.is_banned(liar.addr[0])
    assert not rig.torrent.candidates.is_banned(honest.addr[0])
    assert rig.fetch(honest) in range(16)


def shared_piece(rig: Rig) -> tuple[Peer, Peer]:
    """Two peers who have sent a part each of piece 0, which turns out bad."""
    first = rig.peer((0,))
    rig.send(first, 2)
    rig.tell(first, message(CHOKE))
    second = rig.peer((0,))
    assert rig.send(second) == 2
    rig.torrent.on_verdict(0, False, rig.now)
    return first, second


def test_a_bad_piece_of_two_puts_both_on_parole() -> None:
    rig = Rig()
    first, second = shared_piece(rig)
    assert first.parole
    assert second.parole
    assert not rig.closed
    rig.fetch(second)
    assert not second.parole, "it has sent a good piece alone"
    assert first.parole


def test_a_peer_on_parole_is_banned_at_its_first_own_bad_piece() -> None:
    rig = Rig()
    _, second = shared_piece(rig)
    rig.fetch(second, good=False)
    assert [peer for peer, _ in rig.closed] == [second]


def test_nobody_helps_a_peer_on_parole() -> None:
    rig = Rig()
    _, second = shared_piece(rig)
    rig.listen(second)
    helper = rig.peer((0,))
    assert REQUEST not in rig.kinds(helper)


# ---------------------------------------------------------------- seeds


def test_two_seeds_part() -> None:
    rig = Rig(pieces=1, have=(0,))
    seed = rig.peer()
    assert rig.closed == [(seed, "nothing to trade")]


def test_a_seed_is_left_when_we_are_done() -> None:
    rig = Rig(pieces=1)
    seed, leecher = rig.peer(), rig.peer(())
    rig.fetch(seed)
    assert rig.closed == [(seed, "nothing to trade")]
    assert list(rig.torrent.peers.values()) == [leecher]
    assert rig.torrent.dials(rig.now + 4, 10) == [], "not at once again"


def test_upload_only_counts_as_a_seed() -> None:
    rig = Rig(pieces=1, have=(0,))
    peer = rig.peer(())
    rig.torrent.set_upload_only(peer, True)
    assert rig.closed == [(peer, "nothing to trade")]


# ---------------------------------------------------------------- whom to ask


def test_the_trackers_peers_are_dialled() -> None:
    rig = Rig()
    (announce,) = rig.torrent.announces(rig.now)
    assert announce.event == "started"
    peers = (("10.1.0.1", 1), ("10.1.0.2", 2), ("10.1.0.3", 3))
    rig.torrent.on_tracker_reply(announce.url, TrackerReply(peers=peers), rig.now)
    first = rig.torrent.dials(rig.now, 2)
    rest = rig.torrent.dials(rig.now, 10)
    assert len(first) == 2
    assert sorted(first + rest) == list(peers)


def test_no_dial_beyond_the_room() -> None:
    rig = Rig(settings=Settings(max_peers_per_torrent=2))
    rig.peer()
    rig.torrent.candidates.add([("10.1.0.1", 1), ("10.1.0.2", 2)], "tracker", rig.now)
    assert len(rig.torrent.dials(rig.now, 50)) == 1
    rig.torrent.stop(rig.now)
    assert rig.torrent.dials(rig.now, 50) == []


def test_a_download_without_peers_asks_early() -> None:
    rig = Rig()
    (announce,) = rig.torrent.announces(rig.now)
    rig.torrent.on_tracker_reply(announce.url, TrackerReply(min_interval=120), rig.now)
    assert rig.torrent.announces(rig.now + 119) == []
    assert [a.event for a in rig.torrent.announces(rig.now + 120)] == [""]


def test_a_download_with_peers_asks_when_it_is_told_to() -> None:
    rig = Rig()
    (announce,) = rig.torrent.announces(rig.now)
    peers = tuple((f"10.0.0.{i}", 1) for i in range(1, 9))
    reply = TrackerReply(interval=1800, min_interval=120, peers=peers)
    rig.torrent.on_tracker_reply(announce.url, reply, rig.now)
    assert rig.torrent.announces(rig.now + 120) == []
    assert len(rig.torrent.announces(rig.now + 1800)) == 1


def test_a_tracker_that_fails_is_asked_again() -> None:
    rig = Rig()
    (announce,) = rig.torrent.announces(rig.now)
    rig.torrent.on_tracker_error(announce.url, None, "no answer", rig.now)
    assert rig.torrent.announces(rig.now) == []
    assert rig.torrent.announces(rig.now + 60) == [announce]


OURS = bytes(19) + b"\x05"


def refusal(rig: Rig, peer_id: bytes, *, outgoing: bool, host: str = "10.2.0.1") -> str | None:
    return rig.torrent.refusal(peer_id, (host, 7), outgoing=outgoing, our_id=OURS)


def test_pw05_ourselves_are_never_dialled_again() -> None:
    rig = Rig()
    rig.torrent.candidates.add([("10.2.0.1", 7)], "tracker", rig.now)
    assert refusal(rig, OURS, outgoing=True) == "connected to ourselves"
    assert rig.torrent.dials(rig.now, 5) == []


@pytest.mark.parametrize("outgoing", [True, False])
@pytest.mark.parametrize("theirs", [1, 9])
def test_of_two_connections_both_ends_keep_the_same(outgoing: bool, theirs: int) -> None:
    """That which the larger id has opened, whichever came first."""
    rig = Rig()
    twin = rig.peer(outgoing=outgoing)
    twin.peer_id = theirs.to_bytes(20, "big")
    kept = refusal(rig, twin.peer_id, outgoing=not outgoing) is not None
    assert kept == (outgoing == (twin.peer_id < OURS))
    assert [peer for peer, _ in rig.closed] == ([] if kept else [twin])


def test_pw06_a_second_connection_the_same_way_is_refused() -> None:
    rig = Rig()
    peer = rig.peer()
    assert refusal(rig, peer.peer_id, outgoing=True) == "connected twice"
    assert rig.closed == []


def test_pw25_a_banned_host_stays_out() -> None:
    rig = Rig()
    rig.torrent.candidates.ban("10.2.0.1")
    assert refusal(rig, bytes(20), outgoing=False) == "banned"
    assert refusal(rig, bytes(20), outgoing=False, host="10.2.0.2") is None


def test_enough_is_enough() -> None:
    rig = Rig(settings=Settings(max_peers_per_torrent=1))
    rig.peer()
    assert refusal(rig, bytes(20), outgoing=False) == "enough peers"


# ---------------------------------------------------------------- the end


def test_stop_closes_everything_and_says_goodbye() -> None:
    rig = Rig()
    (announce,) = rig.torrent.announces(rig.now)
    rig.torrent.on_tracker_reply(announce.url, TrackerReply(), rig.now)
    peer = rig.peer()
    rig.fetch(peer)
    rig.torrent.stop(rig.now)
    assert rig.closed == [(peer, "stopped")]
    assert [a.event for a in rig.torrent.announces(rig.now)] == ["stopped"]
    assert rig.torrent.totals()[0] >= PIECE
    assert rig.torrent.deadline() == float("inf")
    assert rig.pool.in_use == 0


def test_a_verdict_after_the_stop_still_counts() -> None:
    rig = Rig()
    peer = rig.peer()
    rig.send(peer)
    (piece, *_), *_ = rig.committed
    rig.torrent.stop(rig.now)
    rig.torrent.on_verdict(piece, True, rig.now)
    assert rig.bits[piece]


def test_a_verdict_on_a_piece_that_was_given_up_is_no_news() -> None:
    rig = Rig()
    rig.torrent.on_verdict(3, True, rig.now)
    assert rig.good == []
    assert not rig.bits[3]


@pytest.mark.parametrize("pieces", [1, 8])
def test_who_leaves_takes_its_availability_along(pieces: int) -> None:
    rig = Rig(pieces=pieces)
    peer = rig.peer()
    rarity: Rarity = rig.torrent.picker.rarity
    assert rarity.availability(0) == 1
    rig.torrent.leave(peer, rig.now)
    rig.torrent.leave(peer, rig.now)
    assert rarity.availability(0) == 0
    assert not rig.torrent.picker.exhausted
