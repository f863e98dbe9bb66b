"""`swarm bench`, as people and CI run it: real processes, tiny work."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

Programs = Any
WIRE = ("bench", "wire", "--size", "1MiB", "--rounds", "2")


def report(programs: Programs, *args: object) -> dict[str, Any]:
    done = programs.run(*args, "--json")
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
    ],
)
def test_what_makes_no_sense_is_said(
    programs: Programs, args: tuple[str, ...], said: bytes
) -> None:
    done = programs.run("bench", *args)
    assert done.returncode == 2
    assert said in done.stderr
    assert b"Traceback" not in done.stderr
    assert done.stdout == b""
