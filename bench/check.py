"""Creating and verifying a torrent of one file: swarm beside torf, mktorrent and libtorrent, in turns.

    python bench/check.py [--size 2GiB] [--piece 1MiB] [--rounds 5] [--cold] [--dir build/bench]
                          [--only NAME]... [--version v1] [--json FILE]

Each round of each is a process of its own, which takes the time of the work alone, without its start
(mktorrent's is all of it, a few milliseconds). CPU-seconds are of all its threads, user and system. The file is
in the page cache before each round, or with --cold nowhere but on the disk; `cached after` says how much of
it was in the page cache afterwards. All have to agree about every piece.
"""

from __future__ import annotations

import argparse
import asyncio
import ctypes
import hashlib
import json
import mmap
import os
import resource
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

sys.path.append(str(Path(__file__).parent))

from swarm.units import parse_size

MIB, GIB = 1 << 20, 1 << 30
THREADS = 2

Work = Callable[[], object]
"""Does the work, and returns what all have to agree about."""


def swarm_create(data: Path, torrent: Path, piece: int, version: str) -> Work:
    import swarm
    import swarm.make
    import swarm.tree  # what would be imported on the way is part of the start

    return lambda: asyncio.run(
        swarm.Metainfo.create(data, piece_length=piece, version=version)  # type: ignore[arg-type]
    )


def swarm_verify(data: Path, torrent: Path, piece: int, version: str) -> Work:
    import swarm
    import swarm.checking
    import swarm.store.disk

    meta = swarm.Metainfo.load(torrent)
    return lambda: asyncio.run(swarm.verify(meta, data.parent)).ok


def torf_create(data: Path, torrent: Path, piece: int, version: str) -> Work:
    import torf

    made = torf.Torrent(data, piece_size=piece)
    return lambda: made.generate(threads=THREADS) and made.metainfo["info"]["pieces"]


def torf_verify(data: Path, torrent: Path, piece: int, version: str) -> Work:
    import torf

    made = torf.Torrent.read(torrent)
    return lambda: made.verify(data, threads=THREADS)


def mktorrent_create(data: Path, torrent: Path, piece: int, version: str) -> Work:
    made = torrent.with_name("made")
    made.unlink(missing_ok=True)
    exponent = str(piece.bit_length() - 1)
    command = ["mktorrent", f"-t{THREADS}", "-l", exponent, "-o", str(made), str(data)]

    def work() -> object:
        import swarm

        subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
        return swarm.Metainfo.load(made)

    return work


def libtorrent_create(data: Path, torrent: Path, piece: int, version: str) -> Work:
    import libtorrent as lt

    import swarm

    files = lt.list_files(str(data))
    flags = {"v1": lt.create_torrent.v1_only, "v2": lt.create_torrent.v2_only, "hybrid": 0}
    made = lt.create_torrent(files, piece, flags[version])

    def work() -> object:
        lt.set_piece_hashes(made, str(data.parent))
        return swarm.Metainfo.parse(lt.bencode(made.generate()))

    return work


def libtorrent_verify(data: Path, torrent: Path, piece: int, version: str) -> Work:
    import libtorrent as lt
    from lab.drive_libtorrent import settings

    chosen = settings(True, "127.0.0.1", 0) | {"checking_mem_usage": 2048}
    session = lt.session(chosen)
    params = lt.add_torrent_params()
    params.ti = lt.torrent_info(str(torrent))
    params.save_path = str(data.parent)
    params.flags &= ~(lt.torrent_flags.auto_managed | lt.torrent_flags.paused)

    def work() -> bool:
        handle = session.add_torrent(params)
        checking = (lt.torrent_status.checking_files, lt.torrent_status.checking_resume_data)
        while (status := handle.status()).state in checking:
            session.wait_for_alert(5)
            session.pop_alerts()
        return bool(status.is_seeding)

    return work


RIVALS = {
    "create": {
        "swarm": swarm_create,
        "torf": torf_create,
        "mktorrent": mktorrent_create,
        "libtorrent": libtorrent_create,
    },
    "verify": {"swarm": swarm_verify, "torf": torf_verify, "libtorrent": libtorrent_verify},
}
V1_ONLY = {"torf", "mktorrent"}


def one(job: str, name: str, data: Path, torrent: Path, piece: int, version: str) -> None:
    """A round, in the process that is weighed."""
    work = RIVALS[job][name](data, torrent, piece, version)
    before = cpu()
    start = time.perf_counter()
    found = work()
    wall = time.perf_counter() - start
    spent = cpu() - before
    if not isinstance(found, (bool, bytes)):
        found = found.piece_hashes  # type: ignore[attr-defined]
    if isinstance(found, bytes):
        found = hashlib.sha1(found).hexdigest()
    print(json.dumps({"wall": wall, "cpu": spent, "found": found}), flush=True)
    os._exit(0)  # whoever was measured may take its time to leave


def cpu() -> float:
    kinds = (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)
    used = [resource.getrusage(kind) for kind in kinds]
    return sum(usage.ru_utime + usage.ru_stime for usage in used)


def cached(path: Path) -> float:
    """The part of the file that is in the page cache."""
    libc = ctypes.CDLL(None)
    with path.open("rb") as file, mmap.mmap(file.fileno(), 0, flags=mmap.MAP_PRIVATE) as view:
        pages = (ctypes.c_ubyte * -(-len(view) // mmap.PAGESIZE))()
        start = ctypes.addressof(ctypes.c_char.from_buffer(view))
        libc.mincore(ctypes.c_void_p(start), ctypes.c_size_t(len(view)), pages)
    return sum(page & 1 for page in bytes(pages)) / len(pages)


def prepare(path: Path, cold: bool) -> None:
    with path.open("rb", buffering=0) as file:
        if cold:
            os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
            return
        buffer = bytearray(MIB)
        while file.readinto(buffer):
            pass


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--size", type=parse_size, default=2 * GIB)
    parser.add_argument("--piece", type=parse_size, default=MIB)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--cold", action="store_true")
    parser.add_argument("--version", choices=["v1", "v2", "hybrid"], default="v1")
    parser.add_argument("--only", action="append")
    parser.add_argument("--dir", type=Path, default=Path("build/bench"))
    parser.add_argument("--json", type=Path)
    parser.add_argument("--one", nargs=2, help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.one:
        one(*args.one, args.dir / "data", args.dir / "torrent", args.piece, args.version)
    args.dir.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=args.dir) as folder:
        rounds = measure(args, Path(folder))
    report(args, rounds)
    if args.json:
        args.json.write_text(json.dumps(rounds, indent=1))


def measure(args: argparse.Namespace, folder: Path) -> dict[str, dict[str, list[dict[str, float]]]]:
    import swarm

    data = folder / "data"
    with data.open("wb") as file:
        for _ in range(args.size // MIB):
            file.write(os.urandom(MIB))
        file.flush()
        os.fsync(file.fileno())
    made = asyncio.run(swarm.Metainfo.create(data, piece_length=args.piece, version=args.version))
    (folder / "torrent").write_bytes(made.to_bytes())
    expected = {"create": hashlib.sha1(made.piece_hashes).hexdigest(), "verify": True}
    rounds: dict[str, dict[str, list[dict[str, float]]]] = {}
    for _ in range(args.rounds):
        for job, rivals in RIVALS.items():
            for name in rivals:
                missing = name == "mktorrent" and not shutil.which(name)
                other = args.version != "v1" and name in V1_ONLY
                if missing or other or (args.only and name not in args.only):
                    continue
                prepare(data, args.cold)
                command = [sys.executable, __file__, "--one", job, name, "--dir", str(folder)]
                command += ["--piece", str(args.piece), "--version", args.version]
                done = subprocess.run(command, check=True, stdout=subprocess.PIPE)
                found = json.loads(done.stdout)
                if found.pop("found") != expected[job]:
                    raise SystemExit(f"{name} {job}: does not agree")
                found["cached"] = cached(data)
                rounds.setdefault(job, {}).setdefault(name, []).append(found)
    return rounds


def report(args: argparse.Namespace, rounds: dict[str, dict[str, list[dict[str, float]]]]) -> None:
    for job, rivals in rounds.items():
        rates = {
            name: [args.size / MIB / found["wall"] for found in runs]
            for name, runs in rivals.items()
        }
        for name, runs in rivals.items():
            spent = statistics.median(found["cpu"] for found in runs) * GIB / args.size
            after = statistics.median(found["cached"] for found in runs)
            print(
                f"{job:7} {name:11} {statistics.median(rates[name]):7.0f} MiB/s"
                f" ({min(rates[name]):.0f}-{max(rates[name]):.0f}) {spent:6.3f} CPU-s/GiB,"
                f" cached after: {after:.0%}"
            )
        others = {name: statistics.median(r) for name, r in rates.items() if name != "swarm"}
        if others and "swarm" in rates:
            best = max(others, key=lambda name: others[name])
            ratios = [
                mine / theirs for mine, theirs in zip(rates["swarm"], rates[best], strict=True)
            ]
            print(f"{job:7} swarm is {statistics.median(ratios):.2f} times as fast as {best}")


if __name__ == "__main__":
    main()
