"""Machines: this one, and two beside each other."""

from __future__ import annotations

import os
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from swarm._native import hash_kernels
from swarm.bench.machine import NO_DISK, Machine


def test_this_machine(tmp_path: Path) -> None:
    machine = Machine.here(tmp_path / "not made yet")
    assert 1 <= machine.cores <= (os.cpu_count() or 1)
    assert machine.kernels == tuple(hash_kernels()) or os.environ.get("SWARM_HASH_KERNEL")
    assert machine.python.endswith(".".join(map(str, sys.version_info[:3])))
    assert machine.unlike(Machine.here(tmp_path)) == []
    first, second = machine.lines()
    assert machine.cpu in first
    assert machine.file_system in first
    assert machine.loop in second
    assert NO_DISK not in Machine.here().lines()[0]


@pytest.mark.skipif(sys.platform != "linux", reason="mounts are listed on Linux")
def test_the_file_system_is_that_of_the_folder(tmp_path: Path) -> None:
    assert Machine.here(Path("/proc/self")).file_system == "proc"
    mounts = Path("/proc/self/mountinfo").read_text(errors="surrogateescape").splitlines()
    listed = any(line.split()[4] == "/" for line in mounts)  # in a chroot the root may be no mount
    found = Machine.here(tmp_path).file_system
    assert found not in ("", "proc")
    assert found != "unknown file system" or not listed


def test_what_two_machines_differ_in() -> None:
    machine = Machine.here()
    other = replace(machine, cpu="another", cores=machine.cores + 1, load=99.0, swarm="9")
    cpu, cores = machine.unlike(other)
    assert cpu == f"cpu: another there, {machine.cpu} here"
    assert "cores" in cores
    assert machine.unlike(replace(machine, memory=machine.memory + machine.memory // 100)) == []
    assert "memory" in machine.unlike(replace(machine, memory=machine.memory * 2))[0]
