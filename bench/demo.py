"""The whole of swarm on one machine: create, tracker, seed and download, as a user starts them.

`make demo` runs it. Real processes, real sockets on loopback, a folder of 256 MiB in a temporary
place; the result is compared byte for byte. Needs nothing but the installed `swarm`.
"""

from __future__ import annotations

import ctypes
import filecmp
import hashlib
import os
import shlex
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO

CHECKOUT = Path(__file__).resolve().parents[1]
MIB = 1024 * 1024
GIB = 1024 * MIB
FILES = {
    "README.txt": 1,
    "empty": 0,
    "data/a.bin": 100 * MIB,
    "data/b.bin": 100 * MIB + 12_345,
    "more/deep/er/c.bin": 56 * MIB - 12_346,
}
"""The sample: path and bytes, 256 MiB in all; most files share a piece with a neighbour."""
STOP_SECONDS = 5
PR_SET_PDEATHSIG = 1


@dataclass(frozen=True, slots=True)
class Usage:
    """What one process used: seconds of CPU, bytes of memory at its peak."""

    cpu: float
    peak: int


@dataclass(frozen=True, slots=True)
class Demo:
    """One run: where it works, and the programs it has started and not yet reaped."""

    folder: Path
    running: list[subprocess.Popen[str]]

    def start(self, *args: str, server: bool = False) -> subprocess.Popen[str]:
        """Starts `swarm` with these arguments, and shows them as one would type them.

        A server gets a process group of its own: Ctrl-C reaches the download first, as in life.
        """
        print(f"\n$ swarm {shlex.join(args)}{' &' if server else ''}", flush=True)
        process = subprocess.Popen(
            [*program(), *args],
            cwd=self.folder,
            env={**os.environ, **self.environ(args[0])},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE if server else None,
            text=True,
            process_group=0 if server else None,
            preexec_fn=die_with_parent(),
        )
        self.running.append(process)
        return process

    def environ(self, command: str) -> dict[str, str]:
        """Keeps the user's own resume data and the DHT of the world out of it, and finds `swarm`."""
        path = os.pathsep.join(filter(None, (str(CHECKOUT), os.environ.get("PYTHONPATH"))))
        state = str(self.folder / "state" / command)
        return {"SWARM_STATE_DIR": state, "PYTHONPATH": path, "SWARM_NO_DHT": "1"}

    def run(self, *args: str) -> Usage:
        """Runs one command to its end. Raises `SystemExit` when it fails."""
        process = self.start(*args)
        usage = self.reap(process)
        if process.returncode:
            sys.exit(f"demo: `swarm {args[0]}` ended with {process.returncode}")
        return usage

    def stop(self, process: subprocess.Popen[str]) -> Usage:
        """Asks a server to leave, as Ctrl-C would, and tells what it had used."""
        process.send_signal(signal.SIGTERM)
        return self.reap(process)

    def reap(self, process: subprocess.Popen[str]) -> Usage:
        """Waits for a process, and takes its resource usage from the kernel."""
        _, status, used = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
        self.running.remove(process)
        if process.stdout:
            process.stdout.close()
        unit = 1 if sys.platform == "darwin" else 1024
        return Usage(used.ru_utime + used.ru_stime, used.ru_maxrss * unit)

    def close(self) -> None:
        """Ends everything that still runs: politely, then not. Not to be interrupted itself."""
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        for process in self.running:
            process.terminate()
        deadline = time.monotonic() + STOP_SECONDS
        for process in self.running:
            try:
                process.wait(max(0.0, deadline - time.monotonic()))
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


def program() -> list[str]:
    """The `swarm` beside this Python; `python -m swarm` where it is not installed."""
    script = Path(sys.executable).with_name("swarm")
    return [str(script)] if script.exists() else [sys.executable, "-m", "swarm"]


def die_with_parent() -> Callable[[], None] | None:
    """For a child before it starts: end it should this process be killed. Linux only."""
    if sys.platform != "linux":
        return None
    prctl = ctypes.CDLL(None).prctl  # loaded here: a forked child must not load libraries
    return lambda: prctl(PR_SET_PDEATHSIG, signal.SIGTERM)


@contextmanager
def demo() -> Iterator[Demo]:
    """A temporary folder and what runs in it; nothing of either is left behind."""
    with tempfile.TemporaryDirectory(prefix="swarm-demo-") as folder:
        made = Demo(Path(folder), [])
        try:
            yield made
        finally:
            made.close()


def write_sample(root: Path) -> int:
    """Writes the files, with the same content each time. Returns their length together."""
    for name, length in FILES.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("wb") as file:
            for at in range(0, length, MIB):
                noise = hashlib.shake_128(f"{name} {at}".encode())
                file.write(noise.digest(min(MIB, length - at)))
    return sum(FILES.values())


def first_line(stream: IO[str] | None, what: str) -> str:
    """The first line a server prints, which is when it is ready. Raises `SystemExit` without it."""
    assert stream is not None
    line = stream.readline().strip()
    if not line:
        sys.exit(f"demo: `swarm {what}` did not start")
    return line


def compare(left: Path, right: Path) -> None:
    """Raises `SystemExit` unless both folders hold the same files with the same bytes."""
    for name in FILES:
        if not filecmp.cmp(left / name, right / name, shallow=False):
            sys.exit(f"demo: {name} differs")
    found = {str(path.relative_to(right)) for path in right.rglob("*") if path.is_file()}
    if found != set(FILES):
        sys.exit(f"demo: other files than expected: {sorted(found ^ set(FILES))}")


def figures(length: int, seconds: float, leecher: Usage, seeder: Usage) -> str:
    """The closing line. Time, CPU and memory are those of whole processes, start and end included."""
    share = length / GIB
    return (
        f"{length / MIB / seconds:.0f} MiB/s ({length / MIB:.0f} MiB in {seconds:.2f} s, "
        f"start-up included); CPU-s/GiB: download {leecher.cpu / share:.2f}, "
        f"seed {seeder.cpu / share:.2f}; peak RSS: download {leecher.peak / MIB:.0f} MiB, "
        f"seed {seeder.peak / MIB:.0f} MiB"
    )


def main() -> None:
    """Runs the demo once."""
    for signum in (signal.SIGTERM, getattr(signal, "SIGHUP", signal.SIGTERM)):
        signal.signal(signum, lambda number, _: sys.exit(128 + number))
    with demo() as this:
        root = this.folder
        print(f"a sample of {len(FILES)} files, {sum(FILES.values()) // MIB} MiB, in {root}")
        length = write_sample(root / "sample")

        tracker = this.start("tracker", "--bind", "127.0.0.1:0", server=True)
        announce = first_line(tracker.stdout, "tracker")
        print(announce)

        this.run("create", "sample", "-o", "sample.torrent", "--tracker", announce)

        listen = ("--listen", "127.0.0.1:0")
        # Not verified: it was hashed a moment ago, and the figures are to show the serving.
        seeder = this.start(
            "seed", "sample.torrent", "--no-verify", "--quiet", *listen, server=True
        )
        print(first_line(seeder.stdout, "seed"))

        begun = time.monotonic()
        leeching = this.run("download", "sample.torrent", "-o", "downloaded", *listen)
        seconds = time.monotonic() - begun

        compare(root / "sample", root / "downloaded" / "sample")
        print("\nthe same, byte for byte")
        seeding = this.stop(seeder)
        this.stop(tracker)
    print(figures(length, seconds, leeching, seeding))


if __name__ == "__main__":
    try:
        main()
    except KeyboardInterrupt:
        print("demo: stopped", file=sys.stderr)
        sys.exit(130)
