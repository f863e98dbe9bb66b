"""Whole clients measured: real transfers between real processes, in namespaces and on loopback."""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

import swarm
from swarm.bench import network, transfer
from swarm.bench.clients import Client, Libtorrent, Pair, Swarm, SwarmOnAsyncio
from swarm.bench.round import MIB, Failure, Progress, Round
from swarm.bench.run import measure
from swarm.bench.work import Where, Work

pytestmark = pytest.mark.timeout(120)
SIZE = 3 * MIB + 1
PIECE = 256 * 1024


@pytest.fixture(params=["namespaces", "loopback"])
def where(request: pytest.FixtureRequest, require: Callable[[str | None], None]) -> Where:
    found: Where = request.param
    if found == "namespaces":
        require(network.missing())
    return found


def work(where: Where = "loopback", **options: object) -> Work:
    return Work(**{"where": where, "size": SIZE, "piece_length": PIECE} | options)


def run(work: Work, *clients: type[Client], folder: Path, rounds: int = 1) -> list[Round | Failure]:
    before = children()
    found = list(measure(work, clients, rounds, folder=folder))
    assert not list(folder.iterdir())
    assert children() == before
    return found


def one(work: Work, client: type[Client], folder: Path) -> Round:
    (found,) = run(work, client, folder=folder)
    assert isinstance(found, Round), found
    return found


def children() -> list[int]:
    """The processes that this one has started and not ended."""
    parents = {}
    for path in Path("/proc").glob("[0-9]*/stat"):
        try:
            parents[int(path.parent.name)] = int(path.read_text().rpartition(")")[2].split()[1])
        except OSError:
            continue  # it has just left
    return [pid for pid, parent in parents.items() if parent == os.getpid()]


class Talkative(Swarm):
    """One that says why and leaves."""

    name = "talkative"

    def command(self, role: str, torrent: Path) -> list[str]:
        if role == "seed":
            return super().command(role, torrent)
        return [sys.executable, "-c", "print('I do not feel like it'); raise SystemExit(3)"]


class Absent(Swarm):
    """One that is not installed."""

    name = "absent"

    @classmethod
    def missing(cls) -> str | None:
        return "absent is missing: there is no way to have it"


class Silent(Swarm):
    """One that never says a word to the tracker."""

    name = "silent"

    def command(self, role: str, torrent: Path) -> list[str]:
        return [sys.executable, "-c", "import signal; signal.pause()"]


class Careless(Swarm):
    """One that spoils a byte of what it has fetched."""

    name = "careless"

    def stop(self) -> int:
        code = super().stop()
        for path in self.folder.glob("data/payload"):
            with open(path, "r+b") as file:
                file.seek(SIZE // 2)
                byte = file.read(1)[0]
                file.seek(SIZE // 2)
                file.write(bytes([byte ^ 1]))
        return code


class CommandLine(Swarm):
    """swarm by its command line, which exits when it has everything."""

    name = "command line"
    done = "exit"

    def command(self, role: str, torrent: Path) -> list[str]:
        if role == "seed":
            return super().command(role, torrent)
        state, at = self.folder / "state", f"{self.host.address}:{self.port}"
        return [
            sys.executable, "-m", "swarm", "download", "--output", str(self.data), "--listen", at,
            "--state-dir", str(state), str(torrent),
        ]  # fmt: skip


def test_figures_of_a_round(where: Where, tmp_path: Path) -> None:
    done = one(work(where), Swarm, tmp_path)
    assert (done.client, done.number, done.size) == ("swarm", 1, SIZE)
    assert done.finished == (done.seconds,)
    assert done.rate == SIZE / done.seconds > 0
    for side in (done.leechers, done.seeders):
        assert 0 < side.start_cpu <= side.cpu
        assert side.peak_rss > 10 * MIB
    assert "drive_swarm.py leech TORRENT" in done.told.leecher
    assert '{"dht": false}' in done.told.leecher
    assert str(tmp_path) not in done.told.seeder + done.told.leecher


def test_clients_take_turns(tmp_path: Path) -> None:
    found = run(work(), Swarm, SwarmOnAsyncio, folder=tmp_path, rounds=2)
    turns = [(done.client, done.number) for done in found]
    assert turns == [("swarm", 1), ("swarm-asyncio", 1), ("swarm", 2), ("swarm-asyncio", 2)]


def test_several_on_each_side(where: Where, tmp_path: Path) -> None:
    done = one(work(where, seeders=2, leechers=3, files=7), Swarm, tmp_path)
    assert done.size == 3 * SIZE
    assert len(done.finished) == 3
    assert max(done.finished) == done.seconds


def test_without_a_mesh_only_seeders_give(where: Where, tmp_path: Path) -> None:
    gave: dict[str, int] = {}

    class Confiding(Swarm):
        """Its process prints its statistics as it leaves."""

        name = "confiding"

        def stop(self) -> int:
            code = super().stop()
            found = re.search(r"uploaded=(\d+)", self.running.tail())
            gave[self.folder.name] = int(found[1]) if found else -1
            return code

    one(work(where, leechers=3, mesh=False), Confiding, tmp_path)
    assert gave == {"seeder-0": 3 * SIZE, "leecher-0": 0, "leecher-1": 0, "leecher-2": 0}


@pytest.mark.parametrize("client", [Swarm, Libtorrent])
def test_several_in_one_process(
    client: type[Client], tmp_path: Path, require: Callable[[str | None], None]
) -> None:
    require(client.missing())
    done = one(work(seeders=5, leechers=2, pooled=True), client, tmp_path)
    assert len(done.finished) == 2
    assert done.told.seeder.count("=DATA") == 5


def test_over_a_slow_line(tmp_path: Path, require: Callable[[str | None], None]) -> None:
    require(network.missing())
    done = one(work("namespaces", size=MIB, delay=0.02), Swarm, tmp_path)
    assert done.seconds > 0.04


def test_exit_is_an_end_too(where: Where, tmp_path: Path) -> None:
    done = one(work(where), CommandLine, tmp_path)
    assert done.leechers.cpu > done.leechers.start_cpu > 0
    assert done.leechers.peak_rss > 10 * MIB


def test_a_pair_has_one_at_each_end(
    where: Where, tmp_path: Path, require: Callable[[str | None], None]
) -> None:
    require(Libtorrent.missing())
    pairs = [Pair(Swarm, Libtorrent), Pair(Libtorrent, CommandLine)]
    found = list(measure(work(where), pairs, 1, folder=tmp_path))
    assert all(isinstance(done, Round) for done in found), found
    assert [done.client for done in found] == ["swarm to libtorrent", "libtorrent to command line"]
    assert "drive_swarm.py seed" in found[0].told.seeder
    assert "drive_libtorrent.py leech" in found[0].told.leecher


def test_a_pair_lacks_what_either_lacks(tmp_path: Path) -> None:
    for pair in (Pair(Swarm, Absent), Pair(Absent, Swarm)):
        (found,) = list(measure(work(), [pair], 1, folder=tmp_path))
        assert isinstance(found, Failure)
        assert found.reason == Absent.missing()


def test_who_fails_is_reported_and_stops_nobody(tmp_path: Path) -> None:
    found = run(work(), Talkative, Swarm, Absent, folder=tmp_path, rounds=2)
    failures = [failure for failure in found if isinstance(failure, Failure)]
    assert [(f.client, f.number) for f in failures] == [("talkative", 1), ("absent", 1)]
    assert "exit code 3" in failures[0].reason
    assert "I do not feel like it" in failures[0].reason
    assert "raise SystemExit(3)" in failures[0].told.leecher
    assert failures[1].reason == Absent.missing()
    assert [done.number for done in found if done.client == "swarm"] == [1, 2]


def test_a_wrong_byte_is_a_failure(tmp_path: Path) -> None:
    (found,) = run(work(), Careless, folder=tmp_path)
    assert isinstance(found, Failure)
    assert "payload has other bytes" in found.reason


def test_who_does_nothing_runs_out_of_time(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(transfer, "START", 0.5)
    (found,) = run(work(), Silent, folder=tmp_path)
    assert isinstance(found, Failure)
    assert "does not seed" in found.reason
    assert "signal.pause()" in found.told.seeder
    assert found.told.leecher == ""


def test_progress_is_told(where: Where, tmp_path: Path) -> None:
    events: list[Progress] = []
    list(measure(work(where), [Swarm], 2, folder=tmp_path, on_event=events.append))
    phases = list(dict.fromkeys(event.phase for event in events))
    assert phases == ["making", "warming", "seeding", "leeching", "comparing"]
    assert {(event.client, event.number) for event in events} == {
        ("", 0),
        ("swarm", 1),
        ("swarm", 2),
    }
    assert all(0 <= event.received <= 1.5 * SIZE for event in events)  # of this round, not of both
    assert all(event.size == SIZE and event.seconds >= 0 for event in events)


@pytest.mark.parametrize("phase", ["warming", "seeding", "comparing"])
def test_an_interrupt_at_any_time_leaves_nothing_behind(tmp_path: Path, phase: str) -> None:
    interrupt(work(), phase, tmp_path)


def test_an_interrupt_of_a_transfer_leaves_nothing_behind(where: Where, tmp_path: Path) -> None:
    interrupt(work(where), "leeching", tmp_path)


def interrupt(work: Work, phase: str, folder: Path) -> None:
    def hear(progress: Progress) -> None:
        if progress.phase == phase:
            raise KeyboardInterrupt

    before = children(), namespaces()
    with pytest.raises(KeyboardInterrupt):
        next(measure(work, [Swarm], 1, folder=folder, on_event=hear))
    assert not list(folder.iterdir())
    assert (children(), namespaces()) == before


def namespaces() -> set[Path]:
    """Those of this process; other tests may have some as well."""
    return set(network.NAMESPACES.glob(f"swarm-{os.getpid()}-*"))


def test_bytes_that_came_are_counted(where: Where, tmp_path: Path) -> None:
    """Seen while the leechers are still there: each has got the payload, and not much more."""
    seen: list[int] = []

    class Counted(Swarm):
        name = "counted"

        def stop(self) -> int:
            if self.data.parent == self.folder:
                seen.append(self.received())
            return super().stop()

    run(work(where, size=8 * MIB), Counted, folder=tmp_path, rounds=2)
    assert len(seen) == 2
    assert all(8 * MIB <= received < 10 * MIB for received in seen), seen


def test_the_folder_must_be_one(tmp_path: Path) -> None:
    for folder in (tmp_path / "none", tmp_path / "file"):
        (tmp_path / "file").touch()
        with pytest.raises(swarm.ConfigError, match=f"nothing can be made in {folder}"):
            next(measure(work(), [Swarm], 1, folder=folder))


def test_the_disk_must_have_room(tmp_path: Path) -> None:
    rounds = measure(work(size=1 << 60, piece_length=1 << 28), [Swarm], 1, folder=tmp_path)
    with pytest.raises(swarm.ConfigError, match="bytes free"):
        next(rounds)


def test_who_cannot_do_it_says_so_at_once(tmp_path: Path) -> None:
    class Martian(Swarm):
        name = "martian"
        on_loopback = False
        pools = False

    (found,) = run(work(), Martian, folder=tmp_path)
    assert isinstance(found, Failure)
    assert "127.0.0.1" in found.reason
    (found,) = run(work(seeders=2, pooled=True), Martian, folder=tmp_path)
    assert isinstance(found, Failure)
    assert "in one process" in found.reason


def test_a_slow_line_has_its_time(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, require: Callable[[str | None], None]
) -> None:
    require(network.missing())
    monkeypatch.setattr(transfer, "START", 10.0)
    monkeypatch.setattr(transfer, "SLOWEST", 1 << 40)
    monkeypatch.setattr(transfer, "SLOWEST_ON_A_LINE", 1 << 40)
    done = one(work("namespaces", size=4 * MIB, rate=2e6), Swarm, tmp_path)
    assert done.rate < 4e6
