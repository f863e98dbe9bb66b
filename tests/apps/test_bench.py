"""`swarm bench`, as people and CI run it: real processes, tiny work."""

from __future__ import annotations

import contextlib
import json
import shutil
import signal
from pathlib import Path
from typing import Any

import pytest

import swarm

Programs = Any
WHOLE = 90
"""Seconds for a few whole clients, on a busy machine."""
WIRE = ("bench", "wire", "--size", "1MiB", "--rounds", "2")


def report(programs: Programs, *args: object) -> dict[str, Any]:
    done = programs.run(*args, "--json", timeout=WHOLE)
    assert done.returncode == 0, done.stderr
    (line,) = done.stdout.splitlines()
    value: dict[str, Any] = json.loads(line)
    assert (value["v"], value["type"], value["bench"]) == (1, "bench", args[1])
    return value


def test_hash_as_json(programs: Programs) -> None:
    found = report(programs, "bench", "hash", "--seconds", "0", "--size", "1KiB", "--rounds", "2")
    names = [sample["name"] for sample in found["samples"]]
    assert names[: len(names) // 2] == names[len(names) // 2 :]
    assert {"sha1 hashlib x1", "sha256 crate x1"} <= set(names)
    assert all(sample["values"]["rate"] > 0 for sample in found["samples"])
    assert found["work"] == {"message": 1024, "seconds": 0}
    assert found["machine"]["cores"] >= 1


def test_wire_for_people(programs: Programs) -> None:
    done = programs.run(*WIRE)
    out = done.stdout.decode()
    assert done.returncode == 0
    assert "size 1 MiB, piece 1 MiB, read 512 KiB, depth 256; 2 rounds" in out
    assert "frame walk" in out
    assert b"bench wire: measuring 100%" in done.stderr
    assert programs.run(*WIRE, "-q").stderr == b""


def test_files_of_json_and_chart(programs: Programs, tmp_path: Path) -> None:
    done = programs.run(*WIRE, "--json", "wire.json", "--plot", "wire.svg")
    assert done.returncode == 0
    assert b"frame walk" in done.stdout
    assert json.loads((tmp_path / "wire.json").read_bytes())["bench"] == "wire"
    assert "frame walk" in (tmp_path / "wire.svg").read_text()


@pytest.mark.parametrize(
    ("factor", "extra", "code"),
    [
        (1e-3, ("--fail-below", "50"), 0),
        (1e3, ("--fail-below", "50"), 10),
        (1e3, (), 0),
        (1e3, ("--fail-below", "50", "--fail-on", "rate"), 10),
    ],
)
def test_baselines(
    programs: Programs, tmp_path: Path, factor: float, extra: tuple[str, ...], code: int
) -> None:
    value = report(programs, *WIRE)
    for sample in value["samples"]:
        sample["values"] = {key: figure * factor for key, figure in sample["values"].items()}
    (tmp_path / "base.json").write_text(json.dumps(value))
    done = programs.run(*WIRE, "--baseline", "base.json", *extra)
    assert done.returncode == code, done.stderr
    word = "worse" if factor > 1 else "better"
    assert f"% {word} than" in done.stderr.decode()
    if code:
        assert b"worse than the baseline by more than 50 %: frame walk (rate)" in done.stderr


def test_a_baseline_of_other_work_or_of_another_machine(programs: Programs, tmp_path: Path) -> None:
    value = report(programs, *WIRE)
    path = tmp_path / "base.json"
    path.write_text(json.dumps(value | {"machine": value["machine"] | {"cpu": "Abacus"}}))
    done = programs.run(*WIRE, "--baseline", path)
    assert done.returncode == 0
    assert b"another machine" in done.stderr
    assert b"cpu: Abacus there" in done.stderr
    done = programs.run(*WIRE, "--baseline", path, "--piece", "16KiB")
    assert (done.returncode, done.stdout) == (2, b"")
    assert b"other work: piece 1048576 there, 16384 here" in done.stderr
    path.write_text("{}")
    done = programs.run(*WIRE, "--baseline", path)
    assert (done.returncode, done.stdout) == (2, b"")
    assert b"not the report of a benchmark" in done.stderr


@pytest.mark.parametrize(
    ("args", "said"),
    [
        (("hash", "--rounds", "0"), b"--rounds"),
        (("hash", "--size", "much"), b"not a size"),
        (("hash", "--size", "1GiB"), b"64 MiB"),
        (("wire", "--plot", "a.gif"), b"neither"),
        (("wire", "--piece", "1000"), b"16 KiB"),
        (("wire", "--size", "1000"), b"whole number"),
        (("wire", "--fail-below", "5"), b"--baseline"),
        (("wire", "--baseline", "absent"), b"absent"),
        (("wires",), b"No such command 'wires'"),
        (("net",), b"--listen"),
        (("net", "a", "--listen", "127.0.0.1"), b"not both"),
        (("net", "a/b"), b"is not HOST"),
        (("net", "--listen", "nowhere"), b"nowhere"),
        (("disk", "--piece", "24KiB"), b"a multiple of 16 KiB"),
        (("disk", "--size", "1MB", "--piece", "16KiB"), b"whole number"),
        (("disk", "--dir", "absent"), b"absent"),
        (("loopback", "--files", "5", "--size", "4"), b"cannot be in"),
        (("--where", "loopback", "--delay", "5"), b"need network namespaces"),
        (("compare", "--client", "napster"), b"no client 'napster'"),
        (("compare", "--client", "swarm:napster"), b"no client 'napster'"),
        (("compare", "--client", "swarm:aria2"), b"apt install aria2"),
        (("compare", "--client", "aria2"), b"apt install aria2"),
    ],
)
def test_what_makes_no_sense_is_said(
    programs: Programs, args: tuple[str, ...], said: bytes
) -> None:
    done = programs.run("bench", *args, PATH="/nonexistent")
    assert done.returncode == 2
    assert said in done.stderr
    assert b"Traceback" not in done.stderr
    assert done.stdout == b""


# ---------------------------------------------------------------- two hosts


def listening(programs: Programs, *more: str) -> tuple[Any, str]:
    """A host that listens, and where."""
    host = programs.start("bench", "net", "--listen", "127.0.0.1:0", *more)
    return host, host.stdout.readline().strip()


def test_a_network_in_both_directions(programs: Programs, tmp_path: Path) -> None:
    host, at = listening(programs, "--once")
    args = ("--size", "300KiB", "--piece", "64KiB", "--files", "2", "--rounds", "2", "--reverse")
    found = report(programs, "bench", "net", at, *args)
    assert [sample["name"] for sample in found["samples"]] == ["down", "up"] * 2
    assert all(sample["values"]["rate"] > 0 for sample in found["samples"])
    assert all(sample["values"]["seeder_cpu"] > 0 for sample in found["samples"])
    assert found["work"]["over"] == "a network to 127.0.0.1"
    _, err = host.communicate(timeout=WHOLE)
    assert host.returncode == 0
    assert err.count("sent it") == err.count("fetched it") == 2
    assert not list(tmp_path.glob("swarm-bench-*"))


def test_a_network_that_ends(programs: Programs, tmp_path: Path) -> None:
    host, at = listening(programs)
    process = programs.start("bench", "net", at, "--size", "64KiB", "--rounds", "10", "-v")
    while "down  " not in (line := process.stderr.readline()):  # a first result
        assert line, "it has left"
    host.send_signal(signal.SIGTERM)
    out, err = process.communicate(timeout=WHOLE)
    assert process.returncode == 1
    assert "down FAILED: 127.0.0.1 has gone" in out or "down FAILED: Conn" in out
    assert "1: down" in out
    assert "not all was measured: down failed" in err
    _, err = host.communicate(timeout=WHOLE)
    assert host.returncode == -signal.SIGTERM
    assert "stopped" in err
    assert not list(tmp_path.glob("swarm-bench-*"))


def test_a_network_that_is_not_measured(programs: Programs) -> None:
    host, at = listening(programs, "--most", "1MiB")
    done = programs.run("bench", "net", at, "--size", "2MiB")
    assert (done.returncode, done.stdout) == (2, b"")
    assert b"127.0.0.1 refuses: at most 1,048,576 bytes" in done.stderr
    host.send_signal(signal.SIGINT)
    _, err = host.communicate(timeout=WHOLE)
    assert "at most 1,048,576 bytes" in err
    done = programs.run("bench", "net", at)
    assert (done.returncode, done.stdout) == (5, b"")
    assert b"Traceback" not in done.stderr


# ---------------------------------------------------------------- whole clients


def test_a_tiny_transfer_on_loopback(programs: Programs, tmp_path: Path) -> None:
    args = (
        "--size",
        "1MiB",
        "--piece",
        "64KiB",
        "--files",
        "3",
        "--leechers",
        "2",
        "--rounds",
        "1",
    )
    found = report(programs, "bench", "loopback", *args, "--where", "loopback")
    (sample,) = found["samples"]
    assert sample["name"] == "swarm"
    assert sample["values"]["rate"] > 0
    assert sample["values"]["leecher_cpu"] > 0
    assert sample["values"]["uneven"] >= 0
    assert found["work"]["over"] == "loopback"
    assert (found["work"]["files"], found["work"]["leechers"]) == (3, 2)
    assert "drive_swarm.py seed" in found["told"]["swarm"]["seeder"]
    assert "drive_swarm.py leech" in found["told"]["swarm"]["leecher"]
    assert not list(tmp_path.glob("swarm-bench-*"))


def test_without_a_kind_it_is_loopback(programs: Programs) -> None:
    done = programs.run(
        "bench", "--size", "16KiB", "--rounds", "1", "--where", "loopback", "-v", timeout=WHOLE
    )
    assert done.returncode == 0, done.stderr
    assert b"seeders 1, leechers 1, over loopback; 1 round" in done.stdout
    assert b"1: swarm" in done.stdout
    assert b"swarm 0.1.0, leecher:\n    python -P DRIVERS/drive_swarm.py leech" in done.stdout


def test_a_signal_shows_what_is_there_and_leaves_nothing(
    programs: Programs, tmp_path: Path
) -> None:
    args = ("--size", "4MiB", "--rounds", "10", "--where", "loopback", "--json", "found.json")
    process = programs.start("bench", *args)
    assert process.stderr is not None
    while "swarm  " not in (line := process.stderr.readline()):  # a first result
        assert line, "it has left"
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=WHOLE)
    assert process.returncode == -signal.SIGINT
    assert "swarm: stopped; " in err
    assert "MiB/s" in out
    found = json.loads((tmp_path / "found.json").read_bytes())
    assert 1 <= len(found["samples"]) < 10
    assert not list(tmp_path.glob("swarm-bench-*"))
    assert not children_in(tmp_path)


def children_in(folder: Path) -> list[str]:
    """Command lines of processes that were told of this folder."""
    found = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        with contextlib.suppress(OSError):
            line = path.read_bytes().replace(b"\0", b" ").decode()
            found += [line] if str(folder) in line else []
    return found


def test_disk_as_json(programs: Programs, tmp_path: Path) -> None:
    args = ("--size", "1MiB", "--piece", "64KiB", "--piece", "1MiB", "--rounds", "1")
    found = report(programs, "bench", "disk", *args)
    names = {sample["name"] for sample in found["samples"]}
    assert {
        "64 KiB never write",
        "64 KiB auto sync",
        "1 MiB auto read",
        "1 MiB never read",
    } <= names
    assert all(sample["values"]["cpu"] >= 0 for sample in found["samples"])
    assert found["machine"]["file_system"] != "no disk used"
    assert not list(tmp_path.glob("swarm-bench-*"))


def test_clients_are_listed(programs: Programs) -> None:
    done = programs.run("bench", "compare", "--list", PATH="/nonexistent")
    assert done.returncode == 0
    lines = done.stdout.decode().splitlines()
    assert lines[0].split() == ["swarm", swarm.__version__]
    (aria2,) = (line for line in lines if line.startswith("aria2"))
    assert "apt install aria2" in aria2
    done = programs.run("bench", "compare", "--list", "--json")
    rows = [json.loads(line) for line in done.stdout.splitlines()]
    assert {"swarm", "libtorrent", "aria2"} <= {row["name"] for row in rows}


def test_one_client_beside_another(programs: Programs, tmp_path: Path) -> None:
    pytest.importorskip("libtorrent")
    args = ("--size", "1MiB", "--rounds", "1", "--where", "loopback", "--client", "swarm")
    picked = ("--client", "libtorrent", "--client", "swarm", "--mixed")
    done = programs.run("bench", "compare", *args, *picked, "--plot", "both.svg", timeout=WHOLE)
    assert done.returncode == 0, done.stderr
    assert b"swarm / best other" in done.stdout
    assert b"\nswarm to libtorrent" in done.stdout
    assert b"\nlibtorrent to swarm" in done.stdout
    picture = (tmp_path / "both.svg").read_text()
    assert ">swarm</text>" in picture
    assert ">libtorrent</text>" in picture


def test_a_client_that_fails_is_reported(programs: Programs, tmp_path: Path) -> None:
    if not shutil.which("aria2c"):
        pytest.skip("aria2c is missing: apt install aria2")
    args = (
        "--size",
        "64KiB",
        "--rounds",
        "2",
        "--where",
        "loopback",
        "--leechers",
        "2",
        "--pooled",
    )
    both = ("--client", "swarm", "--client", "aria2")
    done = programs.run(
        "bench", "compare", *args, *both, "--json", "a.json", "--plot", "a.svg", timeout=WHOLE
    )
    assert done.returncode == 0, done.stderr
    assert b"\naria2 FAILED: aria2 cannot hold several clients" in done.stdout
    found = json.loads((tmp_path / "a.json").read_bytes())
    assert [failure["client"] for failure in found["failures"]] == ["aria2"]
    assert [sample["name"] for sample in found["samples"]] == ["swarm", "swarm"]
    assert ">failed: aria2 cannot hold several clients" in (tmp_path / "a.svg").read_text()
