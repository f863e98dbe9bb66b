"""Real `swarm` processes over loopback: create, tracker, seed, download, and how they end."""

from __future__ import annotations

import functools
import http.server
import json
import os
import random
import signal
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from reference import torrent

from swarm.apps.exits import Quit
from swarm.apps.seed import require
from swarm.proto.metainfo import Entry

Programs = Any
TorrentFile = Callable[..., Path]

FILES = {
    "a.txt": 1,
    "empty": 0,
    "b/deep/er/névé.bin": 700_001,
    "b/c.bin": 300_000,
}
LISTEN = ("--listen", "127.0.0.1:0")


@dataclass(frozen=True)
class Seeded:
    """A folder `data/sample`, its torrent, and who has it."""

    torrent: Path
    data: Path
    announce: str
    peer: str
    seeder: subprocess.Popen[str]


def make_sample(folder: Path, files: dict[str, int] = FILES) -> Path:
    rng = random.Random(3)
    for name, length in files.items():
        path = folder / "sample" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(rng.randbytes(length))
    return folder / "sample"


def same(left: Path, right: Path) -> bool:
    """Do both folders hold the same files with the same bytes?"""

    def content(root: Path) -> dict[str, bytes]:
        paths = [path for path in root.rglob("*") if path.is_file()]
        return {str(path.relative_to(root)): path.read_bytes() for path in paths}

    return content(left) == content(right)


def first_line(process: subprocess.Popen[str]) -> str:
    assert process.stdout is not None
    line = process.stdout.readline().strip()
    if not line and process.stderr is not None:
        process.kill()
        pytest.fail(process.stderr.read())
    return line


@pytest.fixture
def seeded(programs: Programs) -> Seeded:
    data = make_sample(programs.folder / "data")
    tracker = programs.start("tracker", "--bind", "127.0.0.1:0")
    announce = first_line(tracker)
    made = programs.run(
        "create", data, "-o", "sample.torrent", "--tracker", announce, "--piece-size", "16k"
    )
    assert made.returncode == 0, made.stderr
    seeder = programs.start("seed", "sample.torrent", "--path", "data", *LISTEN)
    peer = first_line(seeder)
    return Seeded(programs.folder / "sample.torrent", data, announce, peer, seeder)


@pytest.fixture
def orphan(programs: Programs) -> Path:
    """A torrent that nobody seeds."""
    make_sample(programs.folder / "data")
    made = programs.run("create", "data/sample", "-o", "sample.torrent")
    assert made.returncode == 0, made.stderr
    return programs.folder / "sample.torrent"


def test_download_from_the_tracker(programs: Programs, seeded: Seeded) -> None:
    done = programs.run("download", "sample.torrent", "-o", "got", *LISTEN)
    assert done.returncode == 0, done.stderr
    assert Path(os.fsdecode(done.stdout.strip())) == programs.folder / "got" / "sample"
    assert done.stdout.count(b"\n") == 1
    assert b"\x1b" not in done.stderr
    assert b"\r" not in done.stderr
    assert same(seeded.data, programs.folder / "got" / "sample")


def test_get_from_a_peer_with_the_torrent_on_stdin(programs: Programs, seeded: Seeded) -> None:
    done = programs.run(
        *("get", "-", "-o", "got", "--peer", seeded.peer, "--quiet", *LISTEN),
        stdin=seeded.torrent.read_bytes(),
    )
    assert done.returncode == 0, done.stderr
    assert done.stderr == b""
    assert same(seeded.data, programs.folder / "got" / "sample")


def test_json_is_records_only(programs: Programs, seeded: Seeded) -> None:
    done = programs.run("download", "sample.torrent", "-o", "got", "--json", *LISTEN)
    assert done.returncode == 0, done.stderr
    records = [json.loads(line) for line in done.stdout.splitlines()]
    assert {record["v"] for record in records} == {1}
    assert {record["type"] for record in records[:-1]} <= {"progress"}
    last = records[-1]
    assert last["type"] == "done"
    assert last["path"] == str(programs.folder / "got" / "sample")
    assert last["length"] == sum(FILES.values())
    assert last["downloaded"] >= last["length"]
    assert done.stderr == b""


def test_a_limit_holds_and_is_shown(programs: Programs, seeded: Seeded) -> None:
    limits = ("--limit-down", "256KiB/s", "--limit-up", "1k")
    done = programs.run("download", "sample.torrent", "-o", "got", "--json", *limits, *LISTEN)
    assert done.returncode == 0, done.stderr
    *progress, last = [json.loads(line) for line in done.stdout.splitlines()]
    assert all(record["download_limit"] == 256 * 1024 for record in progress)
    assert all(record["upload_limit"] == 1024 for record in progress)
    assert last["seconds"] >= (last["downloaded"] - 64 * 1024) / (256 * 1024)


def test_a_finished_download_returns_at_once(programs: Programs, seeded: Seeded) -> None:
    args = ("download", "sample.torrent", "-o", "got", "--json", *LISTEN)
    assert programs.run(*args).returncode == 0
    seeded.seeder.kill()
    again = programs.run(*args)
    assert again.returncode == 0, again.stderr
    assert json.loads(again.stdout.splitlines()[-1])["downloaded"] == 0


@pytest.fixture
def web(tmp_path: Path) -> Iterator[str]:
    """The base URL of a web server on the test's folder."""

    class Quiet(http.server.SimpleHTTPRequestHandler):
        def log_message(self, format: str, *args: object) -> None:  # noqa: A002
            pass

    handler = functools.partial(Quiet, directory=str(tmp_path))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()
        thread.join()


def test_a_url_is_fetched_and_seeding_ends_in_time(
    programs: Programs, seeded: Seeded, web: str
) -> None:
    args = ("get", f"{web}/sample.torrent", "-o", "got", "--seed-for", "0.1s", *LISTEN)
    done = programs.run(*args)
    assert done.returncode == 0, done.stderr
    assert same(seeded.data, programs.folder / "got" / "sample")


def test_a_url_of_nothing_is_3(programs: Programs, web: str) -> None:
    gone = programs.run("get", f"{web}/gone.torrent", "-o", "got", *LISTEN)
    assert gone.returncode == 3, gone.stderr
    assert len(gone.stderr.splitlines()) == 1


def downloading(programs: Programs, torrent: Path) -> Any:
    """A download that has begun, from nobody."""
    process = programs.start("download", torrent, "-o", "got", *LISTEN)
    assert any(" downloading " in line for line in iter(process.stderr.readline, ""))
    return process


def test_timeout_is_4(programs: Programs, orphan: Path) -> None:
    done = programs.run("download", orphan, "-o", "got", "--timeout", "0.3s", *LISTEN)
    assert done.returncode == 4, done.stderr
    assert done.stdout == b""
    assert b"saved, re-run to resume" in done.stderr
    assert b"Traceback" not in done.stderr


def test_the_first_ctrl_c_saves_and_dies_by_it(programs: Programs, orphan: Path) -> None:
    process = downloading(programs, orphan)
    begun = time.monotonic()
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=10)
    assert time.monotonic() - begun < 4  # 3 s, and the time to die
    assert process.returncode == -signal.SIGINT
    assert out == ""
    assert err.splitlines()[-1] == "swarm: saved; re-run to resume"


def test_sigterm_ends_by_sigterm(programs: Programs, orphan: Path) -> None:
    process = downloading(programs, orphan)
    process.terminate()
    assert process.wait(10) == -signal.SIGTERM
    assert "saved" in process.stderr.read()


def test_ctrl_c_ends_a_seeder(seeded: Seeded) -> None:
    seeded.seeder.send_signal(signal.SIGINT)
    out, err = seeded.seeder.communicate(timeout=10)
    assert seeded.seeder.returncode == -signal.SIGINT
    assert out == ""
    assert err.splitlines()[-1] == "swarm: stopped"


def test_a_stopped_download_resumes(programs: Programs, seeded: Seeded) -> None:
    """Half of the data is on the disk, and nothing of it is fetched again."""
    half = programs.folder / "got" / "sample" / "b" / "deep" / "er"
    half.mkdir(parents=True)
    name = "névé.bin"
    (half / name).write_bytes((seeded.data / "b/deep/er" / name).read_bytes())
    args = ("download", "sample.torrent", "-o", "got", "--json", *LISTEN)
    done = programs.run(*args)
    assert done.returncode == 0, done.stderr
    assert same(seeded.data, programs.folder / "got" / "sample")
    assert json.loads(done.stdout.splitlines()[-1])["downloaded"] < 400_000


def test_what_was_remembered_and_is_damaged_is_said(programs: Programs, seeded: Seeded) -> None:
    args = ("download", "sample.torrent", "-o", "got", *LISTEN)
    assert programs.run(*args).returncode == 0
    for path in (programs.folder / "state").rglob("*.resume"):
        path.write_bytes(path.read_bytes()[:-1])
    done = programs.run(*args)
    assert done.returncode == 0, done.stderr
    assert b"checking what is there" in done.stderr
    assert b"is torn or damaged" in done.stderr


def test_seeding_what_is_not_there_is_6(programs: Programs, orphan: Path) -> None:
    nowhere = programs.run("seed", orphan, "--path", ".", *LISTEN)
    assert nowhere.returncode == 6
    assert b"is missing; `swarm download --seed`" in nowhere.stderr
    damaged = programs.folder / "data/sample/b/c.bin"
    damaged.write_bytes(bytes(300_000))
    done = programs.run("seed", orphan, "--path", "data", *LISTEN)
    assert done.returncode == 6, done.stderr
    assert b"swarm verify" in done.stderr
    assert done.stdout == b""


def test_a_full_disk_is_8_and_one_line(programs: Programs, seeded: Seeded, tmp_path: Path) -> None:
    """FS-01: it does not fit (on a file system of 256 KiB), which is said before it is begun."""
    small = programs.folder / "small"
    small.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=256k", "tmpfs", small],
        capture_output=True,
        check=False,
    )
    if mounted.returncode:
        pytest.skip("mounting a small file system needs root")
    try:
        done = programs.run("download", "sample.torrent", "-o", "small", *LISTEN)
    finally:
        subprocess.run(["umount", "-l", small], check=True)
    assert done.returncode == 8, done.stderr
    assert b"not enough space" in done.stderr
    assert b"Traceback" not in done.stderr


def test_a_taken_port_is_5(programs: Programs, seeded: Seeded) -> None:
    done = programs.run("tracker", "--bind", seeded.announce.split("/")[2])
    assert done.returncode == 5, done.stderr
    assert len(done.stderr.splitlines()) == 1
    done = programs.run("download", "sample.torrent", "-o", "got", "--listen", seeded.peer)
    assert done.returncode == 5, done.stderr
    assert b"Traceback" not in done.stderr


# ---------------------------------------------------------------- which files


def last_record(done: subprocess.CompletedProcess[bytes]) -> dict[str, Any]:
    assert done.returncode == 0, done.stderr
    return dict(json.loads(done.stdout.splitlines()[-1]))


def got(programs: Programs, name: str, seeded: Seeded) -> bool:
    path = programs.folder / "got" / "sample" / name
    return path.exists() and path.read_bytes() == (seeded.data / name).read_bytes()


def test_selected_files_and_a_rerun(programs: Programs, seeded: Seeded) -> None:
    args = ("download", "sample.torrent", "-o", "got", "--json", *LISTEN)
    first = last_record(programs.run(*args, "--select", "b/", "--skip", "*névé*"))
    assert (first["length"], first["total_length"]) == (300_000, sum(FILES.values()))
    assert first["downloaded"] < 300_000 + 2 * 16_384
    assert got(programs, "b/c.bin", seeded)
    again = last_record(programs.run(*args))
    assert (again["length"], again["downloaded"]) == (300_000, 0), "the same files as before"
    more = last_record(programs.run(*args, "-s", "a.txt", "-s", "b/c.bin"))
    assert more["length"] == 300_001
    everything = last_record(programs.run(*args, "-s", "*", "--sequential"))
    assert everything["length"] == everything["total_length"]
    assert same(seeded.data, programs.folder / "got" / "sample")


def test_people_are_told_that_a_choice_is_not_all(programs: Programs, seeded: Seeded) -> None:
    args = ("download", "sample.torrent", "-o", "got", *LISTEN)
    told = f"1 of {len(FILES)} files were chosen; --select '*' gets all".encode()
    assert told in programs.run(*args, "--select", "a.txt").stderr
    again = programs.run(*args).stderr
    assert told in again
    assert b"already here" in again
    everything = programs.run(*args, "--select", "*").stderr
    assert b"chosen" not in everything
    assert b"already complete" in programs.run(*args).stderr


def test_files_by_their_numbers(programs: Programs, seeded: Seeded) -> None:
    listed = programs.run("info", "--files", "sample.torrent").stdout.decode().splitlines()
    numbers = {line.split("\t")[2]: line.split("\t")[0] for line in listed}
    number = numbers["sample/b/c.bin"]
    args = ("download", "sample.torrent", "-o", "got", "--json", *LISTEN)
    done = last_record(programs.run(*args, "--select", number, "--first", number))
    assert done["length"] == 300_000
    assert (done["files"], done["total_files"]) == (1, len(FILES))
    whole = last_record(programs.run(*args, "--select", f"0-{len(FILES) - 1}"))
    assert whole["length"] == sum(FILES.values())


@pytest.mark.parametrize(
    "wrong", [("--select", "nothing"), ("--skip", "9"), ("-s", "2-9"), ("--first", "3-1")]
)
def test_unknown_files_are_2_and_one_line(
    programs: Programs, orphan: Path, wrong: tuple[str, str]
) -> None:
    done = programs.run("download", orphan, "-o", "got", *wrong, *LISTEN)
    assert done.returncode == 2, done.stderr
    assert done.stderr.splitlines()[-1].count(wrong[1].split("-")[0].encode()) >= 1
    assert b"Traceback" not in done.stderr
    assert not (programs.folder / "got").exists()


def test_no_file_at_all_is_2(programs: Programs, orphan: Path) -> None:
    done = programs.run("download", orphan, "-o", "got", "--skip", "*", *LISTEN)
    assert done.returncode == 2, done.stderr
    assert b"--select" in done.stderr


def test_ctrl_c_and_a_rerun_keep_the_choice(programs: Programs, seeded: Seeded) -> None:
    """Before a byte has come."""
    seeded.seeder.send_signal(signal.SIGSTOP)
    process = programs.start(
        "download", "sample.torrent", "-o", "got", "--skip", "b/deep/*", *LISTEN
    )
    assert any(" downloading " in line for line in iter(process.stderr.readline, ""))
    process.send_signal(signal.SIGINT)
    process.communicate(timeout=10)
    seeded.seeder.send_signal(signal.SIGCONT)
    done = last_record(programs.run("download", "sample.torrent", "-o", "got", "--json", *LISTEN))
    assert done["length"] == 300_001
    assert not got(programs, "b/deep/er/névé.bin", seeded)


def test_a_look_at_what_is_to_be_seeded_is_not_for_pads_and_links(tmp_path: Path) -> None:
    entries = [Entry(("a",), 5), Entry(("b",), 7), Entry(("link",), 0, "l", ("a",))]
    meta = torrent.make(entries, "hybrid", piece_length=32 * 1024, name="t")
    folder = tmp_path / "t"
    folder.mkdir()
    for name in "ab":
        with pytest.raises(Quit, match=f"{name} is missing"):
            require(meta, tmp_path)
        (folder / name).write_bytes(b"1234567")
    require(meta, tmp_path)
