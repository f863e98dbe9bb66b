"""How long the codec takes, beside bencode.py in the same run: python bench/bencode.py

B is a torrent of 10,000 files (1.25 MB), K a reply to a DHT `find_node` (about 330 bytes). Best of
several rounds, in one thread. Goals: decode B in under 10 ms, decode K in under 1 us.
"""

from __future__ import annotations

import hashlib
import json
import platform
import sys
import timeit
from collections.abc import Callable
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import bencodepy

from swarm.proto import bencode
from swarm.proto.metainfo import Metainfo

FILES = 10_000
ROUNDS = 15


def many_files() -> bytes:
    """A torrent of FILES files in 100 directories, with piece hashes to fill 1.25 MB."""
    files = [
        {
            "length": 40_000 + i,
            "path": [f"directory-{i % 100:03}", f"file number {i:05} of many.flac"],
        }
        for i in range(FILES)
    ]
    piece_length = 16384
    pieces = -(-sum(40_000 + i for i in range(FILES)) // piece_length)
    digests = b"".join(hashlib.sha1(b"%d" % i).digest() for i in range(pieces))
    info = {
        "files": files,
        "name": "ten thousand files",
        "piece length": piece_length,
        "pieces": digests,
    }
    return bencode.encode({"announce": "http://tracker.example/announce", "info": info})


def krpc_reply() -> bytes:
    """A `find_node` reply with eight nodes and a token, as BEP 5 has it."""
    answer = {b"id": bytes(range(20)), b"nodes": bytes(range(208)), b"token": b"t" * 20}
    return bencode.encode(
        {b"ip": b"\x01\x02\x03\x04\x1a\xe1", b"r": answer, b"t": b"aa", b"v": b"SW01", b"y": b"r"}
    )


def best(call: Callable[[], object], number: int) -> float:
    """Seconds of one call, in the fastest round."""
    return min(timeit.repeat(call, number=number, repeat=ROUNDS)) / number


def main() -> None:
    big, small = many_files(), krpc_reply()
    big_value, small_value = bencode.decode(big), bencode.decode(small)
    oracle = bencodepy.Bencode()
    rows: list[tuple[str, float, str, float, float | None]] = [
        (
            f"decode B ({len(big):,} bytes)",
            1e3,
            "ms",
            best(lambda: bencode.decode(big), 1),
            best(lambda: oracle.decode(big), 1),
        ),
        (
            "encode B",
            1e3,
            "ms",
            best(lambda: bencode.encode(big_value), 1),
            best(lambda: oracle.encode(big_value), 1),
        ),
        (
            f"decode K ({len(small):,} bytes)",
            1e6,
            "us",
            best(lambda: bencode.decode(small), 10_000),
            best(lambda: oracle.decode(small), 1_000),
        ),
        (
            "encode K",
            1e6,
            "us",
            best(lambda: bencode.encode(small_value), 10_000),
            best(lambda: oracle.encode(small_value), 1_000),
        ),
        ("Metainfo.parse B", 1e3, "ms", best(lambda: Metainfo.parse(big), 1), None),
    ]
    if "--json" in sys.argv:
        print(json.dumps({name: [ours, theirs] for name, _, _, ours, theirs in rows}))
        return
    print(f"Python {platform.python_version()}, {platform.machine()}, best of {ROUNDS} rounds")
    print(f"{'':28}{'swarm':>12}{'bencode.py':>14}{'ratio':>8}")
    for name, scale, unit, ours, theirs in rows:
        line = f"{name:28}{ours * scale:9.3f} {unit}"
        if theirs is not None:
            line += f"{theirs * scale:11.3f} {unit}{theirs / ours:7.0f}x"
        print(line)


if __name__ == "__main__":
    main()
