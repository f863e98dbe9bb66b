"""A folder of many small files: what making and checking a torrent of it costs, and where that goes.

    python bench/tree.py [--files 100000] [--dir build/bench] [--rounds 3] [--json FILE]

Whole processes, start-up included, one after the other in each round: `swarm create` of each version,
`swarm verify`, and mktorrent, torf and libtorrent where there are any. The files (1 to 4 KiB, 500 in a
folder) are in the page cache. Each figure is the median of the rounds, with the lowest and the highest;
CPU-seconds are those of the process and its threads. Then the steps of `create`, within one process.
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import os
import random
import resource
import shutil
import statistics
import subprocess
import sys
import time
from pathlib import Path

import swarm
from swarm._native import hash_files
from swarm.make import Making
from swarm.tree import Tree

TORF = """
import sys, torf
made = torf.Torrent(sys.argv[1], piece_size=1 << 20)
made.generate()
made.write(sys.argv[2], overwrite=True)
"""
LIBTORRENT = """
import os, sys, warnings
warnings.simplefilter("ignore")
import libtorrent as lt
files = lt.file_storage()
lt.add_files(files, sys.argv[1])
made = lt.create_torrent(files, 1 << 20, lt.create_torrent.v1_only)
lt.set_piece_hashes(made, os.path.dirname(sys.argv[1]))
open(sys.argv[2], "wb").write(lt.bencode(made.generate()))
"""


def fill(root: Path, count: int) -> None:
    """The same files each time: 1 to 4 KiB of chance."""
    rng = random.Random(1)
    for at in range(count):
        folder = root / f"{at // 500:04}"
        if at % 500 == 0:
            folder.mkdir(parents=True)
        (folder / f"{at % 500:03}.bin").write_bytes(rng.randbytes(rng.randint(1024, 4096)))


def commands(root: Path, out: Path) -> dict[str, list[str]]:
    """What is run, by name. `swarm verify` takes what `swarm create` made before it."""
    ours = [sys.executable, "-m", "swarm"]
    made = {
        f"swarm create --{version}": [
            *ours, "create", str(root), f"--{version}", "-q", "-o", str(out / version)
        ]
        for version in ("v1", "v2", "hybrid")
    }  # fmt: skip
    made["swarm verify (v1)"] = [*ours, "verify", str(out / "v1"), "--path", str(root), "-q"]
    made["swarm verify (hybrid)"] = [
        *ours, "verify", str(out / "hybrid"), "--path", str(root), "-q"
    ]  # fmt: skip
    threads = str(os.cpu_count() or 1)
    if mktorrent := shutil.which("mktorrent"):
        made["mktorrent"] = [
            mktorrent, "-l", "20", "-t", threads, "-a", "http://t", "-o", str(out / "mk"), str(root)
        ]  # fmt: skip
    for name, code in (("torf", TORF), ("libtorrent", LIBTORRENT)):
        if importlib.util.find_spec(name):
            made[name] = [sys.executable, "-c", code, str(root), str(out / name)]
    return made


def weigh(command: list[str]) -> tuple[float, float]:
    """Seconds, and CPU-seconds, of one process."""
    before, begun = resource.getrusage(resource.RUSAGE_CHILDREN), time.monotonic()
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
    seconds, after = time.monotonic() - begun, resource.getrusage(resource.RUSAGE_CHILDREN)
    cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return seconds, cpu


def steps(root: Path) -> dict[str, float]:
    """CPU-seconds of what `swarm create` does, one step after the other."""
    spent: dict[str, float] = {}
    at = time.process_time()

    def lap(step: str) -> None:
        nonlocal at
        now = time.process_time()
        spent[step], at = now - at, now

    tree = Tree(root)
    lap("walk")
    making = Making(tree, None, "v1")
    lap("arrange")
    files = [(leaf.where, leaf.length) for leaf in tree.leaves]
    hashes = hash_files(files, making.piece_length, os.cpu_count() or 1)
    lap("hash")
    tree.check_unchanged()
    lap("look again")
    meta = swarm.Metainfo.build(
        name=tree.name,
        files=making.entries,
        single_file=False,
        piece_length=making.piece_length,
        piece_hashes=hashes.pieces,
    )
    meta.to_bytes()
    lap("build")
    return spent


def figure(values: list[float]) -> str:
    return f"{statistics.median(values):6.2f} ({min(values):.2f}-{max(values):.2f})"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--files", type=int, default=100_000)
    parser.add_argument("--dir", type=Path, default=Path("build/bench"))
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--json", type=Path)
    args = parser.parse_args()
    base = args.dir.absolute() / "tree"
    shutil.rmtree(base, ignore_errors=True)
    root, out = base / "files", base / "torrents"
    out.mkdir(parents=True)
    try:
        fill(root, args.files)
        found: dict[str, list[tuple[float, float]]] = {}
        for _ in range(args.rounds):
            for name, command in commands(root, out).items():
                for old in out.glob("mk*"):
                    old.unlink()
                found.setdefault(name, []).append(weigh(command))
        spent = steps(root)
    finally:
        shutil.rmtree(base, ignore_errors=True)
    for name, pairs in found.items():
        seconds, cpu = zip(*pairs, strict=True)
        print(f"{name:22} {figure(list(seconds))} s  {figure(list(cpu))} CPU-s")
    print("steps of create, CPU-s:", ", ".join(f"{step} {cpu:.2f}" for step, cpu in spent.items()))
    if args.json:
        args.json.write_text(json.dumps({"processes": found, "steps": spent}, indent=1))


if __name__ == "__main__":
    main()
