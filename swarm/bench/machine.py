"""The machine that figures were taken on, as far as it matters for them."""

from __future__ import annotations

import os
import platform
import re
from dataclasses import dataclass, fields
from importlib import metadata
from pathlib import Path

import swarm

FEATURES = ("sha_ni", "avx512f", "avx512bw", "avx512vl", "avx2", "sha1", "sha2", "asimd")
"""What the CPU may offer that our kernels, or those of others, make use of."""
NO_DISK = "no disk used"
PASSING = ("load", "hypervisor")
"""What may differ between two runs on one machine."""


@dataclass(frozen=True, kw_only=True)
class Machine:
    """One machine and what runs on it. Sizes in bytes."""

    cpu: str
    cores: int
    """Those that this process may use."""
    architecture: str
    features: tuple[str, ...]
    hypervisor: bool
    """Is it a virtual machine? Then memory that was not touched lately costs more."""
    memory: int
    system: str
    """The kernel and its version."""
    file_system: str
    """Of the folder that is measured in."""
    python: str
    swarm: str
    loop: str
    """The event loop."""
    kernels: tuple[str, ...]
    """The hash kernels that this machine can run, the best first; one, if it was chosen."""
    load: float
    """Processes that wanted to run during the minute before (0 where nobody counts)."""

    @classmethod
    def here(cls, folder: Path | None = None) -> Machine:
        """This machine, and the file system of `folder` (or of what is above it, until it is made)."""
        cpu, flags = _cpu()
        return cls(
            cpu=cpu,
            cores=_cores(),
            architecture=platform.machine(),
            features=tuple(name for name in FEATURES if name in flags),
            hypervisor="hypervisor" in flags,
            memory=_memory(),
            system=f"{platform.system()} {platform.release()}",
            file_system=_file_system(folder) if folder else NO_DISK,
            python=f"{platform.python_implementation()} {platform.python_version()}",
            swarm=swarm.__version__,
            loop=_loop(),
            kernels=_kernels(),
            load=os.getloadavg()[0] if hasattr(os, "getloadavg") else 0.0,
        )

    def unlike(self, other: Machine) -> list[str]:
        """In what the two differ that figures depend on, a sentence each. Versions of swarm may differ."""
        names = [field.name for field in fields(self) if field.name not in (*PASSING, "swarm")]
        pairs = [(name, getattr(self, name), getattr(other, name)) for name in names]
        return [
            f"{name.replace('_', ' ')}: {_shown(theirs)} there, {_shown(ours)} here"
            for name, ours, theirs in pairs
            if not _alike(name, ours, theirs)
        ]

    @property
    def where(self) -> str:
        """The kernel, and the file system if there is one in it."""
        disk = f", {self.file_system}" if self.file_system != NO_DISK else ""
        return self.system + disk

    def lines(self) -> list[str]:
        """It in two lines for people."""
        kind = ", virtual" if self.hypervisor else ""
        busy = f", load {self.load:.1f}" if self.load >= 0.1 else ""
        cores = f"{self.cores} core{'s' * (self.cores != 1)} ({self.architecture}{kind}{busy})"
        features = ", ".join(self.features) or "no CPU features for them"
        memory = f"{self.memory / 2**30:.1f} GiB"
        kernels = f"hash kernels {', '.join(self.kernels)} ({features})"
        return [
            f"{self.cpu}, {cores}, {memory}, {self.where}",
            f"swarm {self.swarm}, {self.python}, {self.loop}, {kernels}",
        ]


def _alike(name: str, ours: object, theirs: object) -> bool:
    if name == "memory":  # what the kernel leaves differs a little from boot to boot
        assert isinstance(ours, int)
        assert isinstance(theirs, int)
        return abs(ours - theirs) <= max(ours, theirs) / 20
    return ours == theirs


def _shown(value: object) -> str:
    return ", ".join(value) if isinstance(value, tuple) else str(value)


def _cores() -> int:
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def _cpu() -> tuple[str, set[str]]:
    """The CPU's name and the features that the kernel lists for it."""
    try:
        text = Path("/proc/cpuinfo").read_text(errors="replace")
    except OSError:
        return platform.processor() or "unknown CPU", set()
    found = {
        key: re.search(rf"^{key}\s*:\s*(.*)$", text, re.MULTILINE)
        for key in ("model name", "flags", "Features")
    }
    name, flags = found["model name"], found["flags"] or found["Features"]
    return (
        name[1].strip() if name else platform.processor() or "unknown CPU",
        set(flags[1].split()) if flags else set(),
    )


def _memory() -> int:
    try:
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    except (AttributeError, ValueError, OSError):
        return 0


def _file_system(folder: Path) -> str:
    """The kind of file system that `folder` is on, by the longest mount point above it (Linux)."""
    there = folder.absolute()
    while not there.exists():
        there = there.parent
    there = there.resolve()
    try:
        mounts = Path("/proc/self/mountinfo").read_text(errors="surrogateescape")
    except OSError:
        return "unknown file system"
    kind, longest = "unknown file system", -1
    for line in mounts.splitlines():
        left, _, right = line.partition(" - ")
        point = re.sub(r"\\([0-7]{3})", lambda match: chr(int(match[1], 8)), left.split(" ")[4])
        if there.is_relative_to(point) and len(point) >= longest:  # the last one lies on top
            kind, longest = right.split(" ")[0], len(point)
    return kind


def _loop() -> str:
    try:
        return f"uvloop {metadata.version('uvloop')}"
    except metadata.PackageNotFoundError:  # Windows
        return "asyncio"


def _kernels() -> tuple[str, ...]:
    from swarm._native import hash_kernels

    chosen = os.environ.get("SWARM_HASH_KERNEL")
    return (chosen,) if chosen else tuple(hash_kernels())
