"""The codec beside bencode.py. Goals: a torrent of 10,000 files in under 10 ms, a DHT reply in under 1 us."""

from __future__ import annotations

import hashlib
from typing import Any

import bencodepy
import pytest

from swarm.proto import bencode
from swarm.proto.metainfo import Metainfo

Benchmark = Any
FILES = 10_000


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
    """A `find_node` reply with eight nodes and a token, as BEP 5 has it: about 330 bytes."""
    answer = {b"id": bytes(range(20)), b"nodes": bytes(range(208)), b"token": b"t" * 20}
    return bencode.encode(
        {b"ip": b"\x01\x02\x03\x04\x1a\xe1", b"r": answer, b"t": b"aa", b"v": b"SW01", b"y": b"r"}
    )


DOCUMENTS = {"10,000 files": many_files(), "DHT reply": krpc_reply()}
CODECS = {"swarm": bencode, "bencode.py": bencodepy.Bencode()}
each_document = pytest.mark.parametrize("document", DOCUMENTS)
each_codec = pytest.mark.parametrize("codec", CODECS)


@each_codec
@each_document
def test_decode(benchmark: Benchmark, document: str, codec: str) -> None:
    benchmark.group = f"decode {document}"
    assert len(benchmark(CODECS[codec].decode, DOCUMENTS[document])) > 1


@each_codec
@each_document
def test_encode(benchmark: Benchmark, document: str, codec: str) -> None:
    benchmark.group = f"encode {document}"
    value = bencode.decode(DOCUMENTS[document])
    assert benchmark(CODECS[codec].encode, value) == DOCUMENTS[document]


def test_parse_a_torrent(benchmark: Benchmark) -> None:
    assert len(benchmark(Metainfo.parse, DOCUMENTS["10,000 files"]).files) == FILES
