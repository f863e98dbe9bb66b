"""`swarm info` shows what a torrent says, and nothing that a torrent may not do to a terminal."""

from __future__ import annotations

import hashlib
import io
import json
import sys
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from reference import merkle as oracle
from reference import torrent

from swarm.apps.cli import start
from swarm.apps.info import date
from swarm.proto.metainfo import Entry, Metainfo

TorrentFile = Callable[..., Path]


def test_summary(torrent_file: TorrentFile, capsys: pytest.CaptureFixture[str]) -> None:
    path = torrent_file(announce=b"http://t.example/announce", comment=b"hi", info={b"private": 1})
    assert start(["info", str(path)]) == 0
    shown = dict(line.split(":", 1) for line in capsys.readouterr().out.splitlines())
    shown = {label: text.strip() for label, text in shown.items()}
    assert shown["name"] == "sample.bin"
    assert len(shown["infohash"]) == 40
    assert shown["size"] == "19.5 KiB (20000 bytes)"
    assert shown["pieces"] == "2 of 16.0 KiB"
    assert shown["private"] == "yes"
    assert shown["trackers"] == "http://t.example/announce"
    assert shown["comment"] == "hi"


def test_json(torrent_file: TorrentFile, capsys: pytest.CaptureFixture[str]) -> None:
    path = torrent_file()
    raw = path.read_bytes()
    infohash = hashlib.sha1(raw[raw.index(b"4:info") + 6 : -1]).hexdigest()
    assert start(["info", "--json", str(path)]) == 0
    read = json.loads(capsys.readouterr().out)
    assert read["infohash"] == infohash
    assert read["files"] == [{"index": 0, "path": "sample.bin", "length": 20_000}]
    assert (read["pieces"], read["piece_length"], read["private"]) == (2, 16_384, False)


def test_files(torrent_file: TorrentFile, capsys: pytest.CaptureFixture[str]) -> None:
    assert start(["info", "--files", str(torrent_file())]) == 0
    assert capsys.readouterr().out == "0\t20000\tsample.bin\n"


def test_magnet(torrent_file: TorrentFile, capsys: pytest.CaptureFixture[str]) -> None:
    assert start(["info", "--magnet", str(torrent_file())]) == 0
    assert capsys.readouterr().out.startswith("magnet:?xt=urn:btih:")


TREE = [
    Entry(("run",), 70_000, "x"),
    Entry(("d", "plain"), 5),
    Entry(("d", "link"), 0, "l", ("run",)),
]


@pytest.fixture(params=["v1", "v2", "hybrid"])
def made(request: pytest.FixtureRequest, tmp_path: Path) -> tuple[Metainfo, str]:
    """A torrent of each version, and where it is."""
    meta = torrent.make(TREE, request.param, piece_length=32 * 1024)
    path = tmp_path / "set.torrent"
    path.write_bytes(meta.to_bytes())
    return meta, str(path)


def test_versions(made: tuple[Metainfo, str], capsys: pytest.CaptureFixture[str]) -> None:
    meta, path = made
    hashes = [raw.hex() for raw in (meta.infohash.v1, meta.infohash.v2) if raw]
    assert start(["info", path]) == 0
    rows = [(row[:13].rstrip(": "), row[14:]) for row in capsys.readouterr().out.splitlines()]
    texts = [text for _, text in rows]
    assert texts[1] == {"v1": "1", "v2": "2", "hybrid": "1 and 2 (hybrid)"}[meta.version]
    assert texts[2 : 2 + len(hashes)] == hashes
    assert "68.4 KiB (70005 bytes)" in texts, "without what pads it"
    assert ("files", "3") in rows
    assert ("padding" in [label for label, _ in rows]) == (meta.version == "hybrid")
    assert start(["info", "--magnet", path]) == 0
    magnet = capsys.readouterr().out
    assert magnet.count("xt=urn:btih:" + hashes[0]) == (meta.version != "v2")
    assert magnet.count("xt=urn:btmh:1220" + hashes[-1]) == (meta.version != "v1")


def test_versions_for_programs(
    made: tuple[Metainfo, str], capsys: pytest.CaptureFixture[str]
) -> None:
    meta, path = made
    assert start(["info", "--json", path]) == 0
    read = json.loads(capsys.readouterr().out)
    known = [raw.hex() if raw else None for raw in (meta.infohash.v1, meta.infohash.v2)]
    assert [read["infohash_v1"], read["infohash_v2"]] == known
    assert (read["version"], read["length"]) == (meta.version, 70_005)
    assert start(["info", "--files", "--json", path]) == 0
    records = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert {record.pop("type") for record in records} == {"file"}
    assert {record.pop("v") for record in records} == {1}
    assert records == read["files"]
    files = {file.index: file for file in meta.files}
    for record in records:
        assert "/".join(files[record.pop("index")].path) == record["path"]
    link, plain, run = records
    assert link == {"path": "set/d/link", "length": 0, "attr": "xl", "symlink": "set/run"}
    if meta.version == "v1":
        assert "root" not in run
    else:
        assert run.pop("root") == oracle.root(torrent.content(TREE[0])).hex()
        assert plain.pop("root") == oracle.root(torrent.content(TREE[1])).hex()
    assert plain == {"path": "set/d/plain", "length": 5}
    assert run == {"path": "set/run", "length": 70_000, "attr": "x"}


def test_attributes_of_files(
    made: tuple[Metainfo, str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert start(["info", "--files", made[1]]) == 0
    numbers, lines = zip(
        *(line.split("\t", 1) for line in capsys.readouterr().out.splitlines()), strict=True
    )
    assert [int(n) for n in numbers] == [file.index for file in made[0].files if not file.pad]
    assert list(lines) == [
        "0\tset/d/link -> set/run\txl",
        "5\tset/d/plain",
        "70000\tset/run\tx",
    ]


def test_options_that_exclude_each_other(torrent_file: TorrentFile) -> None:
    for other in ("--files", "--json"):
        assert start(["info", "--magnet", other, str(torrent_file())]) == 2


def test_stdin(
    torrent_file: TorrentFile,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    stdin: Any = SimpleNamespace(buffer=io.BytesIO(torrent_file().read_bytes()))
    monkeypatch.setattr(sys, "stdin", stdin)
    assert start(["info", "--files", "-"]) == 0
    assert capsys.readouterr().out == "0\t20000\tsample.bin\n"
    assert start(["info", "-"]) == 3  # it is at its end now
    assert "nothing came on stdin" in capsys.readouterr().err


@pytest.mark.parametrize("option", ["--files", "--magnet", "--json", None])
def test_api23_nothing_from_a_torrent_steers_the_terminal(
    option: str | None, torrent_file: TorrentFile, capsys: pytest.CaptureFixture[str]
) -> None:
    evil = "\x1b[2J\x1b]0;owned\x07\r\u202e\x9bm"
    path = torrent_file(
        evil + "name",
        comment=evil.encode(),
        announce=b"http://t.example/" + evil.encode(),
        **{"created by": evil.encode() + b"\xff"},
    )
    assert start(["info", str(path), *([option] if option else [])]) == 0
    shown = capsys.readouterr().out
    assert not set("\x1b\x07\r\u202e\x9b") & set(shown)


def test_date() -> None:
    assert date(None) is None
    assert date(0) == "1970-01-01 00:00:00 UTC"
    assert date(2**62) == str(2**62)
    assert date(-(2**62)) == str(-(2**62))
