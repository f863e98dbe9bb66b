"""Choosing files: before a download, during one, after it, and in the next run."""

from __future__ import annotations

import asyncio
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

import swarm
from swarm import Priority
from swarm.proto.fast import allowed_fast_set

PIECE = 32 << 10
A, B, EMPTY, C, D = range(5)  # the files of the sample
ROOT = Path(__file__).parents[2]
posix = pytest.mark.skipif(sys.platform == "win32", reason="SIGKILL")


def pieces_of(sample, *indices):
    files = [sample.meta.files[index] for index in indices]
    return {
        piece
        for file in files
        for piece in range(file.offset // PIECE, -(-(file.offset + file.length) // PIECE))
    }


def here(torrent):
    have = torrent._runner.have
    return {piece for piece in range(have.n) if have[piece]}


def right(sample, dest, index):
    file = sample.meta.files[index]
    wanted = sample.data[file.offset : file.offset + file.length]
    return dest.joinpath(*file.path).read_bytes() == wanted


async def done(torrent):
    async with asyncio.timeout(10):
        await torrent.wait_done()


# ---------------------------------------------------------------- before


async def test_only_what_is_selected_comes(lab, sample, tmp_path):
    seeder, _ = await lab.seed(sample)
    session = await lab.open()
    torrent = await session.add(
        sample.meta, dest=tmp_path, peers=[lab.addr(seeder)], select=["a", D]
    )
    assert torrent.priorities == (Priority.NORMAL, 0, 0, 0, Priority.NORMAL)
    await done(torrent)
    assert here(torrent) == pieces_of(sample, A, D)
    assert right(sample, tmp_path, A)
    assert right(sample, tmp_path, D)
    stats = torrent.stats
    assert (stats.state, stats.progress, stats.eta) == ("seeding", 1.0, None)
    assert stats.length == stats.done == 50_000 + 98_566
    assert stats.total_length == len(sample.data)
    assert stats.total_done == stats.downloaded == len(here(torrent)) * PIECE
    a, b, empty, c, d = torrent.file_progress()
    assert (a, b, empty, d) == (50_000, 10, 0, 98_566)
    assert 0 < c < 4 * PIECE, "what shares a piece with the others"


@pytest.mark.parametrize(
    ("what", "meant"),
    [
        ("*", [A, B, EMPTY, C, D]),
        ("t/dir/*", [B, EMPTY, C]),
        ("dir/", [B, EMPTY, C]),
        ("dir", [B, EMPTY, C]),
        ("t/dir/sub", [C]),
        ("dir/sub/c", [C]),
        ("c", [C]),
        ("[ab]", [A, B]),
        (C, [C]),
        (range(B, C), [B, EMPTY]),
        (lambda file: file.length > 90_000, [C, D]),
    ],
)
async def test_ways_to_name_files(lab, sample, tmp_path, what, meant):
    session = await lab.open()
    torrent = await session.add(sample.meta, dest=tmp_path, paused=True, select=[what])
    assert [i for i, priority in enumerate(torrent.priorities) if priority] == meant


async def test_a_name_with_the_signs_of_a_glob(lab, tmp_path):
    sample = lab.sample({"x [1].bin": 10, "x 1.bin": 10})
    session = await lab.open()
    torrent = await session.add(sample.meta, dest=tmp_path, paused=True, select=["x [1].bin"])
    assert torrent.priorities == (Priority.NORMAL, Priority.NORMAL)
    await torrent.select("t/x [[]1].bin")
    assert torrent.priorities == (Priority.NORMAL, Priority.SKIP)


@pytest.mark.parametrize(
    "what", [5, -1, range(4, 6), range(2, 2), "nothing", "DIR/*", "", lambda file: False]
)
async def test_unknown_files(lab, sample, tmp_path, what):
    session = await lab.open()
    for given in ({"select": [A, what]}, {"priorities": {what: Priority.HIGH}}):
        with pytest.raises(swarm.UnknownFile) as caught:
            await session.add(sample.meta, dest=tmp_path, **given)
        assert caught.value.what == what
        assert isinstance(caught.value, LookupError)
    assert not session.torrents
    torrent = await session.add(sample.meta, dest=tmp_path, paused=True)
    for change in (torrent.select(A, what), torrent.set_priorities({A: 0, what: 0})):
        with pytest.raises(swarm.UnknownFile):
            await change
    assert set(torrent.priorities) == {Priority.NORMAL}


@pytest.mark.parametrize(
    "given",
    [
        {"select": "a"},
        {"select": 1},
        {"select": [1.5]},
        {"select": [None]},
        {"priorities": [A]},
        {"priorities": {None: 1}},
        {"peers": ["1.2.3.4:5"]},
        {"peers": [("1.2.3.4",)]},
        {"peers": [("1.2.3.4", 70_000)]},
        {"peers": [("localhost", 6881)]},
        {"trackers": "http://a/announce"},
        {"trackers": ["a"]},
    ],
)
async def test_slips_of_the_pen_are_told(lab, sample, tmp_path, given):
    session = await lab.open()
    with pytest.raises(swarm.ConfigError, match=r"needed|not"):
        await session.add(sample.meta, dest=tmp_path, **given)
    assert not session.torrents


async def test_an_address_is_shown_as_people_write_it(lab, sample, tmp_path):
    session = await lab.open()
    with pytest.raises(swarm.ConfigError, match=r"can be: 224\.0\.0\.1:5 \("):
        await session.add(sample.meta, dest=tmp_path, peers=[swarm.PeerAddr("224.0.0.1", 5)])


async def test_what_is_no_priority(lab, sample, tmp_path):
    session = await lab.open()
    with pytest.raises(swarm.ConfigError):
        await session.add(sample.meta, dest=tmp_path, priorities={A: 4})


async def test_the_urgent_come_first_and_in_order(lab, sample, tmp_path):
    seeder, _ = await lab.seed(sample)
    session = await lab.open(memory=2 * PIECE)
    async with session.events(swarm.PieceVerified) as verified:
        torrent = await session.add(
            sample.meta,
            dest=tmp_path,
            peers=[lab.addr(seeder)],
            priorities={"*": Priority.LOW, D: Priority.HIGH, A: Priority.SKIP},
            sequential=True,
        )
        assert torrent.sequential
        await done(torrent)
        order = [(await anext(verified)).piece for _ in here(torrent)]
    # What a seed gives even to those it chokes (BEP 6) may come before all else.
    early = allowed_fast_set(sample.meta.infohash.v1, "127.0.0.1", sample.meta.piece_count)
    order = [piece for piece in order if piece not in early]
    urgent = pieces_of(sample, D).difference(early)
    assert set(order[: len(urgent)]) == urgent
    rest = order[len(urgent) :]
    assert len(rest) > 10
    places = sorted(set(rest) - pieces_of(sample, A, B))
    moved = [abs(places.index(piece) - at) for at, piece in enumerate(rest) if piece in places]
    assert max(moved[1:]) <= 3, "only what is under way at the same time comes out of order"


# ---------------------------------------------------------------- during


async def test_another_choice_in_mid_download(lab, sample, tmp_path):
    seeder, _ = await lab.seed(sample)
    gate = await lab.gate(seeder, 300_000)
    session = await lab.open()
    torrent = await session.add(sample.meta, dest=tmp_path, peers=[gate.addr], select=[C])
    await lab.until(lambda: torrent.stats.done > 100_000)
    await torrent.select(A)
    had = here(torrent) | set(torrent._runner.engine._flight.judged)
    gate.let(1e9)
    await done(torrent)
    assert here(torrent) <= had | pieces_of(sample, A), "nothing was begun that is not wanted"
    assert torrent.stats.length == 50_000
    assert right(sample, tmp_path, A)


async def test_nothing_more_is_wanted(lab, sample, tmp_path):
    """Whoever waits is told, though no piece came."""
    seeder, _ = await lab.seed(sample)
    gate = await lab.gate(seeder, 300_000)
    session = await lab.open()
    torrent = await session.add(sample.meta, dest=tmp_path, peers=[gate.addr])
    await lab.until(lambda: torrent.stats.done > 100_000)
    waiting = asyncio.ensure_future(torrent.wait_done())
    await torrent.set_priorities({"*": Priority.SKIP})
    async with asyncio.timeout(5):
        await waiting
    stats = torrent.stats
    assert (stats.state, stats.length, stats.progress) == ("seeding", 0, 1.0)


async def test_from_done_back_to_downloading(lab, sample, tmp_path):
    seeder, _ = await lab.seed(sample)
    session = await lab.open()
    async with session.events(swarm.TorrentDone) as events:
        torrent = await session.add(
            sample.meta, dest=tmp_path, peers=[lab.addr(seeder)], select=[A]
        )
        await done(torrent)
        await lab.until(lambda: not torrent.peers)  # two that only upload part
        fetched = torrent.stats.downloaded
        change = asyncio.ensure_future(torrent.set_priorities({"dir/": Priority.HIGH}))
        await asyncio.sleep(0)
        assert torrent.stats.state == "downloading", "at once, whatever the disk has to do"
        await change
        await done(torrent)
        assert torrent.stats.state == "seeding"
        await torrent.select("*")
        assert torrent.priorities == (2, 3, 3, 3, 2), "what was wanted keeps its priority"
        await done(torrent)
        async with asyncio.timeout(5):
            assert [(await anext(events)).torrent for _ in range(3)] == [torrent] * 3
    assert sample.on_disk(tmp_path) == sample.data
    assert torrent.stats.downloaded == len(sample.data) > fetched


async def test_two_that_chose_differently_have_it_all_between_them(lab, sample, tmp_path):
    """Each is a partial seed when it is done, and gives what it has."""
    seeder, _ = await lab.seed(sample)
    one, two, three = [await lab.open() for _ in range(3)]
    a = await one.add(
        sample.meta, dest=tmp_path / "one", peers=[lab.addr(seeder)], select=[A, B, EMPTY]
    )
    b = await two.add(sample.meta, dest=tmp_path / "two", peers=[lab.addr(seeder)], select=[C, D])
    await done(a)
    await done(b)
    await seeder.aclose()
    peers = [lab.addr(one), lab.addr(two)]
    c = await three.add(sample.meta, dest=tmp_path / "three", peers=peers)
    await done(c)
    assert sample.on_disk(tmp_path / "three") == sample.data
    assert c.stats.total_done == len(sample.data)
    assert a.stats.uploaded > 0
    assert b.stats.uploaded > 0


# ---------------------------------------------------------------- on the disk


def on_disk(folder):
    return {str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()}


async def test_what_is_not_wanted_leaves_no_litter(lab, sample, tmp_path):
    """What it shares with others is kept elsewhere, until it is wanted or wanted no more."""
    seeder, _ = await lab.seed(sample)
    dest = tmp_path / "to"
    async with lab.session("same") as session:
        torrent = await session.add(sample.meta, dest=dest, peers=[lab.addr(seeder)], select=[A, D])
        await done(torrent)
        assert on_disk(dest) == {"t/a", "t/d"}
        first = torrent.stats.downloaded
    async with lab.session("same") as session:
        torrent = await session.add(sample.meta, dest=dest, peers=[lab.addr(seeder)])
        await done(torrent)
        assert torrent.stats.downloaded == 0, "not even the pieces that others have a part in"
        await torrent.select("*")
        await done(torrent)
        assert torrent.stats.downloaded == len(sample.data) - first
    assert on_disk(dest) == {"/".join(file.path) for file in sample.meta.files}
    assert sample.on_disk(dest) == sample.data
    assert not list((tmp_path / "state/same").rglob("*.aside"))


async def test_a_partial_seed_gives_what_it_keeps_aside(lab, sample, tmp_path):
    seeder, _ = await lab.seed(sample)
    one, two = await lab.open(), await lab.open()
    partial = await one.add(
        sample.meta, dest=tmp_path / "one", peers=[lab.addr(seeder)], select=[A]
    )
    await done(partial)
    await seeder.aclose()
    other = await two.add(sample.meta, dest=tmp_path / "two", peers=[lab.addr(one)], select=[B])
    await done(other)
    assert on_disk(tmp_path / "one") == {"t/a"}
    assert on_disk(tmp_path / "two") == {"t/dir/b"}
    assert right(sample, tmp_path / "two", B)


async def test_giving_up_the_wait_does_not_call_off_a_choice(lab, sample, tmp_path):
    seeder, _ = await lab.seed(sample)
    dest = tmp_path / "to"
    async with lab.session("same") as session:
        torrent = await session.add(sample.meta, dest=dest, peers=[lab.addr(seeder)], select=[A])
        await done(torrent)
        for turns in range(6):
            change = asyncio.ensure_future(torrent.select(B if turns % 2 else D))
            for _ in range(turns):
                await asyncio.sleep(0)
            change.cancel()
            with pytest.raises(asyncio.CancelledError):
                await change
        await done(torrent)
        assert torrent.priorities == (0, 2, 0, 0, 0)
        await lab.until(lambda: "t/dir/b" in on_disk(dest))
        assert right(sample, dest, B)
    session = await lab.open("same")
    torrent = await session.add(sample.meta, dest=dest, paused=True)
    assert torrent.priorities == (0, 2, 0, 0, 0)


# ---------------------------------------------------------------- the next run


async def test_the_choice_is_remembered(lab, sample, tmp_path):
    seeder, _ = await lab.seed(sample)
    async with lab.session("same") as session:
        first = await session.add(
            sample.meta,
            dest=tmp_path,
            peers=[lab.addr(seeder)],
            select=[A, D],
            priorities={D: Priority.HIGH},
            sequential=True,
        )
        await done(first)
    async with lab.session("same") as session:
        torrent = await session.add(sample.meta, dest=tmp_path, peers=[lab.addr(seeder)])
        assert torrent.priorities == (2, 0, 0, 0, 3)
        assert torrent.sequential
        await done(torrent)
        assert torrent.stats.downloaded == 0
        await torrent.set_sequential(False)
    async with lab.session("same") as session:
        torrent = await session.add(
            sample.meta, dest=tmp_path, peers=[lab.addr(seeder)], select=["*"]
        )
        assert torrent.priorities == (2, 2, 2, 2, 3)
        assert not torrent.sequential
        await done(torrent)
    assert sample.on_disk(tmp_path) == sample.data
    other = await lab.open()
    elsewhere = await other.add(sample.meta, dest=tmp_path / "elsewhere", paused=True)
    assert set(elsewhere.priorities) == {Priority.NORMAL}


async def test_a_choice_is_remembered_though_it_is_stopped_at_once(lab, sample, tmp_path):
    async with lab.session("same") as session:
        await session.add(sample.meta, dest=tmp_path, select=[B])
    session = await lab.open("same")
    torrent = await session.add(sample.meta, dest=tmp_path, paused=True)
    assert torrent.priorities == (0, 2, 0, 0, 0)


async def test_a_choice_while_it_is_paused_is_remembered(lab, sample, tmp_path):
    async with lab.session("same") as session:
        torrent = await session.add(sample.meta, dest=tmp_path, paused=True, select=[B])
    async with lab.session("same") as session:
        torrent = await session.add(sample.meta, dest=tmp_path, paused=True)
        assert torrent.priorities == (0, 2, 0, 0, 0)
        await torrent.select(C)
        await torrent.set_sequential()
    async with lab.session("same") as session:
        torrent = await session.add(sample.meta, dest=tmp_path, paused=True)
        assert torrent.priorities == (0, 0, 0, 2, 0)
        assert torrent.sequential
        await torrent.remove()
    async with lab.session("same") as session:
        torrent = await session.add(sample.meta, dest=tmp_path, paused=True)
        assert set(torrent.priorities) == {Priority.NORMAL}, "a removed torrent is forgotten"
        await torrent.remove()
        with pytest.raises(swarm.TorrentRemoved):
            await torrent.select(A)


async def test_a_choice_survives_a_full_check(lab, sample, tmp_path):
    async with lab.session("same") as session:
        torrent = await session.add(
            sample.meta, dest=sample.write(tmp_path), select=[A], verify=True
        )
        await done(torrent)
        await torrent.verify()
        await done(torrent)
        assert torrent.stats.total_done == len(sample.data)
    session = await lab.open("same")
    torrent = await session.add(sample.meta, dest=tmp_path, paused=True)
    assert torrent.priorities == (2, 0, 0, 0, 0)


async def test_a_choice_that_cannot_be_remembered(lab, sample, tmp_path):
    session = await lab.open("one")
    torrent = await session.add(sample.meta, dest=tmp_path, paused=True)
    (tmp_path / "state").mkdir(exist_ok=True)
    (tmp_path / "state/one").write_bytes(b"a file, not a folder")
    with pytest.raises(swarm.StorageError):
        await torrent.select(A)
    assert torrent.priorities == (2, 0, 0, 0, 0), "it holds for this run"


@posix
async def test_a_choice_survives_a_kill(lab, sample, tmp_path):
    """As soon as `select` has returned, whatever else was claimed until then."""
    torrent_file = tmp_path / "t.torrent"
    torrent_file.write_bytes(sample.meta.to_bytes())
    code = """
        import asyncio, os, signal, sys, swarm
        async def main():
            session = swarm.Session(listen="127.0.0.1:0", state_dir=sys.argv[2])
            async with session:
                torrent = await session.add(sys.argv[1], dest=sys.argv[3], select=["a"])
                while torrent.stats.state == "checking":
                    await asyncio.sleep(0.001)
                await torrent.set_priorities({"d": 3, "a": 0})
                os.kill(os.getpid(), signal.SIGKILL)
        asyncio.run(main())
    """
    args = [str(torrent_file), str(tmp_path / "state/same"), str(tmp_path / "to")]
    run = [sys.executable, "-c", textwrap.dedent(code), *args]
    ended = await asyncio.to_thread(subprocess.run, run, cwd=ROOT, check=False)
    assert ended.returncode == -9
    seeder, _ = await lab.seed(sample)
    session = await lab.open("same")
    torrent = await session.add(sample.meta, dest=tmp_path / "to", peers=[lab.addr(seeder)])
    assert torrent.priorities == (0, 0, 0, 0, 3)
    await done(torrent)
    assert here(torrent) == pieces_of(sample, D)
